"""What a simulator on MuJoCo looks like, for clients that draw it: the properties `pmpo/scene/I` and `pmpo/poses/I`.

The TypeScript side, src/core/scene.ts and src/simulators/scene.ts, describes the form. Shapes: B bodies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

METADATA_KEY = "pmpo-scene"
"""The key in a stream's metadata by which a server says that it has these properties."""

_KEY = re.compile(r"pmpo/(scene|poses)/(\d{1,6})")

_SHAPES = {0: "plane", 2: "sphere", 3: "capsule", 4: "ellipsoid", 5: "cylinder", 6: "box", 7: "mesh"}
"""The shapes of mjtGeom that are drawn."""

_VISIBLE_GROUPS = 3
"""MuJoCo's viewer shows the groups below this."""

_MAX_TRIANGLES = 12_000
"""The most triangles of all meshes together; a mesh beyond that becomes the box around it."""


def part_of_key(key: str) -> tuple[str, int] | None:
    """The part (`scene` or `poses`) and the simulator that a property's key names; None for other keys."""
    found = _KEY.fullmatch(key)
    return None if found is None else (found[1], int(found[2]))


class MujocoView:
    """Looks at a MuJoCo model and its state. `of` returns both as they are now: an environment may replace them."""

    def __init__(self, of: Callable[[], tuple[Any, Any]], seconds_per_step: Callable[[], float | None]) -> None:
        self._of = of
        self._seconds_per_step = seconds_per_step

    def scene(self) -> dict[str, Any]:
        """The visible geoms. The row of body b of the model in the poses is b - 1: the world does not move."""
        model, _ = self._of()
        scene = _scene_of(model)
        seconds = self._seconds_per_step()
        return scene if seconds is None or not seconds > 0 else {**scene, "secondsPerStep": float(seconds)}

    def poses(self) -> np.ndarray[Any, Any]:
        """The positions and the quaternions of all bodies but the world, float32 [B, 7]."""
        _, data = self._of()
        return np.concatenate([data.xpos[1:], data.xquat[1:]], axis=1).astype(np.float32)


def _numbers(values: Any, digits: int = 6) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in np.asarray(values, float).ravel()]


def _color(model: Any, i: int) -> list[float] | None:
    """The color of geom i: its own, or else that of its material. None: the model does not say."""
    own = _numbers(model.geom_rgba[i])
    if own != [0.5, 0.5, 0.5, 1.0]:
        return own
    material = int(model.geom_matid[i])
    return None if material < 0 else _numbers(model.mat_rgba[material])


def _rotated(quaternion: Any, vector: Any) -> Any:
    w, axis = quaternion[0], np.asarray(quaternion[1:])
    twice = 2 * np.cross(axis, vector)
    return vector + w * twice + np.cross(axis, twice)


def _scene_of(model: Any) -> dict[str, Any]:
    geoms: list[dict[str, Any]] = []
    meshes: list[dict[str, Any]] = []
    places: dict[int, int] = {}
    triangles = 0
    # A skin is not drawn: the geoms under it, by which the bodies collide, take its place.
    visible = _VISIBLE_GROUPS + (model.nskin > 0)
    for i in range(model.ngeom):
        shape = _SHAPES.get(int(model.geom_type[i]))
        color = _color(model, i)
        if shape is None or model.geom_group[i] >= visible or (color is not None and color[3] == 0):
            continue
        geom: dict[str, Any] = {
            "shape": shape,
            "size": _numbers(model.geom_size[i]),
            "body": int(model.geom_bodyid[i]) - 1,
            "position": _numbers(model.geom_pos[i]),
            "rotation": _numbers(model.geom_quat[i]),
        }
        if color is not None:
            geom["color"] = [min(1.0, max(0.0, value)) for value in color]
        if shape == "mesh":
            mesh = int(model.geom_dataid[i])
            start, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
            vertices = model.mesh_vert[start : start + count]
            if mesh not in places and triangles + model.mesh_facenum[mesh] <= _MAX_TRIANGLES:
                triangles += int(model.mesh_facenum[mesh])
                first = int(model.mesh_faceadr[mesh])
                faces = model.mesh_face[first : first + int(model.mesh_facenum[mesh])]
                places[mesh] = len(meshes)
                meshes.append({"vertices": _numbers(vertices, 4), "faces": np.asarray(faces).ravel().tolist()})
            if mesh in places:
                geom["mesh"] = places[mesh]
            else:
                low, high = vertices.min(axis=0), vertices.max(axis=0)
                middle = _rotated(model.geom_quat[i], (low + high) / 2)
                geom |= {
                    "shape": "box",
                    "size": _numbers((high - low) / 2),
                    "position": _numbers(model.geom_pos[i] + middle),
                }
        geoms.append(geom)
    return {"bodies": int(model.nbody) - 1, "geoms": geoms, "meshes": meshes}
