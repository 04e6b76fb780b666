"""plugins/python/cleanrl's diff, applied to the script of the CleanRL package."""

import importlib.util
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import unittest

PACKAGE = pathlib.Path(__file__).resolve().parents[3] / "plugins" / "python"
DIFF = PACKAGE / "cleanrl" / "sac_continuous_action.diff"
PENDULUM = "--gym-id Pendulum-v0 --cuda False --tau 0.01 --learning-starts 1000 --total-timesteps 6000 --seed 1"


class DiffTest(unittest.TestCase):
    def test_it_is_small(self):
        lines = DIFF.read_text().splitlines()[2:]
        self.assertLessEqual(sum(line.startswith(("+", "-")) for line in lines), 12)

    def test_the_changed_script_learns(self):
        with tempfile.TemporaryDirectory() as folder:
            target = pathlib.Path(folder) / "cleanrl"
            target.mkdir()
            original = pathlib.Path(importlib.util.find_spec("cleanrl").origin).parent / DIFF.with_suffix(".py").name
            script = shutil.copy(original, target)
            subprocess.run(["git", "apply", "-p0", str(DIFF)], cwd=folder, check=True)
            environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, str(pathlib.Path(__file__).with_name("run_script.py")), script, *PENDULUM.split()]
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
        self.assertEqual(done.returncode, 0, done.stderr)
        returns = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("return ")]
        self.assertEqual(len(returns), 30)
        # The first 5 episodes are random, of about -1,300 on average.
        learned = statistics.mean(returns[-5:])
        print(f"returns {[round(value) for value in returns]}")
        self.assertGreater(learned, -600)


if __name__ == "__main__":
    unittest.main()
