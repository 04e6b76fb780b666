"""A batch of simulators with the same specs, stepped together: the first axis of each array counts them.

Shapes: N simulators; i is the index of one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pmpo_simulator_server.errors import FAILURES, RequestError, SimulatorError, invalid, status_of
from pmpo_simulator_server.simulator import Array, Simulator, Spec, State, Step, check_reserved, checked_value, interrupted_step
from pmpo_simulator_server.tensors import STATE_CODES

MAX_BATCH_SIZE = 1024
"""The largest number of simulators in one batch."""


class Command(enum.IntEnum):
    """The command to one simulator in a step of the batch."""

    STEP = 0
    """Steps with its row of the actions. If it has no running episode, starts one and ignores the row."""
    RESET = 1
    """Starts an episode, seeded with its row of `batch/seed` if that is 0 or more."""
    WAIT = 2
    """Does nothing."""


BATCH_PREFIX = "batch/"
"""Prefix of the actions and observations that belong to the batch rather than to its simulators."""

NO_EPISODE = 0
"""Value of `batch/state` before the first episode and after a failure: dm_env_rpc's number for an invalid state."""

_RUNNING = STATE_CODES[State.RUNNING]
_STEP, _RESET, _WAIT = (int(command) for command in Command)
"""Plain integers, because comparing enum members is slower."""


def _stack_spec(spec: Spec, count: int) -> Spec:
    """The spec of `count` values of `spec`, stacked along a new first axis."""
    shape = (count, *spec.shape)

    def bound(limit: Array | None) -> Array | None:
        return None if limit is None else np.broadcast_to(limit, shape)

    return dataclasses.replace(spec, shape=shape, minimum=bound(spec.minimum), maximum=bound(spec.maximum))


def _have_same_specs(one: Mapping[str, Spec], other: Mapping[str, Spec]) -> bool:
    def equal(a: Array | None, b: Array | None) -> bool:
        return a is b if a is None or b is None else np.array_equal(a, b)

    return list(one) == list(other) and all(
        (a.shape, a.dtype) == (b.shape, b.dtype) and equal(a.minimum, b.minimum) and equal(a.maximum, b.maximum)
        for a, b in zip(one.values(), other.values(), strict=True)
    )


class _StackedObservation:
    """One observation of all simulators, [N, …]. Rows are written lazily, once per step."""

    def __init__(self, spec: Spec, count: int) -> None:
        self._name, self._shape = spec.name, spec.shape
        text = spec.dtype.kind == "U"
        self._dtype: np.dtype[Any] = np.dtype(object) if text else spec.dtype
        self.values: Array = np.full((count, *spec.shape), "" if text else 0, object if text else spec.dtype)
        self._written_steps = [0] * count

    def write(self, i: int, step: Step, number: int) -> None:
        """Writes row i from the last step of simulator i, unless step `number` has been written already.

        Raises:
          ValueError: the observation does not fit its spec.
        """
        if self._written_steps[i] == number:
            return
        value = step.observations[self._name]
        # Without this check, the assignment would broadcast an array of another shape.
        self.values[i] = checked_value(value() if callable(value) else value, self._name, self._shape, self._dtype)
        self._written_steps[i] = number


class Batch:
    """N simulators with the same specs. The failure of one does not affect the others."""

    def __init__(self, simulators: Sequence[Simulator]) -> None:
        """Takes ownership of the simulators.

        Raises:
          RequestError: their specs differ, or one of their names begins with `batch/`.
        """
        count = len(simulators)
        first = simulators[0]
        self.world = "its world"
        """The name of the world, for messages."""
        self._episodes = [0] * count
        self._episode_steps = [0] * count
        for i, simulator in enumerate(simulators):
            check_reserved(simulator)
            same_observations = _have_same_specs(simulator.observations, first.observations)
            if not same_observations or not _have_same_specs(simulator.actions, first.actions):
                raise invalid(
                    f"the specs of simulator {i} differ from those of simulator 0; "
                    "all of a batch must have the same"
                )
        for name in (*first.observations, *first.actions):
            if name.startswith(BATCH_PREFIX):
                raise invalid(f"the name '{name}' is reserved in a batch; omit 'batchSize'")
        self._simulators = tuple(simulators)
        self._next_seeds: list[int | None] = [None] * count
        """Seed of the next episode of each simulator."""
        self._last_steps: list[Step | None] = [None] * count
        """The last step of each simulator; None if it has no episode."""
        self._is_interrupted = [False] * count
        """Whether another connection ended the running episode; the simulator's next step reports it."""
        self._step_counts = [0] * count
        self._reward = np.zeros(count)
        self._discount = np.ones(count)
        self._state = np.full(count, NO_EPISODE, np.int32)
        self._error_code = np.zeros(count, np.int32)
        self._error = np.full(count, "", object)
        observed = list(first.observations.values())
        self._rows = {spec.name: _StackedObservation(spec, count) for spec in observed}
        self._batch_values: Mapping[str, Array] = {
            "reward": self._reward,
            "discount": self._discount,
            "batch/state": self._state,
            "batch/errorCode": self._error_code,
            "batch/error": self._error,
        }
        self.observations: Sequence[Spec] = (
            *(_stack_spec(spec, count) for spec in observed),
            Spec.of("reward", (count,), np.float64),
            Spec.of("discount", (count,), np.float64, 0.0, 1.0),
            Spec.of("batch/state", (count,), np.int32, NO_EPISODE, max(STATE_CODES.values())),
            Spec.of("batch/errorCode", (count,), np.int32),
            Spec.of("batch/error", (count,), np.str_),
        )
        self.actions: Sequence[Spec] = (
            *(_stack_spec(spec, count) for spec in first.actions.values()),
            Spec.of("batch/command", (count,), np.int32, min(Command), max(Command)),
            # The default must not be 0, which is a valid seed.
            dataclasses.replace(Spec.of("batch/seed", (count,), np.int64, -1), default=np.full(count, -1)),
        )
        self._action_names = tuple(first.actions)

    @staticmethod
    def build(count: int, make: Callable[[int], Simulator]) -> Batch:
        """Builds a batch of `count` simulators; `make(i)` creates simulator i.

        Raises:
          RequestError: as `make` and the constructor do. The simulators created so far are closed.
        """
        with contextlib.ExitStack() as made:
            simulators: list[Simulator] = []
            for i in range(count):
                simulators.append(make(i))
                made.callback(simulators[-1].close)
            batch = Batch(simulators)
            made.pop_all()
            return batch

    def __len__(self) -> int:
        return len(self._simulators)

    @property
    def simulators(self) -> Sequence[Simulator]:
        return self._simulators

    @property
    def is_running(self) -> bool:
        """Whether any simulator is in an episode."""
        return bool((self._state == _RUNNING).any())

    def reset(self, seed: int | None) -> None:
        """Ends all episodes. With a seed, the next episode of simulator i is seeded with `seed` + i."""
        for i in range(len(self._simulators)):
            self._last_steps[i] = None
            self._state[i] = NO_EPISODE
            self._is_interrupted[i] = False
            self._next_seeds[i] = None if seed is None else seed + i

    def interrupt(self, seed: int | None) -> None:
        """As `reset`, on behalf of another connection: the next step of each simulator reports the interruption."""
        for i in range(len(self._simulators)):
            self._is_interrupted[i] = bool(self._state[i] == _RUNNING)
            self._next_seeds[i] = None if seed is None else seed + i

    def step(self, actions: Mapping[str, Array]) -> None:
        """Carries out each simulator's row of `batch/command`. `actions` holds every action, each [N, …]."""
        seeds = actions["batch/seed"].tolist()
        for i, command in enumerate(actions["batch/command"].tolist()):
            if command == _WAIT:
                continue
            continues = command == _STEP and self._state[i] == _RUNNING
            last = self._last_steps[i]
            interrupted = continues and self._is_interrupted[i]
            self._is_interrupted[i] = False
            try:
                if interrupted and last is not None:
                    step = interrupted_step(last)
                elif continues:
                    self._episode_steps[i] += 1
                    # The ellipsis keeps arrays without axes from becoming NumPy scalars, as without a batch.
                    step = self._simulators[i].step({name: actions[name][i, ...] for name in self._action_names})
                else:
                    self._episodes[i] += 1
                    self._episode_steps[i] = 0
                    given = seeds[i] if command == _RESET and seeds[i] >= 0 else self._next_seeds[i]
                    # A simulator that takes no seeds starts without one: the client cannot repeat only its reset.
                    step = self._simulators[i].reset(given if self._simulators[i].takes_seeds else None)
                    self._next_seeds[i] = None
            except FAILURES as error:  # The failure of one simulator must not stop the others.
                self._fail(i, error)
                continue
            self._last_steps[i] = step
            self._step_counts[i] += 1
            self._reward[i] = step.reward
            self._discount[i] = step.discount
            self._state[i] = STATE_CODES[step.state]
            self._error_code[i] = 0
            self._error[i] = ""

    def observe(self, names: Sequence[str]) -> list[Array]:
        """Returns the named observations, each [N, …]. The next step overwrites the arrays.

        The row of a simulator that waited or failed keeps its last value.
        """
        for name in names:
            if name in self._batch_values:
                continue
            rows = self._rows[name]
            for i, step in enumerate(self._last_steps):
                if step is None:
                    continue
                try:
                    rows.write(i, step, self._step_counts[i])
                except Exception as error:  # An image that cannot be rendered, for example.
                    self._fail(i, error)
        return [self._batch_values[name] if name in self._batch_values else self._rows[name].values for name in names]

    def _fail(self, i: int, error: BaseException) -> None:
        """Ends the episode of simulator i. Its next command other than WAIT starts another one."""
        if not isinstance(error, RequestError):
            place = f"simulator {i}: {self.world}, episode {self._episodes[i]}, step {self._episode_steps[i]}"
            failure = SimulatorError(place, error)
            failure.__cause__ = error
            code, message = status_of(failure)
        else:
            code, message = status_of(error)
            message = f"simulator {i}: {message}"
        self._last_steps[i] = None
        self._state[i] = NO_EPISODE
        self._reward[i] = 0.0
        self._discount[i] = 1.0
        self._error_code[i] = code
        self._error[i] = message

    def close(self) -> None:
        """Closes all simulators, even if closing one fails."""
        with contextlib.ExitStack() as closing:
            for simulator in self._simulators:
                closing.callback(simulator.close)
