"""Writes pmpo_jax.json: loss and gradients of PMPO, the reference for src/operators/pmpo.test.ts.

    $(node scripts/venv.mjs jax) test/references/pmpo_jax.py

Equation 10 of arXiv 2410.04166 in JAX, for one context after the other, with distrax's log-probs and KLs:

    L = mean over contexts of  -alpha E_{D_a} log pi + (1 - alpha) E_{D_r} log pi + sum over parts of beta KL(ref || pi)

An expectation over no samples is 0. The KL of Gaussians has two parts: that of the mean, with the policy's standard deviation,
and that of the covariance. A part may be bounded instead of weighted, with rlax's KL constraint.

Shapes: N samples, B contexts, A action dimensions, D dimensions of a KL.
"""

import functools

import distrax
import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import rlax
from fixtures import Draws, write


def gaussian_terms(parameters, inputs):
    """log pi [N, B] and the parts of the KL, [B, A] each."""
    mean, stddev = parameters["mean"], parameters["stddev"]
    old_mean, old_stddev = inputs["referenceMean"], inputs["referenceStddev"]
    normal = distrax.Normal
    return distrax.MultivariateNormalDiag(mean, stddev).log_prob(inputs["samples"]), {
        "mean": normal(old_mean, stddev).kl_divergence(normal(mean, stddev)),
        "covariance": normal(mean, old_stddev).kl_divergence(normal(mean, stddev)),
    }


def categorical_terms(parameters, inputs):
    shape = (*inputs["samples"].shape[1:], -1)
    new = distrax.Categorical(parameters["logits"].reshape(shape))
    old = distrax.Categorical(inputs["referenceLogits"].reshape(shape))
    return new.log_prob(inputs["samples"]).sum(-1), {"categorical": old.kl_divergence(new)}


def expectation(log_prob, weight):
    """The weighted mean over one context's samples; 0 if all weights are 0."""
    return jnp.sum(weight * log_prob) / jnp.sum(weight) if jnp.any(weight > 0) else 0.0


def kl_term(kl, setting, stored):
    """beta KL, or the penalty and dual loss of a bounded KL, averaged over contexts; `kl` has shape [B, D]."""
    if not isinstance(setting, dict):
        return setting * jnp.mean(jnp.sum(kl, -1))
    penalty = rlax.LagrangePenalty(jnp.exp(stored), setting["epsilon"], True)
    positive = functools.partial(jnp.clip, min=1e-10)
    return jnp.mean(sum(rlax.compute_parametric_kl_penalty_and_dual_loss([(kl, penalty)], positive, True)))


def pmpo_loss(parameters, state, inputs, settings, terms):
    log_prob, parts = terms(parameters, inputs)
    alpha, total = settings["alpha"], 0.0
    for context in range(log_prob.shape[1]):
        there = inputs["mask"][:, context] > 0
        accepted, rejected = (
            expectation(log_prob[there, context], inputs[side][there, context]) for side in ("accept", "reject")
        )
        total += (1 - alpha) * rejected - alpha * accepted
    penalty = sum(
        kl_term(kl, settings.get("kl", {}).get(name, settings["beta"]), state.get(f"logKlWeight/{name}"))
        for name, kl in parts.items()
    )
    return total / log_prob.shape[1] + penalty


def weights(draws, kind, n, b):
    """Accept and reject weights [N, B]."""
    none = jnp.zeros((n, b))
    if kind == "soft":
        accept = draws.uniform(0, 1, n, b)
        return accept, (1 - accept).round(4)
    label = draws.integers(3, n, b)
    accept, reject = (label == 1).astype(float), (label == 2).astype(float)
    if kind == "accept only":
        return accept, none
    if kind == "reject only":
        return none, reject
    if kind == "empty sides":  # Context 0 has no accepted samples, context 1 no rejected ones, context 2 neither.
        accept[:, [0, 2]], reject[:, [1, 2]] = 0, 0
    return accept, reject


def make(seed, settings, *, kind="hard", n=6, b=5, a=3, masked=False, bins=None):
    draws = Draws(seed)
    accept, reject = weights(draws, kind, n, b)
    mask = draws.uniform(0, 1, n, b) < 0.7 if masked else draws.uniform(0, 1, n, b) >= 0
    inputs = {"mask": mask.astype(float), "accept": accept, "reject": reject}
    state = {}
    if bins is None:
        parameters = {"mean": draws.normal(b, a, scale=0.5), "stddev": draws.uniform(0.2, 1.2, b, a)}
        inputs["referenceMean"] = parameters["mean"] + draws.normal(b, a, scale=0.1)
        inputs["referenceStddev"] = parameters["stddev"] * draws.uniform(0.8, 1.2, b, a)
        inputs["samples"] = inputs["referenceMean"] + inputs["referenceStddev"] * draws.normal(n, b, a)
    else:
        parameters = {"logits": draws.normal(b, a * bins)}
        inputs["referenceLogits"] = parameters["logits"] + draws.normal(b, a * bins, scale=0.2)
        inputs["samples"] = draws.integers(bins, n, b, a)
        inputs["bins"] = bins
    for name, setting in settings.get("kl", {}).items():
        if isinstance(setting, dict):
            state[f"logKlWeight/{name}"] = draws.normal(a, scale=2)
    terms = gaussian_terms if bins is None else categorical_terms
    arrays = functools.partial(jax.tree.map, jnp.asarray)
    loss, (gradients, duals) = jax.value_and_grad(
        lambda p, s: pmpo_loss(p, s, arrays(inputs), settings, terms), argnums=(0, 1)
    )(arrays(parameters), arrays(state))
    return {
        "settings": settings,
        "parameters": parameters,
        "state": state,
        "inputs": inputs,
        "loss": loss,
        "gradients": gradients,
        "stateGradients": duals,
    }


def main():
    both, accepts, rejects = ({"alpha": alpha, "beta": beta} for alpha, beta in ((0.5, 0.5), (1, 0.7), (0, 2)))
    parts = {"alpha": 0.3, "beta": 1, "kl": {"covariance": 50, "categorical": 8}}
    bounds = {"alpha": 0.5, "beta": 1, "kl": {"mean": {"epsilon": 0.01}, "covariance": {"epsilon": 1e-4}}}
    write(
        __file__,
        {
            "accepted and rejected": make(1, both),
            "accepted alone": make(2, accepts, kind="accept only"),
            "rejected alone": make(3, rejects, kind="reject only"),
            "a weight for each part of the KL": make(4, parts),
            "bounds on the parts of the KL": make(5, bounds),
            "soft weights": make(6, parts, kind="soft"),
            "empty sides": make(7, both, kind="empty sides"),
            "unequal numbers of samples": make(8, both, kind="soft", masked=True, b=8),
            "categorical": make(9, parts, bins=5, a=2),
            "categorical, soft weights, unequal numbers": make(10, both, kind="soft", masked=True, bins=4),
            "categorical, rejected alone, empty sides": make(11, rejects, kind="reject only", n=3, bins=3),
        },
    )


if __name__ == "__main__":
    main()
