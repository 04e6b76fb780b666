"""Settings of operators, checked against the JSON Schema that their files hold.

Settings are written in Python's case here (`desirable_weight`) and as TypeScript has them in files (`desirableWeight`). Schemas are those
that zod writes for operators; this reads the keywords that occur in them.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import SettingError

Schema = Mapping[str, Any]


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: f"_{match[1].lower()}", name)


def camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def in_file_case(settings: Any) -> Any:
    """Settings with the keys of files."""
    if not isinstance(settings, Mapping):
        return settings
    return {camel(str(key)): in_file_case(value) for key, value in settings.items()}


def in_python_case(settings: Any) -> Any:
    """Settings with the keys of Python."""
    if not isinstance(settings, Mapping):
        return settings
    return {snake(key): in_python_case(value) for key, value in settings.items()}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `base` with those of `over` in their place, group by group."""
    result = dict(base)
    for key, value in over.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return result


def leaves(settings: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted path and the value of each setting, those within groups included."""
    if not isinstance(settings, Mapping):
        yield path, settings
        return
    for key, value in settings.items():
        yield from leaves(value, f"{path}.{key}" if path else key)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """A number of NumPy and the like as a Python number."""
    if isinstance(value, (int, float, str, bool, type(None), Mapping, list)):
        return value
    item = getattr(value, "item", None)
    return item() if item is not None and getattr(value, "shape", None) == () else value


def _problem(value: Any, schema: Schema) -> str | None:
    """Says what is wrong with a single value, or returns None if it is right."""
    kind = schema.get("type")
    if "const" in schema or "enum" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return None if value in allowed else f"must be one of {', '.join(map(repr, allowed))}, not {value!r}"
    if kind in ("number", "integer"):
        if not _is_number(value):
            return f"must be a number, not {value!r}"
        if not math.isfinite(value):
            return f"must be finite, not {value}"
        if kind == "integer" and value != int(value):
            return f"must be a whole number, not {value}"
        for keyword, fits, words in (
            ("minimum", value >= schema.get("minimum", value), "at least"),
            ("maximum", value <= schema.get("maximum", value), "at most"),
            ("exclusiveMinimum", value > schema.get("exclusiveMinimum", -math.inf), "greater than"),
            ("exclusiveMaximum", value < schema.get("exclusiveMaximum", math.inf), "less than"),
        ):
            if keyword in schema and not fits:
                return f"must be {words} {schema[keyword]}, not {value}"
        return None
    types = {"string": str, "boolean": bool, "null": type(None), "array": list}
    if kind in types and not isinstance(value, types[kind]):
        return f"must be {'null (None)' if kind == 'null' else f'a {kind}'}, not {value!r}"
    return None


def checked(where: str, value: Any, schema: Schema, path: str = "") -> Any:
    """The value with the defaults of its schema filled in.

    Raises:
      SettingError: naming the setting that is unknown or out of range.
    """
    place = f"{where}, {'.'.join(map(snake, path.split('.')))}" if path else where
    value = _plain(value)
    options = schema.get("anyOf")
    if options is not None:
        return _checked_any(where, value, options, path, place)
    if schema.get("type") != "object":
        problem = _problem(value, schema)
        if problem is not None:
            raise SettingError(place, problem)
        return value
    if not isinstance(value, Mapping):
        raise SettingError(place, f"must be a group of settings, not {value!r}")
    properties: Mapping[str, Schema] = schema.get("properties", {})
    for key in value:
        if key not in properties and schema.get("additionalProperties") is False:
            raise SettingError(place, f"unknown setting '{snake(key)}'", _known(key, properties))
    filled: dict[str, Any] = {}
    for key, inner in properties.items():
        name = f"{path}.{key}" if path else key
        if key in value:
            filled[key] = checked(where, value[key], inner, name)
        elif "default" in inner:
            filled[key] = checked(where, inner["default"], inner, name)
        elif key in schema.get("required", []):
            raise SettingError(place, f"the setting '{snake(key)}' is missing")
    return filled


def _checked_any(where: str, value: Any, options: list[Schema], path: str, place: str) -> Any:
    """The value by the option for its kind: a group for a group, else a plain one."""
    of_kind = [option for option in options if (option.get("type") == "object") == isinstance(value, Mapping)]
    errors: list[SettingError] = []
    for option in of_kind:
        try:
            return checked(where, value, option, path)
        except SettingError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    raise SettingError(place, f"must be {' or '.join(str(option.get('type')) for option in options)}, not {value!r}")


def _known(key: str, properties: Mapping[str, Schema]) -> str:
    names = [snake(name) for name in properties]
    close = difflib.get_close_matches(snake(key), names, n=1)
    guess = f"Did you mean '{close[0]}'? " if close else ""
    return f"{guess}Known: {', '.join(names) or 'none'}"
