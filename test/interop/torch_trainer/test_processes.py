"""One model on two processes with PyTorch's FSDP over gloo: the same numbers as in one process, and failures of a process."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import torch
from safetensors.torch import load_file
from serving import FOLDER, LORA, MODELS, PLUGIN, SEQUENCES, Case, Client, Program, packed

TWO = ["--processes", "2", "--collective-timeout", "60"]

FIRST = [{"log_prob": [-1.0], "kl": [0.4]}, {"log_prob": [0.5]}, {"log_prob": [-0.3], "reverse_kl": [0.2]}]
PARTS = ["policy", "reference", "published", "gradient", "optimizer_first", "optimizer_second"]


def pids(program):
    """The process ids of a program by rank."""
    listed = subprocess.run(["ps", "--ppid", str(program.process.pid), "-o", "pid="], capture_output=True, text=True, check=True)
    found = {}
    for pid in map(int, listed.stdout.split()):
        variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        found.update({int(v[5:]): pid for v in variables if v.startswith(b"RANK=")})
    return found


def lives(pid):
    """Whether a process is still running."""
    listed = subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True, text=True)
    return listed.stdout.strip()[:1] not in ("", "Z")


class Numbers(Case):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=FOLDER))
        self.addCleanup(shutil.rmtree, self.folder)

    def tensors(self, client, name):
        client.trainer("Save", folder=f"{self.folder.name}/{name}")
        (data,) = (self.folder / name).glob("data-*")
        return {part: load_file(data / f"{part}.safetensors") for part in PARTS if (data / f"{part}.safetensors").exists()}

    def same(self, one, other, tolerance=1e-5):
        self.assertEqual(one.keys(), other.keys())
        for part, tensors in one.items():
            self.assertEqual(tensors.keys(), other[part].keys())
            for name, tensor in tensors.items():
                self.close_to(other[part][name], tensor, tolerance, f"{part} {name}")

    def same_scores(self, one, other):
        for mine, theirs in zip(*(who.score(policy=True, reference=True, kl=True, reverse_kl=True) for who in (one, other)), strict=True):
            for name in ("log_prob", "reference_log_prob", "kl", "reverse_kl"):
                self.close_to(getattr(theirs, name), getattr(mine, name), 1e-5, name)

    def train_alike(self, one, two):
        both = (one, two)
        self.same_scores(*both)
        # Fewer sequences than processes, as many, and more. Their gradients accumulate.
        for chosen in ([2], [0, 1], [0, 1, 2]):
            values = [who.forward_backward([FIRST[i] for i in chosen], [SEQUENCES[i] for i in chosen]).value for who in both]
            self.close_to(values[1], values[0])
        for who in both:
            who.trainer("Save", folder=f"{self.folder.name}/under-way-{who is one}")
        self.same(self.tensors(one, "gradient-1"), self.tensors(two, "gradient-2"))
        # Rounding errors may exceed Adam's epsilon where a gradient is almost 0, so the steps must be small.
        norms = [who.trainer("OptimStep", learning_rate=1e-3, max_gradient_norm=1.0).gradient_norm for who in both]
        self.close_to(norms[1], norms[0])
        self.same_scores(*both)
        for who in both:
            who.trainer("Publish", policy=True)
            who.trainer("CopyReference", rate=0.5)
        self.same_scores(*both)
        self.same(self.tensors(one, "step-1"), self.tensors(two, "step-2"))
        made = [[list(c.output_ids) for c in who.complete([1, 40], n=3, seed=1, max_tokens=8)] for who in both]
        self.assertEqual(made[0], made[1])
        # Each continues from the other's checkpoint.
        two.trainer("Load", folder=f"{self.folder.name}/under-way-True")
        one.trainer("Load", folder=f"{self.folder.name}/under-way-False")
        for who in both:
            who.trainer("OptimStep", learning_rate=1e-3, max_gradient_norm=1.0)
        self.same(self.tensors(one, "loaded-1"), self.tensors(two, "loaded-2"))
        published = [who.trainer("Publish", folder=f"{self.folder.name}/published-{who is one}", policy=True).folder for who in both]
        files = [next(pathlib.Path(folder).glob("*model.safetensors")) for folder in published]
        self.same(*({"published": load_file(file)} for file in files))

    def refuses_alike(self, two):
        """An error that one process, the first process, or all processes find is reported, and the next call works."""
        before = self.tensors(two, "before")
        broken = self.folder / "broken"
        shutil.copytree(self.folder / "before", broken)
        (data,) = broken.glob("data-*")
        from safetensors.torch import save_file

        # Only one sequence contains token 99, so only one process sees the error.
        weights = load_file(data / "policy.safetensors")
        name = next(key for key in weights if "embed_tokens" in key or "lora_B" in key)
        row = 99 if "embed_tokens" in name else slice(None)
        weights[name][row] = torch.nan
        save_file(weights, data / "policy.safetensors")
        two.trainer("Load", folder=f"{self.folder.name}/broken")
        self.refused("FAILED_PRECONDITION", r"sequence \d: log_prob of completion token 0 is nan", lambda: two.forward_backward(FIRST))
        self.refused("FAILED_PRECONDITION", "log_prob", lambda: two.score(policy=True))
        two.trainer("Load", folder=f"{self.folder.name}/before")
        self.refused("INVALID_ARGUMENT", "the completion is empty", lambda: two.score([([1], [])], policy=True))
        self.refused("NOT_FOUND", "does not contain a checkpoint", lambda: two.trainer("Load", folder=f"{self.folder.name}/none"))
        (self.folder / "mine").mkdir()
        (self.folder / "mine" / "thesis.txt").write_text("years of work")
        for call in ("Save", "Publish"):
            self.refused("FAILED_PRECONDITION", "holds files that", lambda: two.trainer(call, folder=f"{self.folder.name}/mine"))
        # The client gives up after a second, and all processes stop. No machine scores this many sequences in a second.
        many = packed(SEQUENCES * 20_000)
        self.refused("DEADLINE_EXCEEDED", "Deadline", lambda: two.trainer("Score", timeout=1, sequences=many, policy=True))
        self.same(before, self.tensors(two, "after"), 0)

    def check(self, name, options, **local):
        one = self.local(name, **local)
        with Program(*TWO, *options, model=MODELS[name]) as running:
            two = Client(running.address)
            self.train_alike(one, two)
            self.refuses_alike(two)
            for who in (one, two):
                who.trainer("Reset")
            self.same(self.tensors(one, "reset-1"), self.tensors(two, "reset-2"), 0)
            self.assertEqual(two.trainer("GetInfo").SerializeToString(), one.trainer("GetInfo").SerializeToString())
            self.assertEqual(running.stop(), 0)
            self.assertEqual(running.errors(), "")

    def test_a_whole_model_with_tied_embeddings_and_gradient_checkpointing(self):
        self.check("gemma3", ["--gradient-checkpointing", "--max-tokens-per-batch", "8"])

    def test_an_adapter(self):
        self.check("llama", ["--lora-rank", "4"], lora=LORA)


class Failures(Case):
    def ends(self, running, pattern, seconds=120):
        self.assertNotEqual(running.process.wait(timeout=seconds), 0)
        self.assertRegex(running.errors(), pattern)

    def test_killing_a_process_stops_the_program(self):
        with Program(*TWO) as running:
            os.kill(pids(running)[1], signal.SIGKILL)
            self.ends(running, "pmpo-torch-trainer: process 1 was killed by signal 9; the trainer stops\n")

    def test_killing_the_launcher_kills_its_processes(self):
        with Program(*TWO) as running:
            started = pids(running).values()
            self.assertEqual(len(started), 2)
            running.process.kill()
            running.process.wait()
            end = time.monotonic() + 30
            while (left := [pid for pid in started if lives(pid)]) and time.monotonic() < end:
                time.sleep(0.1)
            # Surviving processes would keep open the pipes that this test reads to the end.
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            self.assertEqual(left, [])

    def test_a_process_that_does_not_answer_stops_the_program(self):
        with Program("--processes", "2", "--collective-timeout", "20") as running:
            os.kill(pids(running)[1], signal.SIGSTOP)
            client = Client(running.address)
            self.refused("UNAVAILABLE", "has ended or does not answer; the trainer stops", lambda: client.score(policy=True))
            self.ends(running, "has ended or does not answer; the trainer stops\n")

    def start_with_little_memory(self, calls):
        """Starts two processes by PyTorch's own launcher. The second runs out of memory after `calls` passes."""
        program = (
            "import os, sys, torch\n"
            "from pmpo_torch_trainer import token_terms\n"
            "from pmpo_torch_trainer.__main__ import main\n"
            f"calls, differentiate = {calls}, token_terms.differentiate\n"
            "def full(*arguments):\n"
            "    global calls\n"
            "    calls -= 1\n"
            "    if calls < 0:\n"
            "        raise torch.OutOfMemoryError('CUDA out of memory')\n"
            "    return differentiate(*arguments)\n"
            "if os.environ['RANK'] == '1':\n"
            "    token_terms.differentiate = full\n"
            "sys.exit(main())\n"
        )
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        script = pathlib.Path(folder.name) / "program.py"
        script.write_text(program)
        launcher = [sys.executable, "-B", "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", script]
        return Program(launcher=launcher)

    def test_the_client_learns_that_a_process_ran_out_of_memory(self):
        # The update that is tried at the start takes the first pass.
        with self.start_with_little_memory(1) as running:
            client = Client(running.address)
            client.score(policy=True)
            words = "process 1: out of memory while taking the gradient. Use less memory with a smaller --max-tokens-per-batch.*; the trainer stops"
            self.refused("UNAVAILABLE", words, lambda: client.forward_backward(FIRST))
            self.ends(running, f"pmpo-torch-trainer: {words}\n")

    def test_a_process_that_runs_out_of_memory_at_the_first_update_ends_the_program(self):
        with self.start_with_little_memory(0) as running:
            self.assertIsNone(running.address)
            self.ends(running, "process 1: out of memory while taking the gradient")


if __name__ == "__main__":
    unittest.main()
