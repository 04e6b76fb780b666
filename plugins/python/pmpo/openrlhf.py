"""PMPO, or any other operator, as the loss of OpenRLHF's trainers. A program such as this takes the arguments of OpenRLHF's own:

    import runpy
    import pmpo.openrlhf

    pmpo.openrlhf.use_in_ppo(pmpo.operators.pmpo())
    runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__")

Shapes: S sequences, T tokens of the longest response; B pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from . import control, operators
from ._operator import Operator
from ._sequences import check_alone, check_stateless, groups_by_layout, held_at_floor, sequence_loss, summed_kl
from .errors import PmpoError

__all__ = ["actor_loss", "preference_loss", "use_in_dpo", "use_in_ppo"]

ActorLoss = Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor, None, None]]
PreferenceLoss = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor, torch.Tensor]
]


def actor_loss(operator: Operator | None = None, *, feedback: control.Feedback | None = None) -> ActorLoss:
    """A loss for `ActorPPOTrainer.actor_loss_fn`, called as OpenRLHF's `PolicyLoss` is.

    The reference is the policy that sampled, `old_log_probs`. The KL is estimated by r − 1 − log r at each token, r = π_θ/π_ref, which
    holds for samples of the reference only. Each response is a context by itself, because OpenRLHF shuffles responses and does not
    tell a loss the prompts; its advantages may be relative to those of the same prompt (`--algo.advantage.estimator group_norm`).

    Args:
      operator: an operator without variables of its own; `pmpo.operators.pmpo()` by default.
      feedback: classifies the mean advantages of responses, [1, S]; by default above 0 is accepted and below 0 is rejected.

    Raises:
      PmpoError: the operator has variables of its own, needs what OpenRLHF does not give, or compares the responses of a prompt.
    """
    chosen = check_stateless(operators.pmpo() if operator is None else operator, "OpenRLHF")
    check_alone(chosen, feedback, "Take an operator that does not, such as pmpo.operators.pmpo()")

    def loss_fn(
        log_probs: torch.Tensor,
        old_log_probs: torch.Tensor,
        advantages: torch.Tensor,
        action_mask: torch.Tensor | None = None,
        rollout_log_probs: torch.Tensor | None = None,
        dp_size: int = 1,
        batch_num_tokens: float | torch.Tensor | None = None,
        global_batch_size: float | torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None, None]:
        mask = torch.ones_like(log_probs, dtype=torch.bool) if action_mask is None else action_mask.bool()
        group = groups_by_layout(len(log_probs), 1)
        loss, _ = sequence_loss(chosen, log_probs, old_log_probs, mask, advantages, group, feedback)
        # OpenRLHF adds the losses of micro-batches up, averages over processes, and does not count empty responses.
        count = mask.any(1).sum().clamp(min=1) if global_batch_size is None else global_batch_size
        loss = loss * (len(log_probs) / count * dp_size)
        log_ratio = (log_probs - old_log_probs).detach().masked_fill(~mask, 0.0)
        return loss, log_ratio.new_zeros(()), -log_ratio.sum() / mask.sum().clamp(min=1), None, None

    plane = torch.zeros(1, 1)
    loss_fn(plane, plane, plane)  # An operator that needs more than this says so now.
    return loss_fn


def preference_loss(operator: Operator | None = None, *, rejected_floor: float = 0.1) -> PreferenceLoss:
    """A loss of pairs for `DPOTrainer.loss_fn`, called as OpenRLHF's `DPOLoss` is. Without an operator it is PMPO's.

    OpenRLHF gives the log-prob of each completion as one number. An operator's KL is estimated from the two completions of a pair by
    r − 1 − log r, where r = π_θ/π_ref of the whole completion, which estimates it only where the completions were sampled by the
    reference. It does not hold a rejected completion, whose probability PMPO lowers until it is `rejected_floor` of what the reference
    gives it. The rewards that OpenRLHF logs are log r.

    Raises:
      PmpoError: the operator has variables of its own, or needs what OpenRLHF does not give, such as the lengths of completions.
    """
    chosen = check_stateless(operators.pmpo() if operator is None else operator, "OpenRLHF")

    def loss_fn(
        policy_chosen_logps: torch.Tensor,
        policy_rejected_logps: torch.Tensor,
        reference_chosen_logps: torch.Tensor,
        reference_rejected_logps: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        log_prob = torch.stack([policy_chosen_logps, policy_rejected_logps])
        reference = torch.stack([reference_chosen_logps, reference_rejected_logps]).detach()
        accept = torch.zeros_like(reference)
        accept[0] = 1
        log_ratio = log_prob - reference
        kl = summed_kl(log_ratio.T, torch.ones_like(log_ratio.T, dtype=torch.bool)) / 2
        log_prob = held_at_floor(chosen, log_prob, reference, accept == 0, rejected_floor)
        loss = chosen.torch(
            log_prob, reference, evaluation=accept, accept=accept, reject=1 - accept, kl=kl, metrics=False
        ).loss
        return loss, log_ratio[0].detach(), log_ratio[1].detach()

    pair = torch.zeros(1)
    loss_fn(pair, pair, pair, pair)  # An operator that needs more than this says so now.
    return loss_fn


def use_in_ppo(operator: Operator | None = None, *, feedback: control.Feedback | None = None) -> None:
    """Lets `openrlhf.cli.train_ppo_ray`, run afterwards in this process, train by `actor_loss`. Its Ray workers need pmpo as well.

    Raises:
      PmpoError: as `actor_loss` does. When the trainer is made: OpenRLHF corrects for the rollout's log-probs, which operators do not.
    """
    from openrlhf.trainer.ray import ppo_actor

    actor_loss(operator, feedback=feedback)

    # Ray sends the actor's class to its workers with the classes that it names, and this one by value.
    class ActorPPOTrainer(_without_pmpo(ppo_actor.ActorPPOTrainer)):  # type: ignore[misc]  # OpenRLHF has no types: its class is Any
        pmpo = True

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if self.args.algo.advantage.is_correction_level != "off":
                _refuse("algo.advantage.is_correction_level", "corrects for the rollout, and operators do not", "off")
            self.actor_loss_fn = actor_loss(operator, feedback=feedback)

    ppo_actor.ActorPPOTrainer = ActorPPOTrainer


def use_in_dpo(operator: Operator | None = None) -> None:
    """Lets `openrlhf.cli.train_dpo`, run afterwards in this process, train by `preference_loss`.

    Raises:
      PmpoError: as `preference_loss` does. When the trainer is made: options of DPO's loss are set, which is not used.
    """
    from openrlhf.trainer import dpo_trainer

    loss_fn = preference_loss(operator)

    class DPOTrainer(_without_pmpo(dpo_trainer.DPOTrainer)):  # type: ignore[misc]  # OpenRLHF has no types: its class is Any
        pmpo = True

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if self.args.model.ipo_enable:
                _refuse("model.ipo_enable", "is set, and DPO's loss is not used", "off, and take pmpo.operators.ipo()")
            if self.args.model.label_smoothing != 0:
                _refuse("model.label_smoothing", "is set, and DPO's loss is not used", "0")
            self.loss_fn = loss_fn

    dpo_trainer.DPOTrainer = DPOTrainer


def _without_pmpo(trainer: Any) -> Any:
    """The trainer's own class, where an earlier call replaced it."""
    return trainer.__base__ if vars(trainer).get("pmpo") else trainer


def _refuse(option: str, what: str, value: str) -> None:
    raise PmpoError(f"--{option}", what, f"Leave it {value}")
