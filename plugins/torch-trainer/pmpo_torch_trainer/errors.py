"""What a client is told when its request cannot be carried out."""

from __future__ import annotations

import grpc


class StartError(Exception):
    """The program cannot start; the message is for a person."""


class RequestError(Exception):
    """The answer to one request; everything is as it was before it."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[RequestError], tuple[grpc.StatusCode, str]]:
        """Goes from process to process."""
        return RequestError, (self.code, str(self))


def invalid(message: str) -> RequestError:
    """The request itself is wrong."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def precondition(message: str) -> RequestError:
    """It would be right in another state of the model, of the disk or of the program."""
    return RequestError(grpc.StatusCode.FAILED_PRECONDITION, message)


def exhausted(message: str) -> RequestError:
    """There is not enough memory."""
    return RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


def cancelled() -> RequestError:
    """Nobody waits for the answer any more."""
    return RequestError(grpc.StatusCode.CANCELLED, "the call was cancelled")
