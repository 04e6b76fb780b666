"""What the trainers share.

Shapes: R sequences; P completion tokens of all sequences; N samples of each of B contexts.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import Tensor
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import use_adapter

from ..errors import PmpoError
from ._scoring import Request, States, accept_requests

Share = tuple[Tensor, Tensor]
"""A sum and the number of its terms, so that processes with other numbers of terms can be averaged."""


def refuse_changed(config: Any, base: type, names: tuple[str, ...], remedy: str) -> None:
    """Refuses settings of a base class that have no effect.

    Raises:
      PmpoError: one of them differs from its default.
    """
    for field in dataclasses.fields(base):
        if field.name not in names:
            continue
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        value = getattr(config, field.name)
        if value not in (default, [default]):
            raise PmpoError(f"{type(config).__name__}, {field.name}", f"is {value!r}, and has no effect here", remedy)


def _disable_dropout_of_attention(model: torch.nn.Module) -> None:
    """Sets the rates of dropout to 0 that a model applies by function calls. TRL's `disable_dropout` reaches modules only."""
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def prepare_models(trainer: Any, config: str) -> None:
    """Lets the models of a trainer of TRL compute scores, and refuses setups in which they cannot.

    Raises:
      PmpoError: the trainer uses FSDP or DeepSpeed, or adds a loss for the load of experts.
    """
    name = type(trainer).__name__
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise PmpoError(
            name,
            f"does not support {'FSDP' if trainer.is_fsdp_enabled else 'DeepSpeed'}",
            "Use one process, or several with DistributedDataParallel",
        )
    if trainer.aux_loss_enabled:
        raise PmpoError(f"{config}, router_aux_loss_coef", f"is not 0, and {name} adds no such loss", "Set it to 0.0")
    models = [trainer.model.get_base_model() if is_peft_model(trainer.model) else trainer.model]
    if trainer.ref_model is not None:
        models.append(trainer.accelerator.unwrap_model(trainer.ref_model))
    for model in models:
        if trainer.args.disable_dropout:
            _disable_dropout_of_attention(model)
        accept_requests(model)


def reference_states(trainer: Any, request: Request, inputs: Mapping[str, Any]) -> States:
    """The hidden states of the reference: a model of its own, or with PEFT the policy without its adapter."""
    adapter: Any = contextlib.nullcontext()
    model = trainer.ref_model
    if model is None:
        model = trainer.model
        peft = trainer.accelerator.unwrap_model(model)
        adapter = use_adapter(peft, adapter_name="ref" if "ref" in peft.peft_config else None)
    checkpointing = disable_gradient_checkpointing(trainer.model, trainer.args.gradient_checkpointing_kwargs)
    # TRL prepared the reference before `accept_requests`, which hides accelerate's autocast; the policy, prepared later, has it.
    with torch.no_grad(), checkpointing, adapter, trainer.accelerator.autocast():
        states: States = model(**inputs, request=dataclasses.replace(request, states_only=True))
    return states


class Planes:
    """Puts the terms of tokens into sums over sequences, and those into planes [N, B].

    Args:
      mask: [R, L], 1 for a completion token.
      context: [R], the index of each sequence's context.
      sample: [R], its index among the samples of the context.
    """

    def __init__(self, mask: Tensor, context: Tensor, sample: Tensor) -> None:
        self.row = mask[:, 1:].nonzero()[:, 0]
        """[P]: the sequence of each token."""
        self.length = mask[:, 1:].sum(1).clamp(min=1).float()
        """[R]: the number of completion tokens of each sequence, at least 1."""
        self._index = sample, context
        self._shape = int(sample.max()) + 1, int(context.max()) + 1

    def sums(self, values: Tensor) -> Tensor:
        """The sums [R] of values [P] of tokens."""
        return values.new_zeros(len(self.length)).index_add(0, self.row, values)

    def of(self, values: Tensor) -> Tensor:
        """The plane [N, B] of values [R] of sequences, 0 where there is none."""
        return values.new_zeros(self._shape).index_put(self._index, values)

    def context_means(self, values: Tensor, weights: Tensor | None = None) -> Tensor:
        """The means [B] over the samples of each context of values [R], 0 where none counts.

        Args:
          weights: 1 for a sequence that counts and 0 for another, [R]; by default all count.
        """
        weights = torch.ones_like(values) if weights is None else weights
        return self.of(values * weights).sum(0) / self.of(weights).sum(0).clamp(min=1)


def record(trainer: Any, shares: Mapping[str, Share]) -> dict[str, Share]:
    """Keeps the averages over all processes for the next log. Returns the sums over all processes."""
    flat = torch.stack([x.detach().float() for share in shares.values() for x in share])
    total = trainer.accelerator.gather(flat).view(-1, len(flat)).sum(0).view(-1, 2)
    metrics = trainer._metrics["train" if trainer.model.training else "eval"]
    for name, (value, count) in zip(shares, total.tolist()):
        if count > 0:
            metrics[name].append(value / count)
    return {name: (value, count) for name, (value, count) in zip(shares, total)}


def mean(values: Tensor, weights: Tensor | None = None) -> Share:
    """The share of a weighted mean."""
    weights = torch.ones_like(values, dtype=torch.float32) if weights is None else weights
    return (values.detach() * weights).sum(), weights.sum()
