"""Feedback classifiers that `pmpo export-feedback` wrote, on arrays of PyTorch, JAX and NumPy. Shapes: N samples, B contexts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._graph import Program
from ._libraries import jax_library, numpy_library, torch_library
from ._onnx import MalformedFile, read_model
from .errors import PmpoError

_key = "pmpo.feedback"
_format = 1
_libraries: dict[str, Callable[[], Any]] = {"torch": torch_library, "jax": jax_library, "numpy": numpy_library}


class ExportedFeedback:
    """A classifier of tensor operations: from evaluations to accept and reject weights.

    Each method takes arrays of one library and returns `(accept, reject)`, [N, B] each, with the element type and the device of
    `evaluation`.

    Args of each method:
      evaluation: f(x, y), [N, B]. Always given: it says what arrays the others are like.
      mask: 1 where a sample is present, [N, B]; default: all are. Weights of absent samples are 0.
      baseline: V(x), [B]; default: the mean evaluation of the context's present samples.
      samples: [N, B, …], for a classifier that reads them.
      contexts: [B, …], for a classifier that reads them.
    """

    def __init__(self, where: str, model: Any, facts: Mapping[str, Any]) -> None:
        self.name: str = facts["name"]
        self.description: str = facts["description"]
        self.settings: dict[str, Any] = facts["settings"]
        self.accepts: bool = facts["provides"]["accepts"]
        self.rejects: bool = facts["provides"]["rejects"]
        self._inputs: dict[str, list[int | str]] = {entry["name"]: entry["axes"] for entry in facts["inputs"]}
        self._where = where
        self._model = model
        self._programs: dict[str, Program] = {}

    def __repr__(self) -> str:
        return f"<feedback {self.name} {self.settings}>"

    def torch(self, evaluation: Any, **planes: Any) -> tuple[Any, Any]:
        """The weights as PyTorch tensors; see the class."""
        return self._run("torch", evaluation, planes)

    def jax(self, evaluation: Any, **planes: Any) -> tuple[Any, Any]:
        """The weights as JAX arrays; see the class."""
        return self._run("jax", evaluation, planes)

    def numpy(self, evaluation: Any, **planes: Any) -> tuple[Any, Any]:
        """The weights as NumPy arrays; see the class."""
        with np.errstate(all="ignore"):
            accept, reject = self._run("numpy", evaluation, planes)
        return np.asarray(accept), np.asarray(reject)

    def _run(self, library: str, evaluation: Any, planes: dict[str, Any]) -> tuple[Any, Any]:
        where = f"feedback '{self.name}'"
        for name in planes:
            if name not in ("mask", "baseline", "samples", "contexts"):
                raise PmpoError(where, f"there is no argument {name}", "It takes mask, baseline, samples and contexts")
        if len(evaluation.shape) != 2:
            raise PmpoError(where, f"evaluation has the shape {list(evaluation.shape)}", "It must be [N, B]")
        given = {"evaluation": evaluation, **{name: x for name, x in planes.items() if x is not None}}
        shape, arrays = tuple(evaluation.shape), _libraries[library]()
        ones, zeros = (arrays.full(evaluation, shape, value) for value in (1.0, 0.0))
        mask = given.get("mask", ones)
        if tuple(mask.shape) != shape:
            raise PmpoError(where, f"mask has the shape {list(mask.shape)}", f"It must be that of evaluation, {list(shape)}")
        # The evaluation of an absent sample may be NaN, and NaN · 0 is NaN: it is replaced, not multiplied.
        present = mask > 0
        given["mask"] = arrays.cast(evaluation, mask, 1)
        given["evaluation"] = arrays.where(present, evaluation, zeros)
        if "baseline" not in given:
            count = arrays.where(present, ones, zeros).sum(0)
            given["baseline"] = given["evaluation"].sum(0) / (count + (count == 0))
        lengths = {"N": shape[0], "B": shape[1]}
        for name, axes in self._inputs.items():
            expected = [lengths[axis] if isinstance(axis, str) else axis for axis in axes]
            if name not in given:
                raise PmpoError(where, f"{name} is missing", f"Give it, {axes} = {expected}")
            if list(given[name].shape) != expected:
                raise PmpoError(where, f"{name} has the shape {list(given[name].shape)}", f"It must be {axes} = {expected}")
        if library not in self._programs:
            try:
                self._programs[library] = Program(self._model, ("accept", "reject"), arrays)
            except MalformedFile as error:
                raise PmpoError(self._where, str(error)) from None
        accept, reject = self._programs[library]({name: given[name] for name in self._inputs}, evaluation)
        return arrays.where(present, accept, zeros), arrays.where(present, reject, zeros)


def load_feedback(file: str | Path) -> ExportedFeedback:
    """The classifier in a file that `pmpo export-feedback` wrote.

    Raises:
      PmpoError: the file cannot be read, or is not such a file.
    """
    where, remedy = str(file), "Write one with `pmpo export-feedback`"
    try:
        model = read_model(Path(file).read_bytes())
        facts = json.loads(model.metadata.get(_key, "null"))
    except OSError as error:
        raise PmpoError(where, f"it cannot be read: {error.strerror}", remedy) from error
    except (MalformedFile, UnicodeDecodeError, ValueError) as error:
        raise PmpoError(where, f"it is not a readable ONNX file: {error}", remedy) from error
    if facts is None:
        raise PmpoError(where, "it is an ONNX model, but not of a classifier", remedy)
    if facts.get("format") != _format:
        raise PmpoError(where, f"it has the format {facts.get('format')}, and this package reads format {_format}")
    return ExportedFeedback(where, model, facts)
