"""`pmpo.v1.Trainer` over gRPC: one call at a time, in the order in which they come; but who asks what this is never waits."""

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
from pmpo_torch_trainer.errors import RequestError, cancelled, invalid, precondition
from pmpo_torch_trainer.services import TRAINER, handler, trainer
from pmpo_torch_trainer.terms import Terms, Wanted
from pmpo_torch_trainer.tokenizer_files import vocabulary_hash
from pmpo_torch_trainer.trainer import Coefficients, Factor, Trainer

if TYPE_CHECKING:
    from pmpo_torch_trainer.distributed import Several

_log = logging.getLogger("pmpo_torch_trainer")

Method = Callable[[Any, Callable[[], None]], Any]
"""From a request, and what raises when nobody waits any more, to a response."""

_NOTHING, _END = "nothing", "end"
"""Said to the other processes in place of a request."""


class TrainerService:
    """The methods of the service, each from a request to a response."""

    def __init__(self, owner: Trainer, folder: Path, on_failure: Callable[[], None] = lambda: None) -> None:
        """`folder`: below which clients may have files written and read. `on_failure`: called when `failed` is set."""
        self._trainer = owner
        self._folder = folder
        self._lock = threading.Lock()
        self._holder = Holder()
        self._processes = owner.processes
        self.failed = threading.Event()
        """Set when what several processes share has broken: the program must end."""
        self._on_failure = on_failure
        self._description = _description(owner)

    def handler(self) -> grpc.GenericRpcHandler:
        answers = {name: functools.partial(self._answer, name, method) for name, method in self._shared.items()}
        return handler(TRAINER, {**answers, "GetInfo": self._get_info, "Hold": self._hold})

    @property
    def _shared(self) -> dict[str, Method]:
        """What all processes do together."""
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

    def follow(self, several: Several) -> None:
        """Carries out what the first process is asked for, until it says that all is done."""
        while (message := several.receive())[0] != _END:
            name, request = message
            if name == _NOTHING:
                continue
            try:
                self._shared[name](trainer.__getattr__(f"{name}Request").FromString(request), lambda: None)
            except RequestError as error:
                # What all have agreed on, the first process tells.
                if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise

    def keep_company(self, seconds: float) -> None:
        """Lets the other processes know at least so often that there is nothing to do."""
        while not self.failed.wait(seconds):
            with self._lock:
                try:
                    self._processes.send(_NOTHING, b"")
                except Exception as error:
                    self._fail(error)

    def end(self, seconds: float) -> bool:
        """Sends the other processes home; False when what is under way does not end in time, or they are not there."""
        if not self._lock.acquire(timeout=seconds):
            return False
        try:
            self._processes.send(_END, b"")
        except Exception as error:
            _log.debug("a process did not hear of the end: %s", error)
            return False
        finally:
            self._lock.release()
        return True

    def _answer(self, name: str, method: Method, request: Any, context: grpc.ServicerContext) -> Any:
        def alive() -> None:
            # Nobody would learn that it was done: a gradient of which the client knows nothing must not count.
            if not context.is_active():
                raise cancelled()

        try:
            with self._lock:
                alive()
                if name in ("Load", "Reset"):
                    self._holder.check(request.holder)
                try:
                    if name in self._shared:
                        self._processes.send(name, request.SerializeToString())
                    return method(request, alive)
                except Exception as error:
                    # Within a pass the others wait for this process: there is no going on.
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
        """Has the program end; returns what to tell whoever waits."""
        words = f"{self._processes.why(error)}; the trainer ends"
        if not self.failed.is_set():
            print(f"pmpo-torch-trainer: {words}", file=sys.stderr, flush=True)
        self.failed.set()
        self._on_failure()
        return RequestError(grpc.StatusCode.UNAVAILABLE, words)

    def _get_info(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        # Without the lock: a client that connects learns what this is however long the call under way takes.
        info = trainer.GetInfoResponse(steps=self._trainer.steps, published=self._trainer.publications)
        info.MergeFrom(self._description)
        return info

    def _score(self, request: Any, alive: Callable[[], None]) -> Any:
        wanted = Wanted(request.policy, request.reference, request.kl, request.reverse_kl)
        scores = self._trainer.score(_sequences(request), wanted, alive)
        return trainer.ScoreResponse(scores=map(_packed, scores))

    def _forward_backward(self, request: Any, alive: Callable[[], None]) -> Any:
        coefficients = [
            Coefficients(_factor(own.log_prob), _factor(own.kl), _factor(own.reverse_kl)) for own in request.coefficients
        ]
        scores, value = self._trainer.forward_backward(_sequences(request), coefficients, alive)
        return trainer.ForwardBackwardResponse(scores=map(_packed, scores), value=value)

    def _optim_step(self, request: Any, _alive: Callable[[], None]) -> Any:
        norm = self._trainer.optim_step(request.learning_rate, request.max_gradient_norm)
        return trainer.OptimStepResponse(gradient_norm=norm, steps=self._trainer.steps)

    def _copy_reference(self, request: Any, _alive: Callable[[], None]) -> Any:
        self._trainer.copy_reference(request.rate if request.HasField("rate") else 1.0)
        return trainer.CopyReferenceResponse()

    def _publish(self, request: Any, _alive: Callable[[], None]) -> Any:
        folder = checkpoint.resolve(self._folder, request.folder) if request.folder else None
        owner = self._trainer
        weights = owner.chosen(request.policy)
        if folder is not None:
            # First: where it cannot be written, nothing has been published.
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
            ended = self._holder.take(request.holder)
        except RequestError as error:
            context.abort(error.code, str(error))
        # Called at the end in any case, also when the client has died.
        if context.add_callback(lambda: self._holder.let_go(ended)):
            yield trainer.HoldResponse()
            ended.wait()
        self._holder.let_go(ended)


class Holder:
    """Whose the trainer is at the moment, for any thread to ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._name = ""
        self._ended: threading.Event | None = None

    def take(self, name: str) -> threading.Event:
        """The trainer is this holder's until it lets go. Raises RequestError while it is somebody's."""
        if name == "":
            raise invalid("holder is empty; say who you are")
        with self._lock:
            self._check("")
            self._name, self._ended = name, threading.Event()
            return self._ended

    def let_go(self, ended: threading.Event) -> None:
        """Ends what `take` returned this event for; once is enough."""
        with self._lock:
            if self._ended is ended:
                self._name, self._ended = "", None
        ended.set()

    def check(self, name: str) -> None:
        """Raises RequestError while the trainer is somebody else's."""
        with self._lock:
            self._check(name)

    def _check(self, name: str) -> None:
        if self._name not in ("", name):
            raise precondition(f"{self._name} is using this trainer; stop it, wait for its end, or start another trainer")


def _description(owner: Trainer) -> Any:
    """What GetInfo says that never changes; read before anything is computed, since a module's parameters change places meanwhile."""
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
    return [TokenSequence(list(own.prompt), list(own.completion)) for own in request.sequences]


def _factor(given: Any) -> Factor:
    if len(given) == 0:
        return None
    return float(given[0]) if len(given) == 1 else list(given)


def _packed(found: Terms) -> Any:
    fields = {name: getattr(found, name) for name in Terms.FIELDS}
    return trainer.SequenceScore(**{name: values.tolist() for name, values in fields.items() if values is not None})
