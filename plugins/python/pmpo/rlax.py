"""MPO and PMPO in the shape of `rlax.mpo_loss`, for Acme and other agents in JAX. rlax itself is not needed.

    loss, metrics = pmpo.rlax.pmpo_loss(log_probs, q_values, temperature_constraint, kl_constraints)     # was: rlax.mpo_loss

Shapes: E* any batch shape, with an axis of S samples inserted at `sample_axis`; A action dimensions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from . import operators
from ._operator import Operator
from .errors import PmpoError

__all__ = ["Penalty", "mpo_loss", "pmpo_loss"]

Array = Any
Project = Callable[[Array], Array]
_positive: Project = functools.partial(jnp.clip, min=1e-10)


class Penalty(Protocol):
    """A dual variable and the bound that it is for, as `rlax.LagrangePenalty` holds them."""

    @property
    def alpha(self) -> Array: ...
    @property
    def epsilon(self) -> float: ...
    @property
    def per_dimension(self) -> bool: ...


class _Constraints(NamedTuple):
    """The constraints by the names that operators have for the parts of a KL."""

    bounded: dict[str, tuple[Array, Penalty]]
    settings: dict[str, dict[str, float]]
    duals: dict[str, Array]


def _constraints(where: str, given: Sequence[tuple[Array, Penalty]], projection: Project) -> _Constraints:
    names = {1: ("categorical",), 2: ("mean", "covariance")}.get(len(given))
    if names is None:
        raise PmpoError(where, f"kl_constraints has {len(given)} entries", "Give the whole KL, or its parts for mean and covariance")
    penalties = {part: penalty for part, (_, penalty) in zip(names, given)}
    return _Constraints(
        bounded=dict(zip(names, given)),
        settings={part: {"epsilon": float(penalty.epsilon), "initial_weight": 1.0} for part, penalty in penalties.items()},
        duals={f"logKlWeight/{part}": projection(penalty.alpha) for part, penalty in penalties.items()},
    )


def _per_example(
    operator: Operator,
    log_probs: Array,
    q_values: Array,
    bounded: dict[str, tuple[Array, Penalty]],
    duals: dict[str, Array],
    sample_axis: int,
    sided: bool,
) -> tuple[Array, dict[str, Array]]:
    """The operator's loss of each example by itself, [E*], and its metrics."""
    log_probs, q_values = jnp.moveaxis(log_probs, sample_axis, 0), jnp.moveaxis(q_values, sample_axis, 0)
    samples, batch = log_probs.shape[0], log_probs.shape[1:]
    kl = {part: jnp.reshape(value, (-1, value.shape[-1] if penalty.per_dimension else 1)) for part, (value, penalty) in bounded.items()}
    state = {name: jnp.broadcast_to(jnp.log(value), size) for name, value, size in _sized(duals, kl)}

    def one(log_prob: Array, q: Array, parts: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        value = q.mean()
        margin = 1e-6 * jnp.abs(value)
        sides = {"accept": q > value + margin, "reject": q < value - margin} if sided else {}
        planes = {name: side[:, None] for name, side in sides.items()}
        divided = {part: x[None] for part, x in parts.items()}
        loss, metrics = operator.jax(log_prob[:, None], evaluation=q[:, None], kl=divided, state=state, **planes)
        return loss, metrics

    flat = jnp.reshape(log_probs, (samples, -1)).T, jnp.reshape(q_values, (samples, -1)).T
    loss, metrics = jax.vmap(one)(*flat, kl)
    return jnp.reshape(loss, batch), {name: jnp.reshape(value, batch) for name, value in metrics.items()}


def _sized(duals: dict[str, Array], kl: dict[str, Array]) -> list[tuple[str, Array, tuple[int, ...]]]:
    return [(name, value, (kl[name.split("/")[1]].shape[1] if "/" in name else 1,)) for name, value in duals.items()]


def mpo_loss(
    sample_log_probs: Array,
    sample_q_values: Array,
    temperature_constraint: Penalty,
    kl_constraints: Sequence[tuple[Array, Penalty]],
    projection_operator: Project = _positive,
    sample_axis: int = 0,
) -> tuple[Array, dict[str, Array]]:
    """`rlax.mpo_loss`, computed by pmpo's operator. See there for the arguments; it takes no weights of the terms, and each `epsilon`
    must be a Python number.

    Returns:
      The loss of each example, [E*], and metrics.
    Raises:
      PmpoError: there are more than two constraints, or an argument does not fit.
    """
    bounded, settings, duals = _constraints("mpo_loss", kl_constraints, projection_operator)
    operator = operators.mpo(epsilon=float(temperature_constraint.epsilon), kl=settings, action_penalty=None)
    duals = {"logTemperature": projection_operator(temperature_constraint.alpha), **duals}
    return _per_example(operator, sample_log_probs, sample_q_values, bounded, duals, sample_axis, sided=False)


def pmpo_loss(
    sample_log_probs: Array,
    sample_q_values: Array,
    temperature_constraint: Penalty | None,
    kl_constraints: Sequence[tuple[Array, Penalty]],
    projection_operator: Project = _positive,
    sample_axis: int = 0,
    *,
    alpha: float = 0.5,
) -> tuple[Array, dict[str, Array]]:
    """PMPO (arXiv 2410.04166) with the arguments of `rlax.mpo_loss`: accepts samples above the mean of their example's Q-values.

    Args:
      temperature_constraint: unused; PMPO has no temperature.
      kl_constraints: the bounds, whose dual variables weight the KL.
      alpha: the weight of accepted against rejected samples, in [0, 1].

    Returns:
      The loss of each example, [E*], and metrics.
    Raises:
      PmpoError: there are more than two constraints, or an argument does not fit.
    """
    bounded, settings, duals = _constraints("pmpo_loss", kl_constraints, projection_operator)
    operator = operators.pmpo(alpha=alpha, kl=settings)
    return _per_example(operator, sample_log_probs, sample_q_values, bounded, duals, sample_axis, sided=True)
