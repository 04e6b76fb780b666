"""PMPO of sequences, written by hand."""

ALPHA, BETA = 0.3, 0.7


def pmpo_by_hand(log_prob, old, mask, advantages, group):
    """PMPO (equation 10 of arXiv 2410.04166), prompt by prompt and sequence by sequence."""
    total = 0.0
    prompts = sorted(set(group))
    for prompt in prompts:
        accepted, rejected, kls = [], [], []
        for row in [row for row, other in enumerate(group) if other == prompt]:
            kept = mask[row].bool()
            if not kept.any():
                continue
            sequence = log_prob[row][kept].sum()
            advantage = advantages[row][kept].mean()
            if advantage > 0:
                accepted.append(sequence)
            if advantage < 0:
                rejected.append(sequence)
            ratio = (log_prob[row][kept] - old[row][kept]).exp()
            kls.append((ratio - 1 - ratio.log()).sum())
        if accepted:
            total = total - ALPHA * sum(accepted) / len(accepted)
        if rejected:
            total = total + (1 - ALPHA) * sum(rejected) / len(rejected)
        total = total + BETA * sum(kls) / max(len(kls), 1)
    return total / len(prompts)
