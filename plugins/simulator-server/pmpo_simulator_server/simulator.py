"""The interface of a simulator: named arrays in, named arrays out."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pmpo_simulator_server.errors import invalid, precondition
from pmpo_simulator_server.scene import MujocoView

Array = NDArray[np.generic]
Setting = bool | int | float | str


class State(enum.Enum):
    """The state of an episode after a step."""

    RUNNING = enum.auto()
    TERMINATED = enum.auto()
    """The episode reached a terminal state: the value of its last observation is 0."""
    INTERRUPTED = enum.auto()
    """The episode was truncated, by a time limit for example: a learner may bootstrap from its last observation."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """One named observation or action. Bounds are inclusive and have the array's shape; None means unbounded."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    minimum: Array | None = None
    maximum: Array | None = None
    default: Array | None = None
    """The value of an action that a client omits. None: 0, or the value within the bounds that is nearest to 0."""

    @staticmethod
    def of(
        name: str,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        minimum: object = None,
        maximum: object = None,
    ) -> Spec:
        """Returns a spec whose bounds are broadcast to its shape. A bound that is infinite everywhere becomes None."""
        kind = np.dtype(dtype)

        def bound(value: object) -> Array | None:
            if value is None or kind.kind not in "iuf":
                return None
            full = np.broadcast_to(np.asarray(value), shape)
            return full.astype(kind) if np.isfinite(full).any() else None

        return Spec(name, tuple(int(size) for size in shape), kind, bound(minimum), bound(maximum))


class Step(NamedTuple):
    """The result of a step or a reset."""

    observations: Mapping[str, object]
    """By name: an array, or a function without arguments that computes the array when a client requests it."""
    reward: float
    discount: float
    state: State


def single_number(value: object, what: str) -> float:
    """A reward or a discount as a number: a scalar, or an array of shape [1].

    Raises:
      RequestError: it is anything else, such as a vector of several rewards.
    """
    if type(value) is float:
        return value
    array = np.asarray(value)
    if array.size == 1 and array.ndim <= 1 and array.dtype.kind in "biufO":
        try:
            return float(array.reshape(())[()])
        except (TypeError, ValueError):
            pass
    found = f"of the shape {list(array.shape)}" if array.dtype.kind in "biuf" else f"a {type(value).__name__}"
    raise precondition(f"the simulator's {what} is {found}; it must be a single number. Use a wrapper that makes it one")


def single_flag(value: object, what: str) -> bool:
    """Whether an episode is over: true or false, or one number that is 0 or 1.

    Raises:
      RequestError: it is anything else, such as a text, or one flag for each of several agents.
    """
    if type(value) is bool:
        return value
    array = np.asarray(value)
    if array.size == 1 and array.ndim <= 1 and array.dtype.kind in "biuf" and array.reshape(())[()] in (0, 1):
        return bool(array.reshape(())[()])
    found = f"{array.ravel()[:8].tolist()}" if array.dtype.kind in "biuf" else f"a {type(value).__name__}"
    raise precondition(f"the simulator's {what} is {found}; it must be true or false. Use a wrapper that makes it so")


def checked_value(value: object, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An observation as an array of its spec's shape and type.

    Raises:
      ValueError: it has another shape, or the type cannot hold it: a fraction or a number out of range must not become
        another number.
    """
    given = np.asarray(value)
    if given.shape != shape:
        raise ValueError(f"'{name}' has shape {list(given.shape)}; its spec says {list(shape)}")
    if given.dtype == dtype:
        return given
    array = given.astype(dtype)
    if given.dtype.kind == "c" or (dtype.kind in "iub" and not (array == given).all()):
        raise ValueError(f"'{name}' is {given.ravel()[:8].tolist()}, which its type {dtype} cannot hold")
    return array


RESERVED = {"reward": "the reward of each step", "discount": "the discount of each step"}
"""The observations that dm_env_rpc defines, and what they are."""


def check_reserved(simulator: Simulator) -> None:
    """Checks that no observation of a simulator has a name that dm_env_rpc reserves.

    Raises:
      RequestError: one does; it would be lost.
    """
    for name, meaning in RESERVED.items():
        if name in simulator.observations:
            raise invalid(
                f"the simulator's observation '{name}' and {meaning} would both be named '{name}'; "
                "rename the observation, with a wrapper for example"
            )


def interrupted_step(last: Step) -> Step:
    """The step that reports that another connection ended the episode after `last`.

    The simulator does nothing: the observations are repeated, the reward is 0 and the discount is 1.
    """
    return last._replace(reward=0.0, discount=1.0, state=State.INTERRUPTED)


class Simulator(Protocol):
    """One simulator with a Gym-like interface. Only one connection at a time steps it."""

    @property
    def observations(self) -> Mapping[str, Spec]: ...

    @property
    def actions(self) -> Mapping[str, Spec]: ...

    @property
    def takes_seeds(self) -> bool:
        """Whether `reset` accepts a seed."""
        ...

    @property
    def view(self) -> MujocoView | None:
        """What the simulator looks like; None if it cannot tell."""
        ...

    def reset(self, seed: int | None) -> Step:
        """Starts an episode. The same seed and the same actions give the same episode.

        Raises:
          RequestError: `seed` is given and the simulator does not take seeds.
        """
        ...

    def step(self, actions: Mapping[str, Array]) -> Step:
        """Advances by one control step. `actions` holds an array for every action spec."""
        ...

    def close(self) -> None: ...
