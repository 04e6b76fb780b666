"""Feedback classifiers in Python: which samples of a policy are accepted, and which are rejected.

Shapes: B contexts, N samples of each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .errors import PmpoError

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class FeedbackBatch:
    """What a classifier judges.

    Attributes:
      evaluation: f(x, y), [N, B].
      mask: 1 where a sample is present, 0 elsewhere, [N, B]. Weights of absent samples are ignored.
      baseline: V(x), the mean evaluation of a context's samples, [B].
      samples: [N, B, …]: actions in the environment's units, or padded tokens.
      observations: the contexts, [B, …]: flattened observations, or padded tokens.
      sample_texts: N lists of B completions; language jobs only, else empty.
      context_texts: B prompts; language jobs only, else empty.
    """

    evaluation: Floats
    mask: Floats
    baseline: Floats
    samples: Floats
    observations: Floats
    sample_texts: Sequence[Sequence[str]] = ()
    context_texts: Sequence[str] = ()


Answer = Any
"""`(accept, reject)`, weights in [0, 1] or booleans, [N, B] each; or one of them for a classifier that gives one side."""
Judge = Callable[[FeedbackBatch], Answer]
F = TypeVar("F", bound=Judge)


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A function of yours, by its name, and which weights it gives."""

    name: str
    judge: Judge
    accepts: bool = True
    rejects: bool = True

    def __call__(self, batch: FeedbackBatch) -> tuple[Floats, Floats]:
        """The weights of a batch, checked.

        Raises:
          PmpoError: what the function returned is not what it must be.
        """
        answer = self.judge(batch)
        where = f"feedback '{self.name}'"
        zeros = np.zeros_like(batch.evaluation)
        if not (self.accepts and self.rejects):
            weights = _weights(where, "accept" if self.accepts else "reject", answer, batch)
            return (weights, zeros) if self.accepts else (zeros, weights)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise PmpoError(where, f"it returned {type(answer).__name__}", "It must return the tuple (accept, reject)")
        accept, reject = (_weights(where, side, one, batch) for side, one in zip(("accept", "reject"), answer))
        return accept, reject


def _weights(where: str, side: str, given: Any, batch: FeedbackBatch) -> Floats:
    shape = batch.evaluation.shape
    try:
        weights = np.asarray(given, np.float32)
    except (TypeError, ValueError):
        raise PmpoError(where, f"{side} is {type(given).__name__}", "It must be numbers or booleans, [N, B]") from None
    if weights.shape != shape:
        raise PmpoError(where, f"{side} has the shape {list(weights.shape)}", f"It must be [N, B] = {list(shape)}")
    wrong = (batch.mask > 0) & ~((weights >= 0) & (weights <= 1))
    if wrong.any():
        n, b = np.argwhere(wrong)[0]
        raise PmpoError(
            where, f"{side} is {weights[n, b]} for sample {n} of context {b}", "Weights must be numbers from 0 to 1"
        )
    return weights


_registered: dict[str, Classifier] = {}


def feedback(name: str, *, accepts: bool = True, rejects: bool = True) -> Callable[[F], F]:
    """Registers a function as the feedback classifier `name`, for `serve_feedback`.

        @pmpo.feedback("mine")
        def mine(batch: pmpo.FeedbackBatch):
            accept = batch.evaluation > batch.baseline
            return accept, ~accept

    Args:
      name: its name; a function registered later under the same name takes its place.
      accepts, rejects: which weights it gives. With one of them, the function returns that array alone.

    Raises:
      PmpoError: the name is empty, or it gives neither side.
    """
    if not name or not (accepts or rejects):
        raise PmpoError(f"feedback '{name}'", "it needs a name, and gives accepts, rejects or both")

    def register(judge: F) -> F:
        _registered[name] = Classifier(name, judge, accepts, rejects)
        return judge

    return register


def registered() -> list[Classifier]:
    """The classifiers that were registered so far."""
    return list(_registered.values())
