"""A graph with the numbers that settings give it, and the programs that are made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ._batch import state_shape
from ._file import OperatorFile
from ._graph import Program
from ._libraries import jax_library, numpy_library, torch_library, traced_torch_library

_libraries: dict[str, Callable[[], Any]] = {
    "torch": torch_library,
    "traced torch": traced_torch_library,
    "jax": jax_library,
    "numpy": numpy_library,
}


class Chosen:
    """A graph, the numbers that the settings give it, and its programs."""

    def __init__(self, file: OperatorFile, values: dict[str, float]) -> None:
        self.file = file
        self.needs = file.needs_of(values)
        self.values = values
        self.numbers = {
            f"setting/{path}": float(values[path]) for path in file.open if f"setting/{path}" in file.model.inputs
        }
        self.outputs = ["loss", *(f"gradient/{name}" for name in file.gradients)]
        self.metrics = [f"metric/{name}" for name in file.metrics]
        self.projections = [f"projected/{part.name}" for part in file.state] if file.projects_state else []
        self._programs: dict[tuple[str, bool], Program] = {}
        self._projectors: dict[str, Program] = {}
        self.functions: dict[Any, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Programs are made anew: they hold functions of the array libraries.
        return Chosen, (self.file, self.values)

    def program(self, library: str, metrics: bool = True) -> Program:
        """The loss, its gradients and its metrics; or without the metrics."""
        key = library, metrics
        if key not in self._programs:
            outputs = [*self.outputs, *self.metrics] if metrics else self.outputs
            self._programs[key] = Program(self.file.model, outputs, _libraries[library](), self.numbers)
        return self._programs[key]

    def projector(self, library: str) -> Program:
        """The projection of the state."""
        if library not in self._projectors:
            self._projectors[library] = Program(self.file.model, self.projections, _libraries[library](), self.numbers)
        return self._projectors[library]

    def initial(self, sizes: Mapping[str, int]) -> dict[str, tuple[tuple[int, ...], float]]:
        """The shape and the initial value of each part of the state."""
        found: dict[str, tuple[tuple[int, ...], float]] = {}
        for part in self.file.state:
            rule = part.initial
            if "value" in rule:
                value = float(rule["value"])
            else:
                setting = self.values[rule["setting"]]
                value = rule["factor"] * (math.log(setting) if rule["function"] == "log" else setting)
            found[part.name] = state_shape(part.axes, sizes), value
        return found
