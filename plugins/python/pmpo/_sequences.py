"""An operator's loss for frameworks that give log-probs of tokens: verl, OpenRLHF, Tinker.

Shapes: S sequences, T tokens of the longest one; N sequences of each of B prompts.
"""

from __future__ import annotations

import math

import torch

from . import control
from ._operator import Operator
from .errors import PmpoError

Metrics = dict[str, torch.Tensor]


def check_stateless(operator: Operator, framework: str) -> Operator:
    """The operator, if it trains no variables of its own: a loss function has no optimizer to give them to.

    Raises:
      PmpoError: it trains such variables.
    """
    if operator._choose(("sequence",), False, False).file.state:
        raise PmpoError(
            f"operator {operator.name}",
            f"trains variables of its own, which {framework} would not optimize",
            "Use one without, such as pmpo.operators.pmpo() with a fixed weight of the KL",
        )
    return operator


def check_alone(operator: Operator, feedback: control.Feedback | None, remedy: str) -> None:
    """Refuses what learns nothing from contexts of one sequence each.

    Raises:
      PmpoError: the operator or the classifier compares the sequences of a prompt.
    """
    needs = operator._choose(("sequence",), False, False).needs
    for where, compares in (
        (f"operator {operator.name}", needs.feedback == "pairs" or needs.compares_samples),
        (f"feedback '{feedback}'", isinstance(feedback, str) and feedback in control.classifiers),
    ):
        if compares:
            raise PmpoError(where, "compares the sequences of a prompt, and each is a prompt by itself here", remedy)


def held_at_floor(
    operator: Operator, log_prob: torch.Tensor, reference_log_prob: torch.Tensor, rejected: torch.Tensor, floor: float
) -> torch.Tensor:
    """The log-probs, without gradient where a rejected sequence has fallen to `floor` of its probability under the reference.

    PMPO's loss is bounded for rejected samples of the reference only (docs/mathematics.md), as its file says. Sequences of a data set
    are none, and without a floor their unlikely tokens fall without end. Other operators are left alone.

    Args:
      log_prob: log π_θ of each sequence.
      reference_log_prob: log π_ref, of the same shape.
      rejected: whether each sequence is rejected.
      floor: in [0, 1); 0 for none.
    """
    if floor == 0 or not operator._choose(("sequence",), False, False).needs.rejects_reference_samples:
        return log_prob
    at_floor = rejected & (log_prob.detach() - reference_log_prob <= math.log(floor))
    return torch.where(at_floor, log_prob.detach(), log_prob)


def groups_by_layout(count: int, size: int) -> torch.Tensor:
    """The group of each of `count` sequences where those of a prompt follow one another, [S].

    Raises:
      PmpoError: the groups are not whole.
    """
    if size < 1 or count % size != 0:
        raise PmpoError(
            "group_size", f"is {size}, and the batch has {count} sequences", "The batch must hold whole groups: change its size, or group_size"
        )
    return torch.arange(count) // size


def summed_kl(log_ratio: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The estimate of KL(reference ‖ policy) of each sequence, [S]: r − 1 − log r at each token, r = π_θ/π_ref.

    It holds for samples of the reference only.
    """
    log_ratio = log_ratio.masked_fill(~mask, 0.0)
    return (log_ratio.exp() - 1 - log_ratio).sum(1)


def sequence_loss(
    operator: Operator,
    log_prob: torch.Tensor,
    reference_log_prob: torch.Tensor,
    mask: torch.Tensor,
    advantage: torch.Tensor,
    group: torch.Tensor,
    feedback: control.Feedback | None,
) -> tuple[torch.Tensor, Metrics]:
    """The operator's loss, a mean over the prompts, and its metrics.

    Args:
      log_prob, reference_log_prob: of each token, [S, T].
      mask: 1 for the tokens of the response, [S, T]. A sequence without such tokens does not count as a sample.
      advantage: of each token, [S, T]; its mean is that of the sequence.
      group: the prompt of each sequence, [S].
      feedback: classifies the advantages; by default above 0 is accepted and below 0 is rejected.
    """
    mask = mask.to(torch.bool)
    length = mask.sum(1)

    def summed(values: torch.Tensor) -> torch.Tensor:
        return values.masked_fill(~mask, 0.0).sum(1)

    _, context = group.to(log_prob.device).unique(return_inverse=True)
    same = context.unsqueeze(0) == context.unsqueeze(1)
    place = same.tril(-1).sum(1), context
    shape = int(place[0].max()) + 1, int(context.max()) + 1

    def plane(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(shape).index_put(place, values)

    there = plane((length > 0).to(log_prob.dtype))
    evaluation = plane(summed(advantage) / length.clamp(min=1)).to(log_prob.dtype)
    if feedback is None:
        accept, reject = evaluation > 0, evaluation < 0
    else:
        accept, reject = control.classify(feedback, evaluation, there)
    reference_log_prob = reference_log_prob.detach()
    kl = plane(summed_kl(log_prob - reference_log_prob, mask))
    return operator.torch(
        plane(summed(log_prob)),
        plane(summed(reference_log_prob)),
        evaluation=evaluation,
        accept=accept,
        reject=reject,
        mask=there,
        length=plane(length.clamp(min=1).to(log_prob.dtype)).clamp(min=1),
        kl=kl.sum(0) / there.sum(0).clamp(min=1),
    )
