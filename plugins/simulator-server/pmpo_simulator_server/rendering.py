"""Pictures as observations, where the machine can draw."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from pmpo_simulator_server.errors import precondition
from pmpo_simulator_server.settings import Settings
from pmpo_simulator_server.world import Array, Spec


@dataclasses.dataclass(frozen=True)
class Size:
    """What is drawn: pixels, and the number of the model's camera."""

    width: int
    height: int
    camera: int


class Pixels:
    """An observation `pixels`, uint8 [height, width, 3], drawn when it is asked for."""

    def __init__(self, draw: Callable[[], Array]) -> None:
        self._draw = draw
        # Now, where it can still be said, and not in the middle of an episode. Not every simulator minds the size.
        self.spec = Spec.of("pixels", self.render().shape, np.uint8, 0, 255)

    @staticmethod
    def size_from(settings: Settings) -> Size | None:
        """Takes `pixels`, `width`, `height` and `cameraId`; None where no pixels are wanted."""
        wanted = settings.take("pixels", bool, False)
        size = Size(
            settings.positive("width", int) or 84,
            settings.positive("height", int) or 84,
            settings.take("cameraId", int, 0) or 0,
        )
        return size if wanted else None

    def render(self) -> Array:
        try:
            return np.asarray(self._draw(), np.uint8)
        except Exception as error:  # What drawing fails with differs from driver to driver.
            reason = str(error).strip().split("\n")[0]
            raise precondition(
                f"this machine cannot draw pixels ({reason}); start the server with MUJOCO_GL=egl or "
                "MUJOCO_GL=osmesa and that library installed"
            ) from error
