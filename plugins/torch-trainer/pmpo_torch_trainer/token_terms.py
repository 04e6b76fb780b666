"""Log-probs and divergences of tokens, computed from hidden states for one chunk of positions at a time.

Shapes: P positions; H the width of a hidden state; V vocabulary size.

The logits of all positions would be P·V numbers: 2 GB for 2,000 tokens of a vocabulary of 262,144, and several times that with
their gradients. Here the logits of only one chunk exist at a time. The loss is a sum of terms with known coefficients, so the
gradient of a chunk with respect to its hidden states is computed together with its terms, and nothing is computed twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**24
"""Number of logits of one chunk: 64 MB in float32. A few such tensors exist at once."""

Logits = Callable[[Tensor], Tensor]
"""Maps hidden states [P, H] to logits [P, V]."""


@dataclasses.dataclass(frozen=True)
class TermSelection:
    """The terms to compute; see `Terms`."""

    policy: bool = False
    reference: bool = False
    kl: bool = False
    reverse_kl: bool = False

    @property
    def needs_policy(self) -> bool:
        return self.policy or self.divergences

    @property
    def needs_reference(self) -> bool:
        return self.reference or self.divergences

    @property
    def divergences(self) -> bool:
        return self.kl or self.reverse_kl


@dataclasses.dataclass
class Terms:
    """Terms of each position, in nats, [P] each; None if not selected."""

    log_prob: Tensor | None = None
    """log π_θ of the target token."""
    reference_log_prob: Tensor | None = None
    """log π_ref of the target token."""
    kl: Tensor | None = None
    """KL(π_ref ‖ π_θ), exact over the vocabulary."""
    reverse_kl: Tensor | None = None
    """KL(π_θ ‖ π_ref), exact over the vocabulary."""

    FIELDS = ("log_prob", "reference_log_prob", "kl", "reverse_kl")


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q) [P], in nats, of log-probs p and q, [P, V] each."""
    return (p.exp() * (p - q)).sum(-1)


def terms_of(policy: Tensor | None, reference: Tensor | None, targets: Tensor, wanted: TermSelection) -> Terms:
    """The terms of target tokens [P], from logits [P, V] of the policy and the reference."""
    terms = Terms()
    log_policy = None if policy is None else policy.log_softmax(-1)
    log_reference = None if reference is None else reference.log_softmax(-1)
    pick = lambda log_probs: log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)  # noqa: E731
    if wanted.policy:
        terms.log_prob = pick(log_policy)
    if wanted.reference:
        terms.reference_log_prob = pick(log_reference)
    if log_policy is not None and log_reference is not None:
        if wanted.kl:
            terms.kl = divergence(log_reference, log_policy)
        if wanted.reverse_kl:
            terms.reverse_kl = divergence(log_policy, log_reference)
    return terms


@dataclasses.dataclass(frozen=True)
class LazyLogits:
    """Hidden states [P, H] of one model, and the function that maps them to logits."""

    states: Tensor
    logits: Logits


@dataclasses.dataclass(frozen=True)
class TokenCoefficients:
    """The coefficients of the terms, [P] each; None means 0."""

    log_prob: Tensor | None = None
    kl: Tensor | None = None
    reverse_kl: Tensor | None = None


def _chunks(positions: int, vocabulary_size: int) -> list[slice]:
    size = max(1, CHUNK_ELEMENTS // vocabulary_size)
    return [slice(start, min(start + size, positions)) for start in range(0, positions, size)]


def _join(parts: list[Terms]) -> Terms:
    def join(name: str) -> Tensor | None:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else torch.cat([value.detach() for value in values])

    return Terms(**{name: join(name) for name in Terms.FIELDS})


def evaluate(
    policy: LazyLogits | None, reference: LazyLogits | None, targets: Tensor, wanted: TermSelection, vocabulary_size: int
) -> Terms:
    """Computes the terms of target tokens [P] without gradients."""
    parts = []
    with torch.no_grad():
        for chunk in _chunks(len(targets), vocabulary_size):
            of_policy = None if policy is None else policy.logits(policy.states[chunk])
            of_reference = None if reference is None else reference.logits(reference.states[chunk])
            parts.append(terms_of(of_policy, of_reference, targets[chunk], wanted))
    return _join(parts)


def weighted_sum(terms: Terms, coefficients: TokenCoefficients) -> Tensor:
    """Σ coefficient · term over the positions."""
    given = ((getattr(coefficients, name), getattr(terms, name)) for name in ("log_prob", "kl", "reverse_kl"))
    products = [(coefficient * term).sum() for coefficient, term in given if coefficient is not None]
    return torch.stack(products).sum()


def differentiate(
    policy: LazyLogits,
    reference: LazyLogits | None,
    targets: Tensor,
    wanted: TermSelection,
    coefficients: TokenCoefficients,
    vocabulary_size: int,
) -> tuple[Terms, Tensor, float]:
    """Computes the terms of target tokens [P] and the gradient of their weighted sum.

    The gradient with respect to the output layer's parameters, if they are trained, is added to their `grad`.

    Returns:
      The terms, the gradient with respect to the policy's hidden states [P, H], and the weighted sum.
    """
    parts, gradient, total = [], torch.zeros_like(policy.states), 0.0
    for chunk in _chunks(len(targets), vocabulary_size):
        states = policy.states[chunk].detach().requires_grad_()
        with torch.no_grad():
            reference_logits = None if reference is None else reference.logits(reference.states[chunk])
        terms = terms_of(policy.logits(states), reference_logits, targets[chunk], wanted)
        cut = TokenCoefficients(
            *(
                None if coefficient is None else coefficient[chunk]
                for coefficient in (coefficients.log_prob, coefficients.kl, coefficients.reverse_kl)
            )
        )
        value = weighted_sum(terms, cut)
        value.backward()
        assert states.grad is not None
        gradient[chunk] = states.grad
        total += value.item()
        parts.append(terms)
    return _join(parts), gradient, total
