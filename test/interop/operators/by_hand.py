"""The operators in plain PyTorch, written from their papers and not from pmpo's sources.

Shapes: N samples, B contexts, D dimensions of a part of the KL. Everything behind the mask is taken out before any arithmetic.
"""

import torch


def hidden(values, mask):
    """0 where the mask is 0, without a gradient there."""
    return torch.where(mask > 0, values, torch.zeros_like(values))


def side(log_prob, weights):
    """Mean over contexts of the weighted mean log-prob of a side; a context without weight adds 0."""
    total = weights.sum(0)
    share = weights / torch.where(total > 0, total, torch.ones_like(total))
    return (share * hidden(log_prob, weights)).sum(0).mean()


def constrained(kl, weights, state):
    """The KL in the loss: `weights` has a number or a bound `{"epsilon": ε}` for each part, `state` the logarithms of the duals."""
    loss = 0
    for part, values in kl.items():
        weight = weights[part]
        if isinstance(weight, dict):
            dual, mean = state[f"logKlWeight/{part}"].exp(), values.mean(0)
            loss = loss + (dual.detach() * mean).sum() + (dual * (weight["epsilon"] - mean.detach())).sum()
        else:
            loss = loss + weight * values.sum(-1).mean()
    return loss


def pmpo(x, alpha, weights, state):
    accept, reject = hidden(x["accept"], x["mask"]), hidden(x["reject"], x["mask"])
    likelihood = -alpha * side(x["log_prob"], accept) + (1 - alpha) * side(x["log_prob"], reject)
    return likelihood + constrained(x["kl"], weights, state)


def behavior_cloning(x):
    return -side(x["log_prob"], hidden(x["accept"], x["mask"]))


def kto(x, beta, desirable, undesirable):
    accept, reject = hidden(x["accept"], x["mask"]), hidden(x["reject"], x["mask"])
    point = sum(values.sum(-1).mean() for values in x["kl"].values()).clamp(min=0).detach()
    ratio = hidden(x["log_prob"], accept + reject) - hidden(x["reference_log_prob"], accept + reject)
    gain = accept * desirable * (1 - torch.sigmoid(beta * (ratio - point)))
    loss = reject * undesirable * (1 - torch.sigmoid(beta * (point - ratio)))
    weight = (accept + reject).sum()
    return (gain + loss).sum() / (weight if weight > 0 else 1)


def dpo(x, beta):
    losses = []
    for b in range(x["log_prob"].shape[1]):
        there = [n for n in range(x["log_prob"].shape[0]) if x["mask"][n, b] > 0]
        accepted = [n for n in there if x["accept"][n, b] > 0]
        rejected = [n for n in there if x["reject"][n, b] > 0]
        if not accepted or not rejected:
            continue
        best = max(accepted, key=lambda n: x["evaluation"][n, b].item())
        worst = min(rejected, key=lambda n: x["evaluation"][n, b].item())
        chosen = x["log_prob"][best, b] - x["log_prob"][worst, b]
        reference = x["reference_log_prob"][best, b] - x["reference_log_prob"][worst, b]
        losses.append(-torch.nn.functional.logsigmoid(beta * (chosen - reference)))
    return torch.stack(losses).mean() if losses else x["log_prob"].new_zeros(()).requires_grad_()


def e_step(values, mask, temperature, epsilon):
    """The loss of a temperature and the weights of the samples, one context after the other."""
    losses, weights = [], torch.zeros_like(values)
    for b in range(values.shape[1]):
        there = mask[:, b] > 0
        if not there.any():
            continue
        scaled = values[there, b] / temperature
        losses.append(torch.logsumexp(scaled, 0) - torch.log(there.sum().to(values.dtype)))
        weights[there, b] = torch.softmax(scaled, 0).detach()
    mean = torch.stack(losses).mean() if losses else 0
    return (temperature * (epsilon + mean)).sum(), weights


def mpo(x, epsilon, penalty, weights, state):
    """`penalty` is the bound of the action penalty, or None."""
    mask = x["mask"]
    loss, share = e_step(x["evaluation"], mask, state["logTemperature"].exp(), epsilon)
    if penalty is not None:
        more, extra = e_step(-x["bound_violation"], mask, state["logPenaltyTemperature"].exp(), penalty)
        loss, share = loss + more, share + extra
    parts = x.get("decoupled_log_prob", {"whole": x["log_prob"]})
    for values in parts.values():
        loss = loss - (share * hidden(values, mask)).sum(0).mean()
    return loss + constrained(x.get("decoupled_kl", x["kl"]), weights, state)
