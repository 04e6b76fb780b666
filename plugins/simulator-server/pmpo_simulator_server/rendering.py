"""Rendered images as observations, on machines that can render."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from pmpo_simulator_server.errors import invalid, precondition
from pmpo_simulator_server.settings import Settings
from pmpo_simulator_server.simulator import Array, Spec

T = TypeVar("T")

# An OpenGL context belongs to the thread that created it: on another thread, calls fail or silently draw black.
# The executor starts its thread with the first image, so never before the process is forked.
_drawing = ThreadPoolExecutor(1, thread_name_prefix="drawing")


def on_drawing_thread(act: Callable[[], T]) -> T:
    """Calls `act` on the one thread of this process that may use OpenGL, and returns its result."""
    return _drawing.submit(act).result()


def check_camera(camera: int | None, count: int) -> None:
    """Checks a camera id against the number of cameras of the model.

    Raises:
      RequestError: the model has no such camera.
    """
    if camera is not None and not -1 <= camera < count:
        raise invalid(
            f"the setting 'cameraId' is {camera}; this model has {count} cameras, numbered from 0, and -1 is the free "
            "camera"
        )


@dataclasses.dataclass(frozen=True)
class Size:
    """Width and height of an image in pixels, and the id of the camera; None for the simulator's default camera."""

    width: int
    height: int
    camera: int | None


class Pixels:
    """The observation `pixels`, uint8 [height, width, 3], rendered only in steps that request it."""

    def __init__(self, draw: Callable[[], Array]) -> None:
        self._draw = draw
        # Rendering one image now reports problems before the first episode. It also gives the true size of the image:
        # some simulators ignore the size that they are given.
        first = self.render()
        if first.ndim != 3 or first.shape[-1] != 3:
            raise precondition(
                f"this simulator does not render images: its rendering has the shape {list(first.shape)}, "
                "not [height, width, 3]"
            )
        self.spec = Spec.of("pixels", first.shape, np.uint8, 0, 255)

    @staticmethod
    def size_from(settings: Settings) -> Size | None:
        """Takes the settings `pixels`, `width`, `height` and `cameraId`. Returns None if `pixels` is not set.

        Raises:
          RequestError: a setting has a wrong value, or one of the others is given without `pixels`.
        """
        wanted = settings.take("pixels", bool, False)
        width, height = settings.positive("width", int), settings.positive("height", int)
        camera = settings.take("cameraId", int)
        if not wanted:
            for name, value in (("width", width), ("height", height), ("cameraId", camera)):
                if value is not None:
                    raise invalid(f"the setting '{name}' has no effect without pixels; set 'pixels' to true as well")
            return None
        return Size(width or 84, height or 84, camera)

    def render(self) -> Array:
        """Renders one image, uint8 [height, width, 3].

        Raises:
          RequestError: this machine cannot render, or not at this size.
        """
        try:
            return np.asarray(on_drawing_thread(self._draw), np.uint8)
        except ValueError as error:  # The size is larger than MuJoCo's frame buffer, for example.
            raise invalid(f"these pixels cannot be drawn: {error}") from error
        except Exception as error:  # The exception of a failed rendering differs from driver to driver.
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise precondition(
                f"this machine cannot draw pixels ({reason}); start the server with MUJOCO_GL=egl or "
                "MUJOCO_GL=osmesa and that library installed"
            ) from error
