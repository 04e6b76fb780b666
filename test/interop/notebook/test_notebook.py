"""The notebook in examples/, executed as Jupyter would, and pmpo.train."""

import os
import pathlib
import pickle
import signal
import subprocess
import sys
import tempfile
import unittest

import nbformat
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "plugins" / "python"
sys.path.insert(0, str(PACKAGE))
os.environ["PYTHONPATH"] = str(PACKAGE)

import pmpo  # noqa: E402

SHORT = {"learner.environmentSteps": 1_000, "learner.warmupSteps": 500, "evaluation.episodes": 1}


class Notebook(unittest.TestCase):
    def test_runs_from_top_to_bottom_and_shows_the_report(self):
        notebook = nbformat.read(ROOT / "examples" / "notebook" / "train.ipynb", as_version=4)
        nbformat.validate(notebook)
        with tempfile.TemporaryDirectory() as folder:
            # The program is found as in a user's folder: by the package in node_modules.
            modules = pathlib.Path(folder) / "node_modules"
            modules.mkdir()
            (modules / "pmpo").symlink_to(ROOT)
            NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}).execute()
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        printed = ["".join(output.get("text", "") for output in cell.outputs) for cell in cells]
        self.assertRegex(printed[0], r"observations \(5,\), actions \(1,\); a random policy's return: \d+")
        self.assertRegex(printed[2], r"4,\d\d\d steps: return \d+\n +8,\d\d\d steps: return \d+")
        shown = cells[-1].outputs[-1]["data"]["text/html"]
        self.assertRegex(shown, r'^<iframe title="Report of [\w-]+" sandbox="allow-scripts allow-downloads" srcdoc="')
        self.assertIn("&lt;svg", shown)

    def test_is_kept_without_outputs(self):
        notebook = nbformat.read(ROOT / "examples" / "notebook" / "train.ipynb", as_version=4)
        self.assertEqual([cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs], [])


class Train(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_a_file_with_settings_as_well_as_a_mapping(self):
        file = ROOT / "examples" / "cartpole.yaml"
        run = pmpo.train(file, settings={**SHORT, "operator": {"name": "mpo"}}, output=self.folder, name="mine", quiet=True)
        self.assertEqual(run.path, self.folder / "mine")
        self.assertEqual(run.summary["operator"], "mpo")
        self.assertEqual(len(run.evaluations()[-1]["scores"]), 1)
        self.assertGreater(run.metrics()[-1]["replay/size"], 500)
        self.assertGreater(run.policy.stat().st_size, 1000)
        self.assertEqual(repr(pmpo.Run(run.path)), f"Run({str(run.path)!r})")

    def test_what_is_wrong_is_said_by_its_key(self):
        with self.assertRaises(pmpo.ProgramError) as caught:
            pmpo.train({"environment": {"simulater": "reacher"}}, output=self.folder)
        self.assertEqual(str(caught.exception), "pmpo train: environment.simulater: unknown key. Did you mean 'simulator'?")
        self.assertEqual(str(pickle.loads(pickle.dumps(caught.exception))), str(caught.exception))
        self.assertEqual(list(pathlib.Path.cwd().glob("pmpo-*.yaml")), [])
        with self.assertRaisesRegex(pmpo.PmpoError, "it is not the folder of a run"):
            pmpo.Run(self.folder)

    @unittest.skipIf(os.name == "nt", "signals of POSIX")
    def test_an_interrupt_ends_the_program_with_a_checkpoint(self):
        script = (
            "import pmpo, sys\n"
            "try:\n"
            f"    pmpo.train({str(ROOT / 'examples' / 'cartpole.yaml')!r}, output={str(self.folder)!r}, name='stopped')\n"
            "except KeyboardInterrupt:\n"
            "    sys.exit(7)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, start_new_session=True)
        for line in process.stderr:
            if " of 50,000" in line:
                break
        # As a terminal does it: to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
        self.assertEqual(process.wait(timeout=60), 7)
        self.assertRegex(said, r"npx pmpo train --resume \S+stopped")
        self.assertEqual(len(list((self.folder / "stopped" / "checkpoints").glob("*.safetensors"))), 1)


class Types(unittest.TestCase):
    def test_the_new_modules_pass_mypy(self):
        files = [str(PACKAGE / "pmpo" / name) for name in ("_program.py", "_runs.py", "errors.py")]
        command = [sys.executable, "-m", "mypy", "--config-file", str(PACKAGE / "pyproject.toml"), "--follow-imports=silent", *files]
        done = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
