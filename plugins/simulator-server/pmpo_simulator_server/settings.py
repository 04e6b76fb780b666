"""Settings as clients send them: plain values, each used once, none ignored."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TypeVar

from pmpo_simulator_server.errors import invalid, unknown
from pmpo_simulator_server.world import Setting

T = TypeVar("T", bool, int, float, str)


class Settings:
    """Takes settings out one by one; what is left over in the end belongs to nobody and is refused."""

    def __init__(self, values: Mapping[str, Setting]) -> None:
        self._left = dict(values)
        self._known: set[str] = set()

    def take(self, name: str, kind: type[T], default: T | None = None) -> T | None:
        """The setting `name`. Raises RequestError when it is of another kind."""
        self._known.add(name)
        if name not in self._left:
            return default
        value = self._left.pop(name)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return kind(value)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
            raise invalid(f"the setting '{name}' is {value!r}; it must be {words}")
        return value

    def positive(self, name: str, kind: type[T]) -> T | None:
        """The same for a number above 0."""
        value = self.take(name, kind)
        if value is not None and not value > 0:  # type: ignore[operator]
            raise invalid(f"the setting '{name}' is {value}; it must be above 0")
        return value

    def rest_for(self, maker: Callable[..., object]) -> dict[str, Setting]:
        """All that is left, as keyword arguments of `maker`. Raises RequestError for what it does not take."""
        parameters = inspect.signature(maker).parameters.values()
        names = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            self._known |= names
            self.finish(allowed=names)
        left, self._left = self._left, {}
        return left

    def finish(self, allowed: set[str] | None = None) -> None:
        """Raises RequestError when something is left that nobody knows."""
        for name in self._left:
            if name not in (allowed or set()):
                raise unknown("setting", name, self._known)


def seed_of(settings: Settings) -> int | None:
    """The setting `seed`, a whole number of 0 or more."""
    seed = settings.take("seed", int)
    if seed is not None and seed < 0:
        raise invalid(f"the setting 'seed' is {seed}; it must be 0 or more")
    return seed
