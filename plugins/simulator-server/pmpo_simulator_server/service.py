"""Sessions over gRPC: the stream, security, health, and worlds that live in another process of the same server."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
from dm_env_rpc.v1 import dm_env_rpc_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from pmpo_simulator_server.session import Request, Response, Session, Worlds

_log = logging.getLogger("pmpo_simulator_server")

_ENVIRONMENT = "dm_env_rpc.v1.Environment"


@dataclasses.dataclass(frozen=True)
class Security:
    """Files' contents, never printed. Without a certificate the channel is in the clear."""

    certificate: bytes | None = None
    key: bytes | None = None
    client_ca: bytes | None = None
    token: str | None = None


@dataclasses.dataclass(frozen=True)
class Sockets:
    """Where each process of a server can be reached by the others."""

    folder: Path

    def of(self, prefix: str) -> str:
        return f"unix:{self.folder / prefix}.sock"

    def knows(self, prefix: str) -> bool:
        return (self.folder / f"{prefix}.sock").exists()


def _owner(request: Request) -> str | None:
    """The prefix of the process whose world a request names; None where it names none."""
    for kind in ("join_world", "reset_world", "destroy_world"):
        if request.HasField(kind):
            prefix, _, number = getattr(request, kind).world_name.rpartition("-")
            return prefix if number.isdigit() else None
    return None


class _Elsewhere:
    """A stream to another process of this server, for a world that lives there."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=_message_limits(None))
        self._call = dm_env_rpc_pb2_grpc.EnvironmentStub(self._channel).Process()

    async def answer(self, request: Request) -> Response:
        await self._call.write(request)
        return await self._call.read()

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            await self._call.done_writing()
        await self._channel.close()


class EnvironmentService(dm_env_rpc_pb2_grpc.EnvironmentServicer):  # type: ignore[misc]
    """The service of one process."""

    def __init__(self, worlds: Worlds, sockets: Sockets | None) -> None:
        self._worlds = worlds
        self._sockets = sockets

    async def Process(self, requests: AsyncIterator[Request], context: Any) -> None:  # noqa: N802
        session = Session(self._worlds)
        # Set while the stream is in another process's world.
        elsewhere: _Elsewhere | None = None
        try:
            while (request := await context.read()) is not grpc.aio.EOF:
                if elsewhere is None and request.HasField("step"):
                    response = session.answer(request)
                elif (target := self._foreign(request)) is not None and (
                    elsewhere is None or not request.HasField("join_world")
                ):
                    opened = _Elsewhere(target)
                    response = await opened.answer(request)
                    if response.HasField("join_world"):
                        elsewhere = opened
                    else:
                        await opened.close()
                elif elsewhere is not None and not request.HasField("create_world"):
                    response = await elsewhere.answer(request)
                    if response.HasField("leave_world"):
                        await elsewhere.close()
                        elsewhere = None
                elif request.HasField("create_world") and "pixels" not in request.create_world.settings:
                    # Making a simulator takes long; the other streams of this process go on. One that draws stays on
                    # the thread that will step it: OpenGL's contexts belong to a thread.
                    response = await asyncio.to_thread(session.answer, request)
                else:
                    response = session.answer(request)
                await context.write(response)
        finally:
            session.end()
            if elsewhere is not None:
                await elsewhere.close()

    def _foreign(self, request: Request) -> str | None:
        prefix = _owner(request)
        if self._sockets is None or prefix is None or prefix == self._worlds.prefix:
            return None
        return self._sockets.of(prefix) if self._sockets.knows(prefix) else None


class _Token(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls without the bearer token. Health stays open: those who watch a server need not steer it."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

        async def refuse(_: object, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the bearer token is missing or wrong")

        self._refusal = grpc.stream_stream_rpc_method_handler(refuse)

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        given = next((v for k, v in details.invocation_metadata if k == "authorization"), "")
        open_to_all = details.method.startswith("/grpc.health.v1.Health/")
        if open_to_all or hmac.compare_digest(str(given).encode(), self._expected):
            return await continuation(details)
        return self._refusal


def _message_limits(megabytes: float | None) -> list[tuple[str, int]]:
    size = -1 if megabytes is None else int(megabytes * 2**20)
    return [("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", size)]


async def serve(
    worlds: Worlds,
    address: str,
    *,
    security: Security,
    sockets: Sockets | None,
    share_port: bool,
    max_message_megabytes: float,
    ready: Callable[[int], None],
    stop: asyncio.Event,
) -> None:
    """Serves until `stop` is set. `ready` is told the port. Raises RuntimeError when the address cannot be had."""

    def server(options: list[tuple[str, int]], interceptors: list[grpc.aio.ServerInterceptor]) -> grpc.aio.Server:
        made = grpc.aio.server(options=options, interceptors=interceptors)
        dm_env_rpc_pb2_grpc.add_EnvironmentServicer_to_server(EnvironmentService(worlds, sockets), made)
        return made

    options = [("grpc.so_reuseport", int(share_port)), *_message_limits(max_message_megabytes)]
    # A client may ask often whether this still lives.
    options += [("grpc.http2.min_ping_interval_without_data_ms", 5000), ("grpc.keepalive_permit_without_calls", 1)]
    public = server(options, [] if security.token is None else [_Token(security.token)])
    status = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, public)
    for name in ("", _ENVIRONMENT):
        await status.set(name, health_pb2.HealthCheckResponse.SERVING)
    if security.certificate is None or security.key is None:
        port = public.add_insecure_port(address)
    else:
        credentials = grpc.ssl_server_credentials(
            [(security.key, security.certificate)],
            root_certificates=security.client_ca,
            require_client_auth=security.client_ca is not None,
        )
        port = public.add_secure_port(address, credentials)
    servers = [public]
    if sockets is not None:
        inner = server(_message_limits(None), [])
        inner.add_insecure_port(sockets.of(worlds.prefix))
        servers.append(inner)
    for each in servers:
        await each.start()
    ready(port)
    await stop.wait()
    await status.enter_graceful_shutdown()
    await asyncio.gather(*(each.stop(grace=1) for each in servers))
