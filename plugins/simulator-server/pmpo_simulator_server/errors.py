"""What a client is told when its request cannot be carried out."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable

from google.rpc import code_pb2

_log = logging.getLogger("pmpo_simulator_server")


class RequestError(Exception):
    """An answer to one request; the stream goes on."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> RequestError:
    """The request itself is wrong."""
    return RequestError(code_pb2.INVALID_ARGUMENT, message)


def no_seeds() -> RequestError:
    """It brings a seed, and the simulator cannot start from one."""
    return invalid("this simulator takes no seed: its environment has no method 'seed'")


def not_found(message: str) -> RequestError:
    """It names something that is not there."""
    return RequestError(code_pb2.NOT_FOUND, message)


def precondition(message: str) -> RequestError:
    """It would be right at another moment, or on another machine."""
    return RequestError(code_pb2.FAILED_PRECONDITION, message)


def status_of(error: Exception) -> tuple[int, str]:
    """The code and the words of an answer to what failed with `error`; a simulator's own failure is logged in full."""
    if isinstance(error, RequestError):
        return error.code, str(error)
    _log.error("a request failed", exc_info=error)
    return code_pb2.INTERNAL, f"{type(error).__name__}: {error}"


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """What was probably meant; how words are joined is no difference."""
    folded = {other.replace("_", "").lower(): other for other in sorted(known)}
    near = difflib.get_close_matches(name.replace("_", "").lower(), folded, 1, likeness)
    return folded[near[0]] if near else None


def unknown(kind: str, name: str, known: Iterable[str]) -> RequestError:
    """There is no such thing; says what comes nearest."""
    names = sorted(known)
    near = nearest(name, names)
    hint = "" if near is None else f" Did you mean '{near}'?"
    listed = f" Known: {', '.join(names)}." if near is None and len(names) <= 20 else ""
    return invalid(f"there is no {kind} '{name}'.{hint}{listed}")
