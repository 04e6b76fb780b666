"""Sessions over gRPC: streams, security, health, and forwarding to other processes of the same server.

Uses gRPC's synchronous server, with a thread for each stream. Compared with `grpc.aio`, a step took less time with one
stream and no more with eight. A slow simulator does not delay the others, because simulators release the interpreter's
lock while they compute.
"""

from __future__ import annotations

import dataclasses
import hmac
import logging
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dm_env_rpc.v1 import dm_env_rpc_pb2_grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import grpc
from pmpo_simulator_server import spreading
from pmpo_simulator_server.scene import METADATA_KEY
from pmpo_simulator_server.session import Request, Response, Session, Worlds, refusal
from pmpo_simulator_server.spreading import MAX_STREAMS, Entry, OwnCount

_log = logging.getLogger("pmpo_simulator_server")

_ENVIRONMENT = "dm_env_rpc.v1.Environment"

_NUM_THREADS = MAX_STREAMS + 64
"""Every stream has a thread; the others refuse further streams, and answer health checks."""

_PASSED_ON = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
"""Statuses of another process of this server that its client receives unchanged."""

_KEEPALIVE = [
    # Clients may send keepalive pings often …
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # … and the worlds of a client that vanishes silently are closed.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
]


@dataclasses.dataclass(frozen=True)
class Security:
    """Certificates, as PEM, and the bearer token; secrets are never printed. Without a certificate there is no TLS."""

    certificate: bytes | None = None
    key: bytes | None = dataclasses.field(default=None, repr=False)
    client_ca: bytes | None = None
    token: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class Sockets:
    """Paths of the Unix sockets through which the processes of a server reach each other."""

    folder: Path

    def path(self, prefix: str) -> Path:
        return self.folder / f"{prefix}.sock"

    def target(self, prefix: str) -> str:
        return f"unix:{self.path(prefix)}"


def _owning_prefix(request: Request) -> str | None:
    """The prefix of the process that owns the world named in a request; None if the request names no world."""
    for kind in ("join_world", "reset_world", "destroy_world"):
        if request.HasField(kind):
            prefix, _, rest = getattr(request, kind).world_name.rpartition("-")
            # The prefix becomes part of a path.
            return prefix if len(prefix) <= 20 and prefix.isalnum() and rest.isalnum() else None
    return None


class _ForwardedStream:
    """A stream to another process of this server, for a world that this other process owns."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target, options=_message_limits(None))
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        stub = dm_env_rpc_pb2_grpc.EnvironmentStub(self._channel)
        self._responses = stub.Process(iter(self._requests.get, None))

    def answer(self, request: Request) -> Response:
        """Forwards one request.

        Raises:
          grpc.RpcError: the other process has ended.
        """
        self._requests.put(request)
        return next(self._responses)

    def close(self) -> None:
        self._requests.put(None)
        self._channel.close()


class _Stream:
    """One client's stream: a session in this process, or forwarding to the process whose world it has joined."""

    def __init__(self, worlds: Worlds, sockets: Sockets | None) -> None:
        self._prefix = worlds.prefix
        self._sockets = sockets
        self._session = Session(worlds)
        self._forwarded: _ForwardedStream | None = None

    def answer(self, request: Request) -> Response:
        """Answers one request.

        Raises:
          grpc.RpcError: the process that owns the joined world has ended.
        """
        if self._forwarded is None:
            if request.HasField("step"):
                return self._session.answer(request)
            target = self._target_of(request)
            return self._session.answer(request) if target is None else self._forward(target, request)
        if request.HasField("create_world"):
            return self._session.answer(request)
        response = self._forwarded.answer(request)
        if response.HasField("leave_world"):
            self._forwarded.close()
            self._forwarded = None
        return response

    def _forward(self, target: str, request: Request) -> Response:
        opened = _ForwardedStream(target)
        try:
            response = opened.answer(request)
        except grpc.RpcError:
            response = refusal(code_pb2.UNAVAILABLE, "the process that owned this world has ended")
        # After a successful join, further requests go through the same stream; other requests get a stream each.
        if response.HasField("join_world") and self._session.joined is None:
            self._forwarded = opened
        else:
            opened.close()
        return response

    def _target_of(self, request: Request) -> str | None:
        prefix = _owning_prefix(request)
        if self._sockets is None or prefix is None or prefix == self._prefix:
            return None
        if request.HasField("join_world") and self._session.joined is not None:
            # The local session rejects this, as it does any second join.
            return None
        return self._sockets.target(prefix) if self._sockets.path(prefix).exists() else None

    def end(self) -> None:
        if self._forwarded is not None:
            self._forwarded.close()
        self._session.end()


class EnvironmentService:
    """The service of one gRPC server of a process."""

    def __init__(self, worlds: Worlds, sockets: Sockets | None, own_count: OwnCount | None) -> None:
        """With `own_count`, streams that agree to it are sent elsewhere while another process has fewer."""
        self._worlds = worlds
        self._sockets = sockets
        self._own_count = OwnCount() if own_count is None else own_count

    def handler(self) -> grpc.GenericRpcHandler:
        """The service for a gRPC server.

        Requests arrive as bytes: gRPC itself would end a stream with a malformed request out of turn, before the
        requests ahead of it are answered, and would log a traceback.
        """
        process = grpc.stream_stream_rpc_method_handler(self._process, None, Response.SerializeToString)
        return grpc.method_handlers_generic_handler(_ENVIRONMENT, {"Process": process})

    def _process(self, requests: Iterator[bytes], context: Any) -> Iterator[Response]:
        is_willing = any(key == spreading.METADATA_KEY for key, _ in context.invocation_metadata())
        entry = self._own_count.enter(is_willing=is_willing)
        if entry is Entry.ELSEWHERE:
            context.set_trailing_metadata(((spreading.METADATA_KEY, "1"),))
            context.abort(grpc.StatusCode.UNAVAILABLE, "another process of this server has fewer streams; connect again")
        if entry is Entry.FULL:
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"this process of the server has {MAX_STREAMS:,} streams, the most it takes; close some, or start the "
                "server with more --processes",
            )
        # From here on every way out must leave the count as it was.
        try:
            yield from self._answers(requests, context)
        finally:
            self._own_count.leave()

    def _answers(self, requests: Iterator[bytes], context: Any) -> Iterator[Response]:
        # Raises if the client has gone already.
        context.send_initial_metadata(((METADATA_KEY, "1"),))
        stream = _Stream(self._worlds, self._sockets)
        answer, parse = stream.answer, Request.FromString
        try:
            for message in requests:
                yield answer(parse(message))
        except DecodeError:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "a message of the stream is not an EnvironmentRequest of dm_env_rpc"
            )
        except grpc.RpcError as error:
            # Either the client has gone and cannot be told, or the process that owns the joined world refuses or has ended.
            if context.is_active() and isinstance(error, grpc.Call) and error.code() in _PASSED_ON:
                context.abort(error.code(), error.details())
            if context.is_active():
                context.abort(grpc.StatusCode.UNAVAILABLE, "the process that owned the joined world has ended")
        finally:
            stream.end()


class _TokenInterceptor(grpc.ServerInterceptor):  # type: ignore[misc] # grpc has no types.
    """Rejects calls without the bearer token. Health checks need no token, so that monitors need not be given it."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

        def refuse(_: object, context: Any) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the bearer token is missing or wrong")

        self._refusal = grpc.stream_stream_rpc_method_handler(refuse)

    def intercept_service(self, continuation: Callable[[Any], Any], details: grpc.HandlerCallDetails) -> Any:
        given = next((value for key, value in details.invocation_metadata if key == "authorization"), "")
        open_to_all = details.method.startswith("/grpc.health.v1.Health/")
        if open_to_all or hmac.compare_digest(str(given).encode(), self._expected):
            return continuation(details)
        return self._refusal


def _message_limits(megabytes: float | None) -> list[tuple[str, int]]:
    size = -1 if megabytes is None else int(megabytes * 2**20)
    return [("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", size)]


class Server:
    """The gRPC servers of one process: the public one and, if the port is shared, one for the sibling processes."""

    def __init__(
        self,
        worlds: Worlds,
        address: str,
        *,
        security: Security,
        sockets: Sockets | None = None,
        own_count: OwnCount | None = None,
        max_message_megabytes: float = 64,
    ) -> None:
        """Starts to listen. With `own_count`, streams are spread over the processes of the server.

        Raises:
          RuntimeError: the address is not available, or the certificate is invalid.
        """
        self._health = health.HealthServicer()
        public = grpc.server(
            ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="stream"),
            interceptors=[] if security.token is None else [_TokenInterceptor(security.token)],
            options=[
                ("grpc.so_reuseport", int(sockets is not None)),
                *_KEEPALIVE,
                *_message_limits(max_message_megabytes),
            ],
            maximum_concurrent_rpcs=_NUM_THREADS,
        )
        public.add_generic_rpc_handlers((EnvironmentService(worlds, sockets, own_count).handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, public)
        for name in ("", _ENVIRONMENT):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        if security.certificate is None or security.key is None:
            self.port: int = public.add_insecure_port(address)
        else:
            credentials = grpc.ssl_server_credentials(
                [(security.key, security.certificate)],
                root_certificates=security.client_ca,
                require_client_auth=security.client_ca is not None,
            )
            self.port = public.add_secure_port(address, credentials)
        self._servers = [public]
        if sockets is not None:
            siblings = grpc.server(
                ThreadPoolExecutor(_NUM_THREADS), options=_message_limits(None), maximum_concurrent_rpcs=_NUM_THREADS
            )
            siblings.add_generic_rpc_handlers((EnvironmentService(worlds, sockets, None).handler(),))
            siblings.add_insecure_port(sockets.target(worlds.prefix))
            self._servers.append(siblings)
        for server in self._servers:
            server.start()

    def stop(self, grace_seconds: float = 1.0) -> None:
        """Reports NOT_SERVING to health checks, waits `grace_seconds` for streams to end, then cancels them."""
        self._health.enter_graceful_shutdown()
        for ended in [server.stop(grace_seconds) for server in self._servers]:
            ended.wait()
