"""Errors that are reported to clients, and to the user who starts the program."""

from __future__ import annotations

import grpc


class StartError(Exception):
    """The program cannot start. The message is shown to the user."""


class RequestError(Exception):
    """The error of one request, which has changed nothing. `code` is the gRPC status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[RequestError], tuple[grpc.StatusCode, str]]:
        """Makes the error picklable, because processes send it to each other."""
        return RequestError, (self.code, str(self))


def invalid(message: str) -> RequestError:
    """INVALID_ARGUMENT: the request itself is wrong."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def precondition(message: str) -> RequestError:
    """FAILED_PRECONDITION: the request would be valid in another state of the model, the disk or the program."""
    return RequestError(grpc.StatusCode.FAILED_PRECONDITION, message)


def exhausted(message: str) -> RequestError:
    """RESOURCE_EXHAUSTED: there is not enough memory."""
    return RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


def cancelled() -> RequestError:
    """CANCELLED: the client no longer waits for the response."""
    return RequestError(grpc.StatusCode.CANCELLED, "the call was cancelled")
