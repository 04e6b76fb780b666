"""Writes distributions_torch.json: results of torch.distributions, the reference for src/distributions/*.test.ts.

    $(node scripts/venv.mjs torch) test/references/distributions_torch.py

Log-probs, entropies and KLs in both directions of diagonal Gaussians and independent categoricals, with the gradients
of the sum of log-probs and of the sum of each KL.

Shapes: N samples, B contexts, A action dimensions, K the largest number of bins.
"""

import torch
from fixtures import Draws, write
from torch.distributions import Categorical, Distribution, Independent, Normal, kl_divergence, register_kl
from torch.nn.functional import softplus

torch.set_default_dtype(torch.float64)


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def gradients(scalar, parameters):
    found = torch.autograd.grad(scalar, parameters, retain_graph=True, materialize_grads=True)
    return [gradient.tolist() for gradient in found]


def compare(p, q, p_parameters, q_parameters, samples):
    """All results for two distributions, and their gradients with respect to the parameters."""
    log_prob, forward, backward = p.log_prob(samples), kl_divergence(p, q), kl_divergence(q, p)
    return {
        "logProb": log_prob.tolist(),
        "logProbGradients": gradients(log_prob.sum(), p_parameters),
        "entropy": p.entropy().tolist(),
        "entropyGradients": gradients(p.entropy().sum(), p_parameters),
        "kl": forward.tolist(),
        "klGradients": gradients(forward.sum(), [*p_parameters, *q_parameters]),
        "reverseKl": backward.tolist(),
        "reverseKlGradients": gradients(backward.sum(), [*p_parameters, *q_parameters]),
    }


def gaussians(seed, n, b, a, low):
    draws = Draws(seed)
    p = [draws.normal(b, a), draws.uniform(low, 1.5, b, a)]
    q = [draws.normal(b, a), draws.uniform(low, 1.5, b, a)]
    samples = draws.normal(n, b, a)
    p_leaves, q_leaves = [leaf(x) for x in p], [leaf(x) for x in q]
    results = compare(
        Independent(Normal(*p_leaves), 1), Independent(Normal(*q_leaves), 1), p_leaves, q_leaves, torch.tensor(samples)
    )
    return {"p": p, "q": q, "samples": samples, **results}


def gaussian_head(seed, n, b, a, min_stddev, initial_stddev):
    """The Gaussian head: tanh for the mean, and a softplus for the standard deviation.

    The standard deviation is `initial_stddev` for an output of 0, and `min_stddev` in the limit of -∞.
    """
    draws = Draws(seed)
    outputs, samples = draws.normal(b, 2 * a, scale=2), draws.normal(n, b, a)
    leaves = leaf(outputs)
    raw, width = leaves.split(a, -1)
    scale = (initial_stddev - min_stddev) / softplus(torch.tensor(0.0))
    p = Independent(Normal(torch.tanh(raw), min_stddev + scale * softplus(width)), 1)
    log_prob = p.log_prob(torch.tensor(samples))
    return {
        "settings": {"minStddev": min_stddev, "initialStddev": initial_stddev},
        "outputs": outputs,
        "samples": samples,
        "mode": p.mean.tolist(),
        "spread": p.stddev.mean(-1).tolist(),
        "logProb": log_prob.tolist(),
        "logProbGradients": gradients(log_prob.sum(), [leaves]),
    }


class Product(Distribution):
    """Independent categoricals with different numbers of bins; each uses the first of its K logits in [B, A, K]."""

    def __init__(self, logits, bins):
        super().__init__(validate_args=False)
        self.parts = [Categorical(logits=logits[:, d, :k]) for d, k in enumerate(bins)]

    def log_prob(self, value):
        return sum(part.log_prob(value[..., d]) for d, part in enumerate(self.parts))

    def entropy(self):
        return sum(part.entropy() for part in self.parts)


@register_kl(Product, Product)
def kl_of_products(p, q):
    return sum(kl_divergence(of_p, of_q) for of_p, of_q in zip(p.parts, q.parts))


def categoricals(seed, n, b, bins):
    """Dimensions with equally spaced bins from -1 to 1. A single bin lies at 0."""
    draws = Draws(seed)
    a, most = len(bins), max(bins)
    p, q = draws.normal(b, a * most, scale=2), draws.normal(b, a * most, scale=2)
    samples = (torch.tensor(draws.integers(most, n, b, a)) % torch.tensor(bins)).tolist()
    p_leaf, q_leaf = leaf(p), leaf(q)
    p_torch, q_torch = (Product(x.reshape(b, a, most), bins) for x in (p_leaf, q_leaf))
    results = compare(p_torch, q_torch, [p_leaf], [q_leaf], torch.tensor(samples))
    modes, deviations = [], []
    for part, k in zip(p_torch.parts, bins):
        values = torch.linspace(-1, 1, k) if k > 1 else torch.zeros(1)
        mean = (part.probs * values).sum(-1, keepdim=True)
        deviations.append((part.probs * (values - mean) ** 2).sum(-1).sqrt())
        modes.append(values[part.logits.argmax(-1)])
    return {
        "bins": bins,
        "p": p,
        "q": q,
        "samples": samples,
        "mode": torch.stack(modes, -1).tolist(),
        "spread": torch.stack(deviations, -1).mean(-1).tolist(),
        **results,
    }


def main():
    write(
        __file__,
        {
            "gaussians": [gaussians(1, 5, 4, 3, 0.2), gaussians(2, 3, 6, 1, 0.05)],
            "gaussianHeads": [gaussian_head(3, 4, 5, 3, 0.01, 0.5), gaussian_head(4, 4, 5, 1, 0.2, 0.7)],
            "categoricals": [
                categoricals(5, 6, 4, [5, 5, 5]),
                categoricals(6, 4, 5, [11, 11]),
                categoricals(7, 4, 3, [2]),
                categoricals(8, 5, 4, [2, 7, 3]),
                categoricals(9, 5, 4, [1, 4, 2, 1]),
            ],
        },
    )


if __name__ == "__main__":
    main()
