"""Runs a graph by the operations of an array library, as straight-line Python in which each node is one line.

Three kinds of values flow through a graph. Tensors are arrays of the library. int64 values are shapes and stay tuples of Python
integers, and scalars that depend on no tensor (settings, lengths) stay Python floats: so control flow is static for compilers, and a
scalar takes the precision of the tensors that it meets.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from ._onnx import Attribute, MalformedFile, Model, Node

Value = Any
Operation = Callable[..., Value]


class Library(Protocol):
    """What differs between array libraries. `like` is a tensor with the element type and the device of new ones."""

    numbers_of: Mapping[str, tuple[int, ...]]
    """By operation, the places of operands that must be numbers of Python where they depend on no tensor."""

    def fused(self, nodes: Sequence[Node], outputs: Iterable[str]) -> list[Node]:
        """The nodes, with those replaced that the library computes faster in another way."""

    def expression(self, node: Node, operands: Sequence[str]) -> str | None:
        """The source of a node's value, if it needs none of the functions below. It may call those in `scope`."""

    scope: Mapping[str, Any]
    def function(self, name: str) -> Operation:
        """An elementwise function of one tensor, by its ONNX name. Raises KeyError."""

    def where(self, condition: Value, x: Value, y: Value) -> Value: ...
    def maximum(self, x: Value, y: Value) -> Value: ...
    def minimum(self, x: Value, y: Value) -> Value: ...
    def softmax(self, x: Value, axis: int) -> Value: ...
    def reduce(self, name: str, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value: ...
    def argmax(self, x: Value, axis: int, keepdims: bool) -> Value: ...
    def largest(self, x: Value, count: int) -> Value: ...
    def expand(self, x: Value, shape: tuple[int, ...]) -> Value: ...
    def full(self, like: Value, shape: tuple[int, ...], value: float) -> Value: ...
    def permute(self, x: Value, order: tuple[int, ...]) -> Value: ...
    def concatenate(self, values: Sequence[Value], axis: int) -> Value: ...
    def cast(self, like: Value, x: Value, kind: int) -> Value: ...
    def positions(self, like: Value, length: int, kind: int) -> Value: ...
    def constant(self, like: Value, data: np.ndarray[Any, Any]) -> Value: ...


def is_number(value: Value) -> bool:
    """Whether a value is a scalar of Python and no tensor; torch.compile's symbolic numbers count as such."""
    return not hasattr(value, "dtype") and not isinstance(value, (tuple, range))


def _arithmetic(function: Operation) -> Operation:
    """An operator on tensors and numbers that also applies to shapes, element by element."""

    def apply(x: Value, y: Value) -> Value:
        if isinstance(x, tuple):
            return tuple(function(a, b) for a, b in zip(x, y))
        return function(x, y)

    return apply


_binary: dict[str, Operation] = {
    "Add": _arithmetic(operator.add),
    "Sub": _arithmetic(operator.sub),
    "Mul": _arithmetic(operator.mul),
    "Div": operator.truediv,
    "Pow": operator.pow,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
    "Equal": operator.eq,
    "And": operator.and_,
    "Or": operator.or_,
    "Xor": operator.xor,
    "MatMul": operator.matmul,
}

_makes_tensors = {"Expand", "Reshape", "Cast"}
"""Operations whose functions take a tensor first whose element type and device their result has."""

_reductions = {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"}


def _operation(name: str, attributes: Mapping[str, Attribute], library: Library) -> Operation:
    """The function for a node. Raises KeyError for an operation that is not known."""

    def integer(key: str, default: int) -> int:
        value = attributes.get(key, default)
        assert isinstance(value, int)
        return value

    if name in _binary:
        return _binary[name]
    if name in _reductions:
        keepdims = bool(integer("keepdims", 1))

        def reduce(x: Value, axes: tuple[int, ...] | None = None) -> Value:
            chosen = tuple(range(len(x.shape))) if axes is None else axes
            return x if chosen == () else library.reduce(name, x, chosen, keepdims)

        return reduce
    if name == "Identity":
        return lambda x: x
    if name == "Neg":
        return operator.neg
    if name == "Where":
        return library.where
    if name == "Max":
        return library.maximum
    if name == "Min":
        return library.minimum
    if name == "Clip":
        return lambda x, low, high: library.minimum(library.maximum(x, low), high)
    if name == "Softmax":
        return functools.partial(library.softmax, axis=integer("axis", -1))
    if name == "ArgMax":
        return functools.partial(library.argmax, axis=integer("axis", 0), keepdims=bool(integer("keepdims", 1)))
    if name == "TopK":
        return lambda x, count: library.largest(x, count[0])
    if name == "Gemm":
        flips = integer("transA", 0), integer("transB", 0)
        swap = lambda x, flip: library.permute(x, (1, 0)) if flip else x  # noqa: E731
        return lambda x, y: swap(x, flips[0]) @ swap(y, flips[1])
    if name == "Transpose":
        order = attributes["perm"]
        assert isinstance(order, tuple)
        return lambda x: library.permute(x, order)
    if name == "Expand":
        return lambda like, x, shape: library.full(like, shape, x) if is_number(x) else library.expand(x, shape)
    if name == "Reshape":
        return functools.partial(_reshape, library)
    if name == "Shape":
        start, end = integer("start", 0), attributes.get("end")
        assert end is None or isinstance(end, int)
        return lambda x: tuple(x.shape)[start:end]
    if name == "Concat":
        axis = integer("axis", 0)
        return lambda *parts: (
            sum(parts, ()) if isinstance(parts[0], tuple) else library.concatenate(parts, axis)
        )
    if name == "Slice":
        return _slice
    if name == "Range":
        return lambda start, end, step: range(start[0], end[0], step[0])
    if name == "Cast":
        return functools.partial(_cast, library, integer("to", 1))
    return library.function(name)


def _reshape(library: Library, like: Value, x: Value, shape: tuple[int, ...]) -> Value:
    if isinstance(x, tuple):
        return x
    if is_number(x):
        return x if shape == () else library.full(like, shape, x)
    return x.reshape(shape)


def _slice(x: Value, begin: tuple[int, ...], end: tuple[int, ...], axes: tuple[int, ...]) -> Value:
    parts = [slice(None)] * len(x.shape)
    for a, b, axis in zip(begin, end, axes):
        parts[axis] = slice(a, b)
    return x[tuple(parts)]


def _cast(library: Library, kind: int, like: Value, x: Value) -> Value:
    """To float (1), int32 (6), int64 (7) or bool (9); lengths become numbers, and ranges become tensors."""
    if isinstance(x, range):
        return library.positions(like, len(x), kind)
    if isinstance(x, tuple):
        # The one element of a length.
        return x if kind != 1 else x[0] * 1.0
    if is_number(x):
        return x * 1.0 if kind == 1 else x
    return library.cast(like, x, kind)


def _decimal(value: np.generic) -> float:
    """The number that a person wrote, of which a file holds the nearest float32."""
    return float(str(value)) if math.isfinite(float(value)) else float(value)


_like = ""
"""The name, which no value of a graph has, of the tensor that new ones are like."""

_no_numbers: Mapping[str, float] = MappingProxyType({})


class Program:
    """The part of a graph that computes some of its outputs, for one array library.

    Nodes that read no element of a tensor are evaluated apart, by `constants`: settings, lengths, and tensors made of them. All
    others become one function of straight-line Python, `function(like, *tensors, *constants)`, of the inputs `reads`.

    Args:
      numbers: the values of the inputs that are scalars, such as settings.
    """

    def __init__(
        self, model: Model, outputs: Iterable[str], library: Library, numbers: Mapping[str, float] = _no_numbers
    ) -> None:
        self.outputs = tuple(outputs)
        self._library = library
        nodes = _needed(model.nodes, self.outputs)
        used = {name for node in nodes for name in node.inputs}.union(self.outputs)
        self._fixed: dict[str, Value] = {name: value for name, value in numbers.items() if name in used}
        self._arrays: dict[str, np.ndarray[Any, Any]] = {}
        for name, data in model.constants.items():
            if name not in used:
                continue
            if data.dtype == np.int64:
                self._fixed[name] = tuple(int(item) for item in data.ravel())
            elif data.shape == ():
                item: Any = data[()]
                self._fixed[name] = _decimal(item) if data.dtype == np.float32 else item.item()
            else:
                self._arrays[name] = data
        self._steps: list[tuple[Operation, tuple[str, ...], str]] = []
        self.shaped: tuple[str, ...] = ()
        """The inputs on whose shapes the constants depend."""
        varying = library.fused(self._divided(nodes, set(model.inputs)), self.outputs)
        writer = _Writer(varying, self.outputs, library, self._fixed, self._known)
        self.source = writer.source
        self.reads = tuple(writer.reads)
        self.held = tuple(writer.held)
        """The names of the constants, each with whether it must be a number of Python where it is one."""
        scope = dict(writer.scope)
        exec(compile(self.source, f"<graph of {self.outputs[0]}>", "exec"), scope)
        self.function: Callable[..., tuple[Value, ...]] = scope["run"]

    def _divided(self, nodes: Sequence[Node], inputs: set[str]) -> list[Node]:
        """Takes the steps that `constants` evaluates, and returns the nodes that read elements of tensors."""
        self._known = {*self._fixed, *self._arrays}
        varying: list[Node] = []
        shaped: dict[str, None] = {}
        for node in nodes:
            of_shape = node.operator == "Shape" and node.inputs[0] in inputs
            if not of_shape and not self._known.issuperset(node.inputs):
                varying.append(node)
                continue
            if of_shape:
                shaped[node.inputs[0]] = None
            names = (_like, *node.inputs) if node.operator in _makes_tensors else node.inputs
            self._steps.append((_function(node, self._library), names, node.outputs[0]))
            self._known.add(node.outputs[0])
        self.shaped = tuple(shaped)
        return varying

    def constants(self, inputs: Mapping[str, Value], like: Value) -> tuple[Value, ...]:
        """The constants of `function` for inputs of these shapes, with the element type and on the device of `like`."""
        values = {**self._fixed, _like: like}
        for name in self.shaped:
            values[name] = inputs[name]
        for name, data in self._arrays.items():
            values[name] = self._library.constant(like, data)
        for operation, names, output in self._steps:
            values[output] = operation(*[values[name] for name in names])
        return tuple(values[name] for name, _ in self.held)

    def __call__(self, inputs: Mapping[str, Value], like: Value) -> tuple[Value, ...]:
        """The outputs, in order, computed with the element type and on the device of `like`.

        `inputs` may hold more than the graph reads.
        """
        return self.function(like, *[inputs[name] for name in self.reads], *self.constants(inputs, like))


def _needed(nodes: Sequence[Node], outputs: Iterable[str]) -> list[Node]:
    """The nodes that some outputs depend on. Raises MalformedFile for one of a form that no exported operator has."""
    names = set(outputs)
    found: list[Node] = []
    for node in reversed(nodes):
        if names.isdisjoint(node.outputs):
            continue
        if not names.isdisjoint(node.outputs[1:]) or "" in node.inputs:
            raise MalformedFile(f"it holds a {node.operator} of a form that is not supported")
        found.append(node)
        names.update(node.inputs)
    return found[::-1]


def _function(node: Node, library: Library) -> Operation:
    try:
        return _operation(node.operator, node.attributes, library)
    except KeyError:
        raise MalformedFile(f"it holds the operation {node.operator}, which is not supported") from None


class _Writer:
    """Writes nodes as a function of Python, one line each."""

    def __init__(
        self, nodes: Sequence[Node], outputs: Sequence[str], library: Library, fixed: Mapping[str, Value], known: set[str]
    ) -> None:
        self.reads: list[str] = []
        self.held: list[tuple[str, bool]] = []
        self.scope: dict[str, Any] = dict(library.scope)
        self._fixed = fixed
        self._known = known
        self._names: dict[str, str] = {}
        self._held: dict[tuple[str, bool], str] = {}
        made = {node.outputs[0] for node in nodes}
        last = {name: i for i, node in enumerate(nodes) for name in node.inputs}
        last.update(dict.fromkeys(outputs, len(nodes)))
        lines: list[str] = []
        free: list[str] = []
        for i, node in enumerate(nodes):
            expression = self._expression(node, library)
            # A variable whose value is not read again takes the new one, so that its memory is free as soon as it can be.
            free += [self._names[name] for name in dict.fromkeys(node.inputs) if name in made and last[name] == i]
            variable = free.pop() if free else f"t{i}"
            self._names[node.outputs[0]] = variable
            lines.append(f"    {variable} = {expression}")
        results = "".join(f"{self._text(name)}, " for name in outputs)
        parameters = ["like", *(self._names[name] for name in self.reads), *self._held.values()]
        self.source = "\n".join([f"def run({', '.join(parameters)}):", *lines, f"    return ({results})", ""])

    def _expression(self, node: Node, library: Library) -> str:
        numbers = library.numbers_of.get(node.operator, ())
        operands = [self._text(name, as_number=i in numbers) for i, name in enumerate(node.inputs)]
        expression = library.expression(node, operands)
        if expression is not None:
            return expression
        function = f"f{len(self.scope)}"
        self.scope[function] = _function(node, library)
        if node.operator in _makes_tensors:
            operands.insert(0, "like")
        return f"{function}({', '.join(operands)})"

    def _text(self, name: str, as_number: bool = False) -> str:
        """The source of an operand: a variable, or the integers that a graph holds."""
        fixed = self._fixed.get(name)
        if isinstance(fixed, tuple):
            return repr(fixed)
        if name in self._known:
            key = name, as_number
            if key not in self._held:
                self._held[key] = f"c{len(self._held)}"
                self.held.append(key)
            return self._held[key]
        if name not in self._names:
            self._names[name] = f"x{len(self.reads)}"
            self.reads.append(name)
        return self._names[name]
