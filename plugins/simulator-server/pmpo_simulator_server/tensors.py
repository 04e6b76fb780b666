"""Arrays to and from dm_env_rpc's tensors. What a spec says is worked out once; a step only moves numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2, tensor_spec_utils, tensor_utils
from numpy.typing import NDArray

from pmpo_simulator_server.errors import invalid
from pmpo_simulator_server.world import Array, Spec, State

Write = Callable[[dm_env_rpc_pb2.Tensor, Any], None]

STATE_CODES = {
    State.RUNNING: dm_env_rpc_pb2.EnvironmentStateType.RUNNING,
    State.TERMINATED: dm_env_rpc_pb2.EnvironmentStateType.TERMINATED,
    State.INTERRUPTED: dm_env_rpc_pb2.EnvironmentStateType.INTERRUPTED,
}
"""dm_env_rpc's numbers of what a state is."""

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

# What the wire has no name for travels as the next wider type.
_WIDER = {"float16": "float32", "int16": "int32", "uint16": "uint32", "longdouble": "float64", "float128": "float64"}

_FEW = 64
"""Up to so many elements, Python compares bounds faster than NumPy."""


def _dtype_on_wire(spec: Spec) -> np.dtype[Any]:
    name = spec.dtype.name
    if spec.dtype.kind == "U":
        return np.dtype(np.str_)
    if name not in _PAYLOADS and name not in _BYTES and name not in _WIDER:
        raise invalid(f"'{spec.name}' is {name}, which has no form on this wire")
    return np.dtype(_WIDER.get(name, name))


def _shortened(limit: Array | None) -> Array | None:
    """A bound that is the same for all elements, as the single number that stands for them."""
    if limit is None or limit.size == 0:
        return limit
    first = limit[(0,) * limit.ndim]
    return np.asarray(first) if (limit == first).all() else limit


def wire_spec(spec: Spec) -> dm_env_rpc_pb2.TensorSpec:
    """The spec as the client sees it. Raises RequestError for types that the wire does not carry."""
    dtype = _dtype_on_wire(spec)
    message = dm_env_rpc_pb2.TensorSpec(
        name=spec.name, shape=spec.shape, dtype=tensor_utils.np_type_to_data_type(dtype.type)
    )
    if spec.minimum is not None or spec.maximum is not None:
        tensor_spec_utils.set_bounds(message, minimum=_shortened(spec.minimum), maximum=_shortened(spec.maximum))
    return message


def writer(spec: Spec) -> Write:
    """Returns what puts a value of this spec into an empty tensor message."""
    shape, dtype, name = spec.shape, _dtype_on_wire(spec), spec.name
    flat = len(shape) == 1

    def checked(value: Any) -> NDArray[Any]:
        array = np.asarray(value, dtype)
        if array.shape != shape:
            raise ValueError(f"'{name}' has the shape {list(array.shape)}; its spec says {list(shape)}")
        return array

    if dtype.name in _BYTES:
        bytes_field = _BYTES[dtype.name]

        def write_bytes(tensor: dm_env_rpc_pb2.Tensor, value: Any) -> None:
            getattr(tensor, bytes_field).array = checked(value).tobytes()
            tensor.shape.extend(shape)

        return write_bytes

    if dtype.kind == "U":

        def write_text(tensor: dm_env_rpc_pb2.Tensor, value: Any) -> None:
            tensor.CopyFrom(tensor_utils.pack_tensor(np.asarray(value, np.str_) if shape else str(value)))

        return write_text

    field = _PAYLOADS[dtype.name]

    def write(tensor: dm_env_rpc_pb2.Tensor, value: Any) -> None:
        array = checked(value)
        numbers = getattr(tensor, field).array
        if flat:
            numbers.extend(array.tolist())
            tensor.shape.append(shape[0])
        elif shape:
            numbers.extend(array.ravel().tolist())
            tensor.shape.extend(shape)
        else:
            numbers.append(array.item())

    return write


class Action:
    """Reads one action from its message and holds it against its spec."""

    def __init__(self, spec: Spec, *, batched: bool = False) -> None:
        """`batched`: the first axis counts simulators, which messages name."""
        self.spec = spec
        self._batched = batched
        self._dtype = _dtype_on_wire(spec)
        self._size = int(np.prod(spec.shape, dtype=int))
        self._field = _PAYLOADS.get(self._dtype.name)
        # Within these, an element is finite and in bounds; None where any value will do.
        self._low: NDArray[Any] | None = None
        self._high: NDArray[Any] | None = None
        self._bounds: list[tuple[Any, Any]] = []
        zero = np.zeros(spec.shape, object if spec.dtype.kind == "U" else spec.dtype)
        if zero.dtype.kind == "O":
            zero[...] = ""
        self.neutral: Array = zero
        """What is done where a client leaves an action out: nothing, or what is nearest to it."""
        if spec.dtype.kind in "iuf":
            limits = np.finfo(self._dtype) if spec.dtype.kind == "f" else np.iinfo(self._dtype)
            least, most = (np.full(spec.shape, limit, self._dtype) for limit in (limits.min, limits.max))
            self._low = least if spec.minimum is None else np.maximum(spec.minimum.astype(self._dtype), least)
            self._high = most if spec.maximum is None else np.minimum(spec.maximum.astype(self._dtype), most)
            self._bounds = list(zip(self._low.ravel().tolist(), self._high.ravel().tolist(), strict=True))
            self.neutral = np.clip(zero, self._low, self._high).astype(spec.dtype)
        if spec.default is not None:
            self.neutral = spec.default

    def read(self, tensor: dm_env_rpc_pb2.Tensor) -> Array:
        """The action as the simulator takes it. Raises RequestError where it is not what the spec says."""
        spec = self.spec
        if self._field is not None and tensor.WhichOneof("payload") == self._field:
            numbers = list(getattr(tensor, self._field).array)
            if len(numbers) == self._size and tuple(tensor.shape) == spec.shape:
                if self._size > _FEW:
                    return self._checked(np.array(numbers, self._dtype).reshape(spec.shape))
                # Written so that NaN fails it.
                for number, (low, high) in zip(numbers, self._bounds):  # noqa: B905 (bounds may be none)
                    if not low <= number <= high:
                        raise self._outside(numbers)
                return np.array(numbers, spec.dtype).reshape(spec.shape)
        try:
            value = np.asarray(tensor_utils.unpack_tensor(tensor))
        except Exception as error:
            raise invalid(f"the action '{spec.name}' is no tensor: {error}") from error
        return self._checked(value)

    def _checked(self, value: NDArray[Any]) -> Array:
        spec = self.spec
        same = value.dtype.kind in "UO" if self._dtype.kind == "U" else value.dtype == self._dtype
        if not same or value.shape != spec.shape:
            raise invalid(
                f"the action '{spec.name}' is {value.dtype} {list(value.shape)}; "
                f"its spec says {self._dtype} {list(spec.shape)}"
            )
        if self._low is not None and not ((value >= self._low) & (value <= self._high)).all():
            raise self._outside(value.ravel().tolist())
        return value if self._dtype.kind == "U" else value.astype(spec.dtype)

    def _outside(self, numbers: list[Any]) -> Exception:
        """Names the first element that is wrong."""
        for i, (number, (low, high)) in enumerate(zip(numbers, self._bounds, strict=True)):
            if not low <= number <= high:
                return invalid(f"{self._place(i)} is {number}; it must be finite and from {low:g} to {high:g}")
        return invalid(f"the action '{self.spec.name}' is outside its bounds")

    def _place(self, i: int) -> str:
        """What element i is called in messages."""
        name, shape = self.spec.name, self.spec.shape[1:] if self._batched else self.spec.shape
        simulator, element = divmod(i, int(np.prod(shape, dtype=int))) if self._batched else (0, i)
        at = f"element {element} of the action '{name}'" if shape else f"the action '{name}'"
        return f"simulator {simulator}: {at}" if self._batched else at
