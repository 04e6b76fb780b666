"""Whole runs of the program `pmpo`, started from Python: `pmpo.train`, and the folder of a run."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ._program import ProgramError, find_program
from .errors import PmpoError


class Run:
    """The folder of a run. In a notebook it shows its report.

    Args:
      path: the folder, such as `runs/cartpole_swingup-pmpo-seed0`.

    Raises:
      PmpoError: it is not the folder of a run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).resolve()
        if not (self.path / "config.yaml").is_file():
            raise PmpoError(str(path), "it is not the folder of a run", "Give a folder that `pmpo train` has made")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _file(self, name: str) -> Path:
        file = self.path / name
        if not file.is_file():
            raise PmpoError(str(self.path), f"it has no {name}", "A run has it once it has ended")
        return file

    @property
    def summary(self) -> dict[str, Any]:
        """The operator, the steps, the wall time and the last evaluation, by the names that summary.json has."""
        found: dict[str, Any] = json.loads(self._file("summary.json").read_text(encoding="utf-8"))
        return found

    @property
    def report(self) -> Path:
        """The run's report, one HTML file that needs nothing else."""
        return self._file("report.html")

    @property
    def policy(self) -> Path:
        """The policy with the best evaluation as an ONNX file, or the last one if the run keeps no best."""
        best = self.path / "policy-best.onnx"
        return best if best.is_file() else self._file("policy.onnx")

    def _records(self, kind: str) -> Iterator[dict[str, Any]]:
        with self._file("metrics.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                if record.get("kind") == kind:
                    yield record

    def metrics(self) -> list[dict[str, Any]]:
        """A dictionary for each report of the learner: `steps`, `updates`, `wallSeconds`, and the metrics by their names."""
        return [
            {**{key: value for key, value in record.items() if key not in ("kind", "values")}, **record["values"]}
            for record in self._records("metrics")
        ]

    def evaluations(self) -> list[dict[str, Any]]:
        """A dictionary for each evaluation: `steps`, `meanScore`, `stdScore`, and the `scores` of its episodes or completions."""
        return [{key: value for key, value in record.items() if key != "kind"} for record in self._records("evaluation")]

    def _repr_html_(self) -> str:
        # A frame of its own, so that the page and the notebook do not share styles or names.
        page = html.escape(self.report.read_text(encoding="utf-8"), quote=True)
        # Without `allow-same-origin`: the report may be another person's, and must not act as the notebook.
        return (
            f'<iframe title="Report of {html.escape(self.path.name)}" sandbox="allow-scripts allow-downloads" '
            f'srcdoc="{page}" width="100%" height="900" style="border: 0"></iframe>'
        )


def train(
    config: str | Path | Mapping[str, Any],
    *,
    settings: Mapping[str, Any] | None = None,
    output: str | Path = "runs",
    name: str | None = None,
    quiet: bool = False,
) -> Run:
    """Trains as `pmpo train` does, and returns the run. Shows a line from time to time. Needs the program `pmpo` (Node 20 or newer).

    Args:
      config: the path of a configuration, or what it would hold, in which paths are relative to the working directory.
      settings: by dotted key, what replaces the configuration's own, `{"learner.environmentSteps": 20_000}`.
      output: the folder in which the run's folder is made.
      name: the run's name; by default that of the task, the operator and the seed.
      quiet: show nothing.

    Raises:
      ProgramError: the program was not found, or the run failed; with the program's own line.
      KeyboardInterrupt: the run was stopped, and has saved a checkpoint; its line, which says how it goes on, is shown. A second interrupt
        ends it at once.
    """
    program = find_program()
    if not isinstance(config, Mapping):
        return _run([*program, "train", str(config)], settings, output, name, quiet)
    # In the working directory, so that the configuration's relative paths begin there.
    handle, path = tempfile.mkstemp(dir=".", prefix="pmpo-", suffix=".yaml")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            # JSON is YAML.
            json.dump(_plain(config), file)
        # The file will be gone when somebody reads the report.
        return _run([*program, "train", path], settings, output, name, quiet, said="pmpo.train(…) in Python, with the configuration below")
    except ProgramError as error:
        # The file and its lines are ours; the keys are the caller's.
        what = error.what.replace(f"{Path(path).resolve()}: ", "").replace(f"{path}: ", "")
        raise ProgramError(error.where, re.sub(r" \(line \d+\)", "", what)) from None
    finally:
        os.unlink(path)


def _plain(value: Any) -> Any:
    """A value as JSON has it: paths as texts, tuples as lists, and numbers of NumPy as Python's own."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    # Scalars and arrays of NumPy have both.
    return value.tolist() if hasattr(value, "tolist") else value


def _run(
    command: list[str], settings: Mapping[str, Any] | None, output: str | Path, name: str | None, quiet: bool, said: str | None = None
) -> Run:
    """Runs the program. `said` is what the report shows in place of the command."""
    for key, value in (settings or {}).items():
        command += ["--set", f"{key}={json.dumps(_plain(value))}"]
    command += ["--json", "--output", str(output), *([] if name is None else ["--name", name])]
    # A group of its own, so that Ctrl-C in a terminal reaches it once, from here: at the second one the program would end at once.
    environment = {**os.environ, "PMPO_ENDS_WITH_PARENT": "1", **({} if said is None else {"PMPO_COMMAND": said})}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8",
            env=environment, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            _show(process.stdout, quiet)
            code = process.wait()
        except BaseException:
            _stop(process)
            errors.seek(0)
            for line in errors.read().splitlines():
                if "--resume" in line:
                    print(line, file=sys.stderr, flush=True)
            raise
        finally:
            process.stdout.close()
        errors.seek(0)
        lines = [line for line in errors.read().splitlines() if line.strip()]
    folders = [line.removeprefix("Run: ") for line in lines if line.startswith("Run: ")]
    if code != 0 or not folders:
        what = "\n".join(lines).removeprefix("pmpo: ") if lines else f"it ended with {code} and said nothing"
        raise ProgramError("pmpo train", what)
    return Run(folders[-1])


def _show(events: IO[str], quiet: bool) -> None:
    """Shows the events of a run until it ends."""
    for line in events:
        text = _line_of(json.loads(line))
        if text is not None and not quiet:
            print(text, file=sys.stderr, flush=True)


def _stop(process: subprocess.Popen[str]) -> None:
    """Asks the program to save a checkpoint and to end, and waits for it. It ends at once if that is interrupted too."""
    if os.name == "nt":
        # Windows has no such signal for one process: what the last checkpoint does not hold is lost.
        process.terminate()
    else:
        process.send_signal(signal.SIGINT)
    try:
        # Its output is read, so that it does not wait for a reader.
        process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise


def _line_of(event: Mapping[str, Any]) -> str | None:
    """The line that a person sees of an event; None for those that say nothing new."""
    kind = event.get("event")
    if kind == "notice":
        return str(event["message"])
    if kind == "progress":
        return f"{event['steps']:,} of {event['totalSteps']:,} {event['stepUnit']}"
    if kind == "evaluation":
        return f"{event['steps']:,} {event['stepUnit']}: {event['scoreName']} {event['meanScore']:.4g} ± {event['stdScore']:.2g}"
    return None
