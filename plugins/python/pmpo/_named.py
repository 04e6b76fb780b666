"""Built-in operators by their names."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from . import operators
from ._operator import Operator
from .errors import PmpoError


def named_operator(name: str, settings: dict[str, Any], where: str) -> Operator:
    """The built-in operator of a name, which may be written with hyphens or underscores.

    Args:
      name: such as `v-mpo`.
      settings: its settings.
      where: what the settings belong to, for messages.

    Raises:
      PmpoError: there is no operator of this name, or it has no such setting.
    """
    key = name.replace("-", "_")
    if key not in operators.__all__:
        close = difflib.get_close_matches(key, operators.__all__, n=1)
        guess = f"Did you mean '{close[0]}'? " if close else ""
        raise PmpoError("operator", f"there is no '{name}'", f"{guess}Known: {', '.join(operators.__all__)}")
    factory = getattr(operators, key)
    unknown = [setting for setting in settings if setting not in inspect.signature(factory).parameters]
    if unknown:
        what = f"is {settings[unknown[0]]!r}, and the operator {key} has no such setting"
        raise PmpoError(f"{where}, {unknown[0]}", what, "Leave it out")
    made: Operator = factory(**settings)
    return made
