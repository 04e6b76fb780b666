"""The setting `wrappers`: import paths of wrappers that are put around an environment, the innermost first."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from pmpo_simulator_server.allowed_imports import import_allowed
from pmpo_simulator_server.errors import FAILURES, invalid, not_found, quoted
from pmpo_simulator_server.settings import Settings

E = TypeVar("E")

_ALWAYS_ALLOWED = ("gymnasium.wrappers", "dm_control.suite.wrappers")
"""Modules of wrappers that clients may use without --allow-import."""


def wrapper_from(settings: Settings, allowed: Collection[str], kind: type[E]) -> Callable[[E], E]:
    """Takes the setting `wrappers`, a text such as `gymnasium.wrappers:FlattenObservation,my_module:Mine`.

    Returns a function that wraps an environment of the type `kind`.

    Raises:
      RequestError: a module is not allowed or cannot be imported, or has no such wrapper.
    """
    text = settings.take("wrappers", str, "")
    paths = [path.strip() for path in (text or "").split(",") if path.strip() != ""]
    wrappers = [(path, _wrapper(path, allowed)) for path in paths]

    def wrap(environment: E) -> E:
        for path, wrapper in wrappers:
            try:
                wrapped = wrapper(environment)
            except FAILURES as error:  # A wrapper's code may raise anything.
                raise invalid(f"the wrapper {quoted(path)} failed: {type(error).__name__}: {error}") from error
            if not isinstance(wrapped, kind):
                made, needed = type(wrapped).__name__, f"{kind.__module__}.{kind.__name__}"
                raise invalid(f"the wrapper {quoted(path)} made a {made}; it must make a {needed}")
            environment = wrapped
        return environment

    return wrap


def _wrapper(path: str, allowed: Collection[str]) -> Callable[..., object]:
    module_name, colon, attribute = path.partition(":")
    if not colon:
        raise invalid(f"the wrapper {quoted(path)} must be an import path: package.module:Wrapper")
    wrapper: Callable[..., object] | None = getattr(import_allowed(module_name, [*allowed, *_ALWAYS_ALLOWED]), attribute, None)
    if not callable(wrapper):
        raise not_found(f"{quoted(module_name)} has no wrapper {quoted(attribute)}")
    return wrapper
