"""The gRPC service `pmpo.v1.Trainer`. It handles one call at a time, in order of arrival, except GetInfo and Hold."""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from pmpo_torch_trainer import checkpoint
from pmpo_torch_trainer.batches import TokenSequence
from pmpo_torch_trainer.coefficients import Coefficient, Coefficients
from pmpo_torch_trainer.errors import RequestError, cancelled, invalid, precondition
from pmpo_torch_trainer.services import TRAINER, handler, trainer
from pmpo_torch_trainer.token_terms import Terms, TermSelection
from pmpo_torch_trainer.tokenizer_files import vocabulary_hash
from pmpo_torch_trainer.trainer import Trainer

if TYPE_CHECKING:
    from pmpo_torch_trainer.distributed import DistributedProcesses

_log = logging.getLogger("pmpo_torch_trainer")

Method = Callable[[Any, Callable[[], None]], Any]
"""Maps a request to its response. The second argument raises if the client no longer waits for the response."""

_HEARTBEAT, _END = "nothing", "end"
"""Messages to the other processes that are not requests."""


class TrainerService:
    """The methods of the service."""

    def __init__(self, owner: Trainer, folder: Path, on_failure: Callable[[], None] = lambda: None) -> None:
        """Clients may write and read files inside `folder`. `on_failure` is called when `failed` is set."""
        self._trainer = owner
        self._folder = folder
        self._lock = threading.Lock()
        self._holder = HoldLock()
        self._processes = owner.processes
        self.failed = threading.Event()
        """Set when the connections between the processes are broken, so that the program must stop."""
        self._on_failure = on_failure
        self._description = _description(owner)

    def handler(self) -> grpc.GenericRpcHandler:
        answers = {name: functools.partial(self._answer, name, method) for name, method in self._shared_methods.items()}
        return handler(TRAINER, {**answers, "GetInfo": self._get_info, "Hold": self._hold})

    @property
    def _shared_methods(self) -> dict[str, Method]:
        """The methods that all processes execute together."""
        return {
            "Score": self._score,
            "ForwardBackward": self._forward_backward,
            "OptimStep": self._optim_step,
            "CopyReference": self._copy_reference,
            "Publish": self._publish,
            "Save": self._save,
            "Load": self._load,
            "Reset": self._reset,
        }

    def follow_first_process(self, distributed: DistributedProcesses) -> None:
        """Executes the requests that the first process receives, until it announces the end."""
        while (message := distributed.receive_request())[0] != _END:
            name, request = message
            if name == _HEARTBEAT:
                continue
            try:
                self._shared_methods[name](trainer.__getattr__(f"{name}Request").FromString(request), lambda: None)
            except RequestError as error:
                # All processes raise the same error, and the first one reports it to the client.
                if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise

    def send_heartbeats(self, seconds: float) -> None:
        """Sends the other processes a message every `seconds`, so that they do not time out while there is no request."""
        while not self.failed.wait(seconds):
            with self._lock:
                try:
                    self._processes.broadcast_request(_HEARTBEAT, b"")
                except Exception as error:
                    self._fail(error)

    def end(self, seconds: float) -> bool:
        """Stops the other processes. Returns False if the current call does not finish within `seconds`, or they are gone."""
        if not self._lock.acquire(timeout=seconds):
            return False
        try:
            self._processes.broadcast_request(_END, b"")
        except Exception as error:
            _log.debug("another process could not be stopped: %s", error)
            return False
        finally:
            self._lock.release()
        return True

    def _answer(self, name: str, method: Method, request: Any, context: grpc.ServicerContext) -> Any:
        def alive() -> None:
            # A client that has gone would not learn of the result, so a gradient, for example, must not be added.
            if not context.is_active():
                raise cancelled()

        try:
            with self._lock:
                alive()
                if name in ("Load", "Reset"):
                    self._holder.check(request.holder)
                try:
                    if name in self._shared_methods:
                        self._processes.broadcast_request(name, request.SerializeToString())
                    return method(request, alive)
                except Exception as error:
                    # The other processes wait for this one within a pass, so they cannot continue.
                    agreed = isinstance(error, RequestError) and error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED
                    if self._processes.count > 1 and not agreed:
                        raise self._fail(error) from error
                    raise
        except RequestError as error:
            context.abort(error.code, str(error))
        except Exception as error:
            _log.exception("a call failed")
            context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")

    def _fail(self, error: Exception) -> RequestError:
        """Stops the program, and returns the error for the client that waits."""
        message = f"{self._processes.failure_reason(error)}; the trainer stops"
        if not self.failed.is_set():
            print(f"pmpo-torch-trainer: {message}", file=sys.stderr, flush=True)
        self.failed.set()
        self._on_failure()
        return RequestError(grpc.StatusCode.UNAVAILABLE, message)

    def _get_info(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        # Without the lock, so that a new client gets its answer even while a long call is in progress.
        info = trainer.GetInfoResponse(steps=self._trainer.steps, published=self._trainer.publications)
        info.MergeFrom(self._description)
        return info

    def _score(self, request: Any, alive: Callable[[], None]) -> Any:
        wanted = TermSelection(request.policy, request.reference, request.kl, request.reverse_kl)
        scores = self._trainer.score(_sequences(request), wanted, alive)
        return trainer.ScoreResponse(scores=map(_score_message, scores))

    def _forward_backward(self, request: Any, alive: Callable[[], None]) -> Any:
        coefficients = [
            Coefficients(_coefficient_of(sequence.log_prob), _coefficient_of(sequence.kl), _coefficient_of(sequence.reverse_kl))
            for sequence in request.coefficients
        ]
        scores, value = self._trainer.forward_backward(_sequences(request), coefficients, alive)
        return trainer.ForwardBackwardResponse(scores=map(_score_message, scores), value=value)

    def _optim_step(self, request: Any, _alive: Callable[[], None]) -> Any:
        norm = self._trainer.optim_step(request.learning_rate, request.max_gradient_norm)
        return trainer.OptimStepResponse(gradient_norm=norm, steps=self._trainer.steps)

    def _copy_reference(self, request: Any, _alive: Callable[[], None]) -> Any:
        self._trainer.copy_reference(request.rate if request.HasField("rate") else 1.0)
        return trainer.CopyReferenceResponse()

    def _publish(self, request: Any, _alive: Callable[[], None]) -> Any:
        folder = checkpoint.resolve(self._folder, request.folder) if request.folder else None
        owner = self._trainer
        weights = owner.weights_of(request.policy)
        if folder is not None:
            # Written first, so that nothing is published if the files cannot be written.
            checkpoint.export(owner, weights, folder, owner.publications + 1)
        owner.publish(weights)
        return trainer.PublishResponse(published=owner.publications, folder=str(folder or ""))

    def _save(self, request: Any, _alive: Callable[[], None]) -> Any:
        checkpoint.save(self._trainer, checkpoint.resolve(self._folder, request.folder))
        return trainer.SaveResponse()

    def _load(self, request: Any, _alive: Callable[[], None]) -> Any:
        checkpoint.load(self._trainer, checkpoint.resolve(self._folder, request.folder))
        return trainer.LoadResponse()

    def _reset(self, request: Any, _alive: Callable[[], None]) -> Any:
        self._trainer.reset()
        return trainer.ResetResponse()

    def _hold(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            ended = self._holder.acquire(request.holder)
        except RequestError as error:
            context.abort(error.code, str(error))
        # The callback runs when the call ends for any reason, including when the client has died.
        if context.add_callback(lambda: self._holder.release(ended)):
            yield trainer.HoldResponse()
            ended.wait()
        self._holder.release(ended)


class HoldLock:
    """The client that holds the trainer, if any. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._name = ""
        self._ended: threading.Event | None = None

    def acquire(self, name: str) -> threading.Event:
        """Gives the trainer to a client until `release`, and returns the event to pass to it.

        Raises:
          RequestError: `name` is empty, or another client holds the trainer.
        """
        if name == "":
            raise invalid("holder is empty; give a name")
        with self._lock:
            self._check("")
            self._name, self._ended = name, threading.Event()
            return self._ended

    def release(self, ended: threading.Event) -> None:
        """Ends the hold for which `acquire` returned this event, and sets the event. May be called repeatedly."""
        with self._lock:
            if self._ended is ended:
                self._name, self._ended = "", None
        ended.set()

    def check(self, name: str) -> None:
        """Checks that no other client holds the trainer.

        Raises:
          RequestError: another client holds it.
        """
        with self._lock:
            self._check(name)

    def _check(self, name: str) -> None:
        if self._name not in ("", name):
            raise precondition(f"{self._name} is using this trainer; stop it, wait until it ends, or start another trainer")


def _description(owner: Trainer) -> Any:
    """The constant part of GetInfo's response. It is collected at the start, because parameters move during computations."""
    model = owner.model
    return trainer.GetInfoResponse(
        model=model.name,
        architecture=type(model.module).__name__,
        vocabulary_size=model.vocabulary_size,
        context_length=model.context_length,
        vocabulary_hash=vocabulary_hash(model.tokenizer),
        eos_token_ids=model.eos_token_ids,
        bos_token_id=model.bos_token_id,
        trainable_parameters=sum(p.numel() for p in owner.parameters.values()),
        parameters=sum(p.numel() for p in model.module.parameters()),
        method=model.method,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
    )


def _sequences(request: Any) -> list[TokenSequence]:
    return [TokenSequence(list(sequence.prompt), list(sequence.completion)) for sequence in request.sequences]


def _coefficient_of(given: Any) -> Coefficient:
    if len(given) == 0:
        return None
    return float(given[0]) if len(given) == 1 else list(given)


def _score_message(terms: Terms) -> Any:
    fields = {name: getattr(terms, name) for name in Terms.FIELDS}
    return trainer.SequenceScore(**{name: values.tolist() for name, values in fields.items() if values is not None})
