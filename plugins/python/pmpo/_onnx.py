"""Reads the ONNX files of exported operators.

An ONNX file is a protobuf message, of which an operator's graph uses a few fields. Reading them takes less code than a second
format beside it would, which could differ from the file, and needs no `onnx` package.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
import numpy.typing as npt

Attribute = Union[int, float, str, "tuple[int, ...]"]


@dataclass(frozen=True)
class Node:
    """One operation: its ONNX name, the names of its inputs ('' for one left out) and outputs, and its attributes."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute]


@dataclass(frozen=True)
class Model:
    """A graph with its constants and the metadata of its file."""

    nodes: tuple[Node, ...]
    constants: dict[str, npt.NDArray[np.generic]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    metadata: dict[str, str]


class MalformedFile(ValueError):
    """The bytes are not a model that this reader understands."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise MalformedFile("it ends inside a number")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message, in order: the number of each, and its varint or its bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise MalformedFile(f"it has a field of the unknown kind {kind}")
        if at + length > len(data):
            raise MalformedFile("it ends inside a field")
        yield number, data[at : at + length]
        at += length


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise MalformedFile("a field that must be a message is a number")
    return value


def _integer(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise MalformedFile("a field that must be a number is a message")
    return _signed(value)


def _text(value: int | bytes) -> str:
    return _bytes(value).decode("utf-8")


def _integers(value: int | bytes) -> list[int]:
    """A repeated integer, packed or not."""
    if isinstance(value, int):
        return [_signed(value)]
    found, at = [], 0
    while at < len(value):
        item, at = _varint(value, at)
        found.append(_signed(item))
    return found


def _attribute(data: bytes) -> tuple[str, Attribute]:
    name, kind, integer, real, text = "", 0, 0, 0.0, ""
    integers: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            real = struct.unpack("<f", _bytes(value))[0]
        elif number == 3:
            integer = _integer(value)
        elif number == 4:
            text = _text(value)
        elif number == 8:
            integers += _integers(value)
        elif number == 20:
            kind = _integer(value)
    values: dict[int, Attribute] = {1: real, 2: integer, 3: text, 7: tuple(integers)}
    if kind not in values:
        raise MalformedFile(f"the attribute '{name}' has the unknown type {kind}")
    return name, values[kind]


def _node(data: bytes) -> Node:
    inputs, outputs, operator = [], [], ""
    attributes: dict[str, Attribute] = {}
    for number, value in _fields(data):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            operator = _text(value)
        elif number == 5:
            name, attribute = _attribute(_bytes(value))
            attributes[name] = attribute
    return Node(operator, tuple(inputs), tuple(outputs), attributes)


_dtypes: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 6: np.dtype("<i4"), 7: np.dtype("<i8"), 9: np.dtype("bool")}


def _tensor(data: bytes) -> tuple[str, npt.NDArray[np.generic]]:
    shape: list[int] = []
    kind, name, raw = 0, "", b""
    for number, value in _fields(data):
        if number == 1:
            shape += _integers(value)
        elif number == 2:
            kind = _integer(value)
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = _bytes(value)
    if kind not in _dtypes:
        raise MalformedFile(f"the constant '{name}' has the unknown type {kind}")
    return name, np.frombuffer(raw, dtype=_dtypes[kind]).reshape(shape)


def _name_of(data: bytes) -> str:
    return next((_text(value) for number, value in _fields(data) if number == 1), "")


def read_model(data: bytes) -> Model:
    """The model in the bytes of an ONNX file.

    Raises:
      MalformedFile: the bytes are not an ONNX model, or use a part of ONNX that no exported operator has.
    """
    nodes: list[Node] = []
    constants: dict[str, npt.NDArray[np.generic]] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    metadata: dict[str, str] = {}
    for number, value in _fields(data):
        if number == 7:
            for part, inner in _fields(_bytes(value)):
                if part == 1:
                    nodes.append(_node(_bytes(inner)))
                elif part == 5:
                    name, tensor = _tensor(_bytes(inner))
                    constants[name] = tensor
                elif part == 11:
                    inputs.append(_name_of(_bytes(inner)))
                elif part == 12:
                    outputs.append(_name_of(_bytes(inner)))
        elif number == 14:
            entry = dict(_fields(_bytes(value)))
            metadata[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
    if not nodes or not outputs:
        raise MalformedFile("it holds no graph")
    return Model(tuple(nodes), constants, tuple(inputs), tuple(outputs), metadata)
