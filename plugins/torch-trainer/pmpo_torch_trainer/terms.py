"""Log-probs and divergences of tokens, from hidden states, a few positions at a time.

Letters: P positions, H the width of a hidden state, V vocabulary. Logits of all positions at once would be P·V numbers, 2 GB
for 2,000 tokens of a vocabulary of 262,144, and several times that with their gradients. Here they live for one chunk
only. Since the loss is a sum of terms whose coefficients are known beforehand, the gradient of a chunk in its hidden states
is taken as soon as its terms are there, and nothing is computed twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**24
"""Logits at a time, 64 MB of float32; a few such tensors exist at once."""

Logits = Callable[[Tensor], Tensor]
"""[P, H] → [P, V]."""


@dataclasses.dataclass(frozen=True)
class Wanted:
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
    """Nats, [P] each, where they are wanted."""

    log_prob: Tensor | None = None
    """log π_θ of the target."""
    reference_log_prob: Tensor | None = None
    """log π_ref of the target."""
    kl: Tensor | None = None
    """KL(π_ref ‖ π_θ) over the vocabulary."""
    reverse_kl: Tensor | None = None
    """KL(π_θ ‖ π_ref)."""

    FIELDS = ("log_prob", "reference_log_prob", "kl", "reverse_kl")


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q) of log-probs [P, V], [P]."""
    return (p.exp() * (p - q)).sum(-1)


def terms_of(policy: Tensor | None, reference: Tensor | None, targets: Tensor, wanted: Wanted) -> Terms:
    """The terms of logits [P, V]."""
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
class Side:
    """Hidden states of one model at the positions, [P, H], and its way from there to logits."""

    states: Tensor
    logits: Logits


@dataclasses.dataclass(frozen=True)
class Factors:
    """By what the terms are multiplied, [P] each."""

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


def evaluate(policy: Side | None, reference: Side | None, targets: Tensor, wanted: Wanted, vocabulary_size: int) -> Terms:
    """The terms of all positions, without gradients."""
    parts = []
    with torch.no_grad():
        for chunk in _chunks(len(targets), vocabulary_size):
            of_policy = None if policy is None else policy.logits(policy.states[chunk])
            of_reference = None if reference is None else reference.logits(reference.states[chunk])
            parts.append(terms_of(of_policy, of_reference, targets[chunk], wanted))
    return _join(parts)


def weighted_sum(terms: Terms, factors: Factors) -> Tensor:
    """Σ factor · term over the positions."""
    given = ((getattr(factors, name), getattr(terms, name)) for name in ("log_prob", "kl", "reverse_kl"))
    products = [(factor * term).sum() for factor, term in given if factor is not None]
    return torch.stack(products).sum()


def differentiate(
    policy: Side, reference: Side | None, targets: Tensor, wanted: Wanted, factors: Factors, vocabulary_size: int
) -> tuple[Terms, Tensor, float]:
    """The terms, the gradient of their weighted sum in the policy's hidden states [P, H], and the sum.

    The gradient in the output layer's parameters, where they are trained, is added to theirs.
    """
    parts, gradient, total = [], torch.zeros_like(policy.states), 0.0
    for chunk in _chunks(len(targets), vocabulary_size):
        states = policy.states[chunk].detach().requires_grad_()
        with torch.no_grad():
            reference_logits = None if reference is None else reference.logits(reference.states[chunk])
        terms = terms_of(policy.logits(states), reference_logits, targets[chunk], wanted)
        cut = Factors(*(None if factor is None else factor[chunk] for factor in (factors.log_prob, factors.kl, factors.reverse_kl)))
        value = weighted_sum(terms, cut)
        value.backward()
        assert states.grad is not None
        gradient[chunk] = states.grad
        total += value.item()
        parts.append(terms)
    return _join(parts), gradient, total
