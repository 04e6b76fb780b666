"""The gRPC service `vllm.grpc.engine.VllmEngine`, with the same responses as vLLM's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from pmpo_torch_trainer.engine import CompletionDelta, Engine, Request, TokenScores
from pmpo_torch_trainer.errors import RequestError, invalid
from pmpo_torch_trainer.model import LanguageModel, Weights
from pmpo_torch_trainer.sampling import SamplingSettings
from pmpo_torch_trainer.services import ENGINE, common, engine, handler
from pmpo_torch_trainer.tokenizer_files import archive, chunks

SERVER_TYPE = "pmpo-torch-trainer"

_MAX_LOG_PROBS = 20


def sampling_settings(params: Any, prompt: list[int], model: LanguageModel) -> SamplingSettings:
    """The settings of a request for a prompt.

    Raises:
      RequestError: the prompt or a setting is invalid, in the cases in which vLLM refuses it too.
    """
    if not prompt:
        raise invalid("the prompt is empty")
    if max(prompt) >= model.vocabulary_size:
        raise invalid(f"the prompt has token {max(prompt)}; the vocabulary ends at {model.vocabulary_size - 1}")
    if len(prompt) >= model.context_length:
        raise invalid(f"the prompt of {len(prompt)} tokens leaves no room in the context of {model.context_length}")
    room = model.context_length - len(prompt)
    max_tokens = params.max_tokens if params.HasField("max_tokens") else room
    temperature = params.temperature if params.HasField("temperature") else 1.0
    n = params.n or 1
    _check("max_tokens", max_tokens, max_tokens >= 1, "at least 1")
    _check("min_tokens", params.min_tokens, params.min_tokens <= max_tokens, f"at most max_tokens, {max_tokens}")
    _check("temperature", temperature, 0 <= temperature < float("inf"), "0 or more")
    _check("top_p", params.top_p, 0 <= params.top_p <= 1, "above 0 and at most 1")
    _check("min_p", params.min_p, 0 <= params.min_p <= 1, "from 0 to 1")
    _check("n", n, temperature > 0 or n == 1, "1 if the temperature is 0, because all completions would be the same")
    if "" in params.stop:
        raise invalid("stop contains an empty text")
    for name in ("logprobs", "prompt_logprobs"):
        if params.HasField(name):
            count = getattr(params, name)
            _check(name, count, 0 <= count <= _MAX_LOG_PROBS, f"from 0 to {_MAX_LOG_PROBS}")
    for name in ("presence_penalty", "frequency_penalty"):
        _check(name, getattr(params, name), -2 <= getattr(params, name) <= 2, "from -2 to 2")
    _check(
        "repetition_penalty", params.repetition_penalty, 0 <= params.repetition_penalty < float("inf"), "above 0; 1 has no effect"
    )
    requested_stops = frozenset(params.stop_token_ids)
    last = model.vocabulary_size - 1
    for token in requested_stops:
        _check("stop_token_ids", token, token <= last, f"a token of the model, at most {last}")
    return SamplingSettings(
        max_tokens=min(max_tokens, room),
        min_tokens=params.min_tokens,
        temperature=temperature,
        top_p=params.top_p or 1.0,
        top_k=params.top_k,
        min_p=params.min_p,
        presence_penalty=params.presence_penalty,
        frequency_penalty=params.frequency_penalty,
        repetition_penalty=params.repetition_penalty or 1.0,
        stop=tuple(params.stop),
        stop_token_ids=requested_stops if params.ignore_eos else requested_stops | frozenset(model.eos_token_ids),
        reported_stop_token_ids=requested_stops,
        n=n,
        logprobs=params.logprobs if params.HasField("logprobs") else None,
        prompt_logprobs=params.prompt_logprobs if params.HasField("prompt_logprobs") else None,
        seed=params.seed if params.HasField("seed") else None,
    )


def _check(name: str, value: float, right: bool, words: str) -> None:
    if not right:
        raise invalid(f"{name} is {value}; it must be {words}")


class EngineService:
    """The methods of the service."""

    def __init__(self, model: LanguageModel, sampler: Engine, published: Callable[[], Weights]) -> None:
        """`published` returns the weights with which a request that arrives now is sampled."""
        self._model = model
        self._engine = sampler
        self._published = published
        self._started = time.time()
        self._tokenizer = chunks(archive(model.tokenizer))

    def handler(self) -> grpc.GenericRpcHandler:
        return handler(
            ENGINE,
            {
                "Generate": self._generate,
                "HealthCheck": lambda _request, _context: engine.HealthCheckResponse(healthy=True, message="Health"),
                "Abort": self._abort,
                "GetModelInfo": self._model_info,
                "GetServerInfo": self._server_info,
                "GetTokenizer": self._get_tokenizer,
            },
        )

    def _generate(self, message: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            request = self._request(message)
            # The callback runs when the call ends for any reason, including when the client has gone.
            if not context.add_callback(lambda: self._engine.cancel(request)):
                return
            self._engine.submit(request)
            responses = _ResponseBuilder(request, message.stream)
            for delta in request.deltas():
                yield from responses.of(delta)
        except RequestError as error:
            context.abort(error.code, str(error))
        except (RuntimeError, ValueError) as error:
            context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")

    def _request(self, message: Any) -> Request:
        kind = message.WhichOneof("input")
        if kind is None:
            raise invalid("the request has no input; give tokenized or text")
        prompt = list(message.tokenized.input_ids) if kind == "tokenized" else list(self._model.tokenizer(message.text).input_ids)
        settings = sampling_settings(message.sampling_params, prompt, self._model)
        return Request(prompt, settings, self._published(), message.request_id)

    def _abort(self, request: Any, _context: grpc.ServicerContext) -> Any:
        self._engine.abort(name for name in request.request_ids if name)
        return engine.AbortResponse()

    def _model_info(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        model = self._model
        pad = model.tokenizer.pad_token_id
        return engine.GetModelInfoResponse(
            model_path=model.name,
            is_generation=True,
            max_context_length=model.context_length,
            vocab_size=model.vocabulary_size,
            served_model_name=model.name,
            tokenizer_path=model.name,
            model_type=model.module.config.model_type,
            architectures=[type(model.module).__name__],
            eos_token_ids=model.eos_token_ids,
            pad_token_id=0 if pad is None else pad,
            bos_token_id=0 if model.bos_token_id is None else model.bos_token_id,
            max_req_input_len=model.context_length - 1,
            default_sampling_params_json="{}",
        )

    def _server_info(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        return engine.GetServerInfoResponse(
            active_requests=self._engine.active_requests,
            last_receive_timestamp=self._engine.last_request,
            uptime_seconds=time.time() - self._started,
            server_type=SERVER_TYPE,
        )

    def _get_tokenizer(self, _request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
        for data, sha256 in self._tokenizer:
            yield common.GetTokenizerChunk(data=data, sha256=sha256)


class _ResponseBuilder:
    """Converts deltas to responses: one for each delta of a stream, otherwise one for each finished completion."""

    def __init__(self, request: Request, stream: bool) -> None:
        self._request = request
        self._stream = stream
        self._whole = [CompletionDelta(index, [], TokenScores([], []), 0) for index in range(request.settings.n)]
        self._begun: set[int] = set()

    def of(self, delta: CompletionDelta) -> Iterator[Any]:
        if self._stream:
            if delta.tokens:
                yield engine.GenerateResponse(chunk=self._chunk(delta))
            if delta.finish_reason is not None:
                yield engine.GenerateResponse(complete=self._complete(delta, delta))
            return
        whole = self._whole[delta.index]
        whole.tokens.extend(delta.tokens)
        whole.scores.log_probs.extend(delta.scores.log_probs)
        whole.scores.top.extend(delta.scores.top)
        if delta.finish_reason is not None:
            yield engine.GenerateResponse(complete=self._complete(whole, delta))

    def _chunk(self, delta: CompletionDelta) -> Any:
        first = delta.index not in self._begun
        self._begun.add(delta.index)
        return engine.GenerateStreamChunk(
            token_ids=delta.tokens,
            prompt_tokens=len(self._request.prompt),
            completion_tokens=delta.num_tokens,
            output_logprobs=self._output(delta),
            input_logprobs=self._input() if first else None,
            index=delta.index,
        )

    def _complete(self, tokens: CompletionDelta, last: CompletionDelta) -> Any:
        message = engine.GenerateComplete(
            output_ids=tokens.tokens,
            finish_reason=last.finish_reason,
            prompt_tokens=len(self._request.prompt),
            completion_tokens=last.num_tokens,
            output_logprobs=self._output(tokens),
            input_logprobs=None if self._stream else self._input(),
            index=last.index,
        )
        if isinstance(last.matched, int):
            message.matched_token_id = last.matched
        elif last.matched is not None:
            message.matched_stop_str = last.matched
        return message

    def _output(self, delta: CompletionDelta) -> Any:
        if self._request.settings.logprobs is None:
            return None
        return engine.OutputLogProbs(
            token_logprobs=delta.scores.log_probs, token_ids=delta.tokens, top_logprobs=_top(delta.scores)
        )

    def _input(self) -> Any:
        scores = self._request.prompt_scores
        if scores is None:
            return None
        values = [engine.InputTokenLogProb(), *(engine.InputTokenLogProb(value=value) for value in scores.log_probs)]
        top = [engine.TopLogProbs(), *_top(scores)] if scores.top else []
        return engine.InputLogProbs(token_logprobs=values, token_ids=self._request.prompt, top_logprobs=top)


def _top(scores: TokenScores) -> list[Any]:
    return [engine.TopLogProbs(values=values, token_ids=tokens) for values, tokens in scores.top]
