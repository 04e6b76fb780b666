"""The server's log: one line for each event, and not more lines than a person can read."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback

from pmpo_simulator_server.errors import SimulatorError

_BURST = 20
"""Warnings and errors that are logged at once."""
_LINES_PER_SECOND = 0.2
"""Warnings and errors that are logged in the long run."""
_MAX_LENGTH = 500


class _OneLine(logging.Formatter):
    """Writes a record as one line. Of an exception it shows the message and where it was raised."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            # A SimulatorError has the simulator's own exception as its cause, and its message tells both.
            frames = traceback.extract_tb((error.__cause__ or error).__traceback__)
            where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
            told = str(error) if isinstance(error, SimulatorError) else f"{type(error).__name__}: {error}"
            text = f"{text}: {told}{where}"
        # Text from clients and simulators must not control the terminal.
        shown = "".join(c if c.isprintable() else " " for c in text)
        return f"{self.formatTime(record)} {shown if len(shown) <= _MAX_LENGTH else shown[:_MAX_LENGTH] + '…'}"


class _RateLimit(logging.Filter):
    """Leaves out warnings and errors that come too fast, and says with the next one how many those were."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._allowance = float(_BURST)
        self._last = time.monotonic()
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        with self._lock:
            now = time.monotonic()
            self._allowance = min(_BURST, self._allowance + (now - self._last) * _LINES_PER_SECOND)
            self._last = now
            if self._allowance < 1:
                self._left_out += 1
                return False
            self._allowance -= 1
            left_out, self._left_out = self._left_out, 0
        if left_out > 0:
            record.msg, record.args = f"{record.getMessage()} ({left_out:,} more lines were left out before)", None
        return True


def configure(*, verbose: bool) -> None:
    """Logs to standard error. With `verbose`, also worlds that come and go, and the tracebacks of errors."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s") if verbose else _OneLine())
    handler.addFilter(_RateLimit())
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
