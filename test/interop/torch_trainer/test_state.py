"""The trainer's handling of invalid requests, of failures during a call, and of checkpoints."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

import torch
import transformers
from serving import FOLDER, HERE, LORA, MODELS, PLUGIN, SEQUENCES, Case

from pmpo_torch_trainer import checkpoint
from pmpo_torch_trainer import trainer as trainers
from pmpo_torch_trainer.trainer import TrainerOptions

SOME = [{"log_prob": [-1.0], "kl": [0.5]}, {"log_prob": [0.5]}, {"log_prob": [-0.3], "reverse_kl": [0.1]}]


class InvalidRequests(Case):
    def test_invalid_sequences(self):
        own = self.local("llama")
        for pattern, sequence in [
            ("sequence 1: the completion is empty", ([1], [])),
            ("sequence 1: the prompt is empty", ([], [1])),
            ("sequence 1: the completion has token 320; the vocabulary ends at 319", ([1], [5, 320])),
            ("sequence 1: the prompt has token 4000000000", ([4000000000], [5])),
            ("sequence 1: 65 tokens exceed the context of 64", ([1] * 60, [2] * 5)),
        ]:
            sequences = [([1], [2]), sequence]
            self.refused("INVALID_ARGUMENT", pattern, lambda: own.score(sequences, policy=True))
            self.refused("INVALID_ARGUMENT", pattern, lambda: own.forward_backward([{"log_prob": [1.0]}] * 2, sequences))
        self.refused("INVALID_ARGUMENT", "no sequences", lambda: own.score([], policy=True))
        self.refused("INVALID_ARGUMENT", "selects no terms", lambda: own.score())
        # The longest sequence that fits.
        self.assertEqual(len(own.score([([1] * 60, [2] * 4)], policy=True)[0].log_prob), 4)

    def test_coefficients_that_do_not_match_the_sequences(self):
        own = self.local("llama")
        for pattern, coefficients in [
            ("3 sequences and 1 coefficients", [{"log_prob": [1.0]}]),
            ("sequence 0: 2 coefficients kl for 3 completion tokens", [{"kl": [1.0, 2.0]}, {}, {}]),
            ("sequence 2: a coefficient log_prob is not finite", [{}, {}, {"log_prob": [float("nan")]}]),
            ("no sequence has coefficients", [{}, {}, {}]),
        ]:
            self.refused("INVALID_ARGUMENT", pattern, lambda: own.forward_backward(coefficients))
        self.refused("FAILED_PRECONDITION", "no gradient has been accumulated", lambda: own.trainer("OptimStep", learning_rate=0.1))

    def test_invalid_settings_of_a_step(self):
        own = self.local("llama", lora=LORA)
        own.forward_backward(SOME)
        for pattern, fields in [
            ("learning_rate is nan", {"learning_rate": float("nan")}),
            ("learning_rate is -1", {"learning_rate": -1}),
            ("max_gradient_norm is -1", {"learning_rate": 0.1, "max_gradient_norm": -1}),
        ]:
            self.refused("INVALID_ARGUMENT", pattern, lambda: own.trainer("OptimStep", **fields))
        for rate in (0, -0.5, 1.5, float("nan")):
            self.refused("INVALID_ARGUMENT", "rate is", lambda: own.trainer("CopyReference", rate=rate))
        self.assertEqual(own.trainer("OptimStep", learning_rate=0.1).steps, 1)

    def test_broken_parameters_give_no_score_and_no_gradient(self):
        own = self.local("llama")
        own.forward_backward(SOME)
        before = {key: gradient.clone() for key, gradient in own.gradients().items()}
        parameter = next(iter(own.owner.parameters.values()))
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter[50:53] = torch.nan
        self.refused("FAILED_PRECONDITION", "sequence 0: log_prob of completion token 0 is nan", lambda: own.score(policy=True))
        self.refused("FAILED_PRECONDITION", "sequence 0: log_prob", lambda: own.forward_backward(SOME))
        with torch.no_grad():
            parameter.copy_(kept)
        for key, gradient in own.gradients().items():
            self.assertTrue(torch.equal(gradient, before[key]), key)

    def test_a_gradient_that_is_not_finite_takes_no_step(self):
        own = self.local("llama")
        weights = own.model.weights()
        own.forward_backward([{"log_prob": [1e30]}] * 3)
        self.refused("FAILED_PRECONDITION", "norm is inf; no step was taken", lambda: own.trainer("OptimStep", learning_rate=0.1))
        for key, parameter in own.owner.parameters.items():
            self.assertTrue(torch.equal(parameter, weights[key]), key)
        self.refused("FAILED_PRECONDITION", "no gradient has been accumulated", lambda: own.trainer("OptimStep", learning_rate=0.1))
        self.assertEqual(own.trainer("GetInfo").steps, 0)


class OutOfMemory(Case):
    def fail_at(self, name, number, error):
        """Makes the `number`th call of a function of the trainer's module raise."""
        plain = getattr(trainers, name)
        self.addCleanup(setattr, trainers, name, plain)
        calls = []

        def failing(*arguments):
            calls.append(1)
            if len(calls) == number:
                raise error
            return plain(*arguments)

        setattr(trainers, name, failing)

    def test_during_the_computation_of_a_gradient(self):
        for error in (
            torch.OutOfMemoryError("CUDA out of memory"),
            RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        ):
            own = self.local("llama", training=TrainerOptions(max_tokens_per_batch=1))
            own.forward_backward(SOME)
            before = {key: gradient.clone() for key, gradient in own.gradients().items()}
            self.fail_at("_lazy_logits", 4, error)
            self.refused("RESOURCE_EXHAUSTED", "out of memory while taking the gradient; nothing was changed", lambda: own.forward_backward(SOME))
            for key, gradient in own.gradients().items():
                self.assertTrue(torch.equal(gradient, before[key]), key)
            own.forward_backward(SOME)
            for key, gradient in own.gradients().items():
                self.close_to(gradient, 2 * before[key], 1e-5, key)
            self.doCleanups()

    def test_in_the_optimizer(self):
        own, other = self.local("llama"), self.local("llama")
        plain = own.owner.optimizer.step

        def full():
            parameter = next(iter(own.owner.parameters.values()))
            own.owner.optimizer.state[parameter] = {"step": torch.tensor(0.0), "exp_avg": torch.zeros_like(parameter)}
            raise torch.OutOfMemoryError("CUDA out of memory")

        own.forward_backward(SOME)
        own.owner.optimizer.step = full
        self.refused("RESOURCE_EXHAUSTED", "the optimizer's state", lambda: own.trainer("OptimStep", learning_rate=0.1))
        own.owner.optimizer.step = plain
        other.forward_backward(SOME)
        for each in (own, other):
            each.trainer("OptimStep", learning_rate=0.1)
        for key, parameter in own.owner.parameters.items():
            self.assertTrue(torch.equal(parameter, other.owner.parameters[key]), key)

    def test_a_cancelled_call_adds_no_gradient(self):
        own = self.local("llama")
        self.assertRaises(Exception, lambda: own.owner.forward_backward([], []))

        def gone():
            raise InterruptedError

        from pmpo_torch_trainer.batches import TokenSequence
        from pmpo_torch_trainer.coefficients import Coefficients

        sequences = [TokenSequence(*each) for each in SEQUENCES]
        with self.assertRaises(InterruptedError):
            own.owner.forward_backward(sequences, [Coefficients(log_prob=1.0)] * 3, gone)
        self.assertTrue(all(gradient is None for gradient in own.gradients().values()))


class Checkpoints(Case):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=FOLDER))
        self.addCleanup(shutil.rmtree, self.folder)
        self.name = self.folder.name

    def continue_training(self, own):
        """Takes two more steps; returns results that depend on the whole state."""
        own.forward_backward(SOME)
        for _ in range(2):
            own.trainer("OptimStep", learning_rate=0.01, max_gradient_norm=1.0)
            own.forward_backward(SOME)
            own.trainer("CopyReference", rate=0.5)
        scores = own.score(policy=True, reference=True, kl=True)
        made = own.complete([1, 40], n=3, seed=1, max_tokens=10, logprobs=0)
        info = own.trainer("GetInfo")
        return [s.SerializeToString() for s in scores], [c.SerializeToString() for c in made], info.steps, info.published

    def test_resuming_gives_the_same_as_never_stopping(self):
        for lora in (None, LORA):
            first = self.local("gemma3", lora=lora)
            first.move()
            first.trainer("CopyReference")
            first.trainer("Publish")
            first.move(steps=1)
            first.trainer("CopyReference", rate=0.3)
            # The checkpoint holds an accumulated gradient.
            first.forward_backward(SOME)
            first.trainer("Save", folder=f"{self.name}/{lora is None}")
            expected = self.continue_training(first)
            second = self.local("gemma3", lora=lora, seed=5)
            second.trainer("Load", folder=f"{self.name}/{lora is None}")
            self.assertEqual(self.continue_training(second), expected)

    def test_a_checkpoint_before_any_step(self):
        first, second = self.local("llama"), self.local("llama")
        first.trainer("Save", folder=f"{self.name}/start")
        second.move()
        second.trainer("Load", folder=f"{self.name}/start")
        self.assertEqual(self.continue_training(second), self.continue_training(first))

    def test_a_checkpoint_replaces_the_previous_one_unless_saving_fails(self):
        own = self.local("llama", lora=LORA)
        own.trainer("Save", folder=f"{self.name}/c")
        own.move()
        own.trainer("Save", folder=f"{self.name}/c")
        self.assertEqual(len(list((self.folder / "c").glob("data-*"))), 1)
        before = own.score(policy=True)
        own.move()
        plain = checkpoint.save_file
        self.addCleanup(setattr, checkpoint, "save_file", plain)

        def full(tensors, path):
            if "optimizer" in path.name:
                raise OSError(28, "No space left on device")
            plain(tensors, path)

        checkpoint.save_file = full
        self.refused("FAILED_PRECONDITION", "No space left on device; nothing was changed", lambda: own.trainer("Save", folder=f"{self.name}/c"))
        self.assertEqual(len(list((self.folder / "c").glob("*"))), 2)
        own.trainer("Load", folder=f"{self.name}/c")
        self.assertEqual(list(own.score(policy=True)), list(before))

    def test_folders_outside_the_root_or_with_other_files(self):
        own = self.local("llama", lora=LORA)
        (self.folder / "mine").mkdir()
        (self.folder / "mine" / "thesis.txt").write_text("years of work")
        for name in ("Save", "Publish"):
            for folder in ("../outside", "/tmp/outside", "x/../.."):
                self.refused("INVALID_ARGUMENT", "is not inside", lambda: own.trainer(name, folder=folder))
            self.refused("FAILED_PRECONDITION", "holds files that", lambda: own.trainer(name, folder=f"{self.name}/mine"))
        self.refused("NOT_FOUND", "does not contain a checkpoint", lambda: own.trainer("Load", folder=f"{self.name}/none"))
        self.refused("INVALID_ARGUMENT", "folder is empty", lambda: own.trainer("Save"))
        self.assertEqual(own.trainer("GetInfo").published, 0)
        self.assertEqual([path.name for path in (self.folder / "mine").iterdir()], ["thesis.txt"])

    def test_checkpoints_of_another_model(self):
        own, other = self.local("llama", lora=LORA), self.local("gemma3", lora=LORA)
        own.move()
        own.trainer("Save", folder=f"{self.name}/llama")
        before = other.score(policy=True)
        self.refused("FAILED_PRECONDITION", "belongs to another model: its architecture is 'LlamaForCausalLM'", lambda: other.trainer("Load", folder=f"{self.name}/llama"))
        (data,) = (self.folder / "llama").glob("data-*")
        (data / "reference.safetensors").write_bytes(b"nonsense")
        self.refused("FAILED_PRECONDITION", "nothing was changed", lambda: own.trainer("Load", folder=f"{self.name}/llama"))
        state = json.loads((self.folder / "llama" / "checkpoint.json").read_text())
        self.assertEqual(state["steps"], 2)
        self.assertEqual(list(other.score(policy=True)), list(before))


class Resets(Case):
    def state(self, own):
        """Everything that a client can observe, including two more steps."""
        info = own.trainer("GetInfo").SerializeToString()
        scores = [score.SerializeToString() for score in own.score(policy=True, reference=True, kl=True)]
        made = [c.SerializeToString() for c in own.complete([1, 40], n=2, seed=1, max_tokens=10, logprobs=0)]
        norms = []
        for _ in range(2):
            own.forward_backward(SOME)
            norms.append(own.trainer("OptimStep", learning_rate=0.01).gradient_norm)
        return info, scores, made, norms, [score.SerializeToString() for score in own.score(policy=True)]

    def test_a_reset_trainer_equals_a_new_one(self):
        for name, lora in [("llama", None), ("gemma3", LORA)]:
            used, fresh = self.local(name, lora=lora), self.local(name, lora=lora)
            used.move()
            used.trainer("CopyReference", rate=0.5)
            used.trainer("Publish", policy=True)
            used.forward_backward(SOME)
            used.trainer("Reset")
            # The accumulated gradient is discarded too.
            self.refused("FAILED_PRECONDITION", "no gradient has been accumulated", lambda: used.trainer("OptimStep", learning_rate=0.1))
            self.assertEqual(self.state(used), self.state(fresh))
            # A trainer can be reset repeatedly.
            used.trainer("Reset")
            self.assertEqual(self.state(used), self.state(self.local(name, lora=lora)))

    def test_resetting_is_an_error_if_the_model_s_files_have_changed(self):
        folder = FOLDER / "changing"
        shutil.copytree(MODELS["llama"], folder)
        self.addCleanup(shutil.rmtree, folder)
        own = self.local(folder)
        own.move()
        before = own.score(policy=True, reference=True)
        weights = folder / "model.safetensors"
        os.utime(weights, ns=(1, 1))
        self.refused("FAILED_PRECONDITION", "its files have changed since they were read; nothing was changed", lambda: own.trainer("Reset"))
        weights.unlink()
        self.refused("FAILED_PRECONDITION", "nothing was changed", lambda: own.trainer("Reset"))
        self.assertEqual(list(own.score(policy=True, reference=True)), list(before))
        self.assertEqual(own.trainer("GetInfo").steps, 2)

    def test_a_held_trainer_cannot_be_reset_by_other_clients(self):
        own = self.local("llama", lora=LORA)
        own.trainer("Save", folder="held/checkpoint")
        self.refused("INVALID_ARGUMENT", "holder is empty", lambda: next(own.trainer("Hold", None)))
        stream = own.trainer("Hold", None, holder="the run one")
        next(stream)
        for act in (
            lambda: own.trainer("Reset"),
            lambda: own.trainer("Reset", holder="the run two"),
            lambda: own.trainer("Load", folder="held/checkpoint"),
            lambda: next(own.trainer("Hold", None, holder="the run two")),
            # Two clients with the same name are still two clients.
            lambda: next(own.trainer("Hold", None, holder="the run one")),
        ):
            self.refused("FAILED_PRECONDITION", "the run one is using this trainer; stop it", act)
        own.trainer("Reset", holder="the run one")
        own.trainer("Load", folder="held/checkpoint", holder="the run one")
        stream.cancel()
        own.eventually(lambda: own.trainer("Reset"))

    def test_get_info_and_hold_are_answered_during_a_long_call(self):
        own = self.local()
        computing, done = threading.Event(), threading.Event()
        score = own.owner.score

        def slow(*given):
            computing.set()
            done.wait(60)
            return score(*given)

        own.owner.score = slow
        with concurrent.futures.ThreadPoolExecutor() as threads:
            scores = threads.submit(own.score, policy=True)
            try:
                self.assertTrue(computing.wait(60))
                self.assertEqual(own.trainer("GetInfo", timeout=20).vocabulary_size, 320)
                next(held := own.trainer("Hold", timeout=20, holder="the run one"))
                held.cancel()
            finally:
                done.set()
            self.assertEqual(len(scores.result()), len(SEQUENCES))

    def test_killing_the_holder_releases_the_trainer(self):
        own = self.local("llama", lora=LORA)
        program = (
            "import sys; sys.path[:0] = sys.argv[2:]; from serving import Client; "
            "held = Client(sys.argv[1]).trainer('Hold', None, holder='the killed one'); next(held); print('held', flush=True); input()"
        )
        arguments = [f"127.0.0.1:{own.server.port}", HERE, PLUGIN]
        with subprocess.Popen(
            [sys.executable, "-B", "-c", program, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder:
            self.assertEqual(holder.stdout.readline(), "held\n")
            self.refused("FAILED_PRECONDITION", "the killed one is using this trainer", lambda: own.trainer("Reset"))
            holder.kill()
        own.eventually(lambda: own.trainer("Reset"))


class Publishing(Case):
    def test_transformers_loads_a_published_model(self):
        for name in ("llama", "gemma3"):
            own = self.local(name)
            own.move()
            answer = own.trainer("Publish", folder=f"published/{name}", policy=True)
            self.assertEqual((answer.published, answer.folder), (1, str(FOLDER / "published" / name)))
            loaded = transformers.AutoModelForCausalLM.from_pretrained(answer.folder, dtype=torch.float32).eval()
            tokenizer = transformers.AutoTokenizer.from_pretrained(answer.folder)
            self.assertEqual(tokenizer.get_vocab(), own.model.tokenizer.get_vocab())
            self.same_logits(loaded, own.model.module)
            # Publishing the reference replaces the files.
            own.trainer("Publish", folder=f"published/{name}")
            again = transformers.AutoModelForCausalLM.from_pretrained(answer.folder, dtype=torch.float32).eval()
            self.same_logits(again, self.local(name).model.module)
            self.assertEqual(sorted(path.name for path in (FOLDER / "published").iterdir() if path.name.startswith(".")), [])

    def test_peft_and_the_trainer_load_a_published_adapter(self):
        import peft

        own = self.local("gemma3", lora=LORA)
        own.move()
        folder = own.trainer("Publish", folder="published/adapter", policy=True).folder
        base = transformers.AutoModelForCausalLM.from_pretrained(own.model.name, dtype=torch.float32)
        self.same_logits(peft.PeftModel.from_pretrained(base, folder).eval(), own.model.module)
        again = self.local("gemma3", adapter=pathlib.Path(folder))
        self.same_logits(again.model.module, own.model.module)
        self.assertEqual(list(again.score(kl=True)[0].kl), [0, 0, 0])
        self.assertEqual(again.trainer("GetInfo").method, "lora")
        # vLLM reads these files and fields.
        config = json.loads((pathlib.Path(folder) / "adapter_config.json").read_text())
        self.assertEqual((config["r"], config["peft_type"]), (4, "LORA"))
        self.assertTrue((pathlib.Path(folder) / "adapter_model.safetensors").exists())

    def same_logits(self, one, other):
        tokens = torch.tensor([[1, 40, 41, 42, 43, 44, 45, 46, 47, 48]])
        with torch.no_grad():
            self.close_to(one(input_ids=tokens).logits, other(input_ids=tokens).logits, 1e-5)


if __name__ == "__main__":
    unittest.main()
