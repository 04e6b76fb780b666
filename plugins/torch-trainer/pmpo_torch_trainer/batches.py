"""Sequences: their checks, and how they are put together into batches that fit into memory. No tensor of the model is here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence as Listed

import torch
from torch import Tensor

from pmpo_torch_trainer.errors import invalid


@dataclasses.dataclass(frozen=True)
class TokenSequence:
    """A prompt and a completion of T tokens, neither empty."""

    prompt: Listed[int]
    completion: Listed[int]

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.completion)


def check_sequences(sequences: Listed[TokenSequence], vocabulary_size: int, context_length: int) -> None:
    """Raises RequestError for the first that the model cannot take, with its number."""
    if not sequences:
        raise invalid("there are no sequences")
    for index, sequence in enumerate(sequences):
        for part, tokens in (("prompt", sequence.prompt), ("completion", sequence.completion)):
            if not tokens:
                raise invalid(f"sequence {index}: the {part} is empty")
            if max(tokens) >= vocabulary_size:
                raise invalid(f"sequence {index}: the {part} has token {max(tokens)}; the vocabulary ends at {vocabulary_size - 1}")
        if sequence.length > context_length:
            raise invalid(f"sequence {index}: {sequence.length} tokens are more than the context of {context_length}")


def micro_batches(sequences: Listed[TokenSequence], max_tokens: int) -> list[list[int]]:
    """The numbers of the sequences in groups of like length, each of at most `max_tokens`, padding counted, or one alone.

    The order is a function of the lengths alone, so that sums come out the same whenever they are made.
    """
    order = sorted(range(len(sequences)), key=lambda i: (-sequences[i].length, i))
    groups: list[list[int]] = []
    for index in order:
        # The first of a group is its longest.
        if groups and (len(groups[-1]) + 1) * sequences[groups[-1][0]].length <= max_tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


@dataclasses.dataclass(frozen=True)
class Batch:
    """R sequences, padded on the right to L tokens, and where the P tokens of their completions are predicted."""

    tokens: Tensor
    """[R, L]"""
    attention_mask: Tensor
    """[R, L], 1 where there is a token."""
    positions: Tensor
    """[P], into R·L: of the states from which completion tokens are predicted, row by row."""
    targets: Tensor
    """[P], those tokens."""
    lengths: list[int]
    """[R], how many of the P belong to each sequence."""

    def split(self, values: Tensor) -> list[Tensor]:
        """[P] → R tensors of T each."""
        return list(values.split(self.lengths))


def collate(sequences: Listed[TokenSequence], device: torch.device) -> Batch:
    """Puts sequences together. What stands in the padding is never seen."""
    width = max(sequence.length for sequence in sequences)
    tokens = torch.zeros(len(sequences), width, dtype=torch.long)
    mask = torch.zeros(len(sequences), width, dtype=torch.long)
    positions, targets = [], []
    for row, sequence in enumerate(sequences):
        tokens[row, : sequence.length] = torch.tensor([*sequence.prompt, *sequence.completion])
        mask[row, : sequence.length] = 1
        start = row * width + len(sequence.prompt) - 1
        positions.append(torch.arange(start, start + len(sequence.completion)))
        targets.append(torch.tensor(list(sequence.completion), dtype=torch.long))
    return Batch(
        tokens=tokens.to(device),
        attention_mask=mask.to(device),
        positions=torch.cat(positions).to(device),
        targets=torch.cat(targets).to(device),
        lengths=[len(sequence.completion) for sequence in sequences],
    )
