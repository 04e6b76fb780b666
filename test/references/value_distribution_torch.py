"""Writes value_distribution_torch.json, the reference for src/networks/value-distribution.test.ts.

    $(node scripts/venv.mjs torch) test/references/value_distribution_torch.py

Target histograms as in the listing of "Stop Regressing" (arXiv 2403.03950, appendix A), PyTorch's cross-entropy of them with its gradients,
the mean of each histogram, and logits moved to bins of another unit by NumPy's interpolation.

Shapes: B contexts, K bins.
"""

import numpy as np
import torch
from fixtures import Draws, write
from torch.nn.functional import cross_entropy, softmax

torch.set_default_dtype(torch.float64)

LIMIT = 10
SMOOTHING = 0.75


def target_histograms(targets: torch.Tensor, edges: torch.Tensor, sigma: float) -> torch.Tensor:
    cdf = torch.special.erf((edges - targets.unsqueeze(-1)) / (np.sqrt(2) * sigma))
    z = cdf[..., -1] - cdf[..., 0]
    return (cdf[..., 1:] - cdf[..., :-1]) / z.unsqueeze(-1)


def case(seed: int, contexts: int, bins: int, scale: float, shift: float):
    draws = Draws(seed)
    edges = torch.linspace(-LIMIT, LIMIT, bins + 1)
    centers = (edges[1:] + edges[:-1]) / 2
    # Two of the targets are beyond the bins.
    targets = np.concatenate([draws.normal(contexts - 2, scale=2), [-12.5, 400.0]])
    logits = draws.normal(contexts, bins, scale=3)
    inside = torch.tensor(targets).clamp(centers[0].item(), centers[-1].item())
    histograms = target_histograms(inside, edges, SMOOTHING * (edges[1] - edges[0]).item())
    leaf = torch.tensor(logits, requires_grad=True)
    loss = cross_entropy(leaf, histograms)
    (gradient,) = torch.autograd.grad(loss, leaf)
    former = centers.numpy() * scale + shift
    moved = [np.interp(former, centers.numpy(), row) for row in logits]
    return {
        "targets": targets,
        "logits": logits,
        "histograms": histograms.numpy(),
        "means": (softmax(leaf, -1) * centers).sum(-1).detach().numpy(),
        "loss": loss.item(),
        "gradient": gradient.numpy(),
        "unit": {"scale": scale, "shift": shift},
        "moved": moved,
    }


write(
    __file__,
    {"cases": [case(1, 6, 101, 1.02, -0.03), case(2, 5, 21, 0.7, 1.4), case(3, 4, 12, 30.0, -8.0)]},
)
