"""The coefficients that a client gives to the terms of its sequences: what a gradient is the gradient of."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from pmpo_torch_trainer.batches import TokenSequence
from pmpo_torch_trainer.errors import invalid

Coefficient = float | Sequence[float] | None
"""One number for all tokens of a completion, one number for each token, or None for 0."""


@dataclasses.dataclass(frozen=True)
class Coefficients:
    """The coefficients of the terms of one sequence."""

    log_prob: Coefficient = None
    kl: Coefficient = None
    reverse_kl: Coefficient = None

    FIELDS = ("log_prob", "kl", "reverse_kl")


def check_coefficients(sequences: Sequence[TokenSequence], coefficients: Sequence[Coefficients]) -> None:
    """Checks the coefficients of a request.

    Raises:
      RequestError: they do not fit the sequences, one is not finite, or there are none.
    """
    if len(coefficients) != len(sequences):
        raise invalid(
            f"the request has {len(sequences)} sequences and {len(coefficients)} coefficients; each sequence needs one entry"
        )
    for index, (sequence, given_coefficients) in enumerate(zip(sequences, coefficients, strict=True)):
        for name in Coefficients.FIELDS:
            given: Coefficient = getattr(given_coefficients, name)
            if given is None:
                continue
            values = [given] if isinstance(given, float) else list(given)
            if not isinstance(given, float) and len(values) != len(sequence.completion):
                raise invalid(
                    f"sequence {index}: {len(values)} coefficients {name} for {len(sequence.completion)} completion tokens; "
                    "give one for all tokens or one for each"
                )
            if not all(math.isfinite(value) for value in values):
                raise invalid(f"sequence {index}: a coefficient {name} is not finite")
    if all(getattr(given_coefficients, name) is None for given_coefficients in coefficients for name in Coefficients.FIELDS):
        raise invalid("no sequence has coefficients")
