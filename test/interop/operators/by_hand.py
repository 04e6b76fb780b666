"""The operators in plain PyTorch, written from their papers and not from pmpo's sources.

Shapes: N samples, B contexts, D dimensions of a part of the KL. Everything behind the mask is taken out before any arithmetic.
"""

import torch


def hidden(values, mask):
    """0 where the mask is 0, without a gradient there."""
    return torch.where(mask > 0, values, torch.zeros_like(values))


def side(log_prob, weights, factors=1):
    """Mean over contexts of the weighted mean of a side's `factors * log_prob`; a context without weight adds 0."""
    total = weights.sum(0)
    share = weights / torch.where(total > 0, total, torch.ones_like(total))
    return (factors * share * hidden(log_prob, weights)).sum(0).mean()


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


def pmpo(x, alpha, weights, state, normalise="context", is_per_token=False, scale=None, reverse=False):
    accept, reject = hidden(x["accept"], x["mask"]), hidden(x["reject"], x["mask"])
    log_prob = per_token(x) if is_per_token else x["log_prob"]
    size = torch.ones_like(accept)
    if scale is not None:
        for b, there in contexts(x):
            f = x["evaluation"][there, b]
            size[there, b] = torch.tanh((f - f.mean()) / scale).abs()
    if normalise == "batch":
        flat = lambda values: values.reshape(-1, 1)  # noqa: E731
        sides = [side(flat(log_prob), flat(weight), flat(size)) for weight in (accept, reject)]
    else:
        sides = [side(log_prob, weight, size) for weight in (accept, reject)]
    return -alpha * sides[0] + (1 - alpha) * sides[1] + constrained(x["reverse_kl" if reverse else "kl"], weights, state)


def behavior_cloning(x):
    return -side(x["log_prob"], hidden(x["accept"], x["mask"]))


def kto(x, beta, desirable, undesirable, mismatched=False):
    accept, reject = hidden(x["accept"], x["mask"]), hidden(x["reject"], x["mask"])
    if mismatched:
        there = x["mismatched_log_ratio"][x["mask"] > 0]
        point = there.mean().clamp(min=0) if len(there) else torch.zeros(())
    else:
        point = sum(values.sum(-1).mean() for values in x["kl"].values()).clamp(min=0).detach()
    ratio = hidden(x["log_prob"], accept + reject) - hidden(x["reference_log_prob"], accept + reject)
    gain = accept * desirable * (1 - torch.sigmoid(beta * (ratio - point)))
    loss = reject * undesirable * (1 - torch.sigmoid(beta * (point - ratio)))
    weight = (accept + reject).sum()
    return (gain + loss).sum() / (weight if weight > 0 else 1)


def pairs(x):
    """The context, the best accepted and the worst rejected sample of each context that has both."""
    found = []
    for b in range(x["log_prob"].shape[1]):
        there = [n for n in range(x["log_prob"].shape[0]) if x["mask"][n, b] > 0]
        accepted = [n for n in there if x["accept"][n, b] > 0]
        rejected = [n for n in there if x["reject"][n, b] > 0]
        if accepted and rejected:
            best = max(accepted, key=lambda n: x["evaluation"][n, b].item())
            worst = min(rejected, key=lambda n: x["evaluation"][n, b].item())
            found.append((b, best, worst))
    return found


def mean(losses, x):
    """The mean of the losses of pairs, 0 without any."""
    return torch.stack(losses).mean() if losses else (x["log_prob"] * 0).nan_to_num().sum()


def ratios(x, per_token=False):
    """The log-ratio of each sample, divided by its length if `per_token`."""
    values = hidden(x["log_prob"] - x["reference_log_prob"], x["mask"])
    return values / torch.where(x["mask"] > 0, x["length"], 1) if per_token else values


def dpo(x, beta, all_pairs):
    r = ratios(x)

    def loss(b, a, w):
        return -torch.nn.functional.logsigmoid(beta * (r[a, b] - r[w, b]))

    if not all_pairs:
        return mean([loss(*pair) for pair in pairs(x)], x)
    of_contexts = []
    for b, _, _ in pairs(x):
        sides = [[n for n in range(len(r)) if x["mask"][n, b] > 0 and x[side][n, b] > 0] for side in ("accept", "reject")]
        of_contexts.append(torch.stack([loss(b, a, w) for a in sides[0] for w in sides[1]]).mean())
    return mean(of_contexts, x)


def ipo(x, beta, per_token):
    r = ratios(x, per_token)
    return mean([(r[a, b] - r[w, b] - 1 / (2 * beta)) ** 2 for b, a, w in pairs(x)], x)


def per_token(x):
    """The mean log-prob of a token of each sample."""
    return hidden(x["log_prob"], x["mask"]) / torch.where(x["mask"] > 0, x["length"], 1)


def cpo(x, beta, weight, is_per_token):
    p, raised = x["log_prob"], per_token(x) if is_per_token else x["log_prob"]
    return mean(
        [-torch.nn.functional.logsigmoid(beta * p[a, b] - beta * p[w, b]) - weight * raised[a, b] for b, a, w in pairs(x)], x
    )


def simpo(x, beta, gamma):
    p = per_token(x)
    return mean([-torch.nn.functional.logsigmoid(beta * p[a, b] - beta * p[w, b] - gamma) for b, a, w in pairs(x)], x)


def orpo(x, weight):
    p = per_token(x)
    odds = lambda n, b: p[n, b] - torch.log(-torch.expm1(p[n, b]))  # noqa: E731
    return mean([-p[a, b] - weight * torch.nn.functional.logsigmoid(odds(a, b) - odds(w, b)) for b, a, w in pairs(x)], x)


def contexts(x):
    """The number and the present samples of each context that has any."""
    there = x["mask"] > 0
    return [(b, there[:, b]) for b in range(there.shape[1]) if there[:, b].any()]


def over_contexts(losses, x):
    """The mean of the contexts' losses over all contexts, of which those without samples count as 0."""
    return (torch.stack(losses).sum() if losses else (x["log_prob"] * 0).nan_to_num().sum()) / x["log_prob"].shape[1]


def grpo(x, epsilon, beta, per_token):
    r, losses = ratios(x, per_token), []
    for b, there in contexts(x):
        f, ratio = x["evaluation"][there, b], r[there, b].clamp(-20, 20).exp()
        advantage = (f - f.mean()) / (f.std() + 1e-4) if len(f) > 1 else torch.zeros_like(f)
        clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
        k3 = 1 / ratio - torch.log(1 / ratio) - 1
        losses.append((beta * k3 - torch.minimum(ratio * advantage, clipped * advantage)).mean())
    return over_contexts(losses, x)


def reinforce(x):
    losses = []
    for b, there in contexts(x):
        f, log_prob = x["evaluation"][there, b], x["log_prob"][there, b]
        others = [torch.cat([f[:n], f[n + 1 :]]) for n in range(len(f))]
        baseline = torch.stack([o.mean() if len(o) else f[n] for n, o in enumerate(others)])
        losses.append(-((f - baseline) * log_prob).mean())
    return over_contexts(losses, x)


def weighted(x, weights):
    """The weighted likelihood, with the weights a function of the advantages."""
    losses = []
    for b, there in contexts(x):
        f = x["evaluation"][there, b]
        losses.append(-(weights(f - f.mean()) * x["log_prob"][there, b]).mean())
    return over_contexts(losses, x)


def awr(x, beta, largest):
    return weighted(x, lambda advantage: (advantage / beta).exp().clamp(max=largest))


def crr(x, filter, beta, largest):
    if filter == "exponential":
        return awr(x, beta, largest)
    return weighted(x, lambda advantage: (advantage > 1e-9).to(advantage.dtype))


def rejection_sampling(x):
    losses = []
    for b, there in contexts(x):
        accepted = [n for n in range(len(there)) if there[n] and x["accept"][n, b] > 0]
        if accepted:
            losses.append(-x["log_prob"][max(accepted, key=lambda n: x["evaluation"][n, b].item()), b])
    return over_contexts(losses, x)


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


def v_mpo(x, epsilon, fraction, weights, state):
    mask, advantage = x["mask"] > 0, torch.zeros_like(x["mask"])
    for b, there in contexts(x):
        advantage[there, b] = x["evaluation"][there, b] - x["evaluation"][there, b].mean()
    temperature, loss = state["logTemperature"].exp(), 0
    if mask.any():
        count = max(1, int(fraction * int(mask.sum()) + 1e-3))
        threshold = advantage[mask].sort(descending=True).values[count - 1]
        kept = mask & (advantage >= threshold)
        scaled = advantage[kept] / temperature
        share = torch.zeros_like(x["mask"])
        share[kept] = torch.softmax(scaled, 0).detach()
        loss = (temperature * (epsilon + torch.logsumexp(scaled, 0) - torch.log(kept.sum().to(scaled.dtype)))).sum()
        for values in x.get("decoupled_log_prob", {"whole": x["log_prob"]}).values():
            loss = loss - (share * hidden(values, x["mask"])).sum()
    else:
        loss = (temperature * epsilon).sum() + (x["log_prob"] * 0).nan_to_num().sum()
    return loss + constrained(x.get("decoupled_kl", x["kl"]), weights, state)
