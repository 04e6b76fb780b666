"""Worlds as dm_env_rpc defines them: numbered tensors, and a first step that starts the episode."""

from __future__ import annotations

import abc
import json
import threading
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2

from pmpo_simulator_server.batch import BATCH_PREFIX, Batch
from pmpo_simulator_server.errors import FAILURES, RequestError, SimulatorError, invalid, takes_no_seeds
from pmpo_simulator_server.simulator import Array, Simulator, Spec, State, Step, check_reserved, interrupted_step
from pmpo_simulator_server.tensors import STATE_CODES, Action, wire_spec, writer

_RESERVED = (Spec.of("reward", (), np.float64), Spec.of("discount", (), np.float64, 0.0, 1.0))


class HostedWorld(abc.ABC):
    """A world on a server: the connection that has joined it, and the tensors that its numbers mean."""

    def __init__(
        self, name: str, maker: object, actions: Iterable[Spec], observations: Iterable[Spec], *, batched: bool = False
    ) -> None:
        """Assigns a number to each action and observation.

        Raises:
          RequestError: dm_env_rpc cannot represent one of the specs.
        """
        self.name = name
        self.maker: object | None = maker
        """The stream that created the world; None after that stream has ended."""
        self.occupant: object | None = None
        # Any stream may reset a world, even while another one steps it.
        self._lock = threading.Lock()
        self._actions = {uid: Action(spec, batched=batched) for uid, spec in enumerate(actions, 1)}
        self._defaults = {action.spec.name: action.neutral for action in self._actions.values()}
        observed = dict(enumerate(observations, 1))
        self._observations = {uid: (spec.name, writer(spec)) for uid, spec in observed.items()}
        self.specs = dm_env_rpc_pb2.ActionObservationSpecs(
            actions={uid: wire_spec(action.spec) for uid, action in self._actions.items()},
            observations={uid: wire_spec(spec) for uid, spec in observed.items()},
        )

    @property
    @abc.abstractmethod
    def simulators(self) -> Sequence[Simulator]: ...

    @property
    def num_simulators(self) -> int:
        return len(self.simulators)

    def scene_property(self, part: str, simulator: int) -> Array | None:
        """The property `pmpo/PART/SIMULATOR` of scene.py; None if there is no such simulator or it cannot be looked at."""
        with self._lock:
            view = self.simulators[simulator].view if simulator < len(self.simulators) else None
            if view is None:
                return None
            return view.poses() if part == "poses" else np.array(json.dumps(view.scene()))

    @abc.abstractmethod
    def reset(self, seed: int | None) -> None:
        """Ends the episode. The next step starts another one, with `seed` if it is given.

        Raises:
          RequestError: the world has a single simulator, which takes no seeds. Nothing changes, and the client can
            repeat its request without a seed. A batch ignores the seed instead.
        """

    @abc.abstractmethod
    def interrupt(self, seed: int | None) -> None:
        """As `reset`, on behalf of another connection: the occupant's next step reports the interruption."""

    @abc.abstractmethod
    def step(self, request: dm_env_rpc_pb2.StepRequest, response: dm_env_rpc_pb2.StepResponse) -> None:
        """Steps, or starts an episode, and writes the requested observations to `response`.

        Raises:
          RequestError: the request names an unknown action or observation, or an action has a wrong value. Nothing
            changes.
        """

    @abc.abstractmethod
    def close(self) -> None: ...

    def _requested(self, request: dm_env_rpc_pb2.StepRequest) -> Sequence[int]:
        """The numbers of the requested observations, without duplicates."""
        _check_count("observations", len(request.requested_observations), len(self._observations))
        wanted = list(dict.fromkeys(request.requested_observations))
        for uid in wanted:
            if uid not in self._observations:
                raise invalid(f"unknown observation {uid}")
        return wanted

    def _read_actions(self, messages: Mapping[int, dm_env_rpc_pb2.Tensor]) -> Mapping[str, Array]:
        _check_count("actions", len(messages), len(self._actions))
        values = dict(self._defaults)
        for uid, message in messages.items():
            action = self._actions.get(uid)
            if action is None:
                raise invalid(f"unknown action {uid}")
            values[action.spec.name] = action.read(message)
        return values


def _check_count(what: str, count: int, known: int) -> None:
    """Checks that a request does not name far more values than the world has; an observation may be named twice."""
    if count > 2 * known + 16:
        raise invalid(f"the request names {count:,} {what}; this world has {known}")


class HostedSimulator(HostedWorld):
    """A world with one simulator."""

    def __init__(self, name: str, maker: object, simulator: Simulator) -> None:
        check_reserved(simulator)
        super().__init__(name, maker, simulator.actions.values(), [*simulator.observations.values(), *_RESERVED])
        self._simulator = simulator
        self._is_running = False
        self._is_interrupted = False
        """Whether another connection ended the running episode; the next step reports it."""
        self._last_step: Step | None = None
        self._next_seed: int | None = None
        self._episode = 0
        self._episode_step = 0

    @property
    def simulators(self) -> Sequence[Simulator]:
        return (self._simulator,)

    def reset(self, seed: int | None) -> None:
        self._require_seeds(seed)
        with self._lock:
            self._is_running = self._is_interrupted = False
            self._next_seed = seed

    def interrupt(self, seed: int | None) -> None:
        self._require_seeds(seed)
        with self._lock:
            self._is_interrupted = self._is_running
            self._next_seed = seed

    def _require_seeds(self, seed: int | None) -> None:
        if seed is not None and not self._simulator.takes_seeds:
            raise takes_no_seeds()

    def step(self, request: dm_env_rpc_pb2.StepRequest, response: dm_env_rpc_pb2.StepResponse) -> None:
        """As described by the base class. If the simulator fails, its episode ends and the next step starts another."""
        wanted = self._requested(request)
        with self._lock:
            interrupted = self._last_step if self._is_interrupted else None
            # A wrong action raises here, before anything changes.
            actions = self._read_actions(request.actions) if self._is_running and interrupted is None else None
            # The episode counts as over until the step has succeeded, so that a failure of the simulator ends it.
            self._is_running = self._is_interrupted = False
            try:
                step = self._advance(actions, interrupted)
                self._write(step, wanted, response)
            except RequestError:
                raise
            except FAILURES as error:
                place = f"{self.name}, episode {self._episode}, step {self._episode_step}"
                raise SimulatorError(place, error) from error
            self._is_running = step.state is State.RUNNING

    def _advance(self, actions: Mapping[str, Array] | None, interrupted: Step | None) -> Step:
        """Steps, starts an episode if `actions` is None, or reports that the step `interrupted` was an episode's last."""
        if interrupted is not None:
            step = interrupted_step(interrupted)
        elif actions is None:
            self._episode += 1
            self._episode_step = 0
            step = self._simulator.reset(self._next_seed)
            self._next_seed = None
        else:
            self._episode_step += 1
            step = self._simulator.step(actions)
        self._last_step = step
        return step

    def _write(self, step: Step, wanted: Sequence[int], response: dm_env_rpc_pb2.StepResponse) -> None:
        values = step.observations
        written = response.observations
        for uid in wanted:
            name, write = self._observations[uid]
            if name == "reward":
                value: object = step.reward
            elif name == "discount":
                value = step.discount
            else:
                value = values[name]
                if callable(value):
                    value = value()
            write(written[uid], value)
        response.state = STATE_CODES[step.state]

    def close(self) -> None:
        self._simulator.close()


class HostedBatch(HostedWorld):
    """A world with several simulators, which one step reaches; each has its own command and state.

    The state of the world itself is always RUNNING: episodes belong to the simulators.
    """

    def __init__(self, name: str, maker: object, batch: Batch) -> None:
        super().__init__(name, maker, batch.actions, batch.observations, batched=True)
        self._batch = batch
        batch.world = name
        self._batch_uids = {uid for uid, action in self._actions.items() if action.spec.name.startswith(BATCH_PREFIX)}
        """Numbers of the actions that belong to the batch itself: commands and seeds."""

    @property
    def simulators(self) -> Sequence[Simulator]:
        return self._batch.simulators

    def reset(self, seed: int | None) -> None:
        with self._lock:
            self._batch.reset(seed)

    def interrupt(self, seed: int | None) -> None:
        with self._lock:
            self._batch.interrupt(seed)

    def step(self, request: dm_env_rpc_pb2.StepRequest, response: dm_env_rpc_pb2.StepResponse) -> None:
        """As described by the base class. A simulator's failure is reported in its state, not as an error."""
        wanted = [(uid, *self._observations[uid]) for uid in self._requested(request)]
        with self._lock:
            messages: Mapping[int, dm_env_rpc_pb2.Tensor] = request.actions
            _check_count("actions", len(messages), len(self._actions))
            if not self._batch.is_running:
                # This step starts episodes, so the simulators' actions are ignored, even invalid ones.
                messages = {uid: message for uid, message in messages.items() if uid in self._batch_uids}
            # A wrong action for any simulator raises before anything changes.
            self._batch.step(self._read_actions(messages))
            values = self._batch.observe([name for _, name, _ in wanted])
            for (uid, _, write), value in zip(wanted, values, strict=True):
                write(response.observations[uid], value)
            response.state = STATE_CODES[State.RUNNING]

    def close(self) -> None:
        self._batch.close()


def host(name: str, maker: object, made: Simulator | Batch) -> HostedWorld:
    """Returns the world `name` of a new simulator or batch.

    Raises:
      RequestError: dm_env_rpc cannot represent one of its specs.
    """
    return HostedBatch(name, maker, made) if isinstance(made, Batch) else HostedSimulator(name, maker, made)
