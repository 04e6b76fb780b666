"""Runs of the program `pmpo` in Weights & Biases, written by its own library: `python -m pmpo.wandb runs/NAME`.

A run is written in W&B's offline format, and nothing is sent: `wandb sync` sends it later, from any machine. Needs `pip install wandb`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ._runs import Run
from .errors import PmpoError


def log_run(run: Run | str | Path, *, project: str = "pmpo", mode: Literal["offline", "online"] = "offline", **init: Any) -> Path:
    """Writes a run that `pmpo` has made as a run of W&B: its configuration, metrics, evaluations, summary and report.

    The steps of W&B's charts are the run's own: environment steps, completions or updates. Metrics have the names that metrics.jsonl
    has, evaluations those of the TensorBoard events: `evaluation/meanReturn`. A number that is not finite is left out.

    Args:
      run: the run, or its folder.
      project: W&B's project.
      mode: `offline`, or `online` to send it at once.
      init: more arguments of `wandb.init`, such as `entity`, `group`, `tags` or `dir`.

    Returns:
      the folder that W&B has written, for `wandb sync`.

    Raises:
      PmpoError: it is not the folder of a run, it has no metrics yet, or `wandb` is not installed.
    """
    try:
        import wandb
        import yaml
    except ImportError as error:
        raise PmpoError("pmpo.wandb", f"{error.name} is not installed", "Install it: pip install wandb") from error
    run = run if isinstance(run, Run) else Run(run)
    rows = list(_rows(run))
    config = yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8"))
    given: dict[str, Any] = {"name": run.path.name, "config": config, "reinit": "create_new", **init}
    with wandb.init(project=project, mode=mode, **given) as written:
        for step, values in rows:
            written.log(values, step=step)
        if (run.path / "report.html").is_file():
            written.log({"report": wandb.Html(run.report.read_text(encoding="utf-8"), inject=False)})
        if (run.path / "summary.json").is_file():
            written.summary.update(run.summary)
        return Path(written.dir).parent


def _rows(run: Run) -> Iterator[tuple[int, dict[str, float]]]:
    """What is logged at each step, in the order of the steps; an evaluation and a report of the learner at one step are one row."""
    rows: dict[int, dict[str, float]] = {}
    for metrics in run.metrics():
        row = rows.setdefault(metrics["steps"], {})
        row.update({key: value for key, value in metrics.items() if _is_number(value) and key != "steps"})
    for evaluation in run.evaluations():
        score = evaluation["scoreName"].capitalize()
        values = {f"evaluation/mean{score}": evaluation["meanScore"], f"evaluation/std{score}": evaluation["stdScore"]}
        rows.setdefault(evaluation["steps"], {}).update({key: value for key, value in values.items() if _is_number(value)})
    yield from sorted(rows.items())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def main(arguments: list[str] | None = None) -> int:
    """The command `python -m pmpo.wandb`. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pmpo.wandb", description="Write runs of pmpo as runs of Weights & Biases.")
    parser.add_argument("runs", nargs="+", help="folders of runs, such as runs/cartpole_swingup-pmpo-seed0")
    parser.add_argument("--project", default="pmpo", help="W&B's project (default: pmpo)")
    parser.add_argument("--online", action="store_true", help="send them at once; default: offline, for `wandb sync`")
    given = parser.parse_args(arguments)
    # The library's own lines would hide the folders.
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        for path in given.runs:
            folder = log_run(path, project=given.project, mode="online" if given.online else "offline")
            print(f"{path}: {folder}")
    except PmpoError as error:
        print(f"pmpo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
