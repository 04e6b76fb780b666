"""The program `pmpo`, which this package starts for what it does not do itself. It is never downloaded."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import PmpoError

_variable = "PMPO_COMMAND"


class ProgramError(PmpoError):
    """The program `pmpo` was not found, or it failed."""


def _packages() -> Iterator[Path]:
    """Where the package may be: installed at or above the working directory, or a clone that holds it or this file."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        yield folder / "node_modules" / "pmpo"
        yield folder
    yield Path(__file__).resolve().parents[3]


def _is_package(folder: Path) -> bool:
    try:
        description = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(description, dict) and description.get("name") == "pmpo"


def find_program() -> list[str]:
    """The command that runs `pmpo`. It is never downloaded.

    Raises:
      ProgramError: saying whether Node or the program is missing.
    """
    where = "program pmpo"
    command = os.environ.get(_variable)
    if command:
        return shlex.split(command)
    node = shutil.which("node")
    if node is None:
        raise ProgramError(where, "it runs in Node, and there is no `node` on PATH", "Install Node 20 or newer")
    installed = shutil.which("pmpo")
    if installed is not None:
        return [installed]
    for folder in _packages():
        program = folder / "scripts" / "pmpo.mjs"
        if program.is_file() and _is_package(folder):
            return [node, str(program)]
    remedy = f"Install it here with npm, or set {_variable} to the command that runs it"
    raise ProgramError(where, "the program `pmpo` was not found", remedy)
