"""PMPO, or any other operator, as a custom loss of Tinker. Tinker itself is not imported.

    training_client.forward_backward_custom(data, pmpo.tinker.custom_loss(group_size=8))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from . import control, operators
from ._operator import Operator
from ._sequences import check_alone, check_stateless, groups_by_layout, sequence_loss
from .errors import PmpoError

__all__ = ["custom_loss"]

CustomLoss = Callable[[Sequence[Any], Sequence[torch.Tensor]], tuple[torch.Tensor, dict[str, float]]]


def custom_loss(
    operator: Operator | None = None, *, group_size: int | None = None, feedback: control.Feedback | None = None
) -> CustomLoss:
    """The loss of a list of data, for `TrainingClient.forward_backward_custom`.

    Each datum has in `loss_fn_inputs`, beside `target_tokens`, for each of its T tokens: `logprobs`, the log-probs of the policy that
    sampled, and `advantages`; where they are given, `mask` or `weights` is 0 for the tokens of the prompt; and `group`, an integer
    tensor, is the same in the data of one prompt. The reference is the policy that sampled. The KL is estimated by r − 1 − log r at
    each token, r = π_θ/π_ref, which holds for samples of the reference only.

    Args:
      operator: an operator without variables of its own; `pmpo.operators.pmpo()` by default.
      group_size: N, where the data of a prompt follow one another. By default `group` says which belong together, and without it
        each datum is a context by itself.
      feedback: classifies the mean advantages of the data, [N, B]; by default above 0 is accepted and below 0 is rejected.

    Raises:
      PmpoError: the operator has variables of its own. When it is called: a datum lacks something, the groups are not whole, or the
        operator or `feedback` compares the data of a prompt and each is alone.
    """
    chosen = check_stateless(operators.pmpo() if operator is None else operator, "Tinker")

    def loss_fn(data: Sequence[Any], logprobs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        fields = [{name: value.to_torch() for name, value in datum.loss_fn_inputs.items()} for datum in data]
        for index, given in enumerate(fields):
            for name in ("logprobs", "advantages"):
                size = list(given[name].shape) if name in given else None
                if size != list(logprobs[index].shape) or len(size) != 1:
                    found = f"has {name} of shape {size}" if size else f"has no {name}"
                    raise PmpoError(f"data[{index}].loss_fn_inputs", found, f"Give one for each of the {len(logprobs[index])} tokens")

        def padded(tensors: list[torch.Tensor]) -> torch.Tensor:
            return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)

        masks = [given.get("mask", given.get("weights", torch.ones_like(given["advantages"]))) for given in fields]
        grouped = ["group" in given for given in fields]
        if group_size is None and any(grouped):
            if not all(grouped):
                raise PmpoError(f"data[{grouped.index(False)}].loss_fn_inputs", "has no group, and others have", "Give it to all or none")
            group = torch.stack([given["group"].reshape(-1)[0] for given in fields])
        else:
            group = groups_by_layout(len(data), 1 if group_size is None else group_size)
        if len(group.unique()) == len(group):
            check_alone(chosen, feedback, "Give data of one prompt a common group, or set group_size to their number")
        loss, metrics = sequence_loss(
            chosen,
            padded(list(logprobs)),
            padded([given["logprobs"] for given in fields]),
            padded(masks) != 0,
            padded([given["advantages"] for given in fields]),
            group,
            feedback,
        )
        return loss, {name: value.mean().item() for name, value in metrics.items()}

    return loss_fn
