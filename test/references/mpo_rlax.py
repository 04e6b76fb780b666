"""Writes mpo_rlax.json: loss and gradients of MPO by rlax, the reference for src/operators/mpo.test.ts.

    $(node scripts/venv.mjs jax) test/references/mpo_rlax.py

Decoupled constraints per dimension and action penalization as in Acme's MPO: the mean is fitted with the reference's standard
deviation, the standard deviation with the reference's mean, and the KL of the mean uses the reference's standard deviation.

Shapes: N samples, B contexts, A action dimensions, D dimensions of a KL.
"""

import functools

import distrax
import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import rlax
from fixtures import Draws, write

EPSILON, PENALTY_EPSILON = 0.1, 1e-3
KL_EPSILON = {"mean": 0.01, "covariance": 1e-6, "categorical": 0.02}
POSITIVE = functools.partial(jnp.clip, min=1e-10)


def dual(stored):
    """The value of a dual variable, which is stored as its logarithm."""
    return jnp.exp(stored)


def e_step(values, temperature, epsilon):
    """Temperature loss and weights by rlax, for the values [n, 1] of one context's samples."""
    loss, weights, _ = rlax.mpo_compute_weights_and_temperature_loss(
        values, rlax.LagrangePenalty(temperature, epsilon), POSITIVE, sample_axis=0
    )
    return loss, jax.lax.stop_gradient(weights)


def held(parts, state):
    """Sum of the penalties and dual losses [B] by rlax of KLs [B, D]."""
    constraints = [
        (kl, rlax.LagrangePenalty(dual(state[f"logKlWeight/{name}"]), KL_EPSILON[name], True)) for name, kl in parts.items()
    ]
    return sum(rlax.compute_parametric_kl_penalty_and_dual_loss(constraints, POSITIVE, True))


def gaussian(mean, stddev):
    return distrax.MultivariateNormalDiag(mean, stddev)


def per_dimension_kl(p, q):
    """KL(p || q) [B, A] of Gaussians given as pairs (mean, stddev)."""
    return distrax.Normal(*p).kl_divergence(distrax.Normal(*q))


def gaussian_loss(parameters, state, inputs):
    new, old = (parameters["mean"], parameters["stddev"]), (inputs["referenceMean"], inputs["referenceStddev"])
    fit = gaussian(new[0], old[1]).log_prob(inputs["samples"]) + gaussian(old[0], new[1]).log_prob(inputs["samples"])
    parts = {"mean": per_dimension_kl(old, (new[0], old[1])), "covariance": per_dimension_kl(old, (old[0], new[1]))}
    return total(fit, parts, state, inputs)


def categorical_loss(parameters, state, inputs):
    shape = (*inputs["samples"].shape[1:], -1)
    new = distrax.Categorical(parameters["logits"].reshape(shape))
    old = distrax.Categorical(inputs["referenceLogits"].reshape(shape))
    fit, kl = new.log_prob(inputs["samples"]).sum(-1), old.kl_divergence(new)
    if not jnp.all(inputs["mask"] > 0):
        return total(fit, {"categorical": kl}, state, inputs)
    per_context, _ = rlax.mpo_loss(
        fit,
        inputs["evaluation"],
        rlax.LagrangePenalty(dual(state["logTemperature"])[0], EPSILON),
        [(kl, rlax.LagrangePenalty(dual(state["logKlWeight/categorical"]), KL_EPSILON["categorical"], True))],
    )
    return jnp.mean(per_context)


def total(fit, parts, state, inputs):
    """The total loss, averaged over contexts. The E-step and M-step of a context use only its unmasked samples."""
    losses = []
    for context in range(fit.shape[1]):
        there = inputs["mask"][:, context] > 0
        values = inputs["evaluation"][there, context][:, None]
        loss, weights = e_step(values, dual(state["logTemperature"]), EPSILON)
        if inputs["boundViolation"] is not None:
            cost = -inputs["boundViolation"][there, context][:, None]
            extra_loss, extra = e_step(cost, dual(state["logPenaltyTemperature"]), PENALTY_EPSILON)
            loss, weights = loss + extra_loss, weights + extra
        losses.append(jnp.sum(loss) - jnp.sum(weights[:, 0] * fit[there, context]))
    return jnp.mean(jnp.stack(losses)) + jnp.mean(held(parts, state))


def solve(loss, parameters, state, inputs):
    as_arrays = functools.partial(jax.tree.map, jnp.asarray)
    value, (gradients, duals) = jax.value_and_grad(loss, argnums=(0, 1))(
        as_arrays(parameters), as_arrays(state), {key: None if v is None else jnp.asarray(v) for key, v in inputs.items()}
    )
    return {
        "parameters": parameters,
        "state": state,
        "inputs": inputs,
        "loss": value,
        "gradients": gradients,
        "stateGradients": duals,
    }


def make(seed, *, n, b, a, penalized, masked, bins=None):
    draws = Draws(seed)
    mask = draws.uniform(0, 1, n, b) < 0.7 if masked else draws.uniform(0, 1, n, b) >= 0
    mask[0] = True
    inputs = {"mask": mask.astype(float), "evaluation": draws.normal(n, b, scale=3), "boundViolation": None}
    state = {"logTemperature": draws.normal(1)}
    if bins is None:
        parameters = {"mean": draws.normal(b, a, scale=0.5), "stddev": draws.uniform(0.2, 1.2, b, a)}
        inputs["referenceMean"] = parameters["mean"] + draws.normal(b, a, scale=0.1)
        inputs["referenceStddev"] = parameters["stddev"] * draws.uniform(0.8, 1.2, b, a)
        inputs["samples"] = inputs["referenceMean"] + inputs["referenceStddev"] * draws.normal(n, b, a)
        state |= {"logKlWeight/mean": draws.normal(a), "logKlWeight/covariance": draws.normal(a) + 1}
    else:
        parameters = {"logits": draws.normal(b, a * bins)}
        inputs["referenceLogits"] = parameters["logits"] + draws.normal(b, a * bins, scale=0.2)
        inputs["samples"] = draws.integers(bins, n, b, a)
        inputs["bins"] = bins
        state |= {"logKlWeight/categorical": draws.normal(a)}
    if penalized:
        inputs["boundViolation"] = draws.uniform(0, 0.6, n, b)
        state["logPenaltyTemperature"] = draws.normal(1)
    return solve(gaussian_loss if bins is None else categorical_loss, parameters, state, inputs)


def main():
    write(
        __file__,
        {
            "settings": {"epsilon": EPSILON, "penaltyEpsilon": PENALTY_EPSILON, "kl": KL_EPSILON},
            "cases": {
                "Gaussian": make(1, n=6, b=5, a=3, penalized=False, masked=False),
                "Gaussian, out of bounds": make(2, n=20, b=4, a=2, penalized=True, masked=False),
                "Gaussian, unequal numbers of samples": make(3, n=5, b=6, a=2, penalized=True, masked=True),
                "categorical": make(4, n=6, b=4, a=2, bins=5, penalized=False, masked=False),
                "categorical, unequal numbers of samples": make(5, n=5, b=4, a=3, bins=7, penalized=False, masked=True),
            },
        },
    )


if __name__ == "__main__":
    main()
