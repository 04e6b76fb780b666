"""Errors that are sent to a client in the response to its request."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable

from google.rpc import code_pb2

_log = logging.getLogger("pmpo_simulator_server")


MAX_NAME_LENGTH = 200
"""The longest name of a simulator, a setting or a world that a client may send, in characters."""

_MAX_MESSAGE_LENGTH = 2000
_MAX_QUOTE_LENGTH = 100


FAILURES = (Exception, SystemExit, KeyboardInterrupt)
"""What a simulator's code may raise, by `sys.exit()` for example. It runs in threads of streams, which no signal interrupts."""


class RequestError(Exception):
    """An error in the response to one request; the stream stays open. `code` is a code of google.rpc.Code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class SimulatorError(Exception):
    """What a simulator raised, and where: the message begins with the world, the episode and the step."""

    def __init__(self, place: str, cause: BaseException) -> None:
        super().__init__(f"{place}: {type(cause).__name__}: {cause}")


def quoted(text: str) -> str:
    """Text of a client for a message: in quotes, in one line, and cut if it is long."""
    return repr(text if len(text) <= _MAX_QUOTE_LENGTH else text[:_MAX_QUOTE_LENGTH] + "…")


def check_length(kind: str, name: str) -> None:
    """Checks the length of a name that a client sent, before it is compared with any other.

    Raises:
      RequestError: it is too long.
    """
    if len(name) > MAX_NAME_LENGTH:
        raise invalid(f"the {kind} {quoted(name)} has {len(name):,} characters; the most are {MAX_NAME_LENGTH}")


def invalid(message: str) -> RequestError:
    """INVALID_ARGUMENT: the request itself is wrong."""
    return RequestError(code_pb2.INVALID_ARGUMENT, message)


def takes_no_seeds() -> RequestError:
    """INVALID_ARGUMENT: the request carries a seed, and the simulator cannot be seeded."""
    return invalid("this simulator takes no seed: its environment has no method 'seed'")


def not_found(message: str) -> RequestError:
    """NOT_FOUND: the request names something that does not exist."""
    return RequestError(code_pb2.NOT_FOUND, message)


def precondition(message: str) -> RequestError:
    """FAILED_PRECONDITION: the request would be valid in another state of the server, or on another machine."""
    return RequestError(code_pb2.FAILED_PRECONDITION, message)


def exhausted(message: str) -> RequestError:
    """RESOURCE_EXHAUSTED: the request is beyond a limit of the server."""
    return RequestError(code_pb2.RESOURCE_EXHAUSTED, message)


def status_of(error: BaseException) -> tuple[int, str]:
    """The code and message that report `error` to the client. Errors other than the client's are logged."""
    if isinstance(error, RequestError):
        code, message = error.code, str(error)
    elif isinstance(error, SimulatorError):
        _log.error("a simulator failed", exc_info=error)
        code, message = code_pb2.INTERNAL, str(error)
    else:
        _log.error("a request failed", exc_info=error)
        code, message = code_pb2.INTERNAL, f"{type(error).__name__}: {error}"
    return code, message if len(message) <= _MAX_MESSAGE_LENGTH else message[:_MAX_MESSAGE_LENGTH] + "…"


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name most similar to `name`, ignoring case and underscores, or None if none is similar enough.

    `cutoff` is the lowest accepted ratio of `difflib`, from 0 to 1.
    """
    folded = {other.replace("_", "").lower(): other for other in sorted(known)}
    near = difflib.get_close_matches(name.replace("_", "").lower(), folded, 1, cutoff)
    return folded[near[0]] if near else None


def unknown(kind: str, name: str, known: Iterable[str]) -> RequestError:
    """INVALID_ARGUMENT: `name` is not one of `known`. The message suggests the nearest known name."""
    names = sorted(known)
    near = nearest(name, names)
    hint = "" if near is None else f" Did you mean '{near}'?"
    listed = f" Known: {', '.join(names)}." if near is None and len(names) <= 20 else ""
    return invalid(f"unknown {kind} {quoted(name)}.{hint}{listed}")
