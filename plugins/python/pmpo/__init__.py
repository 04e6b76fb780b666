"""Policy improvement operators for PyTorch, JAX and NumPy: PMPO, MPO, DPO, KTO, and operators of your own.

An operator turns log-probs and feedback (accepted samples, rejected samples, or both) into a loss. It is written once, in TypeScript, and
kept as a small ONNX graph of its loss and gradients; here each node of the graph is a call of the array library, so that it runs on any
device, under `torch.compile`, `jax.jit` and `vmap`.

    import pmpo

    operator = pmpo.operators.pmpo(alpha=0.5, beta=1.0)
    loss, metrics = operator.torch(log_prob, accept=accept, reject=reject, kl=kl)
    loss.backward()
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import operators
from ._feedback import FeedbackBatch, feedback
from ._feedback_file import ExportedFeedback, load_feedback
from ._feedback_service import FeedbackServer, serve_feedback
from ._file import read_file
from ._operator import NumpyResult, Operator, Result, operator_of_file
from ._program import ProgramError
from ._runs import Run, train
from .errors import PmpoError, SettingError

__all__ = [
    "ExportedFeedback",
    "FeedbackBatch",
    "FeedbackServer",
    "NumpyResult",
    "Operator",
    "PmpoError",
    "ProgramError",
    "Result",
    "Run",
    "SettingError",
    "feedback",
    "load",
    "load_feedback",
    "operators",
    "serve_feedback",
    "train",
]


def load(file: str | Path, **settings: Any) -> Operator:
    """The operator in a file that `pmpo export-operator` wrote.

    Args:
      file: the path of the file.
      settings: values for its open settings; the others are those of the export.

    Raises:
      PmpoError: the file cannot be read or is not such a file.
      SettingError: a setting is unknown, out of range, or fixed in the file.
    """
    return operator_of_file(read_file(file), settings)
