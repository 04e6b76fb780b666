"""Several processes that share one port. The kernel assigns each connection to a process; the parent relays nothing."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
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
from pmpo_simulator_server.spreading import OwnCount, StreamCounts

if TYPE_CHECKING:
    from pmpo_simulator_server.service import Server

_log = logging.getLogger("pmpo_simulator_server")

_GRACE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


class StartError(Exception):
    """The server cannot start. The message is shown to the user."""


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """The options of the program; see its help. Files are paths of PEM files, or of a text file with the token."""

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
    """Whether the kernel distributes connections among processes that listen on the same port, as Linux does."""
    return sys.platform == "linux"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reserve_port(host: str, port: int) -> socket.socket:
    """Reserves a port for the processes that will listen on it.

    Raises:
      StartError: the port is in use or the address is invalid.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # First bind without sharing: otherwise this server would silently share the port of another such server.
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
        held = socket.socket(family, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(where)
        return held
    except OSError as error:
        what = f"cannot listen on {_address(host, port)}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            what += ". Is another server using the port? --port 0 takes a free one"
        raise StartError(what) from error


def read_token(path: Path | None) -> str | None:
    """Reads the bearer token from a file; None without a file.

    Raises:
      StartError: the file cannot be read or holds no valid token. The message does not contain the token.
    """
    content = _read_file(path, "--token-file")
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


def _read_file(path: Path | None, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"{what}: {path}: {error.strerror}") from error


def _listen(
    options: ServerOptions, prefix: str, port: int, folder: Path | None = None, own_count: OwnCount | None = None
) -> Server:
    # Imported after the fork, because gRPC does not survive a fork.
    from pmpo_simulator_server.service import Security, Server, Sockets
    from pmpo_simulator_server.session import Worlds

    try:
        return Server(
            Worlds(prefix, options.catalogue.make),
            _address(options.host, port),
            security=Security(
                certificate=_read_file(options.tls_certificate, "--tls-certificate"),
                key=_read_file(options.tls_key, "--tls-key"),
                client_ca=_read_file(options.tls_client_ca, "--tls-client-ca"),
                token=read_token(options.token_file),
            ),
            sockets=None if folder is None else Sockets(folder),
            own_count=own_count,
            max_message_megabytes=options.max_message_megabytes,
        )
    except RuntimeError as error:
        # The port is reserved, so the certificates must be at fault. gRPC does not say in which way.
        if options.tls_certificate is None:
            raise StartError(f"cannot listen on {_address(options.host, port)}: {error}") from error
        files = [options.tls_certificate, options.tls_key, options.tls_client_ca]
        listed = ", ".join(str(path) for path in files if path is not None)
        raise StartError(f"not a matching certificate and key in PEM format: {listed}") from error


def _serve_in_child(
    options: ServerOptions, number: int, port: int, folder: Path, own_count: OwnCount, pipe: int, parent: int
) -> NoReturn:
    """Serves in a forked process, and exits the process in the end."""
    code = 1
    try:
        # Ctrl-C reaches every process of a terminal, but the parent decides when its children stop.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Blocked in this thread and those started later, so that sigwait below receives it.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        # The kernel kills this process when the parent dies for any reason, so that no orphans remain.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        server = _listen(options, f"w{number}", port, folder, own_count)
        own_count.publish()
        os.write(pipe, f"{server.port}\n".encode())
        os.close(pipe)
        signal.sigwait([signal.SIGTERM])
        server.stop()
        code = 0
    except StartError as error:
        os.write(pipe, f"! {error}\n".encode())
    except Exception as error:
        _log.exception("process w%d failed", number)
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
            _log.warning("anyone who can reach %s can use this server; require a token with --token-file", where)
        elif options.tls_certificate is None:
            _log.warning("the token is sent unencrypted; use TLS with --tls-certificate and --tls-key")


def run(options: ServerOptions) -> None:
    """Serves until a signal, or the end of standard input, asks it to stop.

    Raises:
      StartError: the server cannot start.
    """
    for path, what in (
        (options.tls_certificate, "--tls-certificate"),
        (options.tls_key, "--tls-key"),
        (options.tls_client_ca, "--tls-client-ca"),
    ):
        _read_file(path, what)
    read_token(options.token_file)
    if can_share_ports():
        Supervisor(options).run()
    else:
        _run_single_process(options)


def _run_single_process(options: ServerOptions) -> None:
    """Serves in this process, on systems where a port cannot be shared."""
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
    _reserve_port(options.host, options.port).close()
    server = _listen(options, "w1", options.port)
    _announce(options, server.port)
    if options.until_stdin_closes:
        threading.Thread(target=read_to_end, daemon=True).start()
    while not stopping:
        time.sleep(0.2)
    server.stop()


class Supervisor:
    """Forks the serving processes, replaces those that die, and stops all of them in the end."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._numbers: dict[int, int] = {}
        """The number of each running process, by process id."""
        self._counts = StreamCounts(options.processes)
        self._places: dict[int, int] = {}
        """The place of each running process among the counts of streams, by process id."""
        self._stopping = False
        self._last_number = 0
        self._folder = Path(tempfile.mkdtemp(prefix="pmpo-simulators-"))
        self._port = options.port

    def run(self) -> None:
        """Serves until it is asked to stop.

        Raises:
          StartError: a process cannot start.
        """
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        for asked in (signal.SIGINT, signal.SIGTERM):
            signal.signal(asked, self._ask_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            with _reserve_port(self._options.host, self._options.port) as held:
                self._port = held.getsockname()[1]
                # Excludes imported objects from garbage collection, so that their memory stays shared with children.
                gc.freeze()
                for _ in range(self._options.processes):
                    if not self._stopping:
                        self._start_child()
                if not self._stopping:
                    _announce(self._options, self._port)
                self._watch(wake_read)
        finally:
            self._stop_children()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _start_child(self) -> None:
        """Forks a process and waits until it listens."""
        # Numbers are never reused: the name of a world that died with its process must not come to name another world.
        self._last_number += 1
        read, write = os.pipe()
        parent = os.getpid()
        place = next(place for place in range(self._options.processes) if place not in self._places.values())
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.close(read)
            own_count = OwnCount(self._counts, place)
            _serve_in_child(self._options, self._last_number, self._port, self._folder, own_count, write, parent)
        os.close(write)
        self._numbers[child] = self._last_number
        self._places[child] = place
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
        while self._numbers:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                break
            number = self._numbers.pop(child, None)
            if number is None:
                continue
            self._counts.clear(self._places.pop(child))
            (self._folder / f"w{number}.sock").unlink(missing_ok=True)
            _log.warning("process w%d died (%s); its worlds are gone", number, os.waitstatus_to_exitcode(status))
        while len(self._numbers) < self._options.processes and not self._stopping:
            # Limits the rate of restarts, in case each new process dies at once.
            time.sleep(0.2)
            try:
                self._start_child()
                _log.warning("process w%d was started in its place", self._last_number)
            except StartError as error:
                _log.error("its replacement could not be started: %s", error)
                return

    def _stop_children(self) -> None:
        def send(number: signal.Signals) -> None:
            for child in self._numbers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, number)

        send(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._numbers:
            try:
                child, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            self._numbers.pop(child, None)
            if child == 0:
                if time.monotonic() > deadline:
                    send(signal.SIGKILL)
                time.sleep(0.02)
