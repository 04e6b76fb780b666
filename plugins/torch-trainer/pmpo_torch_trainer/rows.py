"""Unfinished completions in the model: rows of tokens that grow by one token at a time.

Shapes: P prompts; R rows; L tokens; H the width of a hidden state.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any, Protocol

import torch
import transformers
from torch import Tensor

from pmpo_torch_trainer.body_and_head import body_of, call, hidden_states

_log = logging.getLogger("pmpo_torch_trainer")


class Rows(Protocol):
    """Reads prompts first, then steps."""

    def read(self, prompts: list[list[int]]) -> list[Tensor]:
        """Reads P prompts, and returns the hidden states of each, [L, H]."""

    def keep(self, rows: list[int]) -> None:
        """Keeps only these rows. A row may be listed several times."""

    def step(self, tokens: list[int]) -> Tensor:
        """Appends one token to each row, and returns the hidden states [R, H]."""


RowsOf = Callable[[Any, torch.device], Rows]


class CachedRows:
    """Rows with a cache of keys and values, padded on the left."""

    def __init__(self, module: Any, device: torch.device) -> None:
        self._body = body_of(module)
        self._cache = transformers.DynamicCache(config=module.config)
        # Later versions of transformers renamed this argument.
        self._cache_name = "cache" if "cache" in inspect.signature(self._body.forward).parameters else "past_key_values"
        self._device = device
        self._mask = torch.empty(0)

    def read(self, prompts: list[list[int]]) -> list[Tensor]:
        width = max(len(prompt) for prompt in prompts)
        tokens = torch.zeros(len(prompts), width, dtype=torch.long)
        mask = torch.zeros(len(prompts), width, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            tokens[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        self._mask = mask.to(self._device)
        states = self._forward(tokens.to(self._device), (self._mask.cumsum(-1) - 1).clamp(min=0))
        return [states[row, width - len(prompt) :] for row, prompt in enumerate(prompts)]

    def keep(self, rows: list[int]) -> None:
        index = torch.tensor(rows, device=self._device)
        self._cache.batch_select_indices(index)
        self._mask = self._mask[index]

    def step(self, tokens: list[int]) -> Tensor:
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=-1)
        column = torch.tensor(tokens, device=self._device).unsqueeze(-1)
        return self._forward(column, self._mask.sum(-1, keepdim=True) - 1)[:, -1]

    def _forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        cache = {self._cache_name: self._cache}
        output = call(
            self._body, input_ids=tokens, attention_mask=self._mask, position_ids=positions, use_cache=True, return_dict=True, **cache
        )
        states: Tensor = output[0]
        return states


class RereadRows:
    """Rows of a model that has another cache or none: each token reads its whole row again, padded on the right."""

    def __init__(self, module: Any, device: torch.device) -> None:
        self._module = module
        self._device = device
        self._rows: list[list[int]] = []

    def read(self, prompts: list[list[int]]) -> list[Tensor]:
        self._rows = [list(prompt) for prompt in prompts]
        width = max(len(row) for row in self._rows)
        tokens = torch.tensor([row + [0] * (width - len(row)) for row in self._rows], device=self._device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in self._rows], device=self._device)
        states = hidden_states(self._module, tokens, mask)
        return [of_row[: len(row)] for of_row, row in zip(states, self._rows, strict=True)]

    def keep(self, rows: list[int]) -> None:
        self._rows = [self._rows[row] for row in rows]

    def step(self, tokens: list[int]) -> Tensor:
        return torch.stack([states[-1] for states in self.read([[*row, token] for row, token in zip(self._rows, tokens, strict=True)])])


@torch.no_grad()
def choose_rows(module: Any, device: torch.device, context_length: int) -> RowsOf:
    """`CachedRows` if the model continues with its cache as it reads whole rows, else `RereadRows`: two prompts are tried."""
    long = min(5, context_length - 2)
    if long < 2:
        return RereadRows

    first = list(range(1, 1 + long))
    rows_read = [[2], [2, 1], [*first, 3], [2, 2], [2, 1, 3], [*first, 3, 1], [2, 2, 1]]

    def run(rows: Rows) -> Tensor:
        states = [rows.read([first, [2]])[1][-1:]]
        rows.keep([1, 0, 1])
        states += [rows.step([1, 3, 2]), rows.step([3, 1, 1])]
        return torch.cat(states).float()

    try:
        # Each row by itself has no padding.
        wanted = torch.stack([RereadRows(module, device).read([row])[0][-1] for row in rows_read]).float()

        def difference(rows: Rows) -> float:
            # The greatest of all rows: in the mean, exact rows would hide one whose padding is not ignored.
            return float(((run(rows) - wanted).norm(dim=-1) / wanted.norm(dim=-1)).max())

        bound = 1e-3
        if next(module.parameters()).dtype is not torch.float32:
            # Deep models of few digits differ as much where only the shapes of their tensors do.
            bound = min(0.1, max(0.02, 3 * difference(RereadRows(module, device))))
        error = difference(CachedRows(module, device))
        if error < bound:
            return CachedRows
        reason = f"differs by {error:.1e}"
    except Exception as raised:  # An architecture with a cache of its own fails in its own way.
        reason = str(raised).split("\n")[0]
    _log.warning("sampling reads each sequence again for every token: the cache of this model is not used (%s)", reason)
    return RereadRows
