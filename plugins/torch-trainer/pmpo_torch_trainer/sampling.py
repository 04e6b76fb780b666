"""Sampling of the next token. Shapes: R unfinished completions; V vocabulary size."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """The settings of vLLM's `SamplingParams`. By default each has no effect."""

    max_tokens: int
    min_tokens: int = 0
    temperature: float = 1.0
    """0: greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0: no limit."""
    min_p: float = 0.0
    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens that occur in the completion."""
    frequency_penalty: float = 0.0
    """Subtracted from the logits of tokens once for each occurrence in the completion."""
    repetition_penalty: float = 1.0
    """For tokens that occur in the prompt or completion, divides positive logits and multiplies negative ones."""
    stop: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    """Includes the model's end tokens, unless the request ignores them."""
    reported_stop_token_ids: frozenset[int] = frozenset()
    """The stop tokens of the request itself, which are reported when they end a completion."""
    n: int = 1
    logprobs: int | None = None
    """Number of log-probs per position, one of which is the sampled token's; 0: the sampled token's alone; None: none."""
    prompt_logprobs: int | None = None
    seed: int | None = None


class RandomStream:
    """The random numbers of one completion, determined by the request's seed and the completion's index.

    Without a seed they differ each time.
    """

    def __init__(self, seed: int | None, index: int) -> None:
        key = np.random.SeedSequence(None if seed is None else [seed & 0xFFFFFFFF, index])
        self._generator = np.random.Generator(np.random.Philox(key))

    def next(self) -> float:
        """A uniform number in [0, 1)."""
        return float(self._generator.random())


@dataclasses.dataclass(frozen=True)
class SampledTokens:
    """Sampled tokens and their log-probs."""

    tokens: Tensor
    """[R]"""
    log_probs: Tensor
    """[R], in nats, under the model at temperature 1 without restrictions or penalties, as vLLM reports them."""


@dataclasses.dataclass(frozen=True)
class Context:
    """The tokens before the one to sample."""

    prompt: list[int]
    completion: list[int]


def sample_tokens(
    logits: Tensor, settings: list[SamplingSettings], contexts: list[Context], uniforms: list[float]
) -> SampledTokens:
    """Samples a token for each row of logits [R, V], float32, by inverse transform sampling.

    `uniforms` [R] are the random numbers in [0, 1) at which the cumulative distributions are inverted.
    """
    allowed = logits.clone()
    for row, own_settings, context in zip(allowed, settings, contexts, strict=True):
        _penalize(row, own_settings, context)
        if len(context.completion) < own_settings.min_tokens and own_settings.stop_token_ids:
            row[sorted(own_settings.stop_token_ids)] = -torch.inf
    temperatures = [own_settings.temperature for own_settings in settings]
    if all(temperature == 0 for temperature in temperatures):
        tokens = allowed.argmax(-1)
    else:
        scale = torch.tensor([t or 1.0 for t in temperatures], device=logits.device).unsqueeze(-1)
        drawn = _invert(_restrict(allowed / scale, settings), uniforms)
        greedy = torch.tensor([t == 0 for t in temperatures], device=logits.device)
        tokens = torch.where(greedy, allowed.argmax(-1), drawn)
    return SampledTokens(tokens, log_probs_of(logits, tokens))


def log_probs_of(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probs [R], in nats, of one token [R] per row of logits [R, V]."""
    return logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)


def top_log_probs(logits: Tensor, token: int, count: int) -> tuple[list[float], list[int]]:
    """Log-probs and ids of `count` tokens for logits [V]: the given token, then the most likely others."""
    log_probs = logits.log_softmax(-1)
    values, tokens = log_probs.topk(min(count, log_probs.shape[-1]))
    others = [(v, t) for v, t in zip(values.tolist(), tokens.tolist(), strict=True) if t != token][: max(count - 1, 0)]
    return [float(log_probs[token]), *(v for v, _ in others)], [token, *(t for _, t in others)]


def _penalize(logits: Tensor, own_settings: SamplingSettings, context: Context) -> None:
    """Applies the penalties to logits [V] in place: repetition first, then frequency and presence, as vLLM does."""
    if own_settings.repetition_penalty != 1:
        seen = torch.tensor(sorted({*context.prompt, *context.completion}), device=logits.device)
        before = logits[seen]
        logits[seen] = torch.where(before > 0, before / own_settings.repetition_penalty, before * own_settings.repetition_penalty)
    if context.completion and (own_settings.presence_penalty != 0 or own_settings.frequency_penalty != 0):
        generated, counts = torch.tensor(context.completion, device=logits.device).unique(return_counts=True)
        logits[generated] -= own_settings.frequency_penalty * counts + own_settings.presence_penalty


def _restrict(logits: Tensor, settings: list[SamplingSettings]) -> Tensor:
    """Excludes tokens from logits [R, V] in place by min_p, then top_k, then top_p, in vLLM's order."""
    size = logits.shape[-1]
    for row, own_settings in enumerate(settings):
        if own_settings.min_p > 0:
            logits[row].masked_fill_(logits[row] < logits[row].max() + float(np.log(own_settings.min_p)), -torch.inf)
    tops = [size if own_settings.top_k == 0 else min(own_settings.top_k, size) for own_settings in settings]
    if any(top < size for top in tops):
        values = logits.topk(max(top for top in tops if top < size)).values
        for row, top in enumerate(tops):
            if top < size:
                logits[row].masked_fill_(logits[row] < values[row, top - 1], -torch.inf)
    for row, own_settings in enumerate(settings):
        if own_settings.top_p < 1:
            ordered, order = logits[row].sort(descending=True)
            probabilities = ordered.softmax(-1)
            # Keeps the token that reaches top_p, and always the most likely one.
            beyond = probabilities.cumsum(-1) - probabilities >= own_settings.top_p
            beyond[0] = False
            logits[row, order[beyond]] = -torch.inf
    return logits


def _invert(logits: Tensor, uniforms: list[float]) -> Tensor:
    # In float64, because float32 rounding over 262,144 tokens is as large as the probability of a rare token.
    cumulative = logits.softmax(-1).double().cumsum(-1)
    total = cumulative[:, -1:].contiguous()
    at = torch.tensor(uniforms, dtype=torch.float64, device=logits.device).unsqueeze(-1) * total
    tokens = torch.searchsorted(cumulative, at, right=True)
    # u · total can be rounded up to the total, which belongs to the last allowed token.
    last = torch.searchsorted(cumulative, total)
    # For NaN logits the search finds nothing; the caller sees that their log-prob is not finite.
    return torch.minimum(tokens, last).clamp(max=logits.shape[-1] - 1).squeeze(-1)
