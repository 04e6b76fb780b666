"""The operations that a trainer needs from its processes, for a single process. distributed.py implements them for several.

Shapes: K processes; R rows of L tokens; H the width of a hidden state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from pmpo_torch_trainer.batches import TokenSequence, micro_batches
from pmpo_torch_trainer.body_and_head import hidden_states
from pmpo_torch_trainer.model import LanguageModel, View, Weights

T = TypeVar("T")


class Body:
    """The part of a model that maps tokens to their last hidden states."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Maps tokens [R, L] and their attention mask [R, L] to hidden states [R, L, H]."""
        return hidden_states(self.module, tokens, attention_mask)

    def release(self) -> None:
        """Frees the parameters that running the body has gathered from other processes."""


@dataclasses.dataclass(frozen=True)
class Pass:
    """One forward pass: the indices of the sequences that go through the model together."""

    members: list[int]
    contributes: bool = True
    """False for a pass that only keeps this process in step with the others; its results are discarded."""


@dataclasses.dataclass(frozen=True)
class ModelShare:
    """One process's share of a model."""

    policy: LanguageModel
    """The trained model; its trainable parameters are this process's shards."""
    reference: View
    """The reference model; its parameters are shards like the policy's."""
    sampled: Weights
    """Whole parameters to sample from; empty in all processes but the first."""


class Processes:
    """A single process, which holds everything."""

    rank = 0
    count = 1

    def split(self, model: LanguageModel) -> ModelShare:
        """Returns this process's share of a model. Afterwards only the untrained parameters of `model` may be used."""
        weights = model.weights()
        return ModelShare(model, View(model, weights), weights)

    def body(self, module: Any) -> Body:
        """The body of a module that `split` has returned."""
        return Body(module)

    def passes(self, sequences: Sequence[TokenSequence], max_tokens: int) -> list[Pass]:
        """Plans this process's share of a batch. All processes have the same number of passes."""
        return [Pass(members) for members in micro_batches(sequences, max_tokens)]

    def agree(self, act: Callable[[], T]) -> T:
        """Calls `act` in every process and returns its result.

        Raises:
          RequestError, StartError: in all processes, if `act` raised it in any of them.
        """
        return act()

    def run_on_first(self, act: Callable[[], None]) -> None:
        """Calls `act` only in the first process.

        Raises:
          RequestError, StartError: in all processes, if `act` raised it.
        """
        self.agree(act if self.rank == 0 else lambda: None)

    def all_gather(self, value: T) -> list[T]:
        """Returns the `value` of each process, [K], in the order of their ranks."""
        return [value]

    def gather_tensors(self, shards: Weights, device: torch.device | None = None) -> Weights:
        """Assembles whole tensors from the shards of all processes, in the first process; returns none in the others.

        With a device, the whole tensors are moved there.
        """
        return shards

    def shard_tensors(self, whole: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's shards of tensors that every process holds whole, placed like the parameters `like`."""
        return {name: tensor.to(like[name].device) for name, tensor in whole.items()}

    def full_scalar(self, value: Tensor) -> float:
        """The value of a scalar that may be distributed over the processes."""
        return float(value)

    def broadcast_request(self, name: str, request: bytes) -> None:
        """Makes the other processes carry out the request that this process is about to carry out."""

    def failure_reason(self, error: Exception) -> str:
        """The reason why all processes must stop after a call failed with `error` in this one."""
        return str(error)


SINGLE_PROCESS = Processes()
