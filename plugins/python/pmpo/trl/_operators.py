"""Which operator a trainer learns by, and whether it can."""

from __future__ import annotations

from typing import Any

from .._file import Needs
from .._named import named_operator
from .._operator import Operator
from ..errors import PmpoError

PARTS = ("sequence",)
"""The parts of the KL of a language model."""


def chosen_operator(operator: Operator | str | None, config: str, settings: dict[str, Any]) -> Operator:
    """The operator of a trainer: the given one, the one of a name, or PMPO.

    Args:
      operator: an operator, the name of a built-in one, or None for PMPO.
      config: the name of the class of the configuration, for messages.
      settings: settings of the configuration; None for those that it leaves to the operator.

    Raises:
      PmpoError: there is no operator of this name, it has no such setting, or it is given with its own.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if isinstance(operator, Operator):
        if given:
            name, value = next(iter(given.items()))
            raise PmpoError(
                f"{config}, {name}",
                f"is {value!r}, but the operator was given with its own settings, {operator!r}",
                f"Give it to the operator: pmpo.operators.{operator.name.replace('-', '_')}({name}={value!r})",
            )
        return operator
    if not isinstance(operator, str | None):
        raise PmpoError("operator", f"is a {type(operator).__name__}", "Give an operator of pmpo.operators, pmpo.load(FILE), or a name")
    return named_operator(operator or "pmpo", given, config)


def needs_of(operator: Operator, without_evaluations: str | None = None) -> Needs:
    """What the operator needs for sequences.

    Args:
      operator: an operator.
      without_evaluations: what has no evaluations, if that is so.

    Raises:
      PmpoError: it has no graph for sequences, or needs evaluations that are not there.
    """
    chosen = operator._choose(PARTS, False, False)
    if chosen.needs.evaluation and without_evaluations is not None:
        raise PmpoError(f"operator {operator.name}", f"needs evaluations, and {without_evaluations} has none", "Use pmpo, dpo or kto")
    return chosen.needs


def reads_kl(operator: Operator) -> bool:
    """Whether the operator's loss depends on the KL of sequences."""
    return operator._choose(PARTS, False, False).file.reads("kl")


def check_feedback(operator: Operator, needs: Needs, where: str, *, accepts: bool, rejects: bool, pairs: bool) -> str | None:
    """Checks that a data set has the feedback that an operator learns from.

    Returns:
      What the operator learns from, if that is less than it could use; else None.

    Raises:
      PmpoError: it lacks what the operator needs.
    """
    has = "accepted completions only" if accepts and not rejects else "rejected completions only" if rejects and not accepts else None
    lacks = {
        "accepts": not accepts and "learns from accepted completions",
        "rejects": not rejects and "learns from rejected completions",
        "both": has is not None and "needs accepted and rejected completions",
        "pairs": not pairs and "compares an accepted with a rejected completion of the same prompt",
    }.get(needs.feedback, False)
    if lacks:
        given = has or ("pairs" if pairs else "completions with labels, without pairs")
        remedy = "Give prompt, chosen and rejected, or use" if needs.feedback == "pairs" else "Use"
        raise PmpoError(where, f"has {given}, and the operator {operator.name} {lacks}", f"{remedy} the operator pmpo, which takes either")
    return has if needs.feedback == "either" else None
