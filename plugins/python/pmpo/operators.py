"""The built-in operators, with their settings as in TypeScript but in Python's case. See `Operator` for what to call.

    loss, metrics = pmpo.operators.pmpo(alpha=0.5, beta=2.0).torch(log_prob, accept=accept, reject=reject, kl=kl)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Union

from ._file import OperatorFile, read_file
from ._operator import Adapt, Operator, Settings, _unchanged, checked_settings

__all__ = [
    "awr",
    "behavior_cloning",
    "cpo",
    "crr",
    "dpo",
    "grpo",
    "ipo",
    "kto",
    "mpo",
    "orpo",
    "pmpo",
    "reinforce",
    "rejection_sampling",
    "simpo",
    "v_mpo",
]

KlWeight = Union[float, Mapping[str, float]]
"""The fixed weight of a part of the KL, or a bound on each of its dimensions: `{"epsilon": 0.01, "initial_weight": 1.0}`."""

_empty: Mapping[str, Any] = MappingProxyType({})


@functools.cache
def _graphs(name: str) -> tuple[OperatorFile, ...]:
    """The graphs of an operator, one for each kind of policy and each choice of weights or bounds."""
    folder = Path(__file__).parent / "graphs"
    return tuple(read_file(path) for path in sorted(folder.glob(f"{name}_*.onnx")))


def _operator(name: str, settings: Settings, adapt: Adapt = _unchanged) -> Operator:
    files = _graphs(name)
    return Operator(files, checked_settings(name, files[0].schema, settings), adapt)


def _with_beta(settings: Settings, parts: Sequence[str], bounds: bool) -> Settings:
    """PMPO's settings with a weight or a bound for every part."""
    kl = {part: settings["kl"].get(part, settings["beta"]) for part in parts}
    # The loss is the same function of the KL in either direction, so one graph serves both.
    return {**settings, "kl": kl, "reverseKl": False}


def _with_penalty(settings: Settings, parts: Sequence[str], bounds: bool) -> Settings:
    """MPO's settings. The action penalty is off unless a call gives the distance from the action bounds."""
    return settings if bounds else {**settings, "actionPenalty": None}


def _without_penalty(settings: Settings, parts: Sequence[str], bounds: bool) -> Settings:
    """KTO's settings: the KL has no weight in the loss."""
    return {**settings, "kl": {part: 0.0 for part in parts}}


def pmpo(
    *,
    alpha: float = 0.5,
    beta: float | None = None,
    kl: Mapping[str, KlWeight] = _empty,
    reverse_kl: bool = False,
    normalise: Literal["context", "batch"] = "context",
    per_token: bool = False,
    advantage_scale: float | None = None,
) -> Operator:
    """Preference-based MPO (arXiv 2410.04166, equation 10): learns from accepted samples, rejected samples, or both.

    Args:
      alpha: the weight of accepted against rejected samples, in [0, 1]: 1 learns from accepted samples alone, 0 from rejected ones.
      beta: the weight of KL(reference ‖ policy), for every part that `kl` does not name; at least 0. By default 1, or 1.25 · (1 − alpha) if
        that is more: rejected samples alone need more than 1 − alpha.
      kl: by part (`mean`, `covariance`, `categorical`, `sequence`), a weight that replaces `beta`, or a bound.
      reverse_kl: take KL(policy ‖ reference), given as `reverse_kl`, as Dreamer 4 does.
      normalise: take the means of accepted and of rejected samples in each context and then over contexts, or over the batch at once.
      per_token: divide each log-prob by the sample's `length`.
      advantage_scale: multiply the term of each sample by |tanh(advantage / advantage_scale)|; None: weights by the feedback alone.

    It needs `kl` (or `reverse_kl`), and `accept` (but for alpha = 0) and `reject` (but for alpha = 1); `evaluation` for
    advantage_scale. Its state is a dual for each bounded part. The variants have graphs for weights of the KL, per_token for
    sequences and without advantage_scale; `pmpo export-operator` writes others.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    settings = {
        "alpha": alpha,
        "beta": max(1.0, 1.25 * (1 - alpha)) if beta is None else beta,
        "kl": kl,
        "reverse_kl": reverse_kl,
        "normalise": normalise,
        "per_token": per_token,
        **({} if advantage_scale is None else {"advantage_scale": advantage_scale}),
    }
    return _operator("pmpo", settings, _with_beta)


def mpo(
    *,
    epsilon: float = 0.1,
    initial_temperature: float = 10.0,
    kl: Mapping[str, Mapping[str, float]] = _empty,
    action_penalty: Mapping[str, float] | None = _empty,
) -> Operator:
    """MPO with a learned temperature and decoupled KL constraints (arXiv 1806.06920, 1812.02256).

    Args:
      epsilon: the bound on KL(weighted samples ‖ reference) in the E-step, in nats.
      initial_temperature: the initial value of the temperature.
      kl: the bound of each part, `{"mean": {"epsilon": 0.01, "initial_weight": 1.0}}`.
      action_penalty: `{"epsilon": 0.001, "initial_temperature": 10.0}`, used when a call gives `bound_violation`; None turns it off.

    It needs `evaluation` and an exact `kl`. Its state holds the temperatures and the duals.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    settings = {
        "epsilon": epsilon,
        "initial_temperature": initial_temperature,
        "kl": kl,
        "action_penalty": action_penalty,
    }
    return _operator("mpo", settings, _with_penalty)


def v_mpo(
    *,
    epsilon: float = 0.1,
    initial_temperature: float = 1.0,
    top_fraction: float = 0.5,
    kl: Mapping[str, Mapping[str, float]] = _empty,
) -> Operator:
    """V-MPO (arXiv 1909.12238): the better half of the batch, weighted by exp(advantage / temperature), with KL constraints.

    Args:
      epsilon: the bound on KL(weighted samples ‖ kept samples) in the E-step, in nats.
      initial_temperature: the initial value of the temperature.
      top_fraction: the share of the samples that is kept.
      kl: the bound of each part, `{"mean": {"epsilon": 0.01, "initial_weight": 1.0}}`.

    It needs `evaluation`, of which V-MPO takes the advantage over the mean of each context's samples, and an exact `kl`. Its state holds
    the temperature and the duals.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    settings = {
        "epsilon": epsilon,
        "initial_temperature": initial_temperature,
        "top_fraction": top_fraction,
        "kl": kl,
    }
    return _operator("v-mpo", settings)


def dpo(*, beta: float = 1.0, pairs: Literal["best-worst", "all"] = "best-worst") -> Operator:
    """DPO (arXiv 2305.18290, equation 7) on pairs of an accepted and a rejected sample of each context.

    Args:
      beta: scales the log-ratios: the larger it is, the closer the policy stays to its reference.
      pairs: the best accepted sample of a context with its worst rejected one, or the mean over all pairs of the context.

    It needs `reference_log_prob`, `accept` and `reject`; `evaluation` ranks several accepted or rejected samples of a context.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    return _operator("dpo", {"beta": beta, "pairs": pairs})


def ipo(*, beta: float = 0.1, per_token: bool = False) -> Operator:
    """IPO (arXiv 2310.12036, equation 17): like DPO, but a margin of 1/(2β) is reached and not exceeded.

    Args:
      beta: the paper's τ: the larger it is, the closer the policy stays to its reference.
      per_token: divide each log-ratio by the sample's `length`, as TRL does.

    It needs `reference_log_prob`, `accept` and `reject`, and `length` for per_token; `evaluation` ranks samples as for `dpo`.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    return _operator("ipo", {"beta": beta, "per_token": per_token})


def cpo(*, beta: float = 0.1, likelihood_weight: float = 1.0, per_token: bool = False) -> Operator:
    """CPO (arXiv 2401.08417, equations 3 to 5): DPO without a reference, with the likelihood of the accepted sample.

    Args:
      beta: scales the difference of the log-probs.
      likelihood_weight: the weight of the likelihood of accepted samples.
      per_token: divide that likelihood, and it alone, by the sample's `length`, as the authors' code and TRL do.

    It needs `accept` and `reject`, and `length` for per_token; `evaluation` ranks samples as for `dpo`.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    return _operator("cpo", {"beta": beta, "likelihood_weight": likelihood_weight, "per_token": per_token})


def simpo(*, beta: float = 2.0, gamma: float = 0.5) -> Operator:
    """SimPO (arXiv 2405.14734, equation 6): a margin between mean log-probs of a token, without a reference.

    Args:
      beta: scales the mean log-probs.
      gamma: the margin that beta times their difference must exceed.

    It needs `accept`, `reject` and `length`; `evaluation` ranks samples as for `dpo`.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    return _operator("simpo", {"beta": beta, "gamma": gamma})


def orpo(*, odds_weight: float = 0.1) -> Operator:
    """ORPO (arXiv 2403.07691, equations 6 and 7): maximum likelihood and an odds ratio in one, without a reference.

    Args:
      odds_weight: the paper's λ, TRL's beta: the weight of the odds ratio against the likelihood.

    It needs `accept`, `reject` and `length`; `evaluation` ranks samples as for `dpo`.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    return _operator("orpo", {"odds_weight": odds_weight})


def kto(
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    reference_point: Literal["kl", "mismatched"] = "kl",
) -> Operator:
    """KTO (arXiv 2402.01306, equations 7 and 8), on accepted and rejected samples without pairs.

    Args:
      beta: scales the log-ratios: the larger it is, the closer the policy stays to its reference.
      desirable_weight: the weight of accepted samples, λ_D.
      undesirable_weight: the weight of rejected samples, λ_U.
      reference_point: "kl" is the mean of `kl`, KL(reference ‖ policy), exact where that is; "mismatched" estimates
        KL(policy ‖ reference) as TRL does, by the mean of `mismatched_log_ratio` over prompts with the completions of other prompts,
        which is biased, mostly towards 0, and noisy. Both are at least 0.

    It needs `reference_log_prob`, `accept`, `reject`, and what the reference point is taken from.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    settings = {
        "beta": beta,
        "desirable_weight": desirable_weight,
        "undesirable_weight": undesirable_weight,
        "reference_point": reference_point,
    }
    return _operator("kto", settings, _without_penalty)


def grpo(*, epsilon: float = 0.2, beta: float = 0.0, per_token: bool = False) -> Operator:
    """GRPO (arXiv 2402.03300): advantages in standard deviations of their context, and a clipped ratio of whole samples.

    Args:
      epsilon: the ratio is clipped to 1 ± epsilon.
      beta: the weight of the k3 estimate of the KL to the reference.
      per_token: take the geometric mean of the ratio over the sample's `length` tokens, as GSPO does; use it for sequences.

    It needs `reference_log_prob` and `evaluation`, and `length` for per_token. A context with one sample adds 0.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    return _operator("grpo", {"epsilon": epsilon, "beta": beta, "per_token": per_token})


def reinforce() -> Operator:
    """REINFORCE with the leave-one-out baseline (RLOO, arXiv 2402.14740). It needs `evaluation`. A context with one sample adds 0."""
    return _operator("reinforce", {})


def awr(*, beta: float = 1.0, max_weight: float = 20.0) -> Operator:
    """Advantage-Weighted Regression (arXiv 1910.00177): maximum likelihood of all samples, weighted by exp(advantage / beta).

    Args:
      beta: the temperature, in units of the evaluation.
      max_weight: the largest weight.

    It needs `evaluation`.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    return _operator("awr", {"beta": beta, "max_weight": max_weight})


def crr(
    *, filter: Literal["binary", "exponential"] = "binary", beta: float = 1.0, max_weight: float = 20.0
) -> Operator:
    """Critic Regularized Regression (arXiv 2006.15134): maximum likelihood of the samples that a filter lets pass.

    Args:
      filter: "binary" takes the samples better than the mean of their context, "exponential" weighs all by exp(advantage / beta).
      beta: the temperature of the exponential filter, in units of the evaluation.
      max_weight: the largest weight of the exponential filter.

    It needs `evaluation`.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    return _operator("crr", {"filter": filter, "beta": beta, "max_weight": max_weight})


def rejection_sampling() -> Operator:
    """Best of N (arXiv 2304.06767): maximum likelihood of the best accepted sample. It needs `accept` and `evaluation`."""
    return _operator("rejection-sampling", {})


def behavior_cloning() -> Operator:
    """Maximum likelihood of the accepted samples. It needs `accept`."""
    return _operator("behavior-cloning", {})
