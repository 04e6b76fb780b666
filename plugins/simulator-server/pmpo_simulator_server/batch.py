"""Several simulators of one kind as arrays whose first axis counts them, so that one message can step them all.

Letters: N simulators, i one of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pmpo_simulator_server.errors import invalid, status_of
from pmpo_simulator_server.tensors import STATE_CODES
from pmpo_simulator_server.world import Array, Spec, State, Step, World, interrupted

_log = logging.getLogger("pmpo_simulator_server")

MOST = 1024
"""Simulators in one batch."""


class Command(enum.IntEnum):
    """What is done with one simulator in a step of all."""

    STEP = 0
    """It is stepped with its row of the actions; where it has no episode, one starts and the row is ignored."""
    RESET = 1
    """An episode starts, from its row of `batch/seed` if that is 0 or more."""
    WAIT = 2
    """It stays as it is."""


PREFIX = "batch/"
"""Of the names that are not the simulators' own."""

NO_EPISODE = 0
"""In `batch/state`: none has begun, or the simulator failed. dm_env_rpc's number for an invalid state."""

_RUNNING = STATE_CODES[State.RUNNING]
_STEP, _RESET, _WAIT = (int(command) for command in Command)
"""Plain numbers, which are compared faster than members of an enumeration."""


def _stacked(spec: Spec, count: int) -> Spec:
    """The spec of `count` values of `spec`, one after the other."""
    shape = (count, *spec.shape)

    def bound(limit: Array | None) -> Array | None:
        return None if limit is None else np.broadcast_to(limit, shape)

    return dataclasses.replace(spec, shape=shape, minimum=bound(spec.minimum), maximum=bound(spec.maximum))


def _alike(one: Mapping[str, Spec], other: Mapping[str, Spec]) -> bool:
    def equal(a: Array | None, b: Array | None) -> bool:
        return a is b if a is None or b is None else np.array_equal(a, b)

    return list(one) == list(other) and all(
        (a.shape, a.dtype) == (b.shape, b.dtype) and equal(a.minimum, b.minimum) and equal(a.maximum, b.maximum)
        for a, b in zip(one.values(), other.values(), strict=True)
    )


class _Rows:
    """One observation of all simulators, [N, …]. Rows are written when they are asked for, each once."""

    def __init__(self, spec: Spec, count: int) -> None:
        self._name, self._shape = spec.name, spec.shape
        text = spec.dtype.kind == "U"
        self.values: Array = np.full((count, *spec.shape), "" if text else 0, object if text else spec.dtype)
        self._written = [0] * count

    def write(self, i: int, step: Step, number: int) -> None:
        """Writes row i from the simulator's last step, its `number`th, unless it is there already."""
        if self._written[i] == number:
            return
        value = step.observations[self._name]
        array = np.asarray(value() if callable(value) else value)
        # A row would take, by broadcasting, what has another shape.
        if array.shape != self._shape:
            raise ValueError(f"'{self._name}' has the shape {list(array.shape)}; its spec says {list(self._shape)}")
        self.values[i] = array
        self._written[i] = number


class Batch:
    """N simulators. One that fails leaves the others as they are."""

    def __init__(self, worlds: Sequence[World]) -> None:
        """Raises RequestError where they are not of one kind, or have names that a batch needs for itself."""
        count = len(worlds)
        first = worlds[0]
        for i, world in enumerate(worlds):
            if not (_alike(world.observations, first.observations) and _alike(world.actions, first.actions)):
                raise invalid(f"simulator {i} differs from simulator 0 in its specs; those of a batch must be alike")
        for name in (*first.observations, *first.actions):
            if name.startswith(PREFIX):
                raise invalid(f"'{name}' has a name that a batch needs for itself; leave out 'batchSize'")
        self._worlds = tuple(worlds)
        self._seeds: list[int | None] = [None] * count
        """Of the next episodes."""
        self._steps: list[Step | None] = [None] * count
        """The last of each; None where a simulator has no episode."""
        self._interrupted = [False] * count
        """Whether the episode that runs was cut, which the simulator's next step says."""
        self._numbers = [0] * count
        self._reward = np.zeros(count)
        self._discount = np.ones(count)
        self._state = np.full(count, NO_EPISODE, np.int32)
        self._error_code = np.zeros(count, np.int32)
        self._error = np.full(count, "", object)
        observed = [spec for spec in first.observations.values() if spec.name not in ("reward", "discount")]
        self._rows = {spec.name: _Rows(spec, count) for spec in observed}
        self._own: Mapping[str, Array] = {
            "reward": self._reward,
            "discount": self._discount,
            "batch/state": self._state,
            "batch/errorCode": self._error_code,
            "batch/error": self._error,
        }
        self.observations: Sequence[Spec] = (
            *(_stacked(spec, count) for spec in observed),
            Spec.of("reward", (count,), np.float64),
            Spec.of("discount", (count,), np.float64, 0.0, 1.0),
            Spec.of("batch/state", (count,), np.int32, NO_EPISODE, max(STATE_CODES.values())),
            Spec.of("batch/errorCode", (count,), np.int32),
            Spec.of("batch/error", (count,), np.str_),
        )
        self.actions: Sequence[Spec] = (
            *(_stacked(spec, count) for spec in first.actions.values()),
            Spec.of("batch/command", (count,), np.int32, min(Command), max(Command)),
            # Left out, it is no seed: 0 is one.
            dataclasses.replace(Spec.of("batch/seed", (count,), np.int64, -1), default=np.full(count, -1)),
        )
        self._acted = tuple(first.actions)

    @staticmethod
    def of(count: int, make: Callable[[int], World]) -> Batch:
        """A batch of what `make` makes, given each one's number. Raises RequestError; then none is left open."""
        with contextlib.ExitStack() as made:
            worlds: list[World] = []
            for i in range(count):
                worlds.append(make(i))
                made.callback(worlds[-1].close)
            batch = Batch(worlds)
            made.pop_all()
            return batch

    @property
    def is_running(self) -> bool:
        """Whether any simulator is in an episode."""
        return bool((self._state == _RUNNING).any())

    def reset(self, seed: int | None) -> None:
        """Ends all episodes. The next of simulator i is the one of `seed` + i, if there is a seed."""
        for i in range(len(self._worlds)):
            self._steps[i] = None
            self._state[i] = NO_EPISODE
            self._interrupted[i] = False
            self._seeds[i] = None if seed is None else seed + i

    def interrupt(self, seed: int | None) -> None:
        """The same for somebody who is not in the world: each one's next step says that its episode was cut."""
        for i in range(len(self._worlds)):
            self._interrupted[i] = bool(self._state[i] == _RUNNING)
            self._seeds[i] = None if seed is None else seed + i

    def step(self, actions: Mapping[str, Array]) -> None:
        """Does with each simulator what its row of `batch/command` says; every action is given, [N, …]."""
        seeds = actions["batch/seed"].tolist()
        for i, command in enumerate(actions["batch/command"].tolist()):
            if command == _WAIT:
                continue
            going = command == _STEP and self._state[i] == _RUNNING
            last = self._steps[i]
            cut = going and self._interrupted[i]
            self._interrupted[i] = False
            try:
                if cut and last is not None:
                    step = interrupted(last)
                elif going:
                    # Of no axis, not NumPy's scalars: what a simulator alone is given.
                    step = self._worlds[i].step({name: actions[name][i, ...] for name in self._acted})
                else:
                    given = seeds[i] if command == _RESET and seeds[i] >= 0 else self._seeds[i]
                    # A simulator without seeds goes on without: in a step of all there is no asking again.
                    step = self._worlds[i].reset(given if self._worlds[i].takes_seeds else None)
                    self._seeds[i] = None
            except Exception as error:  # Of a simulator: its own, and no other's.
                self._fail(i, error)
                continue
            self._steps[i] = step
            self._numbers[i] += 1
            self._reward[i] = step.reward
            self._discount[i] = step.discount
            self._state[i] = STATE_CODES[step.state]
            self._error_code[i] = 0
            self._error[i] = ""

    def observe(self, names: Sequence[str]) -> list[Array]:
        """Observations by name, [N, …] each; the arrays are overwritten by the next step.

        The row of a simulator that waited, or failed, is what it last was.
        """
        for name in names:
            if name in self._own:
                continue
            rows = self._rows[name]
            for i, step in enumerate(self._steps):
                if step is None:
                    continue
                try:
                    rows.write(i, step, self._numbers[i])
                except Exception as error:  # Of a picture that cannot be drawn, say.
                    self._fail(i, error)
        return [self._own[name] if name in self._own else self._rows[name].values for name in names]

    def _fail(self, i: int, error: Exception) -> None:
        """The simulator's episode is over, and the next command but waiting starts another."""
        code, message = status_of(error)
        _log.debug("simulator %d of a batch: %s", i, message)
        self._steps[i] = None
        self._state[i] = NO_EPISODE
        self._reward[i] = 0.0
        self._discount[i] = 1.0
        self._error_code[i] = code
        self._error[i] = f"simulator {i}: {message}"

    def close(self) -> None:
        """Closes all of them, also where closing one fails."""
        with contextlib.ExitStack() as closing:
            for world in self._worlds:
                closing.callback(world.close)
