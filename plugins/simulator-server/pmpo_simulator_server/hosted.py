"""A world as dm_env_rpc sees it: numbered tensors, and sequences of steps of which the first starts an episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2, tensor_spec_utils, tensor_utils
from numpy.typing import NDArray

from pmpo_simulator_server.errors import invalid
from pmpo_simulator_server.world import Array, Spec, State, World

_STATES = {
    State.RUNNING: dm_env_rpc_pb2.EnvironmentStateType.RUNNING,
    State.TERMINATED: dm_env_rpc_pb2.EnvironmentStateType.TERMINATED,
    State.INTERRUPTED: dm_env_rpc_pb2.EnvironmentStateType.INTERRUPTED,
}
_RESERVED = (Spec.of("reward", (), np.float64), Spec.of("discount", (), np.float64, 0.0, 1.0))

# The fields of a tensor's payload, by dtype. Others (text, say) take the slow way.
_PAYLOADS = {
    "float32": "floats",
    "float64": "doubles",
    "int32": "int32s",
    "int64": "int64s",
    "uint32": "uint32s",
    "uint64": "uint64s",
    "bool": "bools",
}
_BYTES = {"int8": "int8s", "uint8": "uint8s"}

Write = Callable[[dm_env_rpc_pb2.Tensor, object], None]


def _writer(spec: Spec) -> Write:
    """Puts a value into a tensor message; everything that a spec says is worked out here, once."""
    shape, dtype = spec.shape, spec.dtype
    if dtype.name in _PAYLOADS:
        field = _PAYLOADS[dtype.name]

        def write(tensor: dm_env_rpc_pb2.Tensor, value: object) -> None:
            array = getattr(tensor, field).array
            if shape:
                array.extend(np.asarray(value, dtype).ravel().tolist())
                tensor.shape.extend(shape)
            else:
                array.append(value.item() if isinstance(value, (np.generic, np.ndarray)) else value)

        return write
    if dtype.name in _BYTES:
        field = _BYTES[dtype.name]

        def write_bytes(tensor: dm_env_rpc_pb2.Tensor, value: object) -> None:
            getattr(tensor, field).array = np.ascontiguousarray(value, dtype).tobytes()
            tensor.shape.extend(shape)

        return write_bytes

    def pack(tensor: dm_env_rpc_pb2.Tensor, value: object) -> None:
        tensor.CopyFrom(tensor_utils.pack_tensor(value))

    return pack


def _wire_spec(spec: Spec) -> dm_env_rpc_pb2.TensorSpec:
    kind = np.str_ if spec.dtype.kind == "U" else spec.dtype.type
    message = dm_env_rpc_pb2.TensorSpec(
        name=spec.name, shape=spec.shape, dtype=tensor_utils.np_type_to_data_type(kind)
    )
    if spec.minimum is not None or spec.maximum is not None:
        tensor_spec_utils.set_bounds(message, minimum=spec.minimum, maximum=spec.maximum)
    return message


class _Action:
    """Reads one action from its message and holds it against its spec."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._size = int(np.prod(spec.shape, dtype=int))
        self._field = _PAYLOADS.get(spec.dtype.name)
        kind = spec.dtype.kind
        zero = np.zeros(spec.shape, spec.dtype if kind != "U" else object)
        low = spec.minimum if spec.minimum is not None else zero
        high = spec.maximum if spec.maximum is not None else zero
        # What is done where a client leaves an action out.
        self.neutral: Array = np.clip(zero, low, np.maximum(low, high)) if kind in "iuf" else zero

    def read(self, tensor: dm_env_rpc_pb2.Tensor) -> Array:
        spec = self.spec
        if self._field is not None and tensor.WhichOneof("payload") == self._field:
            values = getattr(tensor, self._field).array
            if len(values) == self._size and tuple(tensor.shape) == spec.shape:
                value: Array = np.array(values, spec.dtype).reshape(spec.shape)
                self._check(value)
                return value
        try:
            unpacked = np.asarray(tensor_utils.unpack_tensor(tensor))
        except Exception as error:
            raise invalid(f"the action '{spec.name}' is no tensor: {error}") from error
        if unpacked.dtype != spec.dtype or unpacked.shape != spec.shape:
            raise invalid(
                f"the action '{spec.name}' is {unpacked.dtype} {list(unpacked.shape)}; "
                f"its spec says {spec.dtype} {list(spec.shape)}"
            )
        self._check(unpacked)
        return unpacked

    def _check(self, value: NDArray[Any]) -> None:
        spec = self.spec
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise invalid(f"the action '{spec.name}' is {value.tolist()}: every element must be finite")
        low: NDArray[Any] | None = spec.minimum
        high: NDArray[Any] | None = spec.maximum
        if (low is not None and (value < low).any()) or (high is not None and (value > high).any()):
            raise invalid(f"the action '{spec.name}' is {value.tolist()}, outside its bounds")


class HostedWorld:
    """A world on a server: who is in it, and what its numbers stand for."""

    def __init__(self, name: str, maker: object, world: World) -> None:
        self.name = name
        self.maker = maker
        """The stream that made it."""
        self.occupant: object | None = None
        self.world = world
        self._running = False
        self._seed: int | None = None
        self._actions = {uid: _Action(spec) for uid, spec in enumerate(world.actions.values(), 1)}
        self._neutral = {action.spec.name: action.neutral for action in self._actions.values()}
        observed = [*world.observations.values(), *_RESERVED]
        self._observed = {uid: (spec.name, _writer(spec)) for uid, spec in enumerate(observed, 1)}
        self.specs = dm_env_rpc_pb2.ActionObservationSpecs(
            actions={uid: _wire_spec(action.spec) for uid, action in self._actions.items()},
            observations={uid: _wire_spec(spec) for uid, spec in enumerate(observed, 1)},
        )

    def reset(self, seed: int | None) -> None:
        """Ends the episode; the next step starts another, from `seed` if there is one."""
        self._running = False
        self._seed = seed

    def step(self, request: dm_env_rpc_pb2.StepRequest, response: dm_env_rpc_pb2.StepResponse) -> None:
        """Steps, or starts an episode, and writes what was asked for. Raises RequestError for what there is not."""
        observed = self._observed
        for uid in request.requested_observations:
            if uid not in observed:
                raise invalid(f"there is no observation {uid}")
        if self._running:
            step = self.world.step(self._read(request.actions))
        else:
            step = self.world.reset(self._seed)
            self._seed = None
        self._running = step.state is State.RUNNING
        response.state = _STATES[step.state]
        values = step.observations
        for uid in request.requested_observations:
            name, write = observed[uid]
            if name == "reward":
                value: object = step.reward
            elif name == "discount":
                value = step.discount
            else:
                value = values[name]
                if callable(value):
                    value = value()
            write(response.observations[uid], value)

    def _read(self, messages: Mapping[int, dm_env_rpc_pb2.Tensor]) -> Mapping[str, Array]:
        values = dict(self._neutral)
        for uid, message in messages.items():
            action = self._actions.get(uid)
            if action is None:
                raise invalid(f"there is no action {uid}")
            values[action.spec.name] = action.read(message)
        return values
