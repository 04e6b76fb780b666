"""The time of an operator's loss and gradients in PyTorch (eager and compiled) and JAX, beside the same loss written by hand.

    python bench/operators_python.py [--rounds N]

Prints one JSON object. The losses by hand are vectorised as an expert would write them, with the same masks: samples that are absent
may hold anything. They are written once, for both libraries; rlax's `mpo_loss` is in test/interop/operators, which compares numbers.

Shapes: N samples, B contexts.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import statistics
import sys
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "plugins" / "python"))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import pmpo  # noqa: E402

SIZES = [(4, 256), (16, 1024), (4, 8)]
"""Two batches of a robot's, and 32 sequences: 8 prompts with 4 completions each."""


class Torch:
    where, exp, log, maximum, minimum = torch.where, torch.exp, torch.log, torch.maximum, torch.minimum
    sigmoid, softmax, logsumexp = torch.sigmoid, torch.softmax, torch.logsumexp
    logsigmoid = torch.nn.functional.logsigmoid

    @staticmethod
    def sum(x: Any, axis: int | None = None) -> Any:
        return x.sum() if axis is None else x.sum(axis)

    @staticmethod
    def stop(x: Any) -> Any:
        return x.detach()

    @staticmethod
    def pick(x: Any, index: Any) -> Any:
        return x.gather(0, index[None])[0]

    @staticmethod
    def clip(x: Any, low: float | None, high: float) -> Any:
        return x.clamp(low, high)


class Jax:
    where, exp, log, maximum, minimum = jnp.where, jnp.exp, jnp.log, jnp.maximum, jnp.minimum
    sigmoid, softmax, logsumexp = jax.nn.sigmoid, jax.nn.softmax, jax.nn.logsumexp
    logsigmoid = jax.nn.log_sigmoid
    sum = staticmethod(jnp.sum)
    stop = staticmethod(jax.lax.stop_gradient)
    clip = staticmethod(jnp.clip)

    @staticmethod
    def pick(x: Any, index: Any) -> Any:
        return jnp.take_along_axis(x, index[None], 0)[0]


def _shown(xp: Any, values: Any, mask: Any) -> Any:
    return xp.where(mask > 0, values, 0.0)


def _side(xp: Any, log_prob: Any, weights: Any) -> Any:
    total = xp.sum(weights, 0)
    share = weights / xp.where(total > 0, total, 1.0)
    return (share * _shown(xp, log_prob, weights)).sum(0).mean()


def _kl(x: Any, weight: float) -> Any:
    return weight * x["kl"].sum(-1).mean()


def _pairs(xp: Any, x: Any) -> Any:
    """The places of the best accepted and the worst rejected sample of each context, and which contexts have both."""
    accept, reject = x["accept"] * x["mask"] > 0, x["reject"] * x["mask"] > 0
    best = xp.where(accept, x["evaluation"], -math.inf).argmax(0)
    worst = xp.where(reject, x["evaluation"], math.inf).argmin(0)
    return best, worst, accept.any(0) & reject.any(0)


def _over_pairs(xp: Any, losses: Any, both: Any) -> Any:
    return xp.where(both, losses, 0.0).sum() / xp.where(both.sum() > 0, both.sum(), 1)


def _difference(xp: Any, values: Any, x: Any) -> Any:
    best, worst, both = _pairs(xp, x)
    return xp.pick(values, best) - xp.pick(values, worst), both


def _ratio(xp: Any, x: Any) -> Any:
    return _shown(xp, x["log_prob"] - x["reference_log_prob"], x["mask"])


def _advantage(xp: Any, x: Any) -> Any:
    count = xp.maximum(x["mask"].sum(0), x["mask"][0] * 0 + 1)
    values = _shown(xp, x["evaluation"], x["mask"])
    return _shown(xp, values - values.sum(0) / count, x["mask"]), count


def by_hand(name: str, xp: Any, x: Any) -> Any:
    """The loss with the package's default settings (PMPO's β = 1, MPO with bounds on its KL left out)."""
    mask = x["mask"]
    if name == "pmpo":
        accepted, rejected = x["accept"] * mask, x["reject"] * mask
        return -0.5 * _side(xp, x["log_prob"], accepted) + 0.5 * _side(xp, x["log_prob"], rejected) + _kl(x, 1.0)
    if name == "behavior_cloning":
        return -_side(xp, x["log_prob"], x["accept"] * mask)
    if name == "kto":
        accepted, rejected = x["accept"] * mask, x["reject"] * mask
        point = xp.stop(xp.maximum(x["kl"].sum(-1).mean(), x["kl"].sum() * 0))
        margin = 0.1 * (_shown(xp, x["log_prob"] - x["reference_log_prob"], accepted + rejected) - point)
        total = (accepted + rejected).sum()
        losses = accepted * xp.sigmoid(-margin) + rejected * xp.sigmoid(margin)
        return losses.sum() / xp.where(total > 0, total, 1.0)
    if name == "dpo":
        difference, both = _difference(xp, _ratio(xp, x), x)
        return _over_pairs(xp, -xp.logsigmoid(difference), both)
    if name == "ipo":
        difference, both = _difference(xp, _ratio(xp, x), x)
        return _over_pairs(xp, (difference - 5.0) ** 2, both)
    if name == "grpo":
        advantage, count = _advantage(xp, x)
        spread = ((advantage**2).sum(0) / xp.maximum(count - 1, count * 0 + 1)) ** 0.5
        scaled = advantage / (spread + 1e-4)
        ratio = xp.exp(_ratio(xp, x))
        gain = xp.minimum(ratio * scaled, xp.clip(ratio, 0.8, 1.2) * scaled)
        return -(_shown(xp, gain, mask).sum(0) / count).mean()
    if name == "reinforce":
        advantage, count = _advantage(xp, x)
        others = count / xp.maximum(count - 1, count * 0 + 1)
        return -((advantage * others * _shown(xp, x["log_prob"], mask)).sum(0) / count).mean()
    if name == "awr":
        advantage, count = _advantage(xp, x)
        weights = xp.stop(xp.clip(xp.exp(advantage), None, 20.0))
        return -((weights * _shown(xp, x["log_prob"], mask)).sum(0) / count).mean()
    raise KeyError(name)


NAMES = ["pmpo", "behavior_cloning", "kto", "dpo", "ipo", "grpo", "reinforce", "awr"]


def batch(n: int, b: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(n * b)
    accept = (random.random((n, b)) < 0.5).astype(np.float32)
    plane = lambda: random.standard_normal((n, b)).astype(np.float32)  # noqa: E731
    return {
        "log_prob": plane() - 2,
        "reference_log_prob": plane() - 2,
        "evaluation": plane(),
        "accept": accept,
        "reject": 1 - accept,
        "mask": np.ones((n, b), np.float32),
        "kl": np.abs(random.standard_normal((b, 1))).astype(np.float32),
    }


def sides(name: str, n: int, b: int) -> dict[str, Any]:
    """Functions of nothing that compute loss and gradients, by library and author."""
    settings = {"beta": 1.0} if name == "pmpo" else {}
    operator = getattr(pmpo.operators, name)(**settings)
    arrays = batch(n, b)
    tensors = {key: torch.from_numpy(value.copy()) for key, value in arrays.items()}
    leaves = [tensors["log_prob"].requires_grad_(), tensors["kl"].requires_grad_()]

    def graph_loss(x: Any) -> Any:
        planes = {key: value for key, value in x.items() if key not in ("log_prob", "kl")}
        return operator.torch(x["log_prob"], **planes, kl=x["kl"])[0]

    def in_torch(loss: Any) -> Any:
        return lambda: torch.autograd.grad(loss(tensors), leaves, allow_unused=True)

    hand = lambda x: by_hand(name, Torch, x)  # noqa: E731
    jax_arrays = {key: jnp.asarray(value) for key, value in arrays.items()}

    def in_jax(loss: Any) -> Any:
        step = jax.jit(jax.value_and_grad(lambda p, k, rest: loss({**rest, "log_prob": p, "kl": k}), argnums=(0, 1)))
        rest = {key: value for key, value in jax_arrays.items() if key not in ("log_prob", "kl")}
        return lambda: jax.block_until_ready(step(jax_arrays["log_prob"], jax_arrays["kl"], rest))

    def graph_jax(x: Any) -> Any:
        planes = {key: value for key, value in x.items() if key not in ("log_prob", "kl")}
        return operator.jax(x["log_prob"], **planes, kl=x["kl"])[0]

    found = {
        "torch": (in_torch(graph_loss), in_torch(hand)),
        "compiled": (in_torch(torch.compile(graph_loss)), in_torch(torch.compile(hand))),
        "jax": (in_jax(graph_jax), in_jax(lambda x: by_hand(name, Jax, x))),
    }
    check(name, found)
    return found


def check(name: str, found: dict[str, Any]) -> None:
    """Both sides must compute the same gradients in the log-probs."""
    for library, (graph, hand) in found.items():
        first = lambda result: np.asarray(result[1][0] if library == "jax" else result[0])  # noqa: E731
        np.testing.assert_allclose(first(graph()), first(hand()), rtol=1e-4, atol=1e-6, err_msg=f"{name} in {library}")


def microseconds(function: Any, seconds: float = 0.15) -> float:
    """The median time of one call."""
    function()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    results = []
    for name in NAMES:
        for n, b in SIZES:
            entry: dict[str, Any] = {"operator": name, "samples": n, "contexts": b}
            for library, (graph, hand) in sides(name, n, b).items():
                # By turns, so that both sides meet the same load of the machine.
                pairs = [(microseconds(graph), microseconds(hand)) for _ in range(rounds)]
                ours, theirs = (statistics.median(side) for side in zip(*pairs))
                ratio = statistics.median(a / b for a, b in pairs)
                entry[library] = {"graph": round(ours), "byHand": round(theirs), "ratio": round(ratio, 2)}
            results.append(entry)
            print(json.dumps(entry), file=sys.stderr, flush=True)
    limits = {"torch": 1.2, "compiled": 1.3, "jax": 1.1}
    summary = {
        library: {
            "medianRatio": round(statistics.median(entry[library]["ratio"] for entry in results), 2),
            "limit": limit,
            "overLimit": sum(entry[library]["ratio"] > limit for entry in results),
            "of": len(results),
        }
        for library, limit in limits.items()
    }
    print(json.dumps({"microseconds": results, "summary": summary}))


main()
