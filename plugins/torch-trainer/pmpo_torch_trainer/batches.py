"""Token sequences: validation, and collation into batches that fit into memory.

Shapes: R sequences of a batch, padded to L tokens; P completion tokens in total; T completion tokens of one sequence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from pmpo_torch_trainer.errors import invalid


@dataclasses.dataclass(frozen=True)
class TokenSequence:
    """A prompt, and a completion of T tokens. Neither is empty."""

    prompt: Sequence[int]
    completion: Sequence[int]

    @property
    def length(self) -> int:
        """Number of tokens of prompt and completion together."""
        return len(self.prompt) + len(self.completion)


def check_sequences(sequences: Sequence[TokenSequence], vocabulary_size: int, context_length: int) -> None:
    """Checks that the model can process every sequence.

    Raises:
      RequestError: there are no sequences, or one has an empty part, an unknown token, or too many tokens.
    """
    if not sequences:
        raise invalid("the request has no sequences")
    for index, sequence in enumerate(sequences):
        for part, tokens in (("prompt", sequence.prompt), ("completion", sequence.completion)):
            if not tokens:
                raise invalid(f"sequence {index}: the {part} is empty")
            if max(tokens) >= vocabulary_size:
                last = vocabulary_size - 1
                raise invalid(f"sequence {index}: the {part} has token {max(tokens)}; the vocabulary ends at {last}")
        if sequence.length > context_length:
            raise invalid(f"sequence {index}: {sequence.length} tokens exceed the context of {context_length}")


def micro_batches(sequences: Sequence[TokenSequence], max_tokens: int) -> list[list[int]]:
    """Groups the indices of sequences of similar length.

    A group has at most `max_tokens` tokens including padding; a longer sequence is a group by itself. The groups depend only
    on the lengths, so that sums over them are rounded in the same way each time.
    """
    order = sorted(range(len(sequences)), key=lambda i: (-sequences[i].length, i))
    groups: list[list[int]] = []
    for index in order:
        # The first sequence of a group is its longest.
        if groups and (len(groups[-1]) + 1) * sequences[groups[-1][0]].length <= max_tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


@dataclasses.dataclass(frozen=True)
class Batch:
    """R sequences, padded on the right to L tokens, and the positions at which their P completion tokens are predicted."""

    tokens: Tensor
    """[R, L]"""
    attention_mask: Tensor
    """[R, L]: 1 for a token, 0 for padding."""
    positions: Tensor
    """[P]: indices into the R·L hidden states, row by row, of the states that predict the completion tokens."""
    targets: Tensor
    """[P]: the completion tokens."""
    lengths: list[int]
    """[R]: number of completion tokens of each sequence; their sum is P."""

    def split(self, values: Tensor) -> list[Tensor]:
        """Splits values [P] into R tensors [T], one for each sequence."""
        return list(values.split(self.lengths))


def collate(sequences: Sequence[TokenSequence], device: torch.device) -> Batch:
    """Pads sequences to a batch on `device`. The attention mask hides the padding."""
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
