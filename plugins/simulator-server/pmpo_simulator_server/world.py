"""What a simulator is to the server: named arrays in, named arrays out."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.generic]
Setting = bool | int | float | str


class State(enum.Enum):
    """Where an episode stands."""

    RUNNING = enum.auto()
    TERMINATED = enum.auto()
    """Over for good: the value of what follows is 0."""
    INTERRUPTED = enum.auto()
    """Cut by a limit: the value of the last observation still counts."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """One named observation or action. Bounds are inclusive, of the array's shape; None where there are none."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    minimum: Array | None = None
    maximum: Array | None = None
    default: Array | None = None
    """Of an action that a client leaves out; None: 0, or what is nearest to it."""

    @staticmethod
    def of(
        name: str,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        minimum: object = None,
        maximum: object = None,
    ) -> Spec:
        """A spec whose bounds are broadcast to its shape; where all are infinite there are none."""
        kind = np.dtype(dtype)

        def bound(value: object) -> Array | None:
            if value is None or kind.kind not in "iuf":
                return None
            full = np.broadcast_to(np.asarray(value), shape)
            return full.astype(kind) if np.isfinite(full).any() else None

        return Spec(name, tuple(int(size) for size in shape), kind, bound(minimum), bound(maximum))


class Step(NamedTuple):
    """What a step or a reset leads to."""

    observations: Mapping[str, object]
    """Arrays, or functions without arguments that make one when it is asked for."""
    reward: float
    discount: float
    state: State


def interrupted(last: Step) -> Step:
    """What a step says of an episode that somebody has cut after `last`: nothing has been done, nor is it over for good."""
    return last._replace(reward=0.0, discount=1.0, state=State.INTERRUPTED)


class World(Protocol):
    """One simulator, gym-like. Used by one agent at a time."""

    @property
    def observations(self) -> Mapping[str, Spec]: ...

    @property
    def actions(self) -> Mapping[str, Spec]: ...

    @property
    def takes_seeds(self) -> bool:
        """Whether episodes can be started from seeds."""
        ...

    def reset(self, seed: int | None) -> Step:
        """Starts an episode; the same seed gives the same episode for the same actions.

        Raises RequestError for a seed where the simulator takes none.
        """
        ...

    def step(self, actions: Mapping[str, Array]) -> Step:
        """Advances by one control step; every action is given."""
        ...

    def close(self) -> None: ...
