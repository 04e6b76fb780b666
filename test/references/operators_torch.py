"""Writes operators_torch.json: losses and gradients in PyTorch, the reference for the unit tests beside src/operators/*.ts.

    $(node scripts/venv.mjs torch) test/references/operators_torch.py

The operators are those of test/interop/operators/by_hand.py, which were written from the papers. Each case is a batch of N samples of B
contexts, with what is behind the mask filled with a number that nothing may depend on.
"""

import pathlib
import sys

import torch
from fixtures import Draws, write

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop" / "operators"))

import by_hand  # noqa: E402

GARBAGE = -7e5


def batch(seed, n, b, parts=(), decoupled=False, scale=2):
    """Planes [N, B]. The last context has no samples, and the first no rejected ones; two evaluations are equal."""
    draws = Draws(seed)
    mask = (draws.uniform(0, 1, n, b) < 0.8).astype(float)
    mask[:, -1] = 0
    label = draws.integers(3, n, b)
    label[:, 0] = 1
    evaluation = draws.normal(n, b)
    evaluation[1, 1] = evaluation[0, 1]
    plane = lambda values: values * mask + GARBAGE * (1 - mask)  # noqa: E731
    planes = {
        "logProb": plane(draws.normal(n, b, scale=scale) - 6),
        "referenceLogProb": plane(draws.normal(n, b, scale=2) - 6),
        "evaluation": plane(evaluation),
        "accept": (label == 1) * 1.0,
        "reject": (label == 2) * 1.0,
        "mask": mask,
        "length": plane(1.0 + draws.integers(9, n, b)),
    }
    planes["mismatchedLogRatio"] = plane(0.3 + draws.normal(n, b))
    kl = lambda: {part: abs(draws.normal(b, 2, scale=0.3)) for part in parts}  # noqa: E731
    groups = {"kl": kl(), "reverseKl": kl()}
    if decoupled:
        groups |= {"decoupledKl": kl(), "decoupledLogProb": {part: plane(draws.normal(n, b) - 3) for part in parts}}
    return {"planes": planes, **groups}


def snake(name):
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def case(operator, settings, given, compute, state=None):
    """The loss and its gradients. `compute` takes the batch with Python's names, and the state."""
    leaves = {"logProb": given["planes"]["logProb"]}
    for group in ("kl", "reverseKl", "decoupledKl", "decoupledLogProb"):
        leaves |= {f"{group}/{part}": values for part, values in given.get(group, {}).items()}
    leaves |= {f"state/{name}": values for name, values in (state or {}).items()}
    leaves = {name: torch.tensor(values, requires_grad=True, dtype=torch.float64) for name, values in leaves.items()}
    x = {snake(name): torch.tensor(values, dtype=torch.float64) for name, values in given["planes"].items()}
    x["log_prob"] = leaves["logProb"]
    for group in ("kl", "reverseKl", "decoupledKl", "decoupledLogProb"):
        if group in given:
            x[snake(group)] = {part: leaves[f"{group}/{part}"] for part in given[group]}
    loss = compute(x, {name: leaves[f"state/{name}"] for name in state or {}})
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return {
        "operator": operator,
        "settings": settings,
        **given,
        "state": state or {},
        "loss": loss.item(),
        "gradients": {name: g.tolist() for name, g in zip(leaves, found) if g is not None},
    }


def v_mpo(seed, parts, decoupled, fraction):
    bounds = {part: {"epsilon": 0.02, "initialWeight": 1} for part in parts}
    state = {"logTemperature": [0.3], **{f"logKlWeight/{part}": [0.2, -0.4] for part in parts}}
    settings = {"epsilon": 0.2, "topFraction": fraction, "kl": bounds}
    return case(
        "v-mpo", settings, batch(seed, 5, 6, parts, decoupled), lambda x, s: by_hand.v_mpo(x, 0.2, fraction, bounds, s), state
    )


def pmpo(seed, settings, compute):
    return case("pmpo", settings, batch(seed, 5, 6, ("sequence",)), lambda x, _: compute(x))


def main():
    cases = [
        case("ipo", {"beta": 0.3}, batch(1, 5, 6), lambda x, _: by_hand.ipo(x, 0.3, False)),
        case("ipo", {"beta": 2, "perToken": True}, batch(2, 4, 7), lambda x, _: by_hand.ipo(x, 2, True)),
        case("cpo", {"beta": 0.3}, batch(12, 5, 6), lambda x, _: by_hand.cpo(x, 0.3, 1, False)),
        case(
            "cpo",
            {"beta": 0.1, "likelihoodWeight": 0.5, "perToken": True},
            batch(13, 4, 6),
            lambda x, _: by_hand.cpo(x, 0.1, 0.5, True),
        ),
        case("simpo", {}, batch(14, 5, 6), lambda x, _: by_hand.simpo(x, 2, 0.5)),
        case("orpo", {"oddsWeight": 0.7}, batch(15, 5, 6, scale=0.5), lambda x, _: by_hand.orpo(x, 0.7)),
        case("grpo", {}, batch(3, 5, 6), lambda x, _: by_hand.grpo(x, 0.2, 0, False)),
        case("grpo", {"epsilon": 0.5, "beta": 0.04, "perToken": True}, batch(4, 4, 7), lambda x, _: by_hand.grpo(x, 0.5, 0.04, True)),
        case("reinforce", {}, batch(5, 5, 6), lambda x, _: by_hand.reinforce(x)),
        case("awr", {"beta": 0.5, "maxWeight": 3}, batch(6, 5, 6), lambda x, _: by_hand.awr(x, 0.5, 3)),
        case("crr", {}, batch(7, 5, 6), lambda x, _: by_hand.crr(x, "binary", 1, 20)),
        case("crr", {"filter": "exponential", "beta": 0.3}, batch(8, 4, 6), lambda x, _: by_hand.crr(x, "exponential", 0.3, 20)),
        case("rejection-sampling", {}, batch(9, 5, 6), lambda x, _: by_hand.rejection_sampling(x)),
        pmpo(16, {"normalise": "batch", "alpha": 0.3}, lambda x: by_hand.pmpo(x, 0.3, {"sequence": 1}, {}, "batch")),
        pmpo(17, {"advantageScale": 0.5, "beta": 2}, lambda x: by_hand.pmpo(x, 0.5, {"sequence": 2}, {}, scale=0.5)),
        pmpo(18, {"perToken": True}, lambda x: by_hand.pmpo(x, 0.5, {"sequence": 1}, {}, is_per_token=True)),
        pmpo(
            19,
            {"reverseKl": True, "normalise": "batch", "advantageScale": 2},
            lambda x: by_hand.pmpo(x, 0.5, {"sequence": 1}, {}, "batch", scale=2, reverse=True),
        ),
        case(
            "kto",
            {"beta": 0.4, "referencePoint": "mismatched"},
            batch(20, 5, 6),
            lambda x, _: by_hand.kto(x, 0.4, 1, 1, mismatched=True),
        ),
        v_mpo(10, ("sequence",), False, 0.5),
        v_mpo(11, ("mean", "covariance"), True, 0.3),
    ]
    write(__file__, {"cases": cases})


if __name__ == "__main__":
    main()
