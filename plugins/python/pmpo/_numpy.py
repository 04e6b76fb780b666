"""Operators on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._chosen import Chosen


class _NumpyArrays:
    name = "a numpy.ndarray"

    def is_array(self, x: Any) -> bool:
        return isinstance(x, np.ndarray)

    def is_float(self, x: Any) -> bool:
        return bool(np.issubdtype(x.dtype, np.floating))

    def is_real(self, x: Any) -> bool:
        return bool(np.issubdtype(x.dtype, np.floating) or np.issubdtype(x.dtype, np.integer) or x.dtype == np.bool_)

    def describe(self, x: Any) -> str:
        return f"{x.dtype} {list(x.shape)}"

    def device_of(self, x: Any) -> None:
        """NumPy has one device."""

    def computing(self, x: Any) -> Any:
        return x if x.dtype == np.float64 else x.astype(np.float32)

    def like(self, x: Any, like: Any) -> Any:
        return x.astype(like.dtype)

    def filled(self, like: Any, value: float) -> Any:
        return np.full(like.shape, value, like.dtype)

    def transposed(self, x: Any) -> Any:
        return x.T

    def column(self, x: Any) -> Any:
        return x[:, None]


numpy_arrays = _NumpyArrays()


def evaluate(chosen: Chosen, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The loss, the metrics and the gradients."""
    file = chosen.file
    # What a mask hides may overflow, and a Where leaves it out afterwards.
    with np.errstate(all="ignore"):
        outputs = chosen.program("numpy")(inputs, inputs["logProb"])
    count = len(file.gradients)
    gradients = {name: np.asarray(x) for name, x in zip(file.gradients, outputs[1 : 1 + count])}
    return outputs[0], dict(zip(file.metrics, outputs[1 + count :])), gradients
