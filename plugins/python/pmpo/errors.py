"""The errors of this package. Messages have the form `where: what. remedy`."""

from __future__ import annotations

from typing import Any


class PmpoError(ValueError):
    """What was given is wrong, and the message says where and what would be right."""

    def __init__(self, where: str, what: str, remedy: str | None = None) -> None:
        super().__init__(f"{where}: {what}" + ("" if remedy is None else f". {remedy}"))
        self.where = where
        self.what = what
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is pickled, as by a worker process, with its message alone.
        return type(self), (self.where, self.what, self.remedy)


class SettingError(PmpoError):
    """A setting of an operator is unknown, out of range, or fixed in its file."""
