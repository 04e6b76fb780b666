"""Files of exported operators: a graph, and what it says about itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._onnx import MalformedFile, Model, read_model
from .errors import PmpoError

_key = "pmpo.operator"
_format = 1


@dataclass(frozen=True)
class StatePart:
    """A part of an operator's state, whose elements all start at one value."""

    name: str
    axes: tuple[int | str, ...]
    initial: dict[str, Any]


@dataclass(frozen=True)
class Needs:
    """What a batch must hold."""

    feedback: str
    evaluation: bool
    reference_log_prob: bool
    kl: str
    reverse_kl: bool
    length: bool
    mismatched: bool
    compares_samples: bool
    rejects_reference_samples: bool
    """Whether rejected samples must be the reference's own, because only theirs have a bounded loss."""


@dataclass(frozen=True)
class OperatorFile:
    """One graph of an operator: for certain parts of the KL, and certain settings."""

    where: str
    model: Model
    name: str
    inputs: dict[str, tuple[int | str, ...]]
    gradients: tuple[str, ...]
    metrics: tuple[str, ...]
    state: tuple[StatePart, ...]
    projects_state: bool
    needs: Needs
    needs_at: tuple[tuple[str, float, Needs], ...]
    kl_parts: tuple[str, ...]
    schema: dict[str, Any]
    values: dict[str, Any]
    open: tuple[str, ...]
    unused: tuple[str, ...]

    def reads(self, group: str) -> bool:
        """Whether the graph has inputs of a group such as `kl` or `decoupledKl`."""
        return any(name.split("/")[0] == group for name in self.inputs)

    def needs_of(self, settings: dict[str, float]) -> Needs:
        """The needs at certain values of the open settings."""
        for setting, value, needs in self.needs_at:
            if settings.get(setting) == value:
                return needs
        return self.needs


def _needs(data: dict[str, Any], operator: str) -> Needs:
    # Files of earlier versions lack those that did not exist yet. Of their operators, PMPO alone rejects samples as the reference's own.
    data = {"rejectsReferenceSamples": operator == "pmpo", **data}
    later = (data.get(name, False) for name in ("reverseKl", "length", "mismatched", "comparesSamples", "rejectsReferenceSamples"))
    return Needs(data["feedback"], data["evaluation"], data["referenceLogProb"], data["kl"], *later)


def read_file(path: str | Path) -> OperatorFile:
    """The operator in a file that `pmpo export-operator` wrote.

    Raises:
      PmpoError: the file cannot be read, or is not such a file.
    """
    where = str(path)
    remedy = "Write one with `pmpo export-operator`"
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise PmpoError(where, f"it cannot be read: {error.strerror}", remedy) from error
    try:
        model = read_model(data)
        text = model.metadata.get(_key)
    except (MalformedFile, UnicodeDecodeError, ValueError) as error:
        raise PmpoError(where, f"it is not a readable ONNX file: {error}", remedy) from error
    if text is None:
        raise PmpoError(where, "it is an ONNX model, but not of an operator", remedy)
    try:
        facts = json.loads(text)
        if facts["format"] != _format:
            raise PmpoError(
                where,
                f"it has the format {facts['format']}, written by pmpo {facts['version']}, and this package reads format {_format}",
                "Install the package `pmpo` of that version",
            )
        settings = facts["settings"]
        return OperatorFile(
            where=where,
            model=model,
            name=facts["name"],
            inputs={entry["name"]: tuple(entry["axes"]) for entry in facts["inputs"]},
            gradients=tuple(facts["gradients"]),
            metrics=tuple(facts["metrics"]),
            state=tuple(StatePart(part["name"], tuple(part["axes"]), part["initial"]) for part in facts["state"]),
            projects_state=facts["projectsState"],
            needs=_needs(facts["needs"], facts["name"]),
            needs_at=tuple((entry["setting"], entry["value"], _needs(entry["needs"], facts["name"])) for entry in facts["needsAt"]),
            kl_parts=tuple(facts["klParts"]),
            schema=settings["schema"],
            values=settings["values"],
            open=tuple(settings["open"]),
            unused=tuple(settings["unused"]),
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise PmpoError(where, f"its description is incomplete: {error}", remedy) from error
