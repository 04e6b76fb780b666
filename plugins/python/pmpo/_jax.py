"""Operators on JAX arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    import jax
    import jax.numpy as jnp
except ImportError as _error:
    raise ImportError("operator.jax: JAX is not installed. Install it with `pip install jax`") from _error

from ._chosen import Chosen


class _JaxArrays:
    name = "a jax.Array"

    def is_array(self, x: Any) -> bool:
        return isinstance(x, (jax.Array, np.ndarray))

    def is_float(self, x: Any) -> bool:
        return bool(jnp.issubdtype(x.dtype, jnp.floating))

    def is_real(self, x: Any) -> bool:
        return self.is_float(x) or bool(jnp.issubdtype(x.dtype, jnp.integer)) or x.dtype == jnp.bool_

    def describe(self, x: Any) -> str:
        return f"{x.dtype} {list(x.shape)}"

    def device_of(self, x: Any) -> None:
        """JAX itself refuses arrays of different devices; traced arrays have none yet."""

    def computing(self, x: Any) -> Any:
        return jnp.asarray(x) if x.dtype == jnp.float64 else jnp.asarray(x, jnp.float32)

    def like(self, x: Any, like: Any) -> Any:
        return jnp.asarray(x, like.dtype)

    def filled(self, like: Any, value: float) -> Any:
        return jnp.full(like.shape, value, like.dtype)

    def transposed(self, x: Any) -> Any:
        return x.T

    def column(self, x: Any) -> Any:
        return x[:, None]


jax_arrays = _JaxArrays()


def _function(chosen: Chosen) -> Any:
    """The loss and the metrics as a function of a dictionary of the arrays that the graph reads."""
    program = chosen.program("jax")
    file = chosen.file
    count = len(file.gradients)

    def run(inputs: dict[str, Any]) -> Any:
        return program(inputs, inputs["logProb"] if "logProb" in inputs else next(iter(inputs.values())))

    @jax.custom_vjp
    def loss(inputs: dict[str, Any]) -> Any:
        outputs = run(inputs)
        return outputs[0], outputs[1 + count :]

    def forward(inputs: dict[str, Any]) -> Any:
        outputs = run(inputs)
        others = {name: x for name, x in inputs.items() if name not in file.gradients}
        return (outputs[0], outputs[1 + count :]), (outputs[1 : 1 + count], others)

    def backward(saved: Any, upstream: Any) -> Any:
        gradients, others = saved
        # Metrics carry no gradient.
        of_loss = upstream[0]
        found = {name: gradient * of_loss for name, gradient in zip(file.gradients, gradients)}
        return ({**found, **jax.tree.map(jnp.zeros_like, others)},)

    loss.defvjp(forward, backward)
    return loss


def evaluate(chosen: Chosen, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The loss and the metrics."""
    if "jax" not in chosen.functions:
        chosen.functions["jax"] = _function(chosen)
    read = {name: inputs[name] for name in chosen.file.inputs}
    loss, metrics = chosen.functions["jax"](read)
    return loss, dict(zip(chosen.file.metrics, metrics))
