"""The program `pmpo`, started by this process to serve its embedded simulators."""

from __future__ import annotations

import atexit
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from ..errors import PmpoError

_variable = "PMPO_COMMAND"
_timeout = 120.0


class EmbeddedServerError(PmpoError):
    """The program `pmpo` was not found, or its server did not start."""


def _packages() -> Iterator[Path]:
    """Where the package may be: installed at or above the working directory, or a clone that holds it or this file."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        yield folder / "node_modules" / "pmpo"
        yield folder
    yield Path(__file__).resolve().parents[4]


def _is_package(folder: Path) -> bool:
    try:
        description = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(description, dict) and description.get("name") == "pmpo"


def find_program() -> list[str]:
    """The command that runs `pmpo`. It is never downloaded.

    Raises:
      EmbeddedServerError: saying whether Node or the program is missing.
    """
    where, otherwise = "embedded simulators", "Or give the address of a server: address='HOST:PORT'"
    command = os.environ.get(_variable)
    if command:
        return shlex.split(command)
    node = shutil.which("node")
    if node is None:
        raise EmbeddedServerError(where, "they run in Node, and there is no `node` on PATH", f"Install Node 20 or newer. {otherwise}")
    installed = shutil.which("pmpo")
    if installed is not None:
        return [installed]
    for folder in _packages():
        program = folder / "scripts" / "pmpo.mjs"
        if program.is_file() and _is_package(folder):
            return [node, str(program)]
    remedy = f"Install it here by `npm install pmpo`, or set {_variable} to the command that runs it. {otherwise}"
    raise EmbeddedServerError(where, "the program `pmpo` was not found", remedy)


class _Server:
    """A running `pmpo serve simulators`."""

    def __init__(self) -> None:
        command = [*find_program(), "serve", "simulators", "--port", "0"]
        # The program watches this process, so that it ends with it even if this process is killed.
        environment = {**os.environ, "PMPO_ENDS_WITH_PARENT": "1"}
        self._errors = tempfile.TemporaryFile(mode="w+")
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment,
                # Ctrl-C in a terminal is for this process, which may go on.
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise EmbeddedServerError(shlex.join(command), f"it cannot be started: {error.strerror}") from error
        timer = threading.Timer(_timeout, self._process.kill)
        timer.start()
        try:
            self.address = self._read_address(command)
        finally:
            timer.cancel()

    def _read_address(self, command: list[str]) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = re.search(r" on (\S+:\d+)", line)
            if found is not None:
                return found.group(1)
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().strip() or "it said nothing"
        raise EmbeddedServerError(shlex.join(command), f"it ended with {code} before it listened: {said}")

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


_lock = threading.Lock()
_running: dict[int, _Server] = {}


def embedded_address() -> str:
    """The address of this process's server of the embedded simulators, which is started if need be, and ends with this process.

    Raises:
      EmbeddedServerError: the program `pmpo` was not found, or its server did not start.
    """
    with _lock:
        # By process: a forked child does not own, and must not stop, the server of its parent.
        server = _running.get(os.getpid())
        if server is None or not server.is_running:
            server = _running[os.getpid()] = _Server()
        return server.address


@atexit.register
def stop() -> None:
    """Ends this process's server, if there is one. The next environment starts another."""
    with _lock:
        server = _running.pop(os.getpid(), None)
        if server is not None:
            server.stop()
