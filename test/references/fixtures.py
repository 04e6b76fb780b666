"""What the scripts of this folder share: rounded random draws, and writing what they computed."""

import json
import pathlib
import sys

import numpy as np

DIGITS = 10


class Draws:
    """A generator whose numbers are rounded before they are used, so that a fixture holds them exactly."""

    def __init__(self, seed: int):
        self._generator = np.random.default_rng(seed)

    def normal(self, *shape, scale=1.0):
        return np.round(self._generator.normal(scale=scale, size=shape), 4)

    def uniform(self, low, high, *shape):
        return np.round(self._generator.uniform(low, high, size=shape), 4)

    def integers(self, high, *shape):
        return self._generator.integers(high, size=shape)


def plain(value):
    """Nested lists and numbers in place of arrays, rounded."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (str, bool)) or value is None:
        return value
    if isinstance(value, (int, float)):
        return round(float(value), DIGITS) if isinstance(value, float) else value
    return plain(np.asarray(value).tolist())


def write(script: str, document) -> None:
    """Writes the document beside the script, as .json, or to the path given on the command line."""
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(script).with_suffix(".json")
    output.write_text(json.dumps(plain(document), separators=(",", ":")) + "\n", encoding="utf-8")
