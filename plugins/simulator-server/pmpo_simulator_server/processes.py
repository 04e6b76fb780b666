"""Several processes on one port. The kernel hands each connection to one of them; no byte passes through a parent."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from pmpo_simulator_server.catalogue import Catalogue

if TYPE_CHECKING:
    from pmpo_simulator_server.service import Server

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


def read_token(path: Path | None) -> str | None:
    """The bearer token in a file. Raises StartError, which does not show it, for a file with none."""
    content = _read(path, "--token-file")
    if content is None:
        return None
    try:
        token = content.decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    # An empty one would let everybody in; gRPC's metadata are printable ASCII.
    if token == "" or not token.isprintable():
        raise StartError(f"--token-file: {path}: it must hold one line of printable ASCII characters, the token")
    return token


def _read(path: Path | None, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"{what}: {path}: {error.strerror}") from error


def _listen(options: ServerOptions, prefix: str, port: int, folder: Path | None) -> Server:
    # Not before the fork: gRPC does not survive one.
    from pmpo_simulator_server.service import Security, Server, Sockets
    from pmpo_simulator_server.session import Worlds

    try:
        return Server(
            Worlds(prefix, options.catalogue.make),
            _address(options.host, port),
            security=Security(
                certificate=_read(options.tls_certificate, "--tls-certificate"),
                key=_read(options.tls_key, "--tls-key"),
                client_ca=_read(options.tls_client_ca, "--tls-client-ca"),
                token=read_token(options.token_file),
            ),
            sockets=None if folder is None else Sockets(folder),
            max_message_megabytes=options.max_message_megabytes,
        )
    except RuntimeError as error:
        # The port is held for these processes; what is left to go wrong is in the files, and gRPC does not say what.
        if options.tls_certificate is None:
            raise StartError(f"cannot listen on {_address(options.host, port)}: {error}") from error
        files = [options.tls_certificate, options.tls_key, options.tls_client_ca]
        listed = ", ".join(str(path) for path in files if path is not None)
        raise StartError(f"no certificate and key that belong together, as PEM, in {listed}") from error


def _worker(options: ServerOptions, number: int, port: int, folder: Path | None, pipe: int, parent: int) -> NoReturn:
    """What a forked process does: serves, and never returns."""
    code = 1
    try:
        # Ctrl-C reaches every process of a terminal; the parent says when to end.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Held back, in every thread to come, until it is waited for.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        # No orphans, whatever the parent dies of.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        server = _listen(options, f"w{number}", port, folder)
        os.write(pipe, f"{server.port}\n".encode())
        os.close(pipe)
        signal.sigwait([signal.SIGTERM])
        server.stop()
        code = 0
    except StartError as error:
        os.write(pipe, f"! {error}\n".encode())
    except Exception as error:
        _log.exception("the process w%d failed", number)
        with contextlib.suppress(OSError):
            os.write(pipe, f"! {type(error).__name__}: {error}\n".encode())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _announce(options: ServerOptions, port: int) -> None:
    kinds = " and ".join(options.catalogue.kinds) or "simulators"
    where = _address(options.host, port)
    print(f"Serving {kinds} on {where} (Ctrl-C ends it)", flush=True)
    if options.host not in ("localhost", "::1") and not options.host.startswith("127."):
        if options.token_file is None and options.tls_client_ca is None:
            _log.warning("anyone who can reach %s can use this server; --token-file asks for a secret", where)
        elif options.tls_certificate is None:
            _log.warning("the token travels in the clear; --tls-certificate and --tls-key encrypt the connections")


def run(options: ServerOptions) -> None:
    """Serves until it is asked to end. Raises StartError when it cannot start."""
    for path, what in (
        (options.tls_certificate, "--tls-certificate"),
        (options.tls_key, "--tls-key"),
        (options.tls_client_ca, "--tls-client-ca"),
    ):
        _read(path, what)
    read_token(options.token_file)
    if can_share_ports():
        Supervisor(options).run()
    else:
        _run_here(options)


def _run_here(options: ServerOptions) -> None:
    """One process, this one, where a port cannot be shared."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    def read_to_end() -> None:
        while os.read(sys.stdin.fileno(), 512):
            pass
        stop()

    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, stop)
    _reserve(options.host, options.port).close()
    server = _listen(options, "w1", options.port, None)
    _announce(options, server.port)
    if options.until_stdin_closes:
        threading.Thread(target=read_to_end, daemon=True).start()
    while not stopping:
        time.sleep(0.2)
    server.stop()


class Supervisor:
    """Forks the processes, starts one that died again, and ends all of them."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._children: dict[int, int] = {}
        self._stopping = False
        self._last = 0
        self._folder = Path(tempfile.mkdtemp(prefix="pmpo-simulators-"))
        self._port = options.port

    def run(self) -> None:
        """Serves until it is asked to end. Raises StartError when it cannot start."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        for asked in (signal.SIGINT, signal.SIGTERM):
            signal.signal(asked, self._ask_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            with _reserve(self._options.host, self._options.port) as held:
                self._port = held.getsockname()[1]
                # What has been imported stays shared: the collector of a child does not touch it.
                gc.freeze()
                for _ in range(self._options.processes):
                    if not self._stopping:
                        self._start()
                if not self._stopping:
                    _announce(self._options, self._port)
                self._watch(wake_read)
        finally:
            self._end_all()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _start(self) -> None:
        """Forks a process and waits until it listens."""
        # A number is never used again: the name of a world that died with its process must not name another one.
        self._last += 1
        read, write = os.pipe()
        parent = os.getpid()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.close(read)
            _worker(self._options, self._last, self._port, self._folder, write, parent)
        os.close(write)
        self._children[child] = self._last
        with os.fdopen(read) as pipe:
            answer = pipe.readline().strip()
        if answer.startswith("!") or (answer == "" and not self._stopping):
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
        """Starts as many processes as have died; those that do not start are tried again at the next look."""
        while self._children:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                break
            number = self._children.pop(child, None)
            if number is None:
                continue
            (self._folder / f"w{number}.sock").unlink(missing_ok=True)
            _log.warning("the process w%d died (%s) with its worlds", number, os.waitstatus_to_exitcode(status))
        while len(self._children) < self._options.processes and not self._stopping:
            # Not in a circle as fast as the machine can, should it die at once each time.
            time.sleep(0.2)
            try:
                self._start()
                _log.warning("the process w%d has taken its place", self._last)
            except StartError as error:
                _log.error("no process could be started in its place: %s", error)
                return

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
