"""Shared by the scripts in this folder: rounded random numbers, and writing the results."""

import json
import pathlib
import sys

import numpy as np

DIGITS = 10


class Draws:
    """Random numbers that are rounded before they are used, so that a JSON file holds them exactly."""

    def __init__(self, seed: int):
        self._generator = np.random.default_rng(seed)

    def normal(self, *shape, scale=1.0):
        return np.round(self._generator.normal(scale=scale, size=shape), 4)

    def uniform(self, low, high, *shape):
        return np.round(self._generator.uniform(low, high, size=shape), 4)

    def integers(self, high, *shape):
        return self._generator.integers(high, size=shape)


def plain(value):
    """Converts arrays in a document to nested lists of rounded numbers."""
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
    """Writes a document as JSON next to the script, or to the path given on the command line."""
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(script).with_suffix(".json")
    output.write_text(json.dumps(plain(document), separators=(",", ":")) + "\n", encoding="utf-8")
