"""A world as dm_env_rpc sees it: numbered tensors, and sequences of steps of which the first starts an episode."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2

from pmpo_simulator_server.errors import invalid
from pmpo_simulator_server.tensors import Action, wire_spec, writer
from pmpo_simulator_server.world import Array, Spec, State, World

_STATES = {
    State.RUNNING: dm_env_rpc_pb2.EnvironmentStateType.RUNNING,
    State.TERMINATED: dm_env_rpc_pb2.EnvironmentStateType.TERMINATED,
    State.INTERRUPTED: dm_env_rpc_pb2.EnvironmentStateType.INTERRUPTED,
}
_RESERVED = (Spec.of("reward", (), np.float64), Spec.of("discount", (), np.float64, 0.0, 1.0))


class HostedWorld:
    """A world on a server: who is in it, and what its numbers stand for."""

    def __init__(self, name: str, maker: object, world: World) -> None:
        """Raises RequestError for a world with tensors that the wire does not carry."""
        self.name = name
        self.maker: object | None = maker
        """The stream that made it; None when that has ended."""
        self.occupant: object | None = None
        self.world = world
        # Any stream may reset a world, also while another one steps it.
        self._lock = threading.Lock()
        self._running = False
        self._seed: int | None = None
        observed = [spec for spec in world.observations.values() if spec.name not in ("reward", "discount")]
        observed += _RESERVED
        self._actions = {uid: Action(spec) for uid, spec in enumerate(world.actions.values(), 1)}
        self._neutral = {action.spec.name: action.neutral for action in self._actions.values()}
        self._observed = {uid: (spec.name, writer(spec)) for uid, spec in enumerate(observed, 1)}
        self.specs = dm_env_rpc_pb2.ActionObservationSpecs(
            actions={uid: wire_spec(action.spec) for uid, action in self._actions.items()},
            observations={uid: wire_spec(spec) for uid, spec in enumerate(observed, 1)},
        )

    def reset(self, seed: int | None) -> None:
        """Ends the episode; the next step starts another, from `seed` if there is one."""
        with self._lock:
            self._running = False
            self._seed = seed

    def step(self, request: dm_env_rpc_pb2.StepRequest, response: dm_env_rpc_pb2.StepResponse) -> None:
        """Steps, or starts an episode, and writes what was asked for. Raises RequestError for what there is not.

        When the simulator fails its episode is over, and the next step starts another.
        """
        wanted = list(request.requested_observations)
        observed = self._observed
        for uid in wanted:
            if uid not in observed:
                raise invalid(f"there is no observation {uid}")
        with self._lock:
            # A wrong action changes nothing. A simulator that fails leaves nothing that could go on.
            actions = self._read(request.actions) if self._running else None
            self._running = False
            if actions is None:
                step = self.world.reset(self._seed)
                self._seed = None
            else:
                step = self.world.step(actions)
            values = step.observations
            written = response.observations
            for uid in wanted:
                if uid in written:
                    continue
                name, write = observed[uid]
                if name == "reward":
                    value: object = step.reward
                elif name == "discount":
                    value = step.discount
                else:
                    value = values[name]
                    if callable(value):
                        value = value()
                write(written[uid], value)
            response.state = _STATES[step.state]
            self._running = step.state is State.RUNNING

    def _read(self, messages: Mapping[int, dm_env_rpc_pb2.Tensor]) -> Mapping[str, Array]:
        values = dict(self._neutral)
        for uid, message in messages.items():
            action = self._actions.get(uid)
            if action is None:
                raise invalid(f"there is no action {uid}")
            values[action.spec.name] = action.read(message)
        return values
