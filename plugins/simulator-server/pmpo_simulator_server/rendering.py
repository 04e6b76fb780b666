"""Pictures as observations, where the machine can draw."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from pmpo_simulator_server.errors import invalid, precondition
from pmpo_simulator_server.settings import Settings
from pmpo_simulator_server.world import Array, Spec

T = TypeVar("T")

# An OpenGL context belongs to the thread that made it: used on another one it fails, or draws black without a word.
# The thread starts with the first picture, so never before the process is forked.
_drawing = ThreadPoolExecutor(1, thread_name_prefix="drawing")


def on_drawing_thread(act: Callable[[], T]) -> T:
    """Does what touches OpenGL on the one thread of this process that may."""
    return _drawing.submit(act).result()


def check_camera(camera: int | None, count: int) -> None:
    """Raises RequestError for a camera that the model does not have."""
    if camera is not None and not -1 <= camera < count:
        raise invalid(
            f"the setting 'cameraId' is {camera}; this model has {count} cameras, from 0 on, and -1 is the free one"
        )


@dataclasses.dataclass(frozen=True)
class Size:
    """What is drawn: pixels, and the number of the model's camera, None for the simulator's own choice."""

    width: int
    height: int
    camera: int | None


class Pixels:
    """An observation `pixels`, uint8 [height, width, 3], drawn when it is asked for."""

    def __init__(self, draw: Callable[[], Array]) -> None:
        self._draw = draw
        # Now, where it can still be said, and not in the middle of an episode. Not every simulator minds the size.
        first = self.render()
        if first.ndim != 3 or first.shape[-1] != 3:
            raise precondition(f"this simulator draws no pictures: what it renders has the shape {list(first.shape)}")
        self.spec = Spec.of("pixels", first.shape, np.uint8, 0, 255)

    @staticmethod
    def size_from(settings: Settings) -> Size | None:
        """Takes `pixels`, `width`, `height` and `cameraId`; None where no pixels are wanted."""
        wanted = settings.take("pixels", bool, False)
        width, height = settings.positive("width", int), settings.positive("height", int)
        camera = settings.take("cameraId", int)
        if not wanted:
            for name, value in (("width", width), ("height", height), ("cameraId", camera)):
                if value is not None:
                    raise invalid(f"the setting '{name}' says how pixels are drawn; set 'pixels' to true as well")
            return None
        return Size(width or 84, height or 84, camera)

    def render(self) -> Array:
        """One picture. Raises RequestError where this machine cannot draw."""
        try:
            return np.asarray(on_drawing_thread(self._draw), np.uint8)
        except ValueError as error:  # Of the size, say.
            raise invalid(f"these pixels cannot be drawn: {error}") from error
        except Exception as error:  # What drawing fails with differs from driver to driver.
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise precondition(
                f"this machine cannot draw pixels ({reason}); start the server with MUJOCO_GL=egl or "
                "MUJOCO_GL=osmesa and that library installed"
            ) from error
