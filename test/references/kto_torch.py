"""Writes kto_torch.json: loss and gradients of KTO in PyTorch, the reference for src/operators/kto.test.ts.

    $(node scripts/venv.mjs torch) test/references/kto_torch.py

The formula is that of TRL's KTOTrainer with loss_type "kto", whose reference point is the mean KL, clamped at 0 and detached:

    chosen_losses = 1 - sigmoid(beta * (chosen_logratios - kl))
    rejected_losses = 1 - sigmoid(beta * (kl - rejected_logratios))
    loss = cat(desirable_weight * chosen_losses, undesirable_weight * rejected_losses).mean()

test/interop/torch_trainer compares with TRL's own code.
"""

import torch
from fixtures import Draws, write

torch.set_default_dtype(torch.float64)


def case(seed, n, b, beta, desirable, undesirable, kl_shift):
    """One case with random log-probs [N, B], and a random KL [B, 2] around `kl_shift`."""
    draws = Draws(seed)
    log_prob, reference = draws.normal(n, b, scale=3) - 8, draws.normal(n, b, scale=3) - 8
    label = draws.integers(3, n, b)
    mask = draws.uniform(0, 1, n, b) < 0.8
    kl = draws.normal(b, 2, scale=0.5) + kl_shift
    leaf, kl_leaf = torch.tensor(log_prob, requires_grad=True), torch.tensor(kl, requires_grad=True)
    point = kl_leaf.sum(-1).mean().clamp(min=0).detach()
    ratios = leaf - torch.tensor(reference)
    chosen = ratios[torch.tensor((label == 1) & mask)]
    rejected = ratios[torch.tensor((label == 2) & mask)]
    losses = torch.cat(
        (
            desirable * (1 - torch.sigmoid(beta * (chosen - point))),
            undesirable * (1 - torch.sigmoid(beta * (point - rejected))),
        )
    )
    loss = losses.mean()
    loss.backward()
    return {
        "settings": {"beta": beta, "desirableWeight": desirable, "undesirableWeight": undesirable},
        "logProb": log_prob,
        "referenceLogProb": reference,
        "accept": (label == 1).astype(float),
        "reject": (label == 2).astype(float),
        "mask": mask.astype(float),
        "kl": kl,
        "referencePoint": point.item(),
        "loss": loss.item(),
        "gradients": leaf.grad.tolist(),
    }


def main():
    write(
        __file__,
        {"cases": [case(1, 4, 6, 0.1, 1, 1, 1), case(2, 5, 3, 0.5, 1.3, 0.7, 0.5), case(3, 4, 4, 1, 1, 2, -3)]},
    )


if __name__ == "__main__":
    main()
