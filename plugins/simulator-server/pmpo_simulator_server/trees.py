"""Nested specs: the name of each tensor inside, and values arranged as their specs are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from pmpo_simulator_server.errors import invalid

Keys: TypeAlias = tuple[object, ...]
"""The keys and indices that lead to a leaf, outermost first."""

Children: TypeAlias = Callable[[Any], Mapping[Any, Any] | Sequence[Any] | None]
"""The members of a node, by key or by index; None for a leaf."""


class NamedTree:
    """A tree of specs whose leaves are named by their path, such as `position/x`. A single leaf has the name `root`."""

    def __init__(self, tree: Any, children: Children, *, root: str, what: str, taken: Mapping[str, str] = {}) -> None:
        """Names all leaves. `what` says in messages what they are; `taken` maps names in use to what has them.

        Raises:
          RequestError: two leaves would have the same name, or one has a name in `taken`.
        """
        self._leaves: dict[str, tuple[Keys, Any]] = {}
        self._names: dict[Keys, str] = {}
        self._tree, self._children, self._root, self._what, self._taken = tree, children, root, what, taken
        self._visit(tree, ())

    def _visit(self, node: Any, keys: Keys) -> None:
        inner = self._children(node)
        if inner is not None:
            for key, child in _items(inner):
                self._visit(child, (*keys, key))
            return
        name = "/".join(str(key) for key in keys) if keys else self._root
        if name in self._leaves or name in self._taken:
            other = f"the {self._what} {_spelled(self._leaves[name][0])}" if name in self._leaves else self._taken[name]
            this = f"the {self._what} {_spelled(keys) or repr(name)}"
            raise invalid(f"{other} and {this} would both be named '{name}'; rename one")
        self._leaves[name] = (keys, node)
        self._names[keys] = name

    def leaves(self) -> Mapping[str, Any]:
        """The leaves by name."""
        return {name: leaf for name, (_, leaf) in self._leaves.items()}

    def flatten(self, values: Any) -> dict[str, Any]:
        """The values by name, from values that are nested as the tree is."""
        flat = {}
        for name, (keys, _) in self._leaves.items():
            value = values
            for key in keys:
                value = value[key]
            flat[name] = value
        return flat

    def arrange(self, values: Mapping[str, Any], convert: Callable[[Any, Any], Any]) -> Any:
        """The values nested as the tree is; `convert(leaf, value)` makes the value of each leaf."""
        return self._arranged(self._tree, (), values, convert)

    def _arranged(self, node: Any, keys: Keys, values: Mapping[str, Any], convert: Callable[[Any, Any], Any]) -> Any:
        inner = self._children(node)
        if inner is None:
            return convert(node, values[self._names[keys]])
        built = {key: self._arranged(child, (*keys, key), values, convert) for key, child in _items(inner)}
        if isinstance(inner, Mapping):
            return built
        return list(built.values()) if isinstance(inner, list) else tuple(built.values())


def _items(inner: Mapping[Any, Any] | Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return inner.items() if isinstance(inner, Mapping) else enumerate(inner)


def _spelled(keys: Keys) -> str:
    """The keys as Python writes them: `['position']['x']`."""
    return "".join(f"[{key!r}]" for key in keys)
