"""The program `pmpo`, started by this process to serve its embedded simulators."""

from __future__ import annotations

import atexit
import os
import re
import shlex
import subprocess
import tempfile
import threading

from .._program import ProgramError, find_program

_timeout = 120.0


class EmbeddedServerError(ProgramError):
    """The program `pmpo` was not found, or its server did not start."""


def _program() -> list[str]:
    """The command that runs `pmpo`."""
    try:
        return find_program()
    except ProgramError as error:
        what = f"the embedded simulators need it, and {error.what}"
        raise EmbeddedServerError(error.where, what, f"{error.remedy}. Or give the address of a server: address='HOST:PORT'") from None


class _Server:
    """A running `pmpo serve simulators`."""

    def __init__(self) -> None:
        command = [*_program(), "serve", "simulators", "--port", "0"]
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
