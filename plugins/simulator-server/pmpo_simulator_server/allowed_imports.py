"""Imports of users' modules. A server imports only the modules that `--allow-import` names."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from types import ModuleType

from pmpo_simulator_server.errors import not_found, precondition, quoted


def import_allowed(name: str, allowed: Collection[str]) -> ModuleType:
    """Imports the module `name` if `allowed` contains it or a package around it.

    Raises:
      RequestError: the module is not allowed, or its import fails.
    """
    if not any(name == module or name.startswith(f"{module}.") for module in allowed):
        raise precondition(f"this server may not import {quoted(name)}; start it with --allow-import {name[:100]}")
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # A module's code may raise anything when it is run.
        raise not_found(f"'{name}' cannot be imported: {type(error).__name__}: {error}") from error
