"""`pmpo.v1.Feedback`, the gRPC service through which a training run asks classifiers in Python."""

from __future__ import annotations

import hmac
import math
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ._feedback import Classifier, FeedbackBatch, Floats, registered
from .errors import PmpoError

_SERVICE = "pmpo.v1.Feedback"


def _libraries() -> tuple[Any, Any]:
    """grpc, and the messages of the service by name.

    Raises:
      PmpoError: a library is missing.
    """
    try:
        import grpc
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise PmpoError("serve_feedback", f"{error.name} is not installed", "pip install grpcio protobuf") from None
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString((resources.files(__package__) / "feedback.binpb").read_bytes())
    # A pool of its own, so that it does not clash with other descriptions of pmpo in the process.
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    names = ("FeedbackInfoRequest", "FeedbackInfoResponse", "ClassifyRequest", "ClassifyResponse")
    get = message_factory.GetMessageClass
    return grpc, {name: get(pool.FindMessageTypeByName(f"pmpo.v1.{name}")) for name in names}


def _array(values: Sequence[float], shape: Sequence[int], what: str) -> Floats:
    array = np.asarray(values, np.float32)
    if array.size != math.prod(shape):
        raise PmpoError("request", f"{what} has {array.size} values", f"Its shape is {list(shape)}")
    return array.reshape(shape)


def _batch(request: Any) -> FeedbackBatch:
    n, b = request.samples_per_context, request.contexts
    samples, observations = list(request.samples.shape), list(request.observations.shape)
    if samples[:2] != [n, b] or observations[:1] != [b]:
        raise PmpoError("request", f"samples {samples} and observations {observations} do not fit N = {n}, B = {b}")
    texts = list(request.sample_texts)
    if len(texts) not in (0, n * b) or len(request.context_texts) not in (0, b):
        raise PmpoError("request", f"{len(texts)} texts do not fit N = {n}, B = {b}")
    return FeedbackBatch(
        evaluation=_array(request.evaluation, (n, b), "evaluation"),
        mask=_array(request.mask, (n, b), "mask"),
        baseline=_array(request.baseline, (b,), "baseline"),
        samples=_array(request.samples.values, samples, "samples"),
        observations=_array(request.observations.values, observations, "observations"),
        sample_texts=[texts[i * b : (i + 1) * b] for i in range(n)] if texts else [],
        context_texts=list(request.context_texts),
    )


def _place(error: BaseException) -> str:
    """The innermost line of an error outside of this package."""
    own = str(Path(__file__).parent)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(own)]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


class FeedbackServer:
    """A running feedback service. It ends with its process, with `stop`, or at the end of a `with` block."""

    def __init__(self, server: Any, address: str) -> None:
        self._server = server
        self.address = address
        """host:port, for `feedback: {name: remote, address: …}`."""

    def stop(self) -> None:
        """Ends the service; calls that are being answered have a second to end."""
        self._server.stop(1).wait()

    def wait(self) -> None:
        """Waits until the service ends."""
        self._server.wait_for_termination()

    def __enter__(self) -> FeedbackServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve_feedback(
    port: int = 0,
    *,
    host: str = "127.0.0.1",
    classifiers: Sequence[Classifier] | None = None,
    block: bool = True,
    threads: int = 8,
    token: str | None = None,
    tls: tuple[bytes, bytes] | None = None,
) -> FeedbackServer:
    """Serves classifiers to training runs: `feedback: {name: remote, address: 127.0.0.1:PORT}`.

    Args:
      port: where it listens; 0 takes a free port.
      host: `0.0.0.0` serves other machines, too: anyone who reaches the port can then use it, unless there is a token.
      classifiers: which ones; by default all that `pmpo.feedback` has registered.
      block: whether to serve until the process is interrupted. Otherwise the running service is returned at once.
      threads: how many calls are answered at the same time; a classifier must allow for more than one, or be served with 1.
      token: the bearer token that clients must send.
      tls: the private key and the certificate chain, as PEM.

    Raises:
      PmpoError: gRPC is not installed, the port is in use, or there is no classifier.
    """
    known = {one.name: one for one in (registered() if classifiers is None else classifiers)}
    if not known:
        raise PmpoError("serve_feedback", "there is no classifier", 'Register one with @pmpo.feedback("mine")')
    grpc, messages = _libraries()

    def information(_request: Any, _context: Any) -> Any:
        sides = [{"name": one.name, "accepts": one.accepts, "rejects": one.rejects} for one in known.values()]
        return messages["FeedbackInfoResponse"](classifiers=sides)

    def classify(request: Any, context: Any) -> Any:
        classifier = known.get(request.classifier)
        if classifier is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no classifier '{request.classifier}'")
            raise AssertionError  # abort raises
        try:
            accept, reject = classifier(_batch(request))
        except PmpoError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except Exception as error:
            traceback.print_exc()
            context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}{_place(error)}")
        return messages["ClassifyResponse"](accept=accept.ravel(), reject=reject.ravel())

    def method(function: Callable[[Any, Any], Any], request: str, response: str) -> Any:
        def guarded(message: Any, context: Any) -> Any:
            sent = dict(context.invocation_metadata()).get("authorization", "")
            if token is not None and not hmac.compare_digest(str(sent).encode(), f"Bearer {token}".encode()):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "a bearer token is needed, and this is not it")
            return function(message, context)

        return grpc.unary_unary_rpc_method_handler(
            guarded,
            request_deserializer=messages[request].FromString,
            response_serializer=messages[response].SerializeToString,
        )

    methods = {
        "GetInfo": method(information, "FeedbackInfoRequest", "FeedbackInfoResponse"),
        "Classify": method(classify, "ClassifyRequest", "ClassifyResponse"),
    }
    # Two services must not share a port, of which each would get some calls. The client sets the size limit of messages.
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(threads), options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            bound = server.add_insecure_port(place)
        else:
            bound = server.add_secure_port(place, grpc.ssl_server_credentials([tls]))
    except RuntimeError:
        bound = 0
    if bound == 0:
        raise PmpoError("serve_feedback", f"cannot listen on {place}", "Is the port in use?")
    server.start()
    running = FeedbackServer(server, f"{place.rpartition(':')[0]}:{bound}")
    if block:
        print(f"Serving feedback on {running.address}: {', '.join(known)}", flush=True)
        try:
            running.wait()
        except KeyboardInterrupt:
            running.stop()
    return running
