"""PMPO learns Pendulum within 8,000 steps, in this process and through a dm_env_rpc address, beside SAC."""

import json
import os
import pathlib
import re
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
SERVER = HERE.parents[2] / "plugins" / "simulator-server"
STEPS = 8000


def learn(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(HERE / "learn.py"), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    result = json.loads(done.stdout.strip().splitlines()[-1])
    print(*arguments, result, flush=True)
    return result


class LearningTest(unittest.TestCase):
    def setUp(self):
        environment = {**os.environ, "PYTHONPATH": str(SERVER), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pmpo_simulator_server", "gymnasium", "--port", "0", "--processes", "1"]
        self.server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.server.stdout.close)
        self.addCleanup(self.server.wait)
        self.addCleanup(self.server.terminate)
        self.address = re.search(r" on (\S+:\d+) ", self.server.stdout.readline()).group(1)

    def test_pendulum_at_minus_200_within_8000_steps(self):
        runs = [("PMPO", 0, STEPS), ("PMPO", 1, STEPS), ("PMPO", 2, STEPS), ("PMPO", 3, STEPS, self.address), ("SAC", 0, STEPS)]
        with ThreadPoolExecutor(max_workers=2) as pool:
            results = list(pool.map(lambda run: learn(*run), runs))
        for run, result in zip(runs, results):
            with self.subTest(run=run):
                self.assertIsNotNone(result["reached"], result)
                self.assertGreaterEqual(result["reached"], -200)


if __name__ == "__main__":
    unittest.main()
