"""How the next token of a completion is drawn. Letters: R completions that are under way, V vocabulary, K likeliest tokens."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """As vLLM's `SamplingParams`, with its neutral values."""

    max_tokens: int
    min_tokens: int = 0
    temperature: float = 1.0
    """0: the likeliest token."""
    top_p: float = 1.0
    top_k: int = 0
    """0: all."""
    min_p: float = 0.0
    presence_penalty: float = 0.0
    """Taken from the logits of tokens that the completion has."""
    frequency_penalty: float = 0.0
    """The same, for each time that it has them."""
    repetition_penalty: float = 1.0
    """Positive logits of tokens that prompt or completion have are divided by it, others multiplied."""
    stop: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    """With the model's own, unless those are ignored."""
    reported_stop_token_ids: frozenset[int] = frozenset()
    """Those of the request."""
    n: int = 1
    logprobs: int | None = None
    """K beside the sampled one, which takes one of the K places; 0: the sampled one alone; None: none."""
    prompt_logprobs: int | None = None
    seed: int | None = None


class Draws:
    """The random numbers of one completion: a function of the request's seed and of which of the n it is."""

    def __init__(self, seed: int | None, index: int) -> None:
        key = np.random.SeedSequence(None if seed is None else [seed & 0xFFFFFFFF, index])
        self._generator = np.random.Generator(np.random.Philox(key))

    def next(self) -> float:
        """Uniform in [0, 1)."""
        return float(self._generator.random())


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Nats, under the distribution at temperature 1 with all tokens possible, as vLLM reports them."""

    tokens: Tensor
    """[R]"""
    log_probs: Tensor
    """[R]"""


@dataclasses.dataclass(frozen=True)
class Context:
    """What stands before the token to be drawn."""

    prompt: list[int]
    completion: list[int]


def choose(logits: Tensor, settings: list[SamplingSettings], contexts: list[Context], uniforms: list[float]) -> Chosen:
    """Draws a token for each row of logits [R, V], float32, by inverting its distribution at a uniform number."""
    possible = logits.clone()
    for row, own, context in zip(possible, settings, contexts, strict=True):
        _penalize(row, own, context)
        if len(context.completion) < own.min_tokens and own.stop_token_ids:
            row[sorted(own.stop_token_ids)] = -torch.inf
    temperatures = [own.temperature for own in settings]
    if all(temperature == 0 for temperature in temperatures):
        tokens = possible.argmax(-1)
    else:
        scale = torch.tensor([t or 1.0 for t in temperatures], device=logits.device).unsqueeze(-1)
        drawn = _invert(_restrict(possible / scale, settings), uniforms)
        greedy = torch.tensor([t == 0 for t in temperatures], device=logits.device)
        tokens = torch.where(greedy, possible.argmax(-1), drawn)
    return Chosen(tokens, log_probs_of(logits, tokens))


def log_probs_of(logits: Tensor, tokens: Tensor) -> Tensor:
    """log-probs [R] of one token of each row."""
    return logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)


def likeliest(logits: Tensor, token: int, count: int) -> tuple[list[float], list[int]]:
    """Log-probs and tokens of logits [V]: the given one, then the likeliest others, `count` in all."""
    log_probs = logits.log_softmax(-1)
    values, tokens = log_probs.topk(min(count, log_probs.shape[-1]))
    others = [(v, t) for v, t in zip(values.tolist(), tokens.tolist(), strict=True) if t != token][: max(count - 1, 0)]
    return [float(log_probs[token]), *(v for v, _ in others)], [token, *(t for _, t in others)]


def _penalize(logits: Tensor, own: SamplingSettings, context: Context) -> None:
    """Changes logits [V] by the tokens that there are already: repetition first, then frequency and presence, as vLLM does."""
    if own.repetition_penalty != 1:
        there = torch.tensor(sorted({*context.prompt, *context.completion}), device=logits.device)
        before = logits[there]
        logits[there] = torch.where(before > 0, before / own.repetition_penalty, before * own.repetition_penalty)
    if context.completion and (own.presence_penalty != 0 or own.frequency_penalty != 0):
        made, counts = torch.tensor(context.completion, device=logits.device).unique(return_counts=True)
        logits[made] -= own.frequency_penalty * counts + own.presence_penalty


def _restrict(logits: Tensor, settings: list[SamplingSettings]) -> Tensor:
    """Takes out what min_p, then top_k, then top_p leave out, in vLLM's order."""
    size = logits.shape[-1]
    for row, own in enumerate(settings):
        if own.min_p > 0:
            logits[row].masked_fill_(logits[row] < logits[row].max() + float(np.log(own.min_p)), -torch.inf)
    tops = [size if own.top_k == 0 else min(own.top_k, size) for own in settings]
    if any(top < size for top in tops):
        values = logits.topk(max(top for top in tops if top < size)).values
        for row, top in enumerate(tops):
            if top < size:
                logits[row].masked_fill_(logits[row] < values[row, top - 1], -torch.inf)
    for row, own in enumerate(settings):
        if own.top_p < 1:
            ordered, order = logits[row].sort(descending=True)
            probabilities = ordered.softmax(-1)
            # The one that reaches top_p is kept, and so is the first in any case.
            beyond = probabilities.cumsum(-1) - probabilities >= own.top_p
            beyond[0] = False
            logits[row, order[beyond]] = -torch.inf
    return logits


def _invert(logits: Tensor, uniforms: list[float]) -> Tensor:
    # In float64: over 262,144 tokens the rounding of float32 is as large as a rare token's probability.
    cumulative = logits.softmax(-1).double().cumsum(-1)
    total = cumulative[:, -1:].contiguous()
    at = torch.tensor(uniforms, dtype=torch.float64, device=logits.device).unsqueeze(-1) * total
    tokens = torch.searchsorted(cumulative, at, right=True)
    # u·total can round up to the total: then the last token that is possible.
    last = torch.searchsorted(cumulative, total)
    # Of logits that are not numbers nothing is found; that they are none is seen by the log-prob.
    return torch.minimum(tokens, last).clamp(max=logits.shape[-1] - 1).squeeze(-1)
