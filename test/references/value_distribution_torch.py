"""Writes value_distribution_torch.json, the reference for src/networks/value-distribution.test.ts.

    $(node scripts/venv.mjs torch) test/references/value_distribution_torch.py

Target histograms as in the listing of "Stop Regressing" (arXiv 2403.03950, appendix A); the log density of a normal distribution around each
location, in its bins, plus the shape; PyTorch's cross-entropy with its gradients for location and shape; the mean of each histogram; and
location and shape in another unit, the shape by NumPy's interpolation.

Shapes: B contexts, K bins.
"""

import numpy as np
import torch
from fixtures import Draws, write
from torch.distributions import Normal
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
    location = draws.normal(contexts, 1, scale=2)
    shape = draws.normal(contexts, bins, scale=3)
    inside = torch.tensor(targets).clamp(centers[0].item(), centers[-1].item())
    deviation = SMOOTHING * (edges[1] - edges[0]).item()
    histograms = target_histograms(inside, edges, deviation)
    outputs = np.concatenate([location, shape], 1)
    leaf = torch.tensor(outputs, requires_grad=True)
    logits = Normal(leaf[:, :1], deviation).log_prob(centers) + leaf[:, 1:]
    loss = cross_entropy(logits, histograms)
    (gradient,) = torch.autograd.grad(loss, leaf)
    former = centers.numpy() * scale + shift
    resampled = [np.interp(former, centers.numpy(), row) for row in shape]
    return {
        "targets": targets,
        "outputs": outputs,
        "histograms": histograms.numpy(),
        "means": (softmax(logits, -1) * centers).sum(-1).detach().numpy(),
        "loss": loss.item(),
        "gradient": gradient.numpy(),
        "unit": {"scale": scale, "shift": shift},
        "moved": np.concatenate([(location - shift) / scale, resampled], 1),
    }


write(
    __file__,
    {"cases": [case(1, 6, 101, 1.02, -0.03), case(2, 5, 21, 0.7, 1.4), case(3, 4, 12, 30.0, -8.0)]},
)
