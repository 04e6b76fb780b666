"""Samples completions in batches. Waiting requests are batched together if their lengths are similar.

One thread runs the model. All tokens of a completion are sampled with the weights that were published when its request
arrived.

Shapes: P prompts; R rows, which are unfinished completions; L tokens; H the width of a hidden state; V vocabulary size.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Iterable

import torch
from torch import Tensor

import grpc
from pmpo_torch_trainer.body_and_head import Head
from pmpo_torch_trainer.errors import RequestError, precondition
from pmpo_torch_trainer.model import LanguageModel, View, Weights
from pmpo_torch_trainer.rows import choose_rows
from pmpo_torch_trainer.sampling import (
    Context,
    RandomStream,
    SampledTokens,
    SamplingSettings,
    log_probs_of,
    sample_tokens,
    top_log_probs,
)

_log = logging.getLogger("pmpo_torch_trainer")


@dataclasses.dataclass(frozen=True)
class EngineOptions:
    """Limits of one batch."""

    max_sequences: int = 64
    """Completions sampled at once."""
    max_prompt_tokens: int = 16384
    """Tokens of the prompts read at once, including padding; a longer prompt is read alone."""
    deterministic: bool = False
    """Whether to process one request at a time: the rest of a batch affects how sums are rounded."""


@dataclasses.dataclass(frozen=True)
class TokenScores:
    """Log-probs, in nats, of prompt or output tokens."""

    log_probs: list[float]
    top: list[tuple[list[float], list[int]]]
    """Log-probs and ids of the most likely tokens at each position; empty unless the request asks for them."""


@dataclasses.dataclass(frozen=True)
class CompletionDelta:
    """The new tokens of one completion."""

    index: int
    tokens: list[int]
    scores: TokenScores
    num_tokens: int
    """Number of tokens of this completion so far."""
    finish_reason: str | None = None
    """`stop`, `length` or `abort` in the last delta; None before."""
    matched: int | str | None = None
    """The requested stop token or stop text that ended the completion."""


class Request:
    """A prompt to complete. The engine's thread writes its deltas; the requesting thread reads them."""

    def __init__(self, prompt: list[int], settings: SamplingSettings, weights: Weights, name: str = "") -> None:
        self.prompt = prompt
        self.settings = settings
        self.weights = weights
        self.name = name
        self.prompt_scores: TokenScores | None = None
        self._deltas: queue.SimpleQueue[CompletionDelta | Exception] = queue.SimpleQueue()
        self.aborted = threading.Event()

    def put(self, delta: CompletionDelta | Exception) -> None:
        self._deltas.put(delta)

    def deltas(self) -> Iterable[CompletionDelta]:
        """Yields deltas until all n completions are finished. Raises the engine's error if sampling fails."""
        left = self.settings.n
        while left > 0:
            delta = self._deltas.get()
            if isinstance(delta, Exception):
                raise delta
            left -= delta.finish_reason is not None
            yield delta


@dataclasses.dataclass
class _Row:
    """An unfinished completion."""

    request: Request
    index: int
    draws: RandomStream
    tokens: list[int] = dataclasses.field(default_factory=list)


class Engine:
    """Samples completions for requests until it is closed."""

    def __init__(self, model: LanguageModel, weights: Weights, options: EngineOptions) -> None:
        self._model = model
        self._view = View(model, weights)
        self._head = Head(self._view.module)
        self._options = options
        self._rows = choose_rows(self._view.module, model.device, model.context_length)
        self._waiting: collections.deque[Request] = collections.deque()
        self._active: set[Request] = set()
        self._changed = threading.Condition()
        self._closed = False
        self.last_request = 0.0
        self._thread = threading.Thread(target=self._run, name="sampling", daemon=True)
        self._thread.start()

    @property
    def active_requests(self) -> int:
        with self._changed:
            return len(self._active) + len(self._waiting)

    def submit(self, request: Request) -> None:
        """Queues a request. If the engine is closed, the request gets an error instead."""
        with self._changed:
            if self._closed:
                request.put(RequestError(grpc.StatusCode.UNAVAILABLE, "the server is shutting down"))
                return
            self._waiting.append(request)
            self.last_request = time.time()
            self._changed.notify()

    def abort(self, names: Iterable[str]) -> None:
        """Aborts the requests of these names. Unknown names and finished requests are ignored."""
        wanted = set(names)
        with self._changed:
            found = [request for request in [*self._active, *self._waiting] if request.name in wanted]
        for request in found:
            self.cancel(request)

    def cancel(self, request: Request) -> None:
        """Ends a request: at once if it is waiting, otherwise at its next token."""
        request.aborted.set()
        with self._changed:
            if request not in self._waiting:
                return
            self._waiting.remove(request)
        for index in range(request.settings.n):
            request.put(CompletionDelta(index, [], TokenScores([], []), 0, "abort"))

    def close(self) -> None:
        """Aborts all requests and stops the thread."""
        with self._changed:
            self._closed = True
            waiting = [*self._waiting, *self._active]
            self._changed.notify()
        for request in waiting:
            self.cancel(request)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                group = self._next_group()
                self._active = set(group)
            try:
                self._generate(group)
            except Exception as error:
                answer = self._error_for_client(error)
                for request in group:
                    request.put(answer)
            finally:
                with self._changed:
                    self._active = set()

    def _error_for_client(self, error: Exception) -> Exception:
        if isinstance(error, RequestError):
            return error
        out_of_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
        if out_of_memory:
            if self._model.device.type == "cuda":
                torch.cuda.empty_cache()
            # Not RESOURCE_EXHAUSTED, after which clients would repeat the same request again and again.
            message = "out of memory while sampling; reduce --max-sequences or the number of tokens"
            return RequestError(grpc.StatusCode.INTERNAL, message)
        _log.exception("sampling failed")
        return error

    def _next_group(self) -> list[Request]:
        """Takes the first waiting request, and the later ones that can be batched with it."""
        group = [self._waiting.popleft()]
        if self._options.deterministic:
            return group
        for request in list(self._waiting):
            lengths = [len(other.prompt) for other in [*group, request]]
            fits = (
                request.weights is group[0].weights
                and sum(other.settings.n for other in [*group, request]) <= self._options.max_sequences
                and len(lengths) * max(lengths) <= self._options.max_prompt_tokens
                # Otherwise short prompts would carry the padding of long ones through every step.
                and max(lengths) <= max(2 * min(lengths), 64)
            )
            if fits:
                group.append(request)
                self._waiting.remove(request)
        return group

    def _generate(self, group: list[Request]) -> None:
        """Samples all completions of a group in portions of at most `max_sequences`, which one request may exceed."""
        most = max(request.settings.n for request in group)
        portion = most if len(group) > 1 else self._options.max_sequences
        for start in range(0, most, portion):
            self._generate_indices(group, range(start, start + portion))

    @torch.no_grad()
    def _generate_indices(self, group: list[Request], indices: range) -> None:
        """Samples the completions with these indices of each request."""
        if self._view.weights is not group[0].weights:
            self._view.use(group[0].weights)
        with self._model.autocast():
            batch = self._rows(self._view.module, self._model.device)
            states = batch.read([request.prompt for request in group])
            for request, prompt_states in zip(group, states, strict=True):
                if request.settings.prompt_logprobs is not None and indices.start == 0:
                    request.prompt_scores = self._score_prompt(request, prompt_states)
            rows = [
                _Row(request, index, RandomStream(request.settings.seed, index))
                for request in group
                for index in indices
                if index < request.settings.n
            ]
            prompt_of_row = [group.index(row.request) for row in rows]
            last = torch.stack([states[number][-1] for number in prompt_of_row])
            batch.keep(prompt_of_row)
            while True:
                logits = self._head(last)
                settings = [row.request.settings for row in rows]
                contexts = [Context(row.request.prompt, row.tokens) for row in rows]
                sampled = sample_tokens(logits, settings, contexts, [row.draws.next() for row in rows])
                going = self._advance(rows, logits, sampled)
                if not going:
                    return
                if len(going) < len(rows):
                    batch.keep(going)
                    rows = [rows[number] for number in going]
                last = batch.step([row.tokens[-1] for row in rows])

    def _advance(self, rows: list[_Row], logits: Tensor, sampled: SampledTokens) -> list[int]:
        """Sends out the new tokens, and returns the numbers of the rows that continue."""
        tokens, log_probs = sampled.tokens.tolist(), sampled.log_probs.tolist()
        if not bool(torch.isfinite(sampled.log_probs).all()):
            raise precondition("the model's log-probs are not finite; its parameters are broken")
        going = []
        for number, row in enumerate(rows):
            request, token = row.request, int(tokens[number])
            if request.aborted.is_set():
                request.put(CompletionDelta(row.index, [], TokenScores([], []), len(row.tokens), "abort"))
                continue
            row.tokens.append(token)
            count = request.settings.logprobs
            top = [top_log_probs(logits[number], token, count)] if count else []
            reason, matched = self._end_of(row)
            if reason is None:
                going.append(number)
            scores = TokenScores([log_probs[number]], top)
            request.put(CompletionDelta(row.index, [token], scores, len(row.tokens), reason, matched))
        return going

    def _end_of(self, row: _Row) -> tuple[str | None, int | str | None]:
        settings, token = row.request.settings, row.tokens[-1]
        if len(row.tokens) >= settings.min_tokens:
            if token in settings.stop_token_ids:
                return "stop", token if token in settings.reported_stop_token_ids else None
            if settings.stop:
                text = self._model.tokenizer.decode(row.tokens, skip_special_tokens=True)
                for stop in settings.stop:
                    if stop in text:
                        return "stop", stop
        full = len(row.request.prompt) + len(row.tokens) >= self._model.context_length
        return ("length", None) if full or len(row.tokens) >= settings.max_tokens else (None, None)

    def _score_prompt(self, request: Request, states: Tensor) -> TokenScores:
        """Scores the prompt's tokens except the first, from the prompt's hidden states [L, H]."""
        scores = TokenScores([], [])
        count = request.settings.prompt_logprobs or 0
        size = max(1, 2**24 // self._model.vocabulary_size)
        for start in range(0, len(request.prompt) - 1, size):
            targets = torch.tensor(request.prompt[start + 1 : start + 1 + size], device=states.device)
            logits = self._head(states[start : start + len(targets)])
            scores.log_probs.extend(log_probs_of(logits, targets).tolist())
            if count > 0:
                scores.top.extend(top_log_probs(row, int(token), count) for row, token in zip(logits, targets, strict=True))
        return scores
