"""Settings as clients send them: plain values, each taken once. None is silently ignored."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, get_args

from pmpo_simulator_server.errors import invalid, nearest, quoted, unknown
from pmpo_simulator_server.simulator import Setting

T = TypeVar("T", bool, int, float, str)


class Settings:
    """A client's settings, which are taken out one by one. Any left at the end are unknown, which is an error."""

    def __init__(self, values: Mapping[str, Setting]) -> None:
        self._left = dict(values)
        self._known: set[str] = set()

    def take(self, name: str, kind: type[T], default: T | None = None) -> T | None:
        """Takes the setting `name`, or returns `default` if it is not given.

        Raises:
          RequestError: its value is not of the type `kind`.
        """
        self._known.add(name)
        if name not in self._left:
            return default
        value = self._left.pop(name)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return kind(value)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
            shown = quoted(value) if isinstance(value, str) else repr(value)
            raise invalid(f"the setting '{name}' is {shown}; it must be {words}")
        return value

    def positive(self, name: str, kind: type[T]) -> T | None:
        """Takes a setting that must be a number above 0, or returns None if it is not given.

        Raises:
          RequestError: its value is not of the type `kind` or not above 0.
        """
        value = self.take(name, kind)
        if value is not None and not value > 0:  # type: ignore[operator] # T may be str or bool; callers ask for numbers.
            raise invalid(f"the setting '{name}' is {value}; it must be above 0")
        return value

    def rest_for(self, maker: Callable[..., object], hidden: Collection[str] = ()) -> dict[str, Setting]:
        """Takes all remaining settings as keyword arguments of `maker`.

        A setting may have the argument's own name or that name in camelCase. `hidden` names arguments that clients may
        not set.

        Raises:
          RequestError: `maker` has no such argument, or its annotation says another type.
        """
        parameters = _parameters(maker)
        named = {p.name: p for p in parameters if p.kind in _BY_NAME and p.name not in hidden}
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        argument_of = {_camel_case(name): name for name in named} | {name: name for name in named}
        self._known |= {_camel_case(name) for name in named}
        taken: dict[str, Setting] = {}
        for name in list(self._left):
            if name in argument_of:
                target = argument_of[name]
                kind = _kind_of(named[target])
                value = self._left.pop(name) if kind is None else self.take(name, kind)
                if target in taken:
                    raise invalid(f"the setting '{name}' is given twice")
                if value is not None:
                    taken[target] = value
            elif open_ended and name not in hidden and nearest(name, self._known, 0.85) is None:
                taken[name] = self._left.pop(name)
        self.finish()
        return taken

    def finish(self) -> None:
        """Checks that all settings were taken.

        Raises:
          RequestError: an unknown setting is left.
        """
        for name in self._left:
            raise unknown("setting", name, self._known)


_BY_NAME = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_KINDS: Mapping[object, type[Any]] = {kind: kind for kind in (bool, int, float, str)}


def _parameters(maker: Callable[..., object]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(maker, eval_str=True).parameters.values())
    except NameError:
        # The annotations name things that are imported only for type checkers.
        return list(inspect.signature(maker).parameters.values())


def _kind_of(parameter: inspect.Parameter) -> type[Any] | None:
    """The plain type in a parameter's annotation, alone or in a union with None; None for any other annotation."""
    kinds = [kind for kind in get_args(parameter.annotation) if kind is not type(None)] or [parameter.annotation]
    return _KINDS.get(kinds[0]) if len(kinds) == 1 and isinstance(kinds[0], type) else None


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def seed_of(settings: Settings) -> int | None:
    """Takes the setting `seed`, an integer of 0 or more.

    Raises:
      RequestError: it is not such an integer.
    """
    seed = settings.take("seed", int)
    if seed is not None and seed < 0:
        raise invalid(f"the setting 'seed' is {seed}; it must be 0 or more")
    return seed
