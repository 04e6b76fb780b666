"""pmpo.gymnasium without an address: the simulators embedded in the program `pmpo`, by `gymnasium.make`."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import warnings

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env

PACKAGE = pathlib.Path(__file__).resolve().parents[3] / "plugins" / "python"
sys.path.insert(0, str(PACKAGE))
import pmpo.gymnasium  # noqa: E402
from pmpo._program import find_program  # noqa: E402
from pmpo.gymnasium import embedded_server  # noqa: E402


def tearDownModule():
    embedded_server.stop()


class EmbeddedTest(unittest.TestCase):
    def test_every_simulator_passes_gymnasiums_check(self):
        for simulator in pmpo.gymnasium.SIMULATORS:
            with self.subTest(simulator=simulator), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                env = gymnasium.make(f"pmpo/{simulator}-v0")
                check_env(env.unwrapped, skip_render_check=True)
                env.close()
                # The observations are unbounded.
                others = [str(w.message) for w in caught if "infinity" not in str(w.message)]
                self.assertEqual(others, [])

    def test_the_simulators_are_those_of_the_program(self):
        listed = subprocess.run([*find_program(), "simulators"], capture_output=True, text=True, check=True)
        self.assertEqual(tuple(re.findall(r"^(\w+):", listed.stdout, re.M)), pmpo.gymnasium.SIMULATORS)

    def test_make_vec_uses_one_server(self):
        envs = gymnasium.make_vec("pmpo/walker_walk-v0", num_envs=3, episodeSteps=5)
        self.addCleanup(envs.close)
        self.assertIsInstance(envs, pmpo.gymnasium.RemoteVectorEnv)
        address = embedded_server.embedded_address()
        observations, _ = envs.reset(seed=[1, 2, 1])
        np.testing.assert_array_equal(observations[0], observations[2])
        observations, rewards, *_ = envs.step(envs.action_space.sample())
        self.assertEqual((observations.shape, rewards.shape), (envs.observation_space.shape, (3,)))
        self.assertEqual(embedded_server.embedded_address(), address)
        other = gymnasium.make("pmpo/remote-v0", address=address, simulator="walker_walk")
        self.addCleanup(other.close)
        np.testing.assert_array_equal(other.reset(seed=2)[0], envs.reset(seed=[1, 2, 1])[0][1])

    def test_a_server_that_has_ended_is_started_again(self):
        env = gymnasium.make("pmpo/cartpole_swingup-v0")
        embedded_server.stop()
        env.close()
        env = gymnasium.make("pmpo/cartpole_swingup-v0")
        env.reset(seed=1)
        env.close()


class ProcessTest(unittest.TestCase):
    script = (
        "import gymnasium, pmpo.gymnasium, os, sys, time\n"
        "from pmpo.gymnasium import embedded_server\n"
        "env = gymnasium.make('pmpo/cartpole_swingup-v0'); env.reset()\n"
        "print(embedded_server._running[os.getpid()]._process.pid, flush=True)\n"
    )

    def run_script(self, script, package=PACKAGE, **options):
        environment = {**os.environ, "PYTHONPATH": str(package), **options.pop("variables", {})}
        return subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
        )

    def has_ended(self, pid):
        for _ in range(100):
            try:
                os.kill(pid, 0)
                if " Z " in pathlib.Path(f"/proc/{pid}/stat").read_text():
                    return True
            except (ProcessLookupError, FileNotFoundError):
                return True
            time.sleep(0.1)
        return False

    def test_the_server_ends_with_the_program_that_started_it(self):
        # Without closing the environment, as many scripts do.
        done = self.run_script(self.script)
        out, errors = done.communicate(timeout=60)
        self.assertEqual(done.returncode, 0, errors)
        self.assertTrue(self.has_ended(int(out)))

    def test_the_server_ends_with_a_killed_program(self):
        running = self.run_script(self.script + "time.sleep(100)")
        pid = int(running.stdout.readline())
        running.send_signal(signal.SIGKILL)
        running.communicate()
        self.assertTrue(self.has_ended(pid))

    def test_the_server_of_a_forked_child_is_not_its_own(self):
        script = self.script + "child = os.fork()\nif child == 0: sys.exit()\nos.waitpid(child, 0); env.reset(); env.step([0.0]); print('goes on')"
        done = self.run_script(script)
        out, errors = done.communicate(timeout=60)
        self.assertIn("goes on", out, errors)

    def test_says_what_is_missing(self):
        with tempfile.TemporaryDirectory() as folder:
            site = pathlib.Path(folder) / "site"
            shutil.copytree(PACKAGE / "pmpo", site / "pmpo")
            bare = {"PATH": os.path.dirname(sys.executable), "PMPO_COMMAND": ""}
            for variables, words in (
                (bare, "there is no `node` on PATH. Install Node 20 or newer"),
                ({"PMPO_COMMAND": "", "PATH": f"{bare['PATH']}:{os.path.dirname(shutil.which('node'))}"}, "the program `pmpo` was not found. Install it"),
                ({"PMPO_COMMAND": f"{sys.executable} -c 'raise SystemExit(\"no luck\")'"}, "it ended with 1 before it listened: no luck"),
                ({"PMPO_COMMAND": "/no/such/file"}, "it cannot be started: No such file"),
            ):
                done = self.run_script(self.script, site, variables=variables, cwd=folder)
                _, errors = done.communicate(timeout=60)
                self.assertIn(words, errors)


if __name__ == "__main__":
    unittest.main()
