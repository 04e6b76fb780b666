"""Samples completions, many at once: all that wait are taken together where their lengths allow it.

One thread runs the model. A completion is made with the weights that were published when its request came, from its first
token to its last.
"""

from __future__ import annotations

import collections
import dataclasses
import inspect
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import grpc
import torch
import transformers
from torch import Tensor

from pmpo_torch_trainer.errors import RequestError, precondition
from pmpo_torch_trainer.model import Head, LanguageModel, View, Weights
from pmpo_torch_trainer.sampling import Chosen, Context, Draws, SamplingSettings, choose, likeliest, log_probs_of

_log = logging.getLogger("pmpo_torch_trainer")


@dataclasses.dataclass(frozen=True)
class EngineOptions:
    max_sequences: int = 64
    """Completions that are made at once."""
    max_prompt_tokens: int = 16384
    """Of the prompts that are read at once, padding counted; one that is longer is read alone."""
    deterministic: bool = False
    """One request at a time: how sums are rounded depends on what else is in a batch."""


@dataclasses.dataclass(frozen=True)
class TokenScores:
    """Of prompt or output tokens: log-probs, nats, and the K likeliest at each place where K was asked for."""

    log_probs: list[float]
    top: list[tuple[list[float], list[int]]]


@dataclasses.dataclass(frozen=True)
class Piece:
    """What is new of one completion."""

    index: int
    tokens: list[int]
    scores: TokenScores
    made: int
    """Tokens of this completion so far."""
    finish_reason: str | None = None
    """stop, length or abort, with the last piece."""
    matched: int | str | None = None
    """The token or text of the request that ended it."""


class Request:
    """One prompt. Its pieces are read by the thread that asked; it is fed by the engine's."""

    def __init__(self, prompt: list[int], settings: SamplingSettings, weights: Weights, name: str = "") -> None:
        self.prompt = prompt
        self.settings = settings
        self.weights = weights
        self.name = name
        self.prompt_scores: TokenScores | None = None
        self._pieces: queue.SimpleQueue[Piece | Exception] = queue.SimpleQueue()
        self.aborted = threading.Event()

    def put(self, piece: Piece | Exception) -> None:
        self._pieces.put(piece)

    def pieces(self) -> Iterable[Piece]:
        """Until all n are finished. Raises what went wrong."""
        left = self.settings.n
        while left > 0:
            piece = self._pieces.get()
            if isinstance(piece, Exception):
                raise piece
            left -= piece.finish_reason is not None
            yield piece


@dataclasses.dataclass
class _Row:
    """A completion that is under way."""

    request: Request
    index: int
    draws: Draws
    tokens: list[int] = dataclasses.field(default_factory=list)


class Engine:
    """Takes requests until it is closed."""

    def __init__(self, model: LanguageModel, weights: Weights, options: EngineOptions) -> None:
        self._model = model
        self._view = View(model, weights)
        self._head = Head(self._view.module)
        self._options = options
        body = getattr(self._view.module, self._view.module.base_model_prefix)
        # Renamed in the library's version 5.
        self._cache_name = "cache" if "cache" in inspect.signature(body.forward).parameters else "past_key_values"
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
        """Takes it in; once the engine is closed, with an error as its answer."""
        with self._changed:
            if self._closed:
                request.put(RequestError(grpc.StatusCode.UNAVAILABLE, "the server is ending"))
                return
            self._waiting.append(request)
            self.last_request = time.time()
            self._changed.notify()

    def abort(self, names: Iterable[str]) -> None:
        """Ends the requests of these names; others, and those that are done, are passed over."""
        wanted = set(names)
        with self._changed:
            found = [request for request in [*self._active, *self._waiting] if request.name in wanted]
        for request in found:
            self.cancel(request)

    def cancel(self, request: Request) -> None:
        """Ends a request at its next token, or at once where it waits."""
        request.aborted.set()
        with self._changed:
            if request not in self._waiting:
                return
            self._waiting.remove(request)
        for index in range(request.settings.n):
            request.put(Piece(index, [], TokenScores([], []), 0, "abort"))

    def close(self) -> None:
        """Ends what is under way."""
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
                group = self._take()
                self._active = set(group)
            try:
                self._generate(group)
            except Exception as error:
                told = self._tell(error)
                for request in group:
                    request.put(told)
            finally:
                with self._changed:
                    self._active = set()

    def _tell(self, error: Exception) -> Exception:
        if isinstance(error, RequestError):
            return error
        out_of_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
        if out_of_memory:
            if self._model.device.type == "cuda":
                torch.cuda.empty_cache()
            # Not the status of a server that is busy, after which clients would ask for the same again and again.
            return RequestError(grpc.StatusCode.INTERNAL, "out of memory while sampling; a smaller --max-sequences or fewer tokens need less")
        _log.exception("sampling failed")
        return error

    def _take(self) -> list[Request]:
        """The first that waits, and those after it that fit to it."""
        group = [self._waiting.popleft()]
        if self._options.deterministic:
            return group
        for request in list(self._waiting):
            lengths = [len(other.prompt) for other in [*group, request]]
            fits = (
                request.weights is group[0].weights
                and sum(other.settings.n for other in [*group, request]) <= self._options.max_sequences
                and len(lengths) * max(lengths) <= self._options.max_prompt_tokens
                # Short ones do not carry the padding of long ones through every step.
                and max(lengths) <= max(2 * min(lengths), 64)
            )
            if fits:
                group.append(request)
                self._waiting.remove(request)
        return group

    def _generate(self, group: list[Request]) -> None:
        """All completions of a group, at most `max_sequences` at once: one request alone may ask for more."""
        most = max(request.settings.n for request in group)
        portion = most if len(group) > 1 else self._options.max_sequences
        for start in range(0, most, portion):
            self._generate_some(group, range(start, start + portion))

    @torch.no_grad()
    def _generate_some(self, group: list[Request], indices: range) -> None:
        """Of each request the completions of these indices."""
        if self._view.weights is not group[0].weights:
            self._view.use(group[0].weights)
        with self._model.autocast():
            batch = _Batch(self._view.module, self._cache_name, self._model.device)
            states = batch.read([request.prompt for request in group])
            for request, own in zip(group, states, strict=True):
                if request.settings.prompt_logprobs is not None and indices.start == 0:
                    request.prompt_scores = self._score_prompt(request, own)
            rows = [
                _Row(request, index, Draws(request.settings.seed, index))
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
                chosen = choose(logits, settings, contexts, [row.draws.next() for row in rows])
                going = self._advance(rows, logits, chosen)
                if not going:
                    return
                if len(going) < len(rows):
                    batch.keep(going)
                    rows = [rows[number] for number in going]
                last = batch.step([row.tokens[-1] for row in rows])

    def _advance(self, rows: list[_Row], logits: Tensor, chosen: Chosen) -> list[int]:
        """Hands out the new tokens; returns the numbers of the rows that go on."""
        tokens, log_probs = chosen.tokens.tolist(), chosen.log_probs.tolist()
        if not bool(torch.isfinite(chosen.log_probs).all()):
            raise precondition("the model's log-probs are not finite: its parameters are broken")
        going = []
        for number, row in enumerate(rows):
            request, token = row.request, int(tokens[number])
            if request.aborted.is_set():
                request.put(Piece(row.index, [], TokenScores([], []), len(row.tokens), "abort"))
                continue
            row.tokens.append(token)
            count = request.settings.logprobs
            top = [likeliest(logits[number], token, count)] if count else []
            reason, matched = self._end_of(row)
            if reason is None:
                going.append(number)
            scores = TokenScores([log_probs[number]], top)
            request.put(Piece(row.index, [token], scores, len(row.tokens), reason, matched))
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
        """Of the prompt's tokens but the first, from the states [L, H] before them."""
        scores = TokenScores([], [])
        count = request.settings.prompt_logprobs or 0
        size = max(1, 2**24 // self._model.vocabulary_size)
        for start in range(0, len(request.prompt) - 1, size):
            targets = torch.tensor(request.prompt[start + 1 : start + 1 + size], device=states.device)
            logits = self._head(states[start : start + len(targets)])
            scores.log_probs.extend(log_probs_of(logits, targets).tolist())
            if count > 0:
                scores.top.extend(likeliest(row, int(token), count) for row, token in zip(logits, targets, strict=True))
        return scores


class _Batch:
    """The keys and values of rows that are under way, padded on the left."""

    def __init__(self, module: Any, cache_name: str, device: torch.device) -> None:
        self._body: Callable[..., Any] = getattr(module, module.base_model_prefix)
        self._cache = transformers.DynamicCache(config=module.config)
        self._cache_name = cache_name
        self._device = device
        self._mask = torch.empty(0)

    def read(self, prompts: list[list[int]]) -> list[Tensor]:
        """Reads P prompts; returns the hidden states of each, [L, H]."""
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
        """Goes on with these rows only; one may be there several times."""
        index = torch.tensor(rows, device=self._device)
        self._cache.batch_select_indices(index)
        self._mask = self._mask[index]

    def step(self, tokens: list[int]) -> Tensor:
        """Reads one more token of each row; returns the states [R, H]."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=-1)
        column = torch.tensor(tokens, device=self._device).unsqueeze(-1)
        return self._forward(column, self._mask.sum(-1, keepdim=True) - 1)[:, -1]

    def _forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        cache = {self._cache_name: self._cache}
        output = self._body(input_ids=tokens, attention_mask=self._mask, position_ids=positions, use_cache=True, **cache)
        states: Tensor = output.last_hidden_state
        return states
