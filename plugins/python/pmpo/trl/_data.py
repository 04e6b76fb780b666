"""Preference data sets: pairs as TRL's DPO takes them, and completions with labels as its KTO takes them.

A row is one context x. A pair holds two samples, the first accepted and the second rejected; a completion with a label is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from datasets import Dataset

from ..errors import PmpoError

Kind = Literal["pairs", "labels"]

_remedy = "It must hold prompt, chosen and rejected, or prompt, completion and label"


def kind_of(dataset: Any, where: str) -> Kind:
    """Which kind a data set is, by its first row.

    Raises:
      PmpoError: it is neither, or empty.
    """
    row = next(iter(dataset), None)
    if row is None:
        raise PmpoError(where, "is empty", _remedy)
    if {"image", "images"} & set(row):
        raise PmpoError(where, "holds images", "PMPOTrainer takes text only")
    if {"chosen", "rejected"} <= set(row) or {"chosen_ids", "rejected_ids"} <= set(row):
        return "labels" if "chosen_ids" in row and "label" in row else "pairs"
    if {"prompt", "completion", "label"} <= set(row):
        return "labels"
    raise PmpoError(where, f"has the columns {', '.join(row) or 'none'}", _remedy)


def _label(value: Any, where: str) -> bool:
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise PmpoError(where, f"has the label {value!r}", "A label is True (accepted) or False (rejected)")


def sides_of(dataset: Any, kind: Kind, where: str) -> tuple[bool, bool]:
    """Whether a data set has accepted and rejected completions. Of a stream nothing is known in advance, so both are assumed.

    Raises:
      PmpoError: a label is neither true nor false.
    """
    if kind == "pairs" or not isinstance(dataset, Dataset):
        return True, True
    labels = [_label(value, f"{where}, row {row}") for row, value in enumerate(dataset["label"])]
    return any(labels), not all(labels)


def _both_sides(row: dict[str, Any]) -> dict[str, Any]:
    return {"chosen": row["completion"], "rejected": row["completion"]}


def as_pairs(dataset: Any, where: str) -> Any:
    """The data set in the columns of pairs, which `DPOTrainer` prepares.

    A completion with a label stands on both sides there, and `Collator` takes the one that the label names.
    """
    if "prompt_ids" in next(iter(dataset), {}):
        return dataset
    if kind_of(dataset, where) == "labels":
        return dataset.map(_both_sides, remove_columns=["completion"])
    # A label beside a pair would say that only one side is there.
    return dataset.remove_columns(["label"]) if "label" in next(iter(dataset)) else dataset


@dataclass(frozen=True)
class Collator:
    """Collates rows by a collator of pairs, which gives all chosen sequences and then all rejected ones, and keeps those there are.

    Shapes: R sequences of B contexts. Adds to the batch, [R] each: `accept`, whether the sequence is accepted; `context`, the index
    of its row; and `sample`, its index among those of the context.
    """

    pairs: Callable[[list[dict[str, Any]]], dict[str, Any]]

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch, count = self.pairs(rows), len(rows)
        context = torch.arange(count)
        if "label" not in rows[0]:
            sample = torch.arange(2).repeat_interleave(count)
            return {**batch, "accept": sample == 0, "context": context.repeat(2), "sample": sample}
        accept = torch.tensor([_label(row["label"], "data set") for row in rows])
        kept = torch.where(accept, context, context + count)
        batch = {name: x[kept] if torch.is_tensor(x) else x for name, x in batch.items()}
        return {**batch, "accept": accept, "context": context, "sample": torch.zeros_like(context)}
