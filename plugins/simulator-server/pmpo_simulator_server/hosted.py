"""A world as dm_env_rpc sees it: numbered tensors, and sequences of steps of which the first starts an episode."""

from __future__ import annotations

import abc
import threading
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2

from pmpo_simulator_server.batch import PREFIX, Batch
from pmpo_simulator_server.errors import invalid, no_seeds
from pmpo_simulator_server.tensors import STATE_CODES, Action, wire_spec, writer
from pmpo_simulator_server.world import Array, Spec, State, Step, World, interrupted

_RESERVED = (Spec.of("reward", (), np.float64), Spec.of("discount", (), np.float64, 0.0, 1.0))


class Hosted(abc.ABC):
    """A world on a server: who is in it, and what its numbers stand for."""

    def __init__(
        self, name: str, maker: object, actions: Iterable[Spec], observations: Iterable[Spec], *, batched: bool = False
    ) -> None:
        """Raises RequestError for a world with tensors that the wire does not carry."""
        self.name = name
        self.maker: object | None = maker
        """The stream that made it; None when that has ended."""
        self.occupant: object | None = None
        # Any stream may reset a world, also while another one steps it.
        self._lock = threading.Lock()
        self._actions = {uid: Action(spec, batched=batched) for uid, spec in enumerate(actions, 1)}
        self._neutral = {action.spec.name: action.neutral for action in self._actions.values()}
        observed = dict(enumerate(observations, 1))
        self._observed = {uid: (spec.name, writer(spec)) for uid, spec in observed.items()}
        self.specs = dm_env_rpc_pb2.ActionObservationSpecs(
            actions={uid: wire_spec(action.spec) for uid, action in self._actions.items()},
            observations={uid: wire_spec(spec) for uid, spec in observed.items()},
        )

    @abc.abstractmethod
    def reset(self, seed: int | None) -> None:
        """Ends the episode; the next step starts another, from `seed` if there is one.

        Raises RequestError, and changes nothing, for a seed that a simulator alone does not take: clients that seed
        what they can then ask again without. In a batch it is taken for none.
        """

    @abc.abstractmethod
    def interrupt(self, seed: int | None) -> None:
        """The same for somebody who is not in it: the occupant's next step says that its episode was cut."""

    @abc.abstractmethod
    def step(self, request: dm_env_rpc_pb2.StepRequest, response: dm_env_rpc_pb2.StepResponse) -> None:
        """Steps, or starts an episode, and writes what was asked for. Raises RequestError for what there is not."""

    @abc.abstractmethod
    def close(self) -> None: ...

    def _wanted(self, request: dm_env_rpc_pb2.StepRequest) -> Sequence[int]:
        """The observations that are asked for, each once."""
        wanted = list(dict.fromkeys(request.requested_observations))
        for uid in wanted:
            if uid not in self._observed:
                raise invalid(f"there is no observation {uid}")
        return wanted

    def _read(self, messages: Mapping[int, dm_env_rpc_pb2.Tensor]) -> Mapping[str, Array]:
        values = dict(self._neutral)
        for uid, message in messages.items():
            action = self._actions.get(uid)
            if action is None:
                raise invalid(f"there is no action {uid}")
            values[action.spec.name] = action.read(message)
        return values


class HostedWorld(Hosted):
    """One simulator."""

    def __init__(self, name: str, maker: object, world: World) -> None:
        observed = [spec for spec in world.observations.values() if spec.name not in ("reward", "discount")]
        super().__init__(name, maker, world.actions.values(), [*observed, *_RESERVED])
        self._world = world
        self._running = False
        self._interrupted = False
        """Whether the episode that runs was cut, which the next step says."""
        self._last: Step | None = None
        self._seed: int | None = None

    def reset(self, seed: int | None) -> None:
        self._require_seeds(seed)
        with self._lock:
            self._running = self._interrupted = False
            self._seed = seed

    def interrupt(self, seed: int | None) -> None:
        self._require_seeds(seed)
        with self._lock:
            self._interrupted = self._running
            self._seed = seed

    def _require_seeds(self, seed: int | None) -> None:
        if seed is not None and not self._world.takes_seeds:
            raise no_seeds()

    def step(self, request: dm_env_rpc_pb2.StepRequest, response: dm_env_rpc_pb2.StepResponse) -> None:
        """When the simulator fails its episode is over, and the next step starts another."""
        wanted = self._wanted(request)
        with self._lock:
            # A wrong action changes nothing. A simulator that fails leaves nothing that could go on.
            cut = self._last if self._interrupted else None
            actions = self._read(request.actions) if self._running and cut is None else None
            self._running = self._interrupted = False
            if cut is not None:
                step = interrupted(cut)
            elif actions is None:
                step = self._world.reset(self._seed)
                self._seed = None
            else:
                step = self._world.step(actions)
            self._last = step
            values = step.observations
            written = response.observations
            for uid in wanted:
                name, write = self._observed[uid]
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
            self._running = step.state is State.RUNNING

    def close(self) -> None:
        self._world.close()


class HostedBatch(Hosted):
    """Several simulators that a step reaches all at once, each with a command and a state of its own.

    The world itself is always running: its episodes are theirs.
    """

    def __init__(self, name: str, maker: object, batch: Batch) -> None:
        super().__init__(name, maker, batch.actions, batch.observations, batched=True)
        self._batch = batch
        self._own = {uid for uid, action in self._actions.items() if action.spec.name.startswith(PREFIX)}
        """The actions that are no simulator's: commands and seeds."""

    def reset(self, seed: int | None) -> None:
        with self._lock:
            self._batch.reset(seed)

    def interrupt(self, seed: int | None) -> None:
        with self._lock:
            self._batch.interrupt(seed)

    def step(self, request: dm_env_rpc_pb2.StepRequest, response: dm_env_rpc_pb2.StepResponse) -> None:
        """A simulator that fails says so in its state: the others have stepped, and their clients go on."""
        wanted = [(uid, *self._observed[uid]) for uid in self._wanted(request)]
        with self._lock:
            messages: Mapping[int, dm_env_rpc_pb2.Tensor] = request.actions
            if not self._batch.is_running:
                # What a step that starts an episode brings for the simulator is ignored, whatever it is.
                messages = {uid: message for uid, message in messages.items() if uid in self._own}
            # A wrong action, of whichever simulator, changes nothing.
            self._batch.step(self._read(messages))
            values = self._batch.observe([name for _, name, _ in wanted])
            for (uid, _, write), value in zip(wanted, values, strict=True):
                write(response.observations[uid], value)
            response.state = STATE_CODES[State.RUNNING]

    def close(self) -> None:
        self._batch.close()


def host(name: str, maker: object, made: World | Batch) -> Hosted:
    """What was made, under a name. Raises RequestError for tensors that the wire does not carry."""
    return HostedBatch(name, maker, made) if isinstance(made, Batch) else HostedWorld(name, maker, made)
