"""Tries a model before it is served: that its parts give what the whole gives, and one update.

Shapes: L tokens; V vocabulary size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pmpo_torch_trainer.batches import TokenSequence
from pmpo_torch_trainer.body_and_head import Head, body_of, call, hidden_states
from pmpo_torch_trainer.coefficients import Coefficients
from pmpo_torch_trainer.errors import StartError

if TYPE_CHECKING:
    from pmpo_torch_trainer.model import LanguageModel
    from pmpo_torch_trainer.trainer import Trainer


def _refusal(model: LanguageModel, reason: str) -> StartError:
    kind = model.module.config.get_text_config().model_type
    return StartError(f"--model {model.name}: models of type '{kind}' cannot be trained here: {reason}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]


@torch.no_grad()
def check_parts(model: LanguageModel) -> None:
    """Checks on a few tokens that body and head together give the logits of the whole model, and that later tokens change none.

    Raises:
      StartError: they do not, or the model cannot be run in two parts.
    """
    module = model.module
    if body_of(module) is None:
        raise _refusal(model, "its hidden states cannot be read apart from its logits")
    device = next(module.parameters()).device
    length = min(6, model.context_length, model.vocabulary_size)
    tokens = torch.arange(length, device=device).flip(0).unsqueeze(0)
    mask = torch.ones_like(tokens)

    def whole(count: int) -> Tensor:
        output = call(module, input_ids=tokens[:, :count], attention_mask=mask[:, :count], use_cache=False, return_dict=True)
        return output.logits[0].float()  # type: ignore[no-any-return]  # the model's outputs are not annotated

    try:
        wanted = whole(length)
        start = whole(max(1, length // 2))
        found = Head(module)(hidden_states(module, tokens, mask)[0])
    except Exception as error:  # Each architecture fails in its own way.
        raise _refusal(model, _first_line(error)) from error
    if not bool(torch.isfinite(wanted).all()):
        raise StartError(f"--model {model.name}: its logits are not finite, so its parameters are broken")
    # Parameters of a small dtype, which only frozen ones have, round differently.
    bound = 1e-3 if next(module.parameters()).dtype is torch.float32 else 0.05
    scale = wanted.abs().max().clamp(min=1)
    if found.shape != wanted.shape or not bool((found - wanted).abs().max() <= bound * scale):
        raise _refusal(model, "its logits do not follow from its last hidden states")
    if not bool((wanted[: len(start)] - start).abs().max() <= bound * scale):
        raise _refusal(model, "a token's probability depends on the tokens after it")


def try_update(trainer: Trainer) -> None:
    """Takes one update of learning rate 0, which changes nothing, as a first client would.

    Raises:
      StartError: it fails.
    """
    model = trainer.model
    length = min(3, model.context_length - 1, model.vocabulary_size)
    if length < 1:
        raise _refusal(model, f"its context has {model.context_length} token")
    tokens = list(range(length))
    sequences = [TokenSequence([0], tokens), TokenSequence([0], tokens[:1])]
    try:
        trainer.forward_backward(sequences, [Coefficients(log_prob=1.0, kl=1.0)] * 2)
        trainer.optim_step(0.0, 0.0)
    except Exception as error:  # Each architecture fails in its own way.
        if trainer.processes.rank > 0:
            # This process reports it, if it is the only one that failed.
            raise
        reason = trainer.processes.failure_reason(error).split("\n")[0]
        raise _refusal(model, f"an update was tried, and failed: {reason or type(error).__name__}") from error
    finally:
        trainer.optimizer.zero_grad()
        trainer.optimizer.state.clear()
        trainer.steps = 0
