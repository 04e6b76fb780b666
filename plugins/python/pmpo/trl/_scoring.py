"""Log-probs and divergences of completion tokens, computed inside of a model's forward pass for one chunk of positions at a time.

Shapes: R sequences of L tokens; P completion tokens of all sequences together; H the width of a hidden state; V vocabulary size.

The logits of all positions would be P·V numbers, for the policy and for the reference. Here at most `CHUNK_ELEMENTS` logits of each
exist at a time, in the backward pass as well, which computes those of a chunk again.
"""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_outputs import BaseModelOutputWithPast

CHUNK_ELEMENTS = 2**24
"""Number of logits of a chunk: 64 MB in float32. A few such tensors exist at once."""

Logits = Callable[[Tensor], Tensor]
"""Maps hidden states [P, H] to logits [P, V]."""


@dataclass(frozen=True)
class States:
    """Hidden states [P, H] that predict the completion tokens, and the output layer that maps them to logits."""

    values: Tensor
    logits: Logits


@dataclass(frozen=True)
class Request:
    """What a forward pass computes in place of all logits."""

    mask: Tensor
    """[R, L]: 1 for a completion token, never for the first token of a sequence."""
    temperature: float = 1.0
    """The logits are divided by it."""
    reference: States | None = None
    """The states of the reference, if its log-probs or the KL are wanted."""
    kl: bool = False
    """Whether to compute KL(reference ‖ policy)."""
    states_only: bool = False
    """Whether the result is `States`, to be the `reference` of another request, in place of `Scores`."""


@dataclass(frozen=True)
class Scores:
    """What is known of each completion token, [P] each. `log_prob` and `kl` carry gradients."""

    log_prob: Tensor
    """log π_θ of the token, in nats."""
    kl: Tensor | None
    """KL(π_ref ‖ π_θ) over the vocabulary, exact, in nats."""
    reference_log_prob: Tensor | None
    entropy: Tensor
    """The policy's entropy, in nats."""
    mean_logit: Tensor
    correct: Tensor
    """1 where the token is the policy's most probable one."""


class _GivenStates(nn.Module):
    """A stand-in for a model's body that returns its input embeddings as the last hidden states."""

    def forward(self, inputs_embeds: Tensor, **_: object) -> BaseModelOutputWithPast:
        return BaseModelOutputWithPast(last_hidden_state=inputs_embeds)


def _saved_for_adapter(module: nn.Module) -> nn.Module:
    """The module that computes at present: PEFT may train a copy in its place (`modules_to_save`)."""
    copies = getattr(module, "modules_to_save", None)
    if copies is None or not hasattr(module, "original_module"):
        return module
    active = getattr(module, "active_adapters", [])
    if module.disable_adapters or not active or active[0] not in copies:
        return module.original_module  # type: ignore[return-value]  # torch types attributes of modules as tensors or modules
    return copies[active[0]]  # type: ignore[no-any-return]  # PEFT is not annotated


def _output_layer(model: Any) -> Logits:
    """Maps hidden states to logits exactly as the model does, including soft caps and scales."""
    shell = copy.copy(model)
    # The forward pass of the class, without the changes that this and other packages make to the model's own.
    shell.__dict__.pop("forward", None)
    shell._modules = {name: None if child is None else _saved_for_adapter(child) for name, child in model._modules.items()}
    shell._modules[model.base_model_prefix] = _GivenStates()

    def logits(states: Tensor) -> Tensor:
        found: Tensor = shell(inputs_embeds=states.unsqueeze(0), use_cache=False).logits
        return found.squeeze(0).float()

    return logits


def accept_requests(model: Any) -> None:
    """Lets `model(…, request=Request(…))` return `Scores` or `States`. All other calls are as before.

    The scores are computed inside of the forward pass, so that wrappers of the model (autocast, DistributedDataParallel) see
    an ordinary call.
    """
    original = model.forward

    # With the signature of the class: `generate` checks its arguments against it.
    @functools.wraps(type(model).forward)
    def forward(self: Any, *args: Any, request: Request | None = None, **kwargs: Any) -> Any:
        if request is None:
            return original(*args, **kwargs)
        body = getattr(self, self.base_model_prefix)
        hidden = body(*args, **{**kwargs, "use_cache": False}).last_hidden_state
        mask = request.mask[:, 1:].bool()
        # Prompt tuning puts virtual tokens in front of the others.
        states = States(hidden[:, -mask.shape[1] - 1 : -1][mask], _output_layer(self))
        if request.states_only:
            return states
        tokens = kwargs["input_ids"][:, 1:][mask]
        return _scores(states, tokens, request, self.get_output_embeddings().weight.shape[0])

    model.forward = types.MethodType(forward, model)


def _scores(states: States, tokens: Tensor, request: Request, vocabulary_size: int) -> Scores:
    reference = request.reference

    def of_chunk(values: Tensor, reference_values: Tensor | None, targets: Tensor) -> tuple[Tensor | None, ...]:
        logits = states.logits(values) / request.temperature
        log_policy = logits.log_softmax(-1)
        picked = targets.unsqueeze(-1)
        log_prob = log_policy.gather(-1, picked).squeeze(-1)
        with torch.no_grad():
            entropy = -(log_policy.exp() * log_policy).sum(-1)
            found: list[Tensor | None] = [entropy, logits.mean(-1), logits.argmax(-1) == targets]
        if reference is None or reference_values is None:
            return log_prob, None, None, *found
        with torch.no_grad():
            log_reference = (reference.logits(reference_values) / request.temperature).log_softmax(-1)
            reference_log_prob = log_reference.gather(-1, picked).squeeze(-1)
        kl = (log_reference.exp() * (log_reference - log_policy)).sum(-1) if request.kl else None
        return log_prob, kl, reference_log_prob, *found

    size = max(1, CHUNK_ELEMENTS // vocabulary_size)
    parts = []
    for start in range(0, max(1, len(tokens)), size):
        chunk = slice(start, start + size)
        of_reference = None if reference is None else reference.values[chunk]
        parts.append(checkpoint(of_chunk, states.values[chunk], of_reference, tokens[chunk], use_reentrant=False))
    log_prob, kl, reference_log_prob, entropy, mean_logit, correct = (
        None if column[0] is None else torch.cat(column) for column in zip(*parts)
    )
    return Scores(log_prob, kl, reference_log_prob, entropy, mean_logit, correct)  # type: ignore[arg-type]  # the columns that are never None are not known to be so
