"""PMPO, or any other operator, as a policy loss of verl.

    import pmpo.verl

    pmpo.verl.register("pmpo")        # then: actor_rollout_ref.actor.policy_loss.loss_mode=pmpo
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from verl.trainer.ppo.core_algos import register_policy_loss

from . import control, operators
from ._operator import Operator
from ._sequences import check_alone, check_stateless, groups_by_layout, sequence_loss
from .errors import PmpoError

__all__ = ["register"]

PolicyLoss = Callable[..., tuple[torch.Tensor, dict[str, Any]]]


def register(
    name: str = "pmpo",
    operator: Operator | None = None,
    *,
    group_size: int = 1,
    feedback: control.Feedback | None = None,
) -> PolicyLoss:
    """Registers an operator's loss as the policy loss `name`, in every process that trains the actor.

    The reference is the policy that sampled, `old_log_prob`. The KL is estimated by r − 1 − log r at each token, r = π_θ/π_ref, which
    holds for samples of the reference only. verl's `loss_agg_mode` is not used: log-probs are summed over a response, or divided by
    its length by an operator with `per_token=True`.

    Args:
      operator: an operator without variables of its own; `pmpo.operators.pmpo()` by default.
      group_size: N, the responses of a prompt, which must then follow one another in each micro-batch (no `balance_batch`, no
        `use_dynamic_bsz`, no shuffling), because verl does not tell a loss the prompts. With 1, each response is a context by itself.
        That suffices for PMPO, where the advantages are relative to the group already.
      feedback: classifies the mean advantages of responses, [N, B]; by default above 0 is accepted and below 0 is rejected.

    Returns:
      The registered function.
    Raises:
      PmpoError: the operator has variables of its own, or it or `feedback` compares responses and `group_size` is 1.
        When it is called: the groups are not whole, or verl gives weights of its rollout correction, which operators do not use.
    """
    chosen = check_stateless(operators.pmpo() if operator is None else operator, "verl")
    if group_size == 1:
        check_alone(chosen, feedback, "Set group_size to the number of responses of a prompt")

    def policy_loss(
        old_log_prob: torch.Tensor,
        log_prob: torch.Tensor,
        advantages: torch.Tensor,
        response_mask: torch.Tensor,
        loss_agg_mode: str = "token-mean",
        config: Any = None,
        rollout_is_weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        if rollout_is_weights is not None:
            raise PmpoError("rollout_is_weights", "were given, and operators do not use them", "Turn verl's rollout correction off")
        group = groups_by_layout(len(log_prob), group_size)
        loss, metrics = sequence_loss(chosen, log_prob, old_log_prob, response_mask, advantages, group, feedback)
        batch = {} if config is None else config.global_batch_info
        if batch.get("global_batch_size") is not None:
            # verl adds the losses of micro-batches up, and averages over processes.
            loss = loss * (len(log_prob) / batch["global_batch_size"] * batch.get("dp_size", 1))
        return loss, {f"actor/{key}": value.mean().item() for key, value in metrics.items()}

    register_policy_loss(name)(policy_loss)
    return policy_loss
