"""Helpers of the tests in this folder: tiny models, a trainer in this process, and the program as a user would start it."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

os.environ["HF_HUB_OFFLINE"] = "1"
HERE = pathlib.Path(__file__).resolve().parent
PLUGIN = HERE.parents[2] / "plugins" / "torch-trainer"
sys.path.insert(0, str(PLUGIN))

import grpc  # noqa: E402
import small_models  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from pmpo_torch_trainer import model as models  # noqa: E402
from pmpo_torch_trainer.engine import Engine, EngineOptions  # noqa: E402
from pmpo_torch_trainer.engine_service import EngineService  # noqa: E402
from pmpo_torch_trainer.server import Server, ServerOptions  # noqa: E402
from pmpo_torch_trainer.services import ENGINE, TRAINER, call, engine, trainer  # noqa: E402
from pmpo_torch_trainer.trainer import Trainer, TrainerOptions  # noqa: E402
from pmpo_torch_trainer.trainer_service import TrainerService  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

_temporary = tempfile.TemporaryDirectory(prefix="pmpo-trainer-")
FOLDER = pathlib.Path(_temporary.name).resolve()
MODELS = small_models.make(FOLDER / "models")
LORA = models.LoraOptions(rank=4, alpha=8.0)

SEQUENCES = [([1, 40, 41, 42], [50, 51, 52]), ([1, 99], [7]), ([1, 300, 20, 21, 22, 23], [30, 31, 32, 33, 34, 35, 36, 2])]
"""Prompts and completions of several lengths; one pair is longer than Gemma's sliding window."""


class Client:
    """A client that calls the methods of both services by name."""

    def __init__(self, address, metadata=(), credentials=None):
        self._metadata = metadata
        self.channel = grpc.insecure_channel(address) if credentials is None else grpc.secure_channel(address, credentials)

    def trainer(self, name, timeout=60, **fields):
        request = trainer.__getattr__(f"{name}Request")(**fields)
        return call(self.channel, TRAINER, name)(request, timeout=timeout, metadata=self._metadata)

    def engine(self, name, timeout=60, **fields):
        request = engine.__getattr__(f"{name}Request")(**fields)
        return call(self.channel, ENGINE, name)(request, timeout=timeout, metadata=self._metadata)

    def generate(self, prompt, stream=False, request_id="", timeout=60, **params):
        """Returns the stream of responses."""
        tokenized = engine.TokenizedInput(input_ids=prompt)
        settings = engine.SamplingParams(**params)
        return self.engine(
            "Generate", timeout, tokenized=tokenized, sampling_params=settings, stream=stream, request_id=request_id
        )

    def complete(self, prompt, **params):
        """Returns the completions, sorted by index."""
        return sorted((answer.complete for answer in self.generate(prompt, **params)), key=lambda own: own.index)

    def eventually(self, act, seconds=30):
        """Repeats a call until it succeeds, for `seconds` at most."""
        end = time.monotonic() + seconds
        while True:
            try:
                return act()
            except grpc.RpcError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def score(self, sequences=SEQUENCES, **wanted):
        return self.trainer("Score", sequences=packed(sequences), **wanted).scores

    def forward_backward(self, coefficients, sequences=SEQUENCES):
        own = [trainer.Coefficients(**given) for given in coefficients]
        return self.trainer("ForwardBackward", sequences=packed(sequences), coefficients=own)


def packed(sequences):
    return [trainer.Sequence(prompt=prompt, completion=completion) for prompt, completion in sequences]


class Local(Client):
    """A trainer and its services in this process, so that tests can inspect its state.

    `name` is that of a tiny model, or the folder of any model.
    """

    def __init__(self, name="llama", training=TrainerOptions(), sampling=EngineOptions(), folder=FOLDER, **options):
        self.model = models.load(models.ModelOptions(MODELS.get(name, name), device="cpu", **options))
        self.owner = Trainer(self.model, training)
        self.sampler = Engine(self.model, self.owner.published, sampling)
        services = [
            (TRAINER, TrainerService(self.owner, folder).handler()),
            (ENGINE, EngineService(self.model, self.sampler, lambda: self.owner.published).handler()),
        ]
        self.server = Server(services, ServerOptions(port=0))
        super().__init__(f"127.0.0.1:{self.server.port}")

    def close(self):
        self.channel.close()
        self.sampler.close()
        self.server.stop(0.1)

    def gradients(self):
        return {name: p.grad for name, p in self.owner.parameters.items()}

    def move(self, learning_rate=0.02, steps=2):
        """Trains the policy for a few steps, so that it differs from its reference."""
        for step in range(steps):
            self.forward_backward([{"log_prob": [-1.0 + step]}, {"log_prob": [0.5]}, {"log_prob": [-0.3]}])
            self.trainer("OptimStep", learning_rate=learning_rate)


class Case(unittest.TestCase):
    """A test case with local trainers, which are closed at its end."""

    def local(self, *args, **options):
        made = Local(*args, **options)
        self.addCleanup(made.close)
        return made

    def close_to(self, actual, expected, tolerance=1e-5, what=""):
        actual, expected = torch.as_tensor(actual), torch.as_tensor(expected)
        self.assertEqual(actual.shape, expected.shape, what)
        error = ((actual - expected).abs() / expected.abs().clamp(min=1)).max().item()
        # The comparison fails for NaN.
        self.assertTrue(error <= tolerance, f"{what} differs by {error}")

    def refused(self, code, pattern, act):
        """Asserts that a call fails with this status and a message that matches `pattern`."""
        with self.assertRaises(grpc.RpcError) as caught:
            answer = act()
            if hasattr(answer, "__next__"):
                list(answer)
        self.assertEqual((caught.exception.code().name, caught.exception.details()), (code, caught.exception.details()))
        self.assertRegex(caught.exception.details(), pattern)


class Program:
    """The program, started as a user would start it, on a free port."""

    def __init__(self, *arguments, model=MODELS["llama"], launcher=(sys.executable, "-m", "pmpo_torch_trainer"), **popen):
        environment = {**os.environ, "PYTHONPATH": str(PLUGIN), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [*map(str, launcher), "--model", str(model), "--port", "0", "--device", "cpu"]
        self.process = subprocess.Popen(
            [*command, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=FOLDER, **popen
        )
        self._errors = []
        self._reader = threading.Thread(target=lambda: self._errors.extend(self.process.stderr), daemon=True)
        self._reader.start()
        found = re.search(r" on (\S+:\d+) ", self.process.stdout.readline())
        self.address = found.group(1) if found else None

    def errors(self):
        """Its standard error. Call this after it has ended."""
        self._reader.join(timeout=5)
        return "".join(self._errors)

    def stop(self, number=signal.SIGTERM):
        """Sends it a signal, waits until it ends, and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.process.stdout.close()
        self._reader.join(timeout=5)
        self.process.stderr.close()
