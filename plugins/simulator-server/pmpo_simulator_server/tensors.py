"""Conversion between NumPy arrays and dm_env_rpc tensors.

Specs are interpreted once, when a world is created, so that a step only copies numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2, tensor_spec_utils, tensor_utils
from numpy.typing import NDArray

from pmpo_simulator_server.errors import invalid
from pmpo_simulator_server.simulator import Array, Spec, State, checked_value

Write = Callable[[dm_env_rpc_pb2.Tensor, Any], None]

STATE_CODES = {
    State.RUNNING: dm_env_rpc_pb2.EnvironmentStateType.RUNNING,
    State.TERMINATED: dm_env_rpc_pb2.EnvironmentStateType.TERMINATED,
    State.INTERRUPTED: dm_env_rpc_pb2.EnvironmentStateType.INTERRUPTED,
}
"""dm_env_rpc's number of each state."""

# The payload field of a tensor message, by dtype. Text and other dtypes take a slower path.
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

# dtypes that dm_env_rpc lacks are sent as the next wider type.
_WIDER = {"float16": "float32", "int16": "int32", "uint16": "uint32", "longdouble": "float64", "float128": "float64"}

_DTYPE_OF_FIELD = {field: name for name, field in (_PAYLOADS | _BYTES).items()} | {"strings": "text", "protos": "proto"}

_SMALL_SIZE = 64
"""Number of elements up to which a Python loop checks bounds faster than NumPy does."""


def _dtype_on_wire(spec: Spec) -> np.dtype[Any]:
    name = spec.dtype.name
    if spec.dtype.kind == "U":
        return np.dtype(np.str_)
    if name not in _PAYLOADS and name not in _BYTES and name not in _WIDER:
        raise invalid(f"'{spec.name}' has the dtype {name}, which dm_env_rpc cannot represent")
    return np.dtype(_WIDER.get(name, name))


def _shortened(limit: Array | None) -> Array | None:
    """Replaces a bound that is the same for all elements by that single number."""
    if limit is None or limit.size == 0:
        return limit
    first = limit[(0,) * limit.ndim]
    return np.asarray(first) if (limit == first).all() else limit


def wire_spec(spec: Spec) -> dm_env_rpc_pb2.TensorSpec:
    """The spec as it is sent to clients.

    Raises:
      RequestError: dm_env_rpc cannot represent its dtype.
    """
    dtype = _dtype_on_wire(spec)
    message = dm_env_rpc_pb2.TensorSpec(
        name=spec.name, shape=spec.shape, dtype=tensor_utils.np_type_to_data_type(dtype.type)
    )
    if spec.minimum is not None or spec.maximum is not None:
        tensor_spec_utils.set_bounds(message, minimum=_shortened(spec.minimum), maximum=_shortened(spec.maximum))
    return message


def payload_length(tensor: dm_env_rpc_pb2.Tensor) -> int:
    """The number of elements that a tensor message holds, which broadcasting has not multiplied; 0 without a payload."""
    field = tensor.WhichOneof("payload")
    return 0 if field is None else len(getattr(tensor, field).array)


def payload(tensor: dm_env_rpc_pb2.Tensor) -> Sequence[Any]:
    """The elements that a tensor message holds, as Python values."""
    field = tensor.WhichOneof("payload")
    array = getattr(tensor, field).array
    if field in _BYTES.values():
        array = np.frombuffer(array, np.int8 if field == "int8s" else np.uint8).tolist()
    return list(array)


def _sent_shape(tensor: dm_env_rpc_pb2.Tensor, count: int) -> tuple[int, ...]:
    """The shape of a tensor message that holds `count` elements. One axis may be negative: its length is inferred."""
    shape = tuple(tensor.shape)
    open_axes = [i for i, size in enumerate(shape) if size < 0]
    if len(open_axes) != 1:
        return shape
    known = math.prod(size for size in shape if size >= 0)
    length = 0 if known == 0 else 1 if count == 1 else count // known
    return tuple(length if size < 0 else size for size in shape)


def _shown(shape: Sequence[int]) -> str:
    return str(list(shape)) if len(shape) <= 10 else f"of {len(shape):,} axes"


def single_value(tensor: dm_env_rpc_pb2.Tensor, what: str) -> bool | int | float | str:
    """The only element of a tensor message, as a setting needs it.

    Raises:
      RequestError: the message holds, or broadcasts to, another number of elements, or holds a packed message.
    """
    count = payload_length(tensor)
    size = math.prod(_sent_shape(tensor, count)) if len(tensor.shape) <= 32 else None
    if count != 1 or size != 1:
        held = count if size is None or count != 1 else size
        raise invalid(f"{what} holds {held} values; it must hold one")
    value = payload(tensor)[0]
    if not isinstance(value, (bool, int, float, str)):
        raise invalid(f"{what} is a packed message; it must be a number, true or false, or text")
    return value


def writer(spec: Spec) -> Write:
    """Returns a function that writes a value of this spec into an empty tensor message.

    The function raises ValueError for a value whose shape is not the spec's.
    """
    shape, dtype, name = spec.shape, _dtype_on_wire(spec), spec.name
    flat = len(shape) == 1

    def checked(value: Any) -> NDArray[Any]:
        return checked_value(value, name, shape, dtype)

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
    """Reads one action from its tensor message and checks it against its spec."""

    def __init__(self, spec: Spec, *, batched: bool = False) -> None:
        """With `batched`, the first axis counts simulators, and error messages say which simulator is meant."""
        self.spec = spec
        self._batched = batched
        self._dtype = _dtype_on_wire(spec)
        self._size = int(np.prod(spec.shape, dtype=int))
        self._field = _PAYLOADS.get(self._dtype.name)
        self._payload = "strings" if self._dtype.kind == "U" else self._field or _BYTES[self._dtype.name]
        """The payload field of the messages that hold this action."""
        # An element within these limits is finite and in bounds; None if every value is valid.
        self._low: NDArray[Any] | None = None
        self._high: NDArray[Any] | None = None
        self._bounds: list[tuple[Any, Any]] = []
        zero = np.zeros(spec.shape, object if spec.dtype.kind == "U" else spec.dtype)
        if zero.dtype.kind == "O":
            zero[...] = ""
        self.neutral: Array = zero
        """The value of an action that a client omits: the spec's default, or the valid value nearest to 0."""
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
        """Returns the action with the shape and dtype of its spec.

        Raises:
          RequestError: the tensor has another shape or dtype, or an element that is not finite or out of bounds.
        """
        spec = self.spec
        if self._field is not None and tensor.WhichOneof("payload") == self._field:
            numbers = list(getattr(tensor, self._field).array)
            if len(numbers) == self._size and tuple(tensor.shape) == spec.shape:
                if self._size > _SMALL_SIZE:
                    return self._checked(np.array(numbers, self._dtype).reshape(spec.shape))
                # NaN fails this comparison.
                for number, (low, high) in zip(numbers, self._bounds):  # noqa: B905 (bounds may be none)
                    if not low <= number <= high:
                        raise self._outside(numbers)
                return np.array(numbers, spec.dtype).reshape(spec.shape)
        # The type and the shape are compared with the spec before an element is copied or broadcast: a message of a few
        # bytes can name a shape of any size.
        field = tensor.WhichOneof("payload")
        if field is None:
            raise invalid(f"the action '{spec.name}' has no payload")
        shape = _sent_shape(tensor, payload_length(tensor))
        if field != self._payload or shape != spec.shape:
            raise invalid(
                f"the action '{spec.name}' is {_DTYPE_OF_FIELD[field]} {_shown(shape)}; "
                f"its spec says {_DTYPE_OF_FIELD[self._payload]} {list(spec.shape)}"
            )
        values = payload(tensor)
        if len(values) not in (1, self._size):
            raise invalid(f"the action '{spec.name}' holds {len(values)} elements; its shape needs {self._size}")
        dtype = np.dtype(object) if self._dtype.kind == "U" else self._dtype
        array = np.asarray(values, dtype)
        full = array.reshape(spec.shape) if len(values) == self._size else np.broadcast_to(array.reshape(()), spec.shape)
        return self._checked(full)

    def _checked(self, value: NDArray[Any]) -> Array:
        """Returns the action after its bounds have been checked; it has the spec's shape and type."""
        spec = self.spec
        if self._low is not None and not ((value >= self._low) & (value <= self._high)).all():
            raise self._outside(value.ravel().tolist())
        return value.copy() if self._dtype.kind == "U" else value.astype(spec.dtype)

    def _outside(self, numbers: list[Any]) -> Exception:
        """The error that names the first element out of bounds."""
        for i, (number, (low, high)) in enumerate(zip(numbers, self._bounds, strict=True)):
            if not low <= number <= high:
                return invalid(f"{self._place(i)} is {number}; it must be finite and from {low:g} to {high:g}")
        return invalid(f"the action '{self.spec.name}' is outside its bounds")

    def _place(self, i: int) -> str:
        """A description of element i for error messages."""
        name, shape = self.spec.name, self.spec.shape[1:] if self._batched else self.spec.shape
        simulator, element = divmod(i, int(np.prod(shape, dtype=int))) if self._batched else (0, i)
        at = f"element {element} of the action '{name}'" if shape else f"the action '{name}'"
        return f"simulator {simulator}: {at}" if self._batched else at
