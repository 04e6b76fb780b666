"""What an operator reads when the samples are actions: log-probs, KLs and feedback of PyTorch's distributions.

Shapes: N samples per context, B contexts, A action dimensions, K actions of a discrete policy.

    terms = pmpo.control.gaussian(policy, reference, actions)
    accept, reject = pmpo.control.value_baseline(q_values)
    loss, metrics = pmpo.control.default_operator().torch(**terms, accept=accept, reject=reject, evaluation=q_values)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

import torch
from torch.distributions import Categorical, Normal

from . import operators
from ._operator import Operator
from .errors import PmpoError

__all__ = [
    "ActorLoss",
    "Feedback",
    "MixedCategorical",
    "categorical",
    "classify",
    "default_operator",
    "gaussian",
    "top_half",
    "value_baseline",
]

Sides = tuple[torch.Tensor, torch.Tensor]
Feedback = Union[str, Callable[[torch.Tensor, torch.Tensor], Sides]]
"""`value-baseline`, `top-half`, or a function from evaluations and their weights, [N, B] each, to accept and reject, [N, B] each.

Accept and reject say how far a sample counts on each side, from 0 to 1. They do not hold its weight, such as the reference's probability
of a discrete action: the operator's `mask` supplies that, and a side that held it too would count it twice.
"""


def default_operator() -> Operator:
    """PMPO as pmpo's control jobs have it by default: each part of the KL is bounded, and a dual adapts its weight.

    With a fixed weight a Gaussian becomes too narrow to explore; a bound on its covariance sets how fast that may happen.
    """
    # The bounds are the same as MPO's, whose graph holds them.
    bounds = operators.mpo().settings["kl"]
    bounded = {part: bounds[part] for part in ("mean", "covariance", "categorical")}
    return operators.pmpo(kl=bounded)


def gaussian(policy: Normal, reference: Normal, samples: torch.Tensor) -> dict[str, Any]:
    """The arguments of `Operator.torch` for diagonal Gaussians, [B, A], and samples [N, B, A] of the reference.

    The samples may lie outside the action bounds, -1 and 1; `bound_violation` says how far. Log-probs of clipped or squashed actions
    would be those of another distribution.
    """

    def log_prob(mean: torch.Tensor, stddev: torch.Tensor) -> torch.Tensor:
        density: torch.Tensor = Normal(mean, stddev, validate_args=False).log_prob(samples)
        return density.sum(-1)

    mean, stddev = policy.mean, policy.stddev
    old_mean, old_stddev = reference.mean.detach(), reference.stddev.detach()
    ratio = (old_stddev / stddev).square()
    covariance = 0.5 * (ratio - 1 - ratio.log())
    shift = 0.5 * (old_mean - mean).square()
    outside = samples - samples.clamp(-1, 1)
    return {
        "log_prob": log_prob(mean, stddev),
        "reference_log_prob": log_prob(old_mean, old_stddev),
        "kl": {"mean": shift / stddev.square(), "covariance": covariance},
        "decoupled_kl": {"mean": shift / old_stddev.square(), "covariance": covariance},
        "decoupled_log_prob": {"mean": log_prob(mean, old_stddev), "covariance": log_prob(old_mean, stddev)},
        "bound_violation": (outside.square().sum(-1) + 1e-12).sqrt(),
    }


class MixedCategorical(Categorical):
    """The mixture (1 − u)·softmax(logits) + u·uniform over K actions, [B, K], in which every action stays possible.

    Args:
      logits: [B, K]
      uniform_share: u, in [0, 1].
    """

    def __init__(self, logits: torch.Tensor, uniform_share: float) -> None:
        self.own = Categorical(logits=logits, validate_args=False)
        """The softmax without the uniform share."""
        mixed = (1 - uniform_share) * self.own.probs + uniform_share / logits.shape[-1]
        super().__init__(probs=mixed, validate_args=False)


def categorical(policy: Categorical, reference: Categorical) -> dict[str, Any]:
    """The arguments of `Operator.torch` for distributions over K actions, [B, K].

    The samples of each context are all K actions, so N is K, and `mask` holds the reference's probability of each.

    The KL is KL(reference ‖ policy), where a `MixedCategorical` policy is taken without its uniform share. An action that its softmax has
    all but lost has no gradient left in the mixture, and could not come back when its evaluation rises; this KL keeps it.
    """
    log_prob, old = policy.logits, reference.logits.detach()
    own = policy.own.logits if isinstance(policy, MixedCategorical) else log_prob
    return {
        "log_prob": log_prob.transpose(0, 1),
        "reference_log_prob": old.transpose(0, 1),
        "mask": old.exp().transpose(0, 1),
        "kl": {"categorical": (old.exp() * (old - own)).sum(-1, keepdim=True)},
    }


def value_baseline(evaluation: torch.Tensor, weights: torch.Tensor | None = None) -> Sides:
    """Accepts samples above the value of their context, the mean of its evaluations, and rejects those below it.

    Args:
      evaluation: [N, B]
      weights: the weight of each sample in the value, [N, B]; 1 by default. A sample of weight 0 is on neither side.
    """
    weights = torch.ones_like(evaluation) if weights is None else weights
    value = (evaluation * weights).sum(0) / weights.sum(0)
    # A difference this small is rounding: samples that are all alike must not be judged by it.
    margin = 1e-6 * value.abs()
    there = weights > 0
    return ((evaluation > value + margin) & there).to(evaluation.dtype), ((evaluation < value - margin) & there).to(evaluation.dtype)


def top_half(evaluation: torch.Tensor, weights: torch.Tensor | None = None) -> Sides:
    """Accepts the better half of the samples of each context, [N, B], and rejects the worse half; ties at the border are neither.

    A sample of weight 0 is in neither half, and takes no place.
    """
    weights = torch.ones_like(evaluation) if weights is None else weights
    there = weights > 0
    count = there.sum(0, keepdim=True)
    half = count // 2
    ordered = evaluation.masked_fill(~there, -torch.inf).sort(dim=0, descending=True).values
    worst_accepted = ordered.gather(0, (half - 1).clamp(min=0))
    best_rejected = ordered.gather(0, (count - half).clamp(max=len(evaluation) - 1))
    there = there & (half > 0)
    decided = worst_accepted > best_rejected
    accept = (evaluation >= worst_accepted) & (decided | (evaluation > best_rejected))
    reject = (evaluation <= best_rejected) & (decided | (evaluation < worst_accepted))
    return (accept & there).to(evaluation.dtype), (reject & there).to(evaluation.dtype)


classifiers = {"value-baseline": value_baseline, "top-half": top_half}
"""The classifiers by name. All compare the samples of a context."""


def check_feedback(feedback: Feedback) -> None:
    """Checks that there is a classifier of this name.

    Raises:
      PmpoError: there is none.
    """
    if not callable(feedback) and feedback not in classifiers:
        raise PmpoError("feedback", f"is {feedback!r}", f"It must be {', '.join(classifiers)}, or a function")


def classify(feedback: Feedback, evaluation: torch.Tensor, weights: torch.Tensor) -> Sides:
    """Accept and reject weights by a classifier or its name.

    Raises:
      PmpoError: there is no classifier of this name, or the result of a function is not two planes like `evaluation`.
    """
    check_feedback(feedback)
    if isinstance(feedback, str):
        return classifiers[feedback](evaluation, weights)
    sides = feedback(evaluation, weights)
    if not isinstance(sides, tuple) or len(sides) != 2 or any(not isinstance(side, torch.Tensor) for side in sides):
        raise PmpoError("feedback", f"the function returned {type(sides).__name__}", "Return two tensors: accept and reject")
    return sides


class ActorLoss(torch.nn.Module):
    """The loss of an actor with a diagonal Gaussian, squashed or not, for scripts that have critics of their own.

    Prefer a Gaussian in the space of actions, which is clipped, as in `pmpo.cleanrl.ClippedActor`: under bounded KLs, a squashed one is
    slow to come back from means far from 0.

    Its parameters are the operator's own variables, which an optimizer trains with the policy. They are brought into their domain at
    the start of each call.

    Args:
      action_size: A.
      operator: `default_operator()` by default.
      feedback: `value-baseline`, `top-half`, or a function.
    """

    def __init__(self, action_size: int, *, operator: Operator | None = None, feedback: Feedback = "value-baseline") -> None:
        super().__init__()
        check_feedback(feedback)
        self.operator = default_operator() if operator is None else operator
        self.feedback = feedback
        self.state = self.operator.torch_state({"mean": action_size, "covariance": action_size}, bound_violation=True)

    def forward(self, policy: Normal, reference: Normal, samples: torch.Tensor, evaluation: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar.

        Args:
          policy, reference: [B, A]. For a squashed policy, the Gaussians before squashing: its Jacobian cancels in every term.
          samples: of the reference, before squashing, [N, B, A].
          evaluation: the value of each sample, by the critics, [N, B].
        """
        self.state.project()
        accept, reject = classify(self.feedback, evaluation.detach(), torch.ones_like(evaluation))
        terms = gaussian(policy, reference, samples.detach())
        loss: torch.Tensor = self.operator.torch(
            **terms, evaluation=evaluation.detach(), accept=accept, reject=reject, state=self.state, metrics=False
        ).loss
        return loss
