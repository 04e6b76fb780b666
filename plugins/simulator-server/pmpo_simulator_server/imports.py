"""A user's own modules, of which a server imports those that it was started with."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from types import ModuleType

from pmpo_simulator_server.errors import not_found, precondition


def import_allowed(name: str, allowed: Collection[str]) -> ModuleType:
    """The module `name`, if it or a package around it is allowed. Raises RequestError."""
    if not any(name == module or name.startswith(f"{module}.") for module in allowed):
        raise precondition(f"this server may not import '{name}'; start it with --allow-import {name}")
    try:
        return importlib.import_module(name)
    except Exception as error:  # Whatever its code does when it is run.
        raise not_found(f"'{name}' cannot be imported: {type(error).__name__}: {error}") from error
