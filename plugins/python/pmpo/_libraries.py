"""The array libraries that graphs run on."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ._graph import Operation, Value, is_number
from ._onnx import Node

_numpy_names = {
    "Abs": "abs",
    "Acos": "arccos",
    "Asin": "arcsin",
    "Atan": "arctan",
    "Atanh": "arctanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Exp": "exp",
    "Floor": "floor",
    "IsInf": "isinf",
    "IsNaN": "isnan",
    "Log": "log",
    "Not": "logical_not",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}
_conditions = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "And", "Or", "Xor", "Not", "IsNaN", "IsInf"}
_symbols = {
    "Add": "+",
    "Sub": "-",
    "Mul": "*",
    "Div": "/",
    "Pow": "**",
    "Greater": ">",
    "GreaterOrEqual": ">=",
    "Less": "<",
    "LessOrEqual": "<=",
    "Equal": "==",
    "And": "&",
    "Or": "|",
    "Xor": "^",
}
_reductions = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod"}


class ArrayLibrary:
    """NumPy, or JAX's namespace of the same functions."""

    numbers_of: Mapping[str, tuple[int, ...]] = {}
    scope: Mapping[str, Any] = {}

    def fused(self, nodes: Sequence[Node], outputs: Iterable[str]) -> list[Node]:
        return list(nodes)

    def expression(self, node: Node, operands: Sequence[str]) -> str | None:
        symbol = _symbols.get(node.operator)
        return None if symbol is None else f"{operands[0]} {symbol} {operands[1]}"

    def __init__(self, xp: Any, sigmoid: Operation, softplus: Operation) -> None:
        self._xp = xp
        self._dtypes = {6: xp.int32, 7: xp.int32, 9: xp.bool_}
        self._functions: dict[str, Operation] = {
            "Sigmoid": sigmoid,
            "Softplus": softplus,
            "Relu": lambda x: xp.maximum(x, 0),
        }
        self.where = xp.where
        self.maximum = xp.maximum
        self.minimum = xp.minimum

    def function(self, name: str) -> Operation:
        known = self._functions.get(name)
        found: Operation = getattr(self._xp, _numpy_names[name]) if known is None else known
        return found

    def softmax(self, x: Value, axis: int) -> Value:
        powers = self._xp.exp(x - self._xp.max(x, axis=axis, keepdims=True))
        return powers / self._xp.sum(powers, axis=axis, keepdims=True)

    def reduce(self, name: str, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
        return getattr(self._xp, _reductions[name])(x, axis=axes, keepdims=keepdims)

    def argmax(self, x: Value, axis: int, keepdims: bool) -> Value:
        return self._xp.argmax(x, axis=axis, keepdims=keepdims)

    def largest(self, x: Value, count: int) -> Value:
        return -self._xp.sort(-x, axis=-1)[..., :count]

    def expand(self, x: Value, shape: tuple[int, ...]) -> Value:
        return self._xp.broadcast_to(x, np.broadcast_shapes(tuple(x.shape), shape))

    def full(self, like: Value, shape: tuple[int, ...], value: float) -> Value:
        dtype = like.dtype if isinstance(value, float) else None
        return self._xp.full(shape, value, dtype=dtype)

    def permute(self, x: Value, order: tuple[int, ...]) -> Value:
        return self._xp.transpose(x, order)

    def concatenate(self, values: Sequence[Value], axis: int) -> Value:
        return self._xp.concatenate(values, axis=axis)

    def cast(self, like: Value, x: Value, kind: int) -> Value:
        return x.astype(self._dtypes.get(kind, like.dtype))

    def positions(self, like: Value, length: int, kind: int) -> Value:
        return self._xp.arange(length, dtype=self._dtypes.get(kind, like.dtype))

    def constant(self, like: Value, data: np.ndarray[Any, Any]) -> Value:
        return self._xp.asarray(data, dtype=like.dtype if data.dtype == np.float32 else None)


class JaxLibrary(ArrayLibrary):
    """JAX."""

    def argmax(self, x: Value, axis: int, keepdims: bool) -> Value:
        """As NumPy's: the first of equal ones, or the first NaN. By two reductions, which are several times faster in XLA on a CPU."""
        xp = self._xp
        length = x.shape[axis]
        places = xp.arange(length, dtype=xp.int32).reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
        is_largest = (x == xp.max(x, axis=axis, keepdims=True)) | (x != x)
        return xp.min(xp.where(is_largest, places, length), axis=axis, keepdims=keepdims)


@functools.cache
def numpy_library() -> ArrayLibrary:
    def softplus(x: Value) -> Value:
        return np.logaddexp(x, np.zeros_like(x))

    return ArrayLibrary(np, lambda x: np.exp(-softplus(-x)), softplus)


@functools.cache
def jax_library() -> ArrayLibrary:
    import jax
    import jax.numpy as jnp

    return JaxLibrary(jnp, jax.nn.sigmoid, jax.nn.softplus)


def _with_conditions_as_products(nodes: Sequence[Node]) -> list[Node]:
    """Two conditions at once as a product of 0 and 1: PyTorch's compiler keeps that in memory, and is slow at storing truth values."""
    made: list[Node] = []
    products: dict[str, str] = {}
    for node in nodes:
        (result,) = node.outputs[:1]
        if node.operator == "And":
            factors = tuple(f"{result}/{side}" for side in range(2))
            made += [Node("Cast", (name,), (factor,), {"to": 1}) for name, factor in zip(node.inputs, factors)]
            products[result] = f"{result}/product"
            made.append(Node("Mul", factors, (products[result],), {}))
            made.append(Node("Cast", (products[result],), (result,), {"to": 9}))
        elif node.operator == "Cast" and node.attributes.get("to") == 1 and node.inputs[0] in products:
            made.append(Node("Identity", (products[node.inputs[0]],), (result,), {}))
        else:
            made.append(node)
    return made


class TorchLibrary:
    """PyTorch. With `traced`, operations are those that its compilers know best, and constants stay numbers."""

    # A clamp between tensors is slow, and a power by a number is a product.
    numbers_of: Mapping[str, tuple[int, ...]] = {"Pow": (1,), "Clip": (1, 2)}

    def __init__(self, traced: bool) -> None:
        import torch

        self._torch = torch
        self._traced = traced
        self.scope: Mapping[str, Any] = {
            "clamp": torch.clamp,
            "maximum": torch.maximum,
            "minimum": torch.minimum,
            "softmax": torch.softmax,
            "softplus": torch.nn.functional.softplus,
            "where": torch.where,
            "single": torch.float32,
        }
        # The indices that PyTorch makes are int64.
        self._dtypes = {6: torch.int64, 7: torch.int64, 9: torch.bool}
        names = {**_numpy_names, "Sigmoid": "sigmoid", "Relu": "relu"}
        self._functions: dict[str, Operation] = {key: getattr(torch, value) for key, value in names.items()}
        # From 40 on, softplus is the identity in float64 as well; PyTorch's own threshold is for float32.
        self._functions["Softplus"] = functools.partial(torch.nn.functional.softplus, threshold=40)
        self.where = torch.where

    def function(self, name: str) -> Operation:
        return self._functions[name]

    def fused(self, nodes: Sequence[Node], outputs: Iterable[str]) -> list[Node]:
        """Leaves out conversions that PyTorch's own promotion makes: of indices, and of a condition that is only a factor."""
        if self._traced:
            return _with_conditions_as_products(nodes)
        uses = Counter(name for node in nodes for name in node.inputs) + Counter(outputs)
        makers = {node.outputs[0]: node for node in nodes}
        renamed: dict[str, str] = {}
        for node in nodes:
            if node.operator != "Cast":
                continue
            (source,), (result,) = node.inputs, node.outputs
            of_index = source in makers and makers[source].operator == "ArgMax"
            if of_index and node.attributes.get("to") != 1:
                renamed[result] = source
        for node in nodes:
            if node.operator == "Mul":
                for name in node.inputs:
                    cast = makers.get(name)
                    if cast is not None and cast.operator == "Cast" and uses[name] == 1 and self._is_condition(cast.inputs[0], makers):
                        renamed[name] = cast.inputs[0]
                        break
        kept = [node for node in nodes if node.outputs[0] not in renamed]
        return [replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs)) for node in kept]

    @staticmethod
    def _is_condition(name: str, makers: Mapping[str, Node]) -> bool:
        return name in makers and makers[name].operator in _conditions

    def expression(self, node: Node, operands: Sequence[str]) -> str | None:
        name, attributes = node.operator, node.attributes
        symbol = _symbols.get(name)
        if symbol is not None:
            return f"{operands[0]} {symbol} {operands[1]}"
        if name == "Where":
            return f"where({', '.join(operands)})"
        if name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin") and len(operands) == 2:
            function = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "amax", "ReduceMin": "amin"}[name]
            keep = ", True" if attributes.get("keepdims", 1) else ""
            return operands[0] if operands[1] == "()" else f"{operands[0]}.{function}({operands[1]}{keep})"
        if name in ("Neg", "Exp", "Log", "Sqrt", "Sigmoid", "Abs", "Tanh", "Reciprocal"):
            return f"{operands[0]}.{name.lower()}()"
        if name == "Softplus":
            # From 40 on, softplus is the identity in float64 as well; PyTorch's own threshold is for float32.
            return f"softplus({operands[0]}, 1.0, 40.0)"
        if name == "Softmax":
            return f"softmax({operands[0]}, {attributes.get('axis', -1)})"
        if name == "ArgMax" and not self._traced:
            # Like argmax, which is many times slower on a CPU, it finds the first of equal ones.
            return f"{operands[0]}.max({attributes.get('axis', 0)}, {bool(attributes.get('keepdims', 1))})[1]"
        if name == "Cast" and attributes.get("to") == 1:
            return f"{operands[0]}.float() if like.dtype is single else {operands[0]}.double()"
        if name == "Identity":
            return operands[0]
        return None

    def held(self, like: Value, value: Value, as_number: bool) -> Value:
        """A constant as a tensor without axes, if it is a number: PyTorch makes one of each number in each call."""
        if self._traced or as_number or not isinstance(value, float):
            return value
        return self._torch.full((), value, dtype=like.dtype, device=like.device)

    def maximum(self, x: Value, y: Value) -> Value:
        return self._bound(self._torch.maximum, "min", x, y)

    def minimum(self, x: Value, y: Value) -> Value:
        return self._bound(self._torch.minimum, "max", x, y)

    def _bound(self, function: Callable[..., Value], side: str, x: Value, y: Value) -> Value:
        if not is_number(x) and not is_number(y):
            return function(x, y)
        tensor, number = (y, x) if is_number(x) else (x, y)
        return self._torch.clamp(tensor, **{side: number})

    def softmax(self, x: Value, axis: int) -> Value:
        return self._torch.softmax(x, axis)

    def reduce(self, name: str, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
        if name == "ReduceProd":
            for axis in sorted(axes, reverse=True):
                x = x.prod(axis, keepdim=keepdims)
            return x
        functions = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "amax", "ReduceMin": "amin"}
        return getattr(x, functions[name])(axes, keepdims)

    def argmax(self, x: Value, axis: int, keepdims: bool) -> Value:
        """The first of equal ones, or the first NaN. By two reductions, which PyTorch's compiler makes faster."""
        length = x.shape[axis]
        shape = [1] * x.dim()
        shape[axis] = length
        places = self._torch.arange(length, device=x.device).view(shape)
        is_largest = (x == x.amax(axis, True)) | (x != x)
        return self._torch.where(is_largest, places, length).amin(axis, keepdims)

    def largest(self, x: Value, count: int) -> Value:
        return self._torch.sort(x, dim=-1, descending=True).values[..., :count]

    def expand(self, x: Value, shape: tuple[int, ...]) -> Value:
        return x.expand(self._torch.broadcast_shapes(tuple(x.shape), shape))

    def full(self, like: Value, shape: tuple[int, ...], value: float) -> Value:
        if isinstance(value, (bool, int)):
            dtype = self._dtypes[9 if isinstance(value, bool) else 6]
            return self._torch.full((), value, dtype=dtype, device=like.device).expand(shape)
        return self._torch.full((), value, dtype=like.dtype, device=like.device).expand(shape)

    def permute(self, x: Value, order: tuple[int, ...]) -> Value:
        return x.permute(order)

    def concatenate(self, values: Sequence[Value], axis: int) -> Value:
        return self._torch.cat(list(values), axis)

    def cast(self, like: Value, x: Value, kind: int) -> Value:
        return x.to(like.dtype if kind == 1 else self._dtypes[kind])

    def positions(self, like: Value, length: int, kind: int) -> Value:
        dtype = like.dtype if kind == 1 else self._dtypes[kind]
        return self._torch.arange(length, dtype=dtype, device=like.device)

    def constant(self, like: Value, data: np.ndarray[Any, Any]) -> Value:
        kinds = {"int32": 6, "bool": 9}
        dtype = like.dtype if data.dtype == np.float32 else self._dtypes[kinds[data.dtype.name]]
        return self._torch.tensor(data.tolist(), dtype=dtype, device=like.device)


@functools.cache
def torch_library() -> TorchLibrary:
    return TorchLibrary(traced=False)


@functools.cache
def traced_torch_library() -> TorchLibrary:
    return TorchLibrary(traced=True)
