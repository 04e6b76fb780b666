"""The gRPC server: security, health checks, start and stop."""

from __future__ import annotations

import dataclasses
import errno
import hmac
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import grpc
from pmpo_torch_trainer.errors import StartError

_log = logging.getLogger("pmpo_torch_trainer")

_MAX_CALLS = 1024
"""The largest number of concurrent calls, each of which has a thread; gRPC rejects further ones."""

_KEEPALIVE = [
    # Clients may send keepalive pings often …
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # … and a client that vanishes silently is noticed.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
]


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """The options of the program; see its help. Files are paths of PEM files, or of a text file with the token."""

    host: str = "127.0.0.1"
    port: int = 50052
    max_message_megabytes: float = 64
    until_stdin_closes: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    token_file: Path | None = None


@dataclasses.dataclass(frozen=True)
class Security:
    """Certificates, as PEM, and the bearer token; secrets are never printed. Without a certificate there is no TLS."""

    certificate: bytes | None = None
    key: bytes | None = dataclasses.field(default=None, repr=False)
    client_ca: bytes | None = None
    token: str | None = dataclasses.field(default=None, repr=False)


def _read(path: Path | None, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"{what}: {path}: {error.strerror}") from error


def read_token(path: Path | None) -> str | None:
    """Reads the bearer token from a file; None without a file.

    Raises:
      StartError: the file cannot be read or holds no valid token. The message does not contain the token.
    """
    content = _read(path, "--token-file")
    if content is None:
        return None
    try:
        token = content.decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    # An empty token would admit every client. gRPC metadata must be printable ASCII.
    if token == "" or not token.isprintable():
        raise StartError(f"--token-file: {path}: the token must be one line of printable ASCII characters")
    return token


def read_security(options: ServerOptions) -> Security:
    """Reads the files of certificates and token.

    Raises:
      StartError: a file cannot be read.
    """
    return Security(
        certificate=_read(options.tls_certificate, "--tls-certificate"),
        key=_read(options.tls_key, "--tls-key"),
        client_ca=_read(options.tls_client_ca, "--tls-client-ca"),
        token=read_token(options.token_file),
    )


def address_of(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_port(host: str, port: int) -> None:
    """Checks that the port is free, so that the error does not come only after a large model was loaded.

    Raises:
      StartError: the port is in use or the address is invalid.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        what = f"cannot listen on {address_of(host, port)}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            what += ". Is another server using the port? --port 0 takes a free one"
        raise StartError(what) from error


class _Token(grpc.ServerInterceptor):  # type: ignore[misc]  # grpcio has no types: its class is Any
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


class Server:
    """A gRPC server with the given handlers and the standard health service."""

    def __init__(self, handlers: Iterable[tuple[str, grpc.GenericRpcHandler]], options: ServerOptions) -> None:
        """Starts to listen.

        Raises:
          StartError: the address is not available, or the certificate is invalid.
        """
        security = read_security(options)
        size = int(options.max_message_megabytes * 2**20)
        self._health = health.HealthServicer()
        self._server = grpc.server(
            ThreadPoolExecutor(_MAX_CALLS + 64, thread_name_prefix="call"),
            interceptors=[] if security.token is None else [_Token(security.token)],
            options=[
                ("grpc.so_reuseport", 0),
                *_KEEPALIVE,
                ("grpc.max_receive_message_length", size),
                ("grpc.max_send_message_length", size),
            ],
            maximum_concurrent_rpcs=_MAX_CALLS,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        for name, handler in handlers:
            self._server.add_generic_rpc_handlers((handler,))
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self.port = self._bind(security, options)
        self._server.start()

    def _bind(self, security: Security, options: ServerOptions) -> int:
        address = address_of(options.host, options.port)
        try:
            if security.certificate is None or security.key is None:
                return int(self._server.add_insecure_port(address))
            credentials = grpc.ssl_server_credentials(
                [(security.key, security.certificate)],
                root_certificates=security.client_ca,
                require_client_auth=security.client_ca is not None,
            )
            return int(self._server.add_secure_port(address, credentials))
        except RuntimeError as error:
            check_port(options.host, options.port)
            # The port is free, so the certificates must be at fault. gRPC does not say in which way.
            files = [options.tls_certificate, options.tls_key, options.tls_client_ca]
            listed = ", ".join(str(path) for path in files if path is not None)
            raise StartError(f"not a matching certificate and key in PEM format: {listed}") from error

    def stop(self, grace_seconds: float = 1.0) -> None:
        """Reports NOT_SERVING to health checks, waits `grace_seconds` for calls to end, then cancels them."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_seconds).wait()


def announce(name: str, options: ServerOptions, port: int) -> None:
    """Prints the line that tells other programs the address, and warns about insecure options."""
    where = address_of(options.host, port)
    print(f"Serving {name} on {where} (Ctrl-C ends it)", flush=True)
    if options.host not in ("localhost", "::1") and not options.host.startswith("127."):
        if options.token_file is None and options.tls_client_ca is None:
            _log.warning("anyone who can reach %s can use this server; require a token with --token-file", where)
        elif options.tls_certificate is None:
            _log.warning("the token is sent unencrypted; use TLS with --tls-certificate and --tls-key")


def stop_event(until_stdin_closes: bool) -> threading.Event:
    """An event that is set by Ctrl-C, by SIGTERM and, with `until_stdin_closes`, by the end of standard input."""
    stop = threading.Event()
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, lambda *_: stop.set())

    def read_to_end() -> None:
        while os.read(sys.stdin.fileno(), 512):
            pass
        stop.set()

    if until_stdin_closes:
        threading.Thread(target=read_to_end, daemon=True).start()
    return stop
