"""`pmpo.wandb`: what it writes, read back with the messages of W&B's own library."""

import contextlib
import io
import json
import math
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "plugins" / "python"
sys.path.insert(0, str(PACKAGE))
# Nothing is sent anywhere.
os.environ.update(WANDB_ERROR_REPORTING="false", WANDB_SILENT="true")

import pmpo  # noqa: E402
import pmpo.wandb  # noqa: E402
from wandb.proto import wandb_internal_pb2 as messages  # noqa: E402


def records(folder: pathlib.Path) -> list[messages.Record]:
    """The records of a run of W&B, once its other process has written the last one."""
    (file,) = folder.glob("*.wandb")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = parse(file.read_bytes())
        if of_kind(found, "exit"):
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{file} has no end")


def parse(data: bytes) -> list[messages.Record]:
    """The records of a LevelDB log of protobuf messages, in blocks of 32 KiB."""
    found, parts, at = [], b"", 7
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        # 1: a whole record; 2, 3 and 4: its first, middle and last part.
        if kind in (1, 4):
            found.append(messages.Record.FromString(parts))
            parts = b""
    return found


def of_kind(found, kind):
    return [getattr(record, kind) for record in found if record.WhichOneof("record_type") == kind]


def values_of(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


class LogRun(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        settings = {
            "learner.environmentSteps": 1_000,
            "learner.warmupSteps": 300,
            "evaluation.every": 500,
            "evaluation.episodes": 2,
        }
        config = ROOT / "examples" / "cartpole.yaml"
        cls.run_ = pmpo.train(config, settings=settings, output=cls.folder.name, name="mine", quiet=True)

    def test_writes_configuration_metrics_evaluations_and_summary(self):
        written = records(pmpo.wandb.log_run(self.run_, project="robots", dir=self.folder.name, tags=["a", "b"]))
        (run, *_) = of_kind(written, "run")
        self.assertEqual((run.display_name, run.project, list(run.tags)), ("mine", "robots", ["a", "b"]))
        config = values_of(run.config.update)
        self.assertEqual(config["operator"]["name"], "pmpo")
        self.assertEqual(config["learner"]["environmentSteps"], 1_000)

        rows = [values_of(history.item) for history in of_kind(written, "history")]
        steps = [row["_step"] for row in rows]
        self.assertEqual(steps, sorted(set(steps)))
        by_step = {row["_step"]: row for row in rows}
        checked = 0
        for metrics in self.run_.metrics():
            for name, value in metrics.items():
                if isinstance(value, float) and math.isfinite(value):
                    self.assertEqual(by_step[metrics["steps"]][name], value)
                    checked += 1
        self.assertGreater(checked, 10)
        evaluations = self.run_.evaluations()
        self.assertEqual([evaluation["steps"] for evaluation in evaluations][-1], 1_000)
        for evaluation in evaluations:
            row = by_step[evaluation["steps"]]
            self.assertEqual(row["evaluation/meanReturn"], evaluation["meanScore"])
            self.assertEqual(row["evaluation/stdReturn"], evaluation["stdScore"])
        self.assertEqual(rows[-1]["report/_type"], "html-file")

        summary = {}
        for update in of_kind(written, "summary"):
            summary.update(values_of(update.update))
        self.assertEqual(summary["steps"], self.run_.summary["steps"])

    def test_the_command_writes_several_runs_and_says_where(self):
        command = [sys.executable, "-m", "pmpo.wandb", str(self.run_.path), str(self.run_.path), "--project", "p"]
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
        done = subprocess.run(command, cwd=self.folder.name, env=environment, capture_output=True, text=True, check=True)
        folders = [pathlib.Path(line.rsplit(": ", 1)[1]) for line in done.stdout.splitlines()]
        self.assertEqual(len(set(folders)), 2)
        for folder in folders:
            (run, *_) = of_kind(records(folder), "run")
            self.assertEqual(run.project, "p")

    def test_refuses_what_is_not_a_run(self):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            code = pmpo.wandb.main([self.folder.name])
        self.assertEqual(code, 1)
        self.assertEqual(
            errors.getvalue(),
            f"pmpo: {self.folder.name}: it is not the folder of a run. Give a folder that `pmpo train` has made\n",
        )

    def test_is_typed(self):
        command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--follow-imports=silent", "pmpo/wandb.py"]
        done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
