"""The time of an operator's loss and gradients in PyTorch (eager and compiled) and JAX, beside the same loss written by hand.

    python bench/operators_python.py [--rounds N] [--only NAME[,NAME]] [--sizes 4x256,16x1024,4x8] [--resume FILE]

Prints one JSON object. The losses by hand are vectorised as an expert would write them, with the same masks: samples that are absent
may hold anything (V-MPO's, as rlax's, counts all). They are written once, for both libraries; MPO and V-MPO in JAX are rlax's own. Before anything is timed, both sides must
have the same gradients, those of the operator's state included. Neither computes metrics: `torch(…, metrics=False)`, and unread in JAX.

Shapes: N samples, B contexts.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pathlib
import platform
import statistics
import sys
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "plugins" / "python"))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import rlax  # noqa: E402
import torch  # noqa: E402

import pmpo  # noqa: E402

SIZES = [(4, 256), (16, 1024), (4, 8)]
"""Two batches of a robot's, and 32 sequences: 8 prompts with 4 completions each."""


class Torch:
    where, exp, log, expm1, maximum, minimum = torch.where, torch.exp, torch.log, torch.expm1, torch.maximum, torch.minimum
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

    @staticmethod
    def descending(x: Any) -> Any:
        return x.sort(descending=True).values


class Jax:
    where, exp, log, expm1, maximum, minimum = jnp.where, jnp.exp, jnp.log, jnp.expm1, jnp.maximum, jnp.minimum
    sigmoid, softmax, logsumexp = jax.nn.sigmoid, jax.nn.softmax, jax.nn.logsumexp
    logsigmoid = jax.nn.log_sigmoid
    sum = staticmethod(jnp.sum)
    stop = staticmethod(jax.lax.stop_gradient)
    clip = staticmethod(jnp.clip)

    @staticmethod
    def pick(x: Any, index: Any) -> Any:
        return jnp.take_along_axis(x, index[None], 0)[0]

    @staticmethod
    def descending(x: Any) -> Any:
        return -jnp.sort(-x)


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


def _per_token(xp: Any, x: Any) -> Any:
    return _shown(xp, x["log_prob"], x["mask"]) / xp.where(x["mask"] > 0, x["length"], 1.0)


def _over_contexts(xp: Any, losses: Any, x: Any, count: Any) -> Any:
    return (_shown(xp, losses, x["mask"]).sum(0) / count).mean()


def _bounded_kl(xp: Any, x: Any, bound: float) -> Any:
    """The KL of each part, [B, D], and its dual [D]."""
    dual, mean = xp.exp(x["state"]["logKlWeight/categorical"]), x["kl"].mean(0)
    return (xp.stop(dual) * mean).sum() + (dual * (bound - xp.stop(mean))).sum()


def _mpo(xp: Any, x: Any) -> Any:
    mask, temperature = x["mask"], xp.exp(x["state"]["logTemperature"])
    scaled = xp.where(mask > 0, x["evaluation"] / temperature, -math.inf)
    share = xp.stop(xp.softmax(scaled, 0))
    dual = temperature * (EPSILON + (xp.logsumexp(scaled, 0) - xp.log(mask.sum(0))).mean())
    return dual.sum() - (share * _shown(xp, x["log_prob"], mask)).sum(0).mean() + _bounded_kl(xp, x, BOUND)


def _v_mpo(xp: Any, x: Any) -> Any:
    mask, temperature = x["mask"], xp.exp(x["state"]["logTemperature"])
    advantage = _advantage(xp, x)[0]
    values = xp.where(mask > 0, advantage, -math.inf).reshape(-1)
    worst = xp.descending(values)[values.shape[0] // 2 - 1]
    scaled = xp.where(values >= worst, advantage.reshape(-1) / temperature, -math.inf)
    share = xp.stop(xp.softmax(scaled, 0))
    dual = temperature * (EPSILON + xp.logsumexp(scaled, 0) - math.log(values.shape[0] // 2))
    return dual.sum() - (share * _shown(xp, x["log_prob"], mask).reshape(-1)).sum() + _bounded_kl(xp, x, BOUND)


def _by_rlax(name: str, x: Any) -> Any:
    temperature = rlax.LagrangePenalty(jnp.exp(x["state"]["logTemperature"])[0], jnp.asarray(EPSILON))
    kl = rlax.LagrangePenalty(jnp.exp(x["state"]["logKlWeight/categorical"]), jnp.asarray(BOUND), True)
    values, planes = x["evaluation"], x["log_prob"].shape
    if name == "mpo":
        losses, _ = rlax.mpo_loss(x["log_prob"], values, temperature, [(x["kl"], kl)], sample_axis=0)
    else:
        parts = jnp.broadcast_to(x["kl"], (*planes, x["kl"].shape[-1]))
        losses, _ = rlax.vmpo_loss(x["log_prob"], values - values.mean(0), temperature, [(parts, kl)])
    return losses.mean()


def by_hand(name: str, xp: Any, x: Any) -> Any:
    """The loss with the package's default settings (but those of `SETTINGS`)."""
    mask = x["mask"]
    accepted, rejected = x["accept"] * mask, x["reject"] * mask
    if name in ("mpo", "v_mpo"):
        return _by_rlax(name, x) if xp is Jax else {"mpo": _mpo, "v_mpo": _v_mpo}[name](xp, x)
    if name == "pmpo":
        return -0.5 * _side(xp, x["log_prob"], accepted) + 0.5 * _side(xp, x["log_prob"], rejected) + _kl(x, 1.0)
    if name == "behavior_cloning":
        return -_side(xp, x["log_prob"], accepted)
    if name == "rejection_sampling":
        best = xp.where(accepted > 0, x["evaluation"], -math.inf).argmax(0)
        return -xp.where((accepted > 0).any(0), xp.pick(x["log_prob"], best), 0.0).mean()
    if name == "kto":
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
    if name == "cpo":
        best, worst, both = _pairs(xp, x)
        raised = xp.pick(x["log_prob"], best)
        return _over_pairs(xp, -xp.logsigmoid(0.1 * (raised - xp.pick(x["log_prob"], worst))) - raised, both)
    if name == "simpo":
        difference, both = _difference(xp, _per_token(xp, x), x)
        return _over_pairs(xp, -xp.logsigmoid(2.0 * difference - 0.5), both)
    if name == "orpo":
        best, worst, both = _pairs(xp, x)
        good, bad = (xp.pick(_per_token(xp, x), index) for index in (best, worst))
        odds = good - xp.log(-xp.expm1(good)) - bad + xp.log(-xp.expm1(bad))
        return _over_pairs(xp, -good - 0.1 * xp.logsigmoid(odds), both)
    if name == "grpo":
        advantage, count = _advantage(xp, x)
        spread = ((advantage**2).sum(0) / xp.maximum(count - 1, count * 0 + 1)) ** 0.5
        scaled = advantage / (spread + 1e-4)
        ratio = xp.exp(_ratio(xp, x))
        gain = xp.minimum(ratio * scaled, xp.clip(ratio, 0.8, 1.2) * scaled)
        return -_over_contexts(xp, gain, x, count)
    if name == "reinforce":
        advantage, count = _advantage(xp, x)
        others = count / xp.maximum(count - 1, count * 0 + 1)
        return -_over_contexts(xp, advantage * others * x["log_prob"], x, count)
    if name in ("awr", "crr"):
        advantage, count = _advantage(xp, x)
        if name == "awr":
            weights = xp.stop(xp.clip(xp.exp(advantage), None, 20.0))
        else:
            weights = xp.where(advantage > 1e-9, 1.0, 0.0)
        return -_over_contexts(xp, weights * x["log_prob"], x, count)
    raise KeyError(name)


EPSILON, BOUND = 0.1, 0.01
_CONSTRAINED = {"epsilon": EPSILON, "kl": {"categorical": {"epsilon": BOUND, "initial_weight": 1.0}}}
SETTINGS: dict[str, dict[str, Any]] = {"pmpo": {"beta": 1.0}, "mpo": _CONSTRAINED, "v_mpo": _CONSTRAINED}
NAMES = sorted(set(pmpo.operators.__all__) - {"Operator"})


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
        "length": random.integers(1, 30, (n, b)).astype(np.float32),
        "kl": np.abs(random.standard_normal((b, 1))).astype(np.float32),
    }


def sides(name: str, n: int, b: int) -> dict[str, Any]:
    """Functions of nothing that compute the gradients in the log-probs, the KL and the state, by library and author."""
    operator = getattr(pmpo.operators, name)(**SETTINGS.get(name, {}))
    arrays = batch(n, b)
    if name == "orpo":
        arrays["log_prob"] = -np.abs(arrays["log_prob"])  # the odds of a probability above 1 are not defined
    state = operator.numpy_state({"categorical": 1}) if name in ("mpo", "v_mpo") else {}

    def operator_loss(run: Any, **options: Any) -> Any:
        def loss(x: Any) -> Any:
            planes = {key: value for key, value in x.items() if key not in ("log_prob", "kl", "state")}
            return run(x["log_prob"], **planes, kl={"categorical": x["kl"]}, state=x["state"], **options)[0]

        return loss

    tensors: dict[str, Any] = {key: torch.from_numpy(value.copy()) for key, value in arrays.items()}
    tensors["state"] = {key: torch.from_numpy(value.copy()).requires_grad_() for key, value in state.items()}
    leaves = [tensors["log_prob"].requires_grad_(), tensors["kl"].requires_grad_(), *tensors["state"].values()]

    def in_torch(loss: Any) -> Any:
        return lambda: torch.autograd.grad(loss(tensors), leaves, allow_unused=True)

    values = {key: jnp.asarray(value) for key, value in arrays.items()}
    held = {key: jnp.asarray(value) for key, value in state.items()}
    rest = {key: value for key, value in values.items() if key not in ("log_prob", "kl")}

    def in_jax(loss: Any) -> Any:
        def of(log_prob: Any, kl: Any, state: Any, rest: Any) -> Any:
            return loss({**rest, "log_prob": log_prob, "kl": kl, "state": state})

        step = jax.jit(jax.grad(of, argnums=(0, 1, 2)))
        return lambda: jax.block_until_ready(step(values["log_prob"], values["kl"], held, rest))

    def hand(xp: Any) -> Any:
        return lambda x: by_hand(name, xp, x)

    found = {
        "torch": (in_torch(operator_loss(operator.torch, metrics=False)), in_torch(hand(Torch))),
        "compiled": (in_torch(torch.compile(operator_loss(operator.torch, metrics=False))), in_torch(torch.compile(hand(Torch)))),
        "jax": (in_jax(operator_loss(operator.jax)), in_jax(hand(Jax))),
    }
    check(name, found)
    return found


def check(name: str, found: dict[str, Any]) -> None:
    """Both sides must compute the same gradients; one that a library calls unused is 0."""
    for library, (graph, hand) in found.items():
        ours, theirs = (jax.tree.leaves(side(), is_leaf=lambda x: x is None) for side in (graph, hand))
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs):
            one, other = (np.zeros((), np.float32) if x is None else np.asarray(x) for x in sorted((one, other), key=lambda x: x is None))
            np.testing.assert_allclose(one, np.broadcast_to(other, one.shape), rtol=1e-4, atol=1e-6, err_msg=f"{name} in {library}")


def microseconds(function: Any, seconds: float = 0.15) -> float:
    """The median time of one call."""
    function()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)


def measure(name: str, n: int, b: int, rounds: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"operator": name, "samples": n, "contexts": b, "rounds": rounds}
    for library, (graph, hand) in sides(name, n, b).items():
        # By turns, so that both sides meet the same load of the machine.
        pairs = [(microseconds(graph), microseconds(hand)) for _ in range(rounds)]
        ours, theirs = (statistics.median(side) for side in zip(*pairs))
        ratio = statistics.median(a / b for a, b in pairs)
        entry[library] = {"graph": round(ours), "byHand": round(theirs), "ratio": round(ratio, 2)}
    return entry


def machine() -> dict[str, Any]:
    """What the figures were measured on, and what else ran at the end: the load of the last 15 minutes, of which the benchmark is 1."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    versions = {"torch": torch.__version__, "jax": jax.__version__}
    return {"processor": names[0] if names else platform.processor(), "cores": os.cpu_count(), "load": round(os.getloadavg()[2], 1), **versions}


LIMITS = {"torch": 1.2, "compiled": 1.3, "jax": 1.1}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7, help="how often both sides are timed; the ratio is the median")
    parser.add_argument("--only", type=lambda text: text.split(","), default=NAMES, help="operators, separated by commas")
    parser.add_argument("--sizes", type=lambda text: [tuple(map(int, size.split("x"))) for size in text.split(",")], default=SIZES)
    parser.add_argument("--resume", type=pathlib.Path, help="a file with a line for each result: those in it are not measured again")
    options = parser.parse_args()
    unknown = sorted(set(options.only) - set(NAMES))
    if unknown:
        parser.error(f"--only: unknown operators {', '.join(unknown)}. Known: {', '.join(NAMES)}")
    torch.set_num_threads(1)
    done = {}
    if options.resume is not None and options.resume.exists():
        for line in options.resume.read_text().splitlines():
            entry = json.loads(line)
            done[entry["operator"], entry["samples"], entry["contexts"], entry["rounds"]] = entry
    results = []
    for name in options.only:
        for n, b in options.sizes:
            entry = done.get((name, n, b, options.rounds))
            if entry is None:
                entry = measure(name, n, b, options.rounds)
                torch.compiler.reset()
                if options.resume is not None:
                    with options.resume.open("a") as file:
                        file.write(json.dumps(entry) + "\n")
            results.append(entry)
            print(json.dumps(entry), file=sys.stderr, flush=True)
    summary = {
        library: {
            "medianRatio": round(statistics.median(entry[library]["ratio"] for entry in results), 2),
            "limit": limit,
            "overLimit": sorted({entry["operator"] for entry in results if entry[library]["ratio"] > limit}),
            "withinLimit": sum(entry[library]["ratio"] <= limit for entry in results),
            "of": len(results),
        }
        for library, limit in LIMITS.items()
    }
    print(json.dumps({"machine": machine(), "microseconds": results, "summary": summary}))


main()
