"""What a trainer asks of the processes that it is made of, and the answers where it is one. For several see distributed.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Listed
from typing import Any, TypeVar

import torch
from torch import Tensor

from pmpo_torch_trainer.batches import TokenSequence, micro_batches
from pmpo_torch_trainer.model import LanguageModel, View, Weights, hidden_states

T = TypeVar("T")


class Body:
    """From tokens to the last hidden states, of one tree of modules."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """[R, L] → [R, L, H]."""
        return hidden_states(self.module, tokens, attention_mask)

    def release(self) -> None:
        """Gives back what running it has gathered."""


@dataclasses.dataclass(frozen=True)
class Pass:
    """The numbers of the sequences that are put through the model together."""

    members: list[int]
    counts: bool = True
    """False: only so that the others are not left waiting; nothing comes of it."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a process has of a model."""

    policy: LanguageModel
    """The model as it is trained: its trainable parameters are this process's pieces."""
    reference: View
    """The same with parameters of their own, pieces like the policy's."""
    sampled: Weights
    """Whole parameters to sample from; none but in the first process."""


class Processes:
    """One process, which has everything. Letters: K processes."""

    rank = 0
    count = 1

    def split(self, model: LanguageModel) -> Parts:
        """Takes what this process is to have of a model; of `model` itself only what is not trained may be used then."""
        weights = model.weights()
        return Parts(model, View(model, weights), weights)

    def body(self, module: Any) -> Body:
        """The body of a module that `split` has made."""
        return Body(module)

    def passes(self, sequences: Listed[TokenSequence], max_tokens: int) -> list[Pass]:
        """This process's share of a batch. As many passes as every other process has."""
        return [Pass(members) for members in micro_batches(sequences, max_tokens)]

    def agree(self, act: Callable[[], T]) -> T:
        """Does something here. Raises what it raised in any process (RequestError, StartError), in all of them."""
        return act()

    def first(self, act: Callable[[], None]) -> None:
        """Does something in the first process alone. Raises in all of them what it raised there."""
        self.agree(act if self.rank == 0 else lambda: None)

    def gather(self, own: T) -> list[T]:
        """What each process has, [K], in their order."""
        return [own]

    def whole(self, pieces: Weights, device: torch.device | None = None) -> Weights:
        """Whole tensors from everybody's pieces, in the first process; nothing in the others."""
        return pieces

    def piece(self, whole: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's pieces of tensors that every process has whole, on the device of the parameters of these names."""
        return {name: tensor.to(like[name].device) for name, tensor in whole.items()}

    def number(self, value: Tensor) -> float:
        """A number that all processes have a part in."""
        return float(value)

    def send(self, name: str, request: bytes) -> None:
        """Has the other processes carry out a request, as this one is about to."""

    def why(self, error: Exception) -> str:
        """For the process whose call has failed: why all must end."""
        return str(error)


ALONE = Processes()
