"""What a caller gives, checked and brought into the form that a graph reads.

The checks read shapes, element types and devices only, never values, so that they cost nothing in a compiled function.

Shapes: N samples per context, B contexts, D the size of one part of a KL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from ._file import Needs, OperatorFile
from .errors import PmpoError

Layout = Literal["NB", "BN"]
Array = Any
Kl = Any
"""An array [B, D] or [B], or a mapping from the name of each part to such an array."""


class Arrays(Protocol):
    """What the checks must know of an array library."""

    name: str

    def is_array(self, x: Any) -> bool: ...
    def is_float(self, x: Array) -> bool: ...
    def is_real(self, x: Array) -> bool: ...
    def describe(self, x: Array) -> str: ...
    def device_of(self, x: Array) -> Any: ...
    def computing(self, x: Array) -> Array: ...
    def like(self, x: Array, like: Array) -> Array: ...
    def filled(self, like: Array, value: float) -> Array: ...
    def transposed(self, x: Array) -> Array: ...
    def column(self, x: Array) -> Array: ...


class Given(NamedTuple):
    """The arguments of a call, as the caller named them."""

    log_prob: Array
    reference_log_prob: Array | None
    evaluation: Array | None
    accept: Array | None
    reject: Array | None
    mask: Array | None
    length: Array | None
    mismatched_log_ratio: Array | None
    kl: Kl | None
    reverse_kl: Kl | None
    decoupled_log_prob: Mapping[str, Array] | None
    decoupled_kl: Mapping[str, Array] | None
    bound_violation: Array | None
    state: Mapping[str, Array]
    layout: Layout


planes = {
    "referenceLogProb": "reference_log_prob",
    "evaluation": "evaluation",
    "accept": "accept",
    "reject": "reject",
    "mask": "mask",
    "length": "length",
    "mismatchedLogRatio": "mismatched_log_ratio",
    "boundViolation": "bound_violation",
}
"""The planes [N, B] that a graph may read, and the arguments that they are given as."""

_sides = {"none": (), "accepts": ("accept",), "rejects": ("reject",)}


def kl_parts_of(given: Given) -> tuple[str, ...] | None:
    """The names of the parts of the KL, as far as the arguments tell."""
    for group in (given.decoupled_kl, given.kl, given.reverse_kl):
        if isinstance(group, Mapping):
            return tuple(group)
    return None


def default_of(plane: str) -> float:
    """The elements of a plane that is not given."""
    return 1.0 if plane in ("mask", "length") else 0.0


def required(needs: Needs) -> list[str]:
    """The arguments that a call must give."""
    names = list(_sides.get(needs.feedback, ("accept", "reject")))
    if needs.reference_log_prob:
        names.append("reference_log_prob")
    if needs.evaluation:
        names.append("evaluation")
    if needs.length:
        names.append("length")
    if needs.mismatched:
        names.append("mismatched_log_ratio")
    return names


class Checker:
    """The checks of one call. With `reverse`, a graph's input `kl` takes the argument `reverse_kl`."""

    def __init__(self, file: OperatorFile, needs: Needs, arrays: Arrays, given: Given, reverse: bool = False) -> None:
        self._reverse = reverse
        self._file = file
        self._needs = needs
        self._arrays = arrays
        self._given = given
        if given.layout not in ("NB", "BN"):
            raise PmpoError(f"operator {file.name}, layout", f"is {given.layout!r}", "It must be 'NB' or 'BN'")
        self._plane = "[N, B]" if given.layout == "NB" else "[B, N]"

    def _error(self, field: str, what: str, remedy: str | None = None) -> PmpoError:
        return PmpoError(f"operator {self._file.name}, {field}", what, remedy)

    def _array(self, field: str, x: Any) -> Array:
        if self._arrays.is_array(x):
            if not self._arrays.is_real(x):
                raise self._error(field, f"is {self._arrays.describe(x)}", "It must hold real numbers")
            return x
        raise self._error(field, f"is a {type(x).__module__}.{type(x).__name__}", f"Give {self._arrays.name}")

    def _on_device(self, field: str, x: Array, log_prob: Array) -> None:
        device, expected = self._arrays.device_of(x), self._arrays.device_of(log_prob)
        if device != expected:
            raise self._error(field, f"is {self._arrays.describe(x)}", f"Move it to {expected}, where log_prob is")

    def _same_shape(self, field: str, x: Any, log_prob: Array) -> Array:
        x = self._array(field, x)
        if tuple(x.shape) != tuple(log_prob.shape):
            shape = list(log_prob.shape)
            raise self._error(
                field, f"is {self._arrays.describe(x)}", f"It must be {self._plane}, {shape} like log_prob"
            )
        self._on_device(field, x, log_prob)
        return x

    def _differentiable(self, field: str, x: Array) -> Array:
        if not self._arrays.is_float(x):
            raise self._error(field, f"is {self._arrays.describe(x)}", "It must be floating-point")
        return x

    def inputs(self) -> dict[str, Array]:
        """Every array that the graph reads, by the name of its input.

        Raises:
          PmpoError: naming the argument, and its shape, element type and device where they matter.
        """
        given, file = self._given, self._file
        log_prob = self._differentiable("log_prob", self._array("log_prob", given.log_prob))
        if len(log_prob.shape) != 2:
            one = "[None]" if given.layout == "NB" else "[:, None]"
            raise self._error(
                "log_prob",
                f"is {self._arrays.describe(log_prob)}",
                f"It must be {self._plane}: N samples of each of B contexts; log_prob{one} if there is one sample each",
            )
        for name in required(self._needs):
            if getattr(given, name) is None:
                raise self._error(name, f"is missing, and {file.name} needs it", f"Give it as {self._plane}")
        turn = self._arrays.transposed if given.layout == "BN" else lambda x: x
        like = self._arrays.computing(log_prob)
        inputs: dict[str, Array] = {"logProb": turn(like)}
        contexts = inputs["logProb"].shape[1]
        for name, field in planes.items():
            x = getattr(given, field)
            checked = None if x is None else self._same_shape(field, x, log_prob)
            if name not in file.inputs:
                continue
            if checked is None:
                inputs[name] = self._arrays.filled(inputs["logProb"], default_of(name))
            else:
                inputs[name] = turn(self._arrays.like(checked, like))
        for group, field, values in (
            ("kl", "reverse_kl" if self._reverse else "kl", self._by_part(given.reverse_kl if self._reverse else given.kl)),
            ("reverseKl", "reverse_kl", self._by_part(given.reverse_kl)),
            ("decoupledKl", "decoupled_kl", given.decoupled_kl),
            ("decoupledLogProb", "decoupled_log_prob", given.decoupled_log_prob),
        ):
            if not file.reads(group):
                continue
            if not isinstance(values, Mapping):
                parts = ", ".join(file.kl_parts)
                raise self._error(field, f"is missing, and {file.name} needs it", f"Give it by part: {parts}")
            for part in file.kl_parts:
                if f"{group}/{part}" not in file.inputs:
                    continue
                if part not in values:
                    raise self._error(field, f"has no part '{part}'", f"Its parts must be {', '.join(file.kl_parts)}")
                place = f"{field}['{part}']"
                if group == "decoupledLogProb":
                    plane = self._same_shape(place, values[part], log_prob)
                    inputs[f"{group}/{part}"] = turn(self._arrays.like(self._differentiable(place, plane), like))
                else:
                    inputs[f"{group}/{part}"] = self._kl(place, values[part], contexts, like)
        self._add_state(inputs, like)
        return inputs

    def _by_part(self, kl: Kl | None) -> Kl | None:
        """The KL as a mapping, if it is one array."""
        if kl is None or isinstance(kl, Mapping):
            return kl
        parts = self._file.kl_parts
        return {parts[0]: kl} if len(parts) == 1 else {"kl": kl}

    def _kl(self, field: str, x: Any, contexts: int, like: Array) -> Array:
        x = self._differentiable(field, self._array(field, x))
        if len(x.shape) not in (1, 2) or x.shape[0] != contexts:
            raise self._error(
                field,
                f"is {self._arrays.describe(x)}",
                f"It must be [B, D] or [B], and log_prob holds B = {contexts} contexts in the layout {self._given.layout}",
            )
        self._on_device(field, x, like)
        return self._arrays.like(self._arrays.column(x) if len(x.shape) == 1 else x, like)

    def _add_state(self, inputs: dict[str, Array], like: Array) -> None:
        state = dict(self._given.state)
        names = [part.name for part in self._file.state]
        sizes = {part: inputs[f"kl/{part}"].shape[1] for part in self._file.kl_parts if f"kl/{part}" in inputs}
        for group in ("reverseKl", "decoupledKl"):
            sizes |= {
                part: inputs[f"{group}/{part}"].shape[1] for part in self._file.kl_parts if f"{group}/{part}" in inputs
            }
        for part in self._file.state:
            field = f"state['{part.name}']"
            if part.name not in state:
                raise self._error(field, "is missing", "Make the state by torch_state, jax_state or numpy_state")
            x = self._differentiable(field, self._array(field, state.pop(part.name)))
            shape = state_shape(part.axes, sizes)
            if tuple(x.shape) != shape:
                raise self._error(field, f"is {self._arrays.describe(x)}", f"It must be {list(shape)}")
            self._on_device(field, x, like)
            inputs[f"state/{part.name}"] = self._arrays.like(x, like)
        if state:
            known = f"Known: {', '.join(names)}" if names else f"{self._file.name} has none, as set"
            raise self._error("state", f"has the unknown part '{next(iter(state))}'", known)


def state_shape(axes: Sequence[int | str], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of a part of the state, for parts of the KL of these sizes."""
    return tuple(axis if isinstance(axis, int) else sizes[axis.removeprefix("D/")] for axis in axes)
