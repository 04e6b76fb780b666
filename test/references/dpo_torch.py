"""Writes dpo_torch.json: loss and gradients of DPO in PyTorch, the reference for src/operators/dpo.test.ts.

    $(node scripts/venv.mjs torch) test/references/dpo_torch.py

The formula is that of TRL's DPOTrainer with loss_type "sigmoid" and no label smoothing:

    loss = -logsigmoid(beta * ((chosen_logps - rejected_logps) - (ref_chosen_logps - ref_rejected_logps)))

- `pairs`: one pair for each of B contexts; gradients with respect to the log-probs.
- `gaussians`: N samples of a Gaussian policy for each context, from which the evaluation selects the pair; gradients with
  respect to the mean and the standard deviation.
"""

import torch
from fixtures import Draws, write
from torch.distributions import Independent, Normal
from torch.nn.functional import logsigmoid

torch.set_default_dtype(torch.float64)


def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    return -logsigmoid(beta * ((chosen - rejected) - (reference_chosen - reference_rejected)))


def pairs(seed, b, beta, scale):
    draws = Draws(seed)
    # [2, B]: row 0 is chosen and row 1 rejected.
    log_prob, reference = draws.normal(2, b, scale=scale) - 5, draws.normal(2, b, scale=scale) - 5
    leaf = torch.tensor(log_prob, requires_grad=True)
    loss = dpo(*leaf, *torch.tensor(reference), beta).mean()
    loss.backward()
    return {
        "beta": beta,
        "logProb": log_prob,
        "referenceLogProb": reference,
        "loss": loss.item(),
        "gradients": leaf.grad.tolist(),
    }


def gaussians(seed, n, b, a, beta, masked):
    draws = Draws(seed)
    mean, stddev = draws.normal(b, a, scale=0.5), draws.uniform(0.2, 1.2, b, a)
    reference_mean, reference_stddev = mean + draws.normal(b, a, scale=0.1), stddev * draws.uniform(0.8, 1.2, b, a)
    samples, evaluation = draws.normal(n, b, a), draws.normal(n, b)
    label = draws.integers(3, n, b)
    mask = draws.uniform(0, 1, n, b) < 0.7 if masked else draws.uniform(0, 1, n, b) >= 0
    leaves = [torch.tensor(mean, requires_grad=True), torch.tensor(stddev, requires_grad=True)]
    log_prob = Independent(Normal(*leaves), 1).log_prob(torch.tensor(samples))
    reference = Independent(Normal(torch.tensor(reference_mean), torch.tensor(reference_stddev)), 1)
    reference_log_prob = reference.log_prob(torch.tensor(samples))
    losses, chosen = [], []
    for context in range(b):
        accepted, rejected = ([i for i in range(n) if mask[i, context] and label[i, context] == side] for side in (1, 2))
        if not accepted or not rejected:
            chosen.append(None)
            continue
        best = max(accepted, key=lambda i: evaluation[i, context])
        worst = min(rejected, key=lambda i: evaluation[i, context])
        chosen.append([best, worst])
        take = lambda values: (values[best, context], values[worst, context])
        losses.append(dpo(*take(log_prob), *take(reference_log_prob), beta))
    loss = torch.stack(losses).mean()
    loss.backward()
    return {
        "beta": beta,
        "mean": mean,
        "stddev": stddev,
        "referenceMean": reference_mean,
        "referenceStddev": reference_stddev,
        "samples": samples,
        "evaluation": evaluation,
        "accept": (label == 1).astype(float),
        "reject": (label == 2).astype(float),
        "mask": mask.astype(float),
        "chosen": chosen,
        "loss": loss.item(),
        "gradients": {"mean": leaves[0].grad.tolist(), "stddev": leaves[1].grad.tolist()},
    }


def main():
    write(
        __file__,
        {
            "pairs": [pairs(1, 8, 0.1, 2), pairs(2, 5, 1, 1), pairs(3, 6, 2, 10)],
            "gaussians": [gaussians(4, 6, 8, 2, 1, False), gaussians(5, 7, 8, 3, 0.5, True)],
        },
    )


if __name__ == "__main__":
    main()
