"""Several processes on one port. The kernel hands each connection to one of them; no byte passes through a parent."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pmpo_simulator_server.catalogue import Catalogue

_log = logging.getLogger("pmpo_simulator_server")

_PATIENCE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


class StartError(Exception):
    """The server cannot start; the message is for a person."""


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    catalogue: Catalogue
    host: str
    port: int
    processes: int
    max_message_megabytes: float
    until_stdin_closes: bool
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    token_file: Path | None = None


def can_share_ports() -> bool:
    """Whether the kernel spreads connections over the processes that listen on one port: Linux does."""
    return sys.platform == "linux"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reserve(host: str, port: int) -> socket.socket:
    """Holds a port for the processes to come. Raises StartError when somebody listens there."""
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Once without sharing: another server that shares its port would be joined without a word.
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
        held = socket.socket(family, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(where)
        return held
    except OSError as error:
        raise StartError(f"cannot listen on {_address(host, port)}: {error.strerror or error}") from error


def _read(path: Path | None, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"{what}: {path}: {error.strerror}") from error


async def _run_worker(options: ServerOptions, prefix: str, port: int, folder: Path | None, ready: Callable[[int], None]) -> None:
    # Not before the fork: gRPC does not survive one.
    from pmpo_simulator_server.service import Security, Sockets, serve
    from pmpo_simulator_server.session import Worlds

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    token = _read(options.token_file, "--token-file")
    await serve(
        Worlds(prefix, options.catalogue.make),
        _address(options.host, port),
        security=Security(
            certificate=_read(options.tls_certificate, "--tls-certificate"),
            key=_read(options.tls_key, "--tls-key"),
            client_ca=_read(options.tls_client_ca, "--tls-client-ca"),
            token=None if token is None else token.decode().strip(),
        ),
        sockets=None if folder is None else Sockets(folder),
        share_port=folder is not None,
        max_message_megabytes=options.max_message_megabytes,
        ready=ready,
        stop=stop,
    )


def _worker(options: ServerOptions, number: int, port: int, folder: Path | None, pipe: int, parent: int) -> NoReturn:
    """What a forked process does: serves, and never returns."""
    code = 1
    try:
        # Ctrl-C reaches every process of a terminal; the parent says when to end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        if sys.platform == "linux":
            # No orphans, whatever the parent dies of.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        def ready(actual: int) -> None:
            os.write(pipe, f"{actual}\n".encode())
            os.close(pipe)

        if folder is not None:
            (folder / f"w{number}.sock").unlink(missing_ok=True)
        asyncio.run(_run_worker(options, f"w{number}", port, folder, ready))
        code = 0
    except Exception as error:
        with contextlib.suppress(OSError):
            os.write(pipe, f"! {error}\n".encode())
        _log.exception("the process w%d failed", number) if not isinstance(error, (StartError, RuntimeError)) else None
    finally:
        sys.stderr.flush()
        os._exit(code)


class Supervisor:
    """Forks the processes, starts one that died again, and ends all of them."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._children: dict[int, int] = {}
        self._stopping = False
        shares = can_share_ports() and options.processes > 1
        self._count = options.processes if shares else 1
        self._folder = Path(tempfile.mkdtemp(prefix="pmpo-simulators-")) if shares else None
        self._held: socket.socket | None = None
        self._port = options.port

    def run(self) -> None:
        """Serves until it is asked to end. Raises StartError when it cannot start."""
        for path, what in (
            (self._options.tls_certificate, "--tls-certificate"),
            (self._options.tls_key, "--tls-key"),
            (self._options.tls_client_ca, "--tls-client-ca"),
            (self._options.token_file, "--token-file"),
        ):
            _read(path, what)
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        for asked in (signal.SIGINT, signal.SIGTERM):
            signal.signal(asked, self._ask_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            held = _reserve(self._options.host, self._options.port)
            self._port = held.getsockname()[1]
            if self._folder is None:
                held.close()
            else:
                self._held = held
            for number in range(1, self._count + 1):
                self._start(number)
            kinds = " and ".join(self._options.catalogue.kinds) or "simulators"
            where = _address(self._options.host, self._port)
            print(f"Serving {kinds} on {where} (Ctrl-C ends it)", flush=True)
            self._watch(wake_read)
        finally:
            self._end_all()
            if self._held is not None:
                self._held.close()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _start(self, number: int) -> None:
        """Forks a process and waits until it listens."""
        read, write = os.pipe()
        parent = os.getpid()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.close(read)
            _worker(self._options, number, self._port, self._folder, write, parent)
        os.close(write)
        self._children[child] = number
        with os.fdopen(read) as pipe:
            answer = pipe.readline().strip()
        if answer.startswith("!") or answer == "":
            raise StartError(answer[2:] or "a process of the server died while it started")

    def _watch(self, wake: int) -> None:
        watched = [wake, *([sys.stdin.fileno()] if self._options.until_stdin_closes else [])]
        while not self._stopping:
            readable, _, _ = select.select(watched, [], [], 5.0)
            if wake in readable:
                os.read(wake, 512)
            if len(readable) > (wake in readable) and os.read(watched[1], 512) == b"":
                return
            self._reap()

    def _reap(self) -> None:
        while self._children and not self._stopping:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                return
            number = self._children.pop(child)
            _log.warning("the process w%d died (%s); starting it again", number, os.waitstatus_to_exitcode(status))
            # Not in a circle as fast as the machine can, should it die at once each time.
            time.sleep(0.2)
            try:
                self._start(number)
            except StartError as error:
                _log.error("it did not start: %s", error)

    def _end_all(self) -> None:
        def tell(number: signal.Signals) -> None:
            for child in self._children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, number)

        tell(signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._children:
            try:
                child, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            self._children.pop(child, None)
            if child == 0:
                if time.monotonic() > deadline:
                    tell(signal.SIGKILL)
                time.sleep(0.02)
