"""What the trainer does with requests that are wrong, with failures in the middle, and with checkpoints."""

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


class Refusals(Case):
    def test_sequences_that_the_model_cannot_take(self):
        own = self.local("llama")
        for pattern, sequence in [
            ("sequence 1: the completion is empty", ([1], [])),
            ("sequence 1: the prompt is empty", ([], [1])),
            ("sequence 1: the completion has token 320; the vocabulary ends at 319", ([1], [5, 320])),
            ("sequence 1: the prompt has token 4000000000", ([4000000000], [5])),
            ("sequence 1: 65 tokens are more than the context of 64", ([1] * 60, [2] * 5)),
        ]:
            sequences = [([1], [2]), sequence]
            self.refused("INVALID_ARGUMENT", pattern, lambda: own.score(sequences, policy=True))
            self.refused("INVALID_ARGUMENT", pattern, lambda: own.forward_backward([{"log_prob": [1.0]}] * 2, sequences))
        self.refused("INVALID_ARGUMENT", "no sequences", lambda: own.score([], policy=True))
        self.refused("INVALID_ARGUMENT", "nothing is asked for", lambda: own.score())
        # The last that fits.
        self.assertEqual(len(own.score([([1] * 60, [2] * 4)], policy=True)[0].log_prob), 4)

    def test_coefficients_that_do_not_fit(self):
        own = self.local("llama")
        for pattern, coefficients in [
            ("3 sequences and 1 coefficients", [{"log_prob": [1.0]}]),
            ("sequence 0: 2 coefficients kl for 3 completion tokens", [{"kl": [1.0, 2.0]}, {}, {}]),
            ("sequence 2: a coefficient log_prob is not finite", [{}, {}, {"log_prob": [float("nan")]}]),
            ("no sequence has coefficients", [{}, {}, {}]),
        ]:
            self.refused("INVALID_ARGUMENT", pattern, lambda: own.forward_backward(coefficients))
        self.refused("FAILED_PRECONDITION", "no gradient", lambda: own.trainer("OptimStep", learning_rate=0.1))

    def test_settings_of_steps(self):
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
        self.refused("FAILED_PRECONDITION", "norm is inf: no step was taken", lambda: own.trainer("OptimStep", learning_rate=0.1))
        for key, parameter in own.owner.parameters.items():
            self.assertTrue(torch.equal(parameter, weights[key]), key)
        self.refused("FAILED_PRECONDITION", "no gradient", lambda: own.trainer("OptimStep", learning_rate=0.1))
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

    def test_in_the_middle_of_a_gradient(self):
        for error in (
            torch.OutOfMemoryError("CUDA out of memory"),
            RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        ):
            own = self.local("llama", training=TrainerOptions(max_tokens_per_batch=1))
            own.forward_backward(SOME)
            before = {key: gradient.clone() for key, gradient in own.gradients().items()}
            self.fail_at("_side", 4, error)
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

    def test_a_call_that_was_given_up_adds_nothing(self):
        own = self.local("llama")
        self.assertRaises(Exception, lambda: own.owner.forward_backward([], []))

        def gone():
            raise InterruptedError

        from pmpo_torch_trainer.batches import TokenSequence
        from pmpo_torch_trainer.trainer import Coefficients

        sequences = [TokenSequence(*each) for each in SEQUENCES]
        with self.assertRaises(InterruptedError):
            own.owner.forward_backward(sequences, [Coefficients(log_prob=1.0)] * 3, gone)
        self.assertTrue(all(gradient is None for gradient in own.gradients().values()))


class Checkpoints(Case):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=FOLDER))
        self.addCleanup(shutil.rmtree, self.folder)
        self.name = self.folder.name

    def go_on(self, own):
        """Two steps more; everything that follows from the state."""
        own.forward_backward(SOME)
        for _ in range(2):
            own.trainer("OptimStep", learning_rate=0.01, max_gradient_norm=1.0)
            own.forward_backward(SOME)
            own.trainer("CopyReference", rate=0.5)
        scores = own.score(policy=True, reference=True, kl=True)
        made = own.complete([1, 40], n=3, seed=1, max_tokens=10, logprobs=0)
        info = own.trainer("GetInfo")
        return [s.SerializeToString() for s in scores], [c.SerializeToString() for c in made], info.steps, info.published

    def test_what_is_resumed_is_what_never_stopped(self):
        for lora in (None, LORA):
            first = self.local("gemma3", lora=lora)
            first.move()
            first.trainer("CopyReference")
            first.trainer("Publish")
            first.move(steps=1)
            first.trainer("CopyReference", rate=0.3)
            # In the middle of an accumulation.
            first.forward_backward(SOME)
            first.trainer("Save", folder=f"{self.name}/{lora is None}")
            expected = self.go_on(first)
            second = self.local("gemma3", lora=lora, seed=5)
            second.trainer("Load", folder=f"{self.name}/{lora is None}")
            self.assertEqual(self.go_on(second), expected)

    def test_a_checkpoint_before_any_step(self):
        first, second = self.local("llama"), self.local("llama")
        first.trainer("Save", folder=f"{self.name}/start")
        second.move()
        second.trainer("Load", folder=f"{self.name}/start")
        self.assertEqual(self.go_on(second), self.go_on(first))

    def test_a_newer_one_takes_the_place_of_the_older_and_one_that_fails_does_not(self):
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

    def test_folders_that_are_not_ours(self):
        own = self.local("llama", lora=LORA)
        (self.folder / "mine").mkdir()
        (self.folder / "mine" / "thesis.txt").write_text("years of work")
        for name in ("Save", "Publish"):
            for folder in ("../outside", "/tmp/outside", "x/../.."):
                self.refused("INVALID_ARGUMENT", "is not below", lambda: own.trainer(name, folder=folder))
            self.refused("FAILED_PRECONDITION", "holds something", lambda: own.trainer(name, folder=f"{self.name}/mine"))
        self.refused("NOT_FOUND", "no checkpoint", lambda: own.trainer("Load", folder=f"{self.name}/none"))
        self.refused("INVALID_ARGUMENT", "folder is empty", lambda: own.trainer("Save"))
        self.assertEqual(own.trainer("GetInfo").published, 0)
        self.assertEqual([path.name for path in (self.folder / "mine").iterdir()], ["thesis.txt"])

    def test_checkpoints_of_another_model(self):
        own, other = self.local("llama", lora=LORA), self.local("gemma3", lora=LORA)
        own.move()
        own.trainer("Save", folder=f"{self.name}/llama")
        before = other.score(policy=True)
        self.refused("FAILED_PRECONDITION", "of another model: architecture is 'LlamaForCausalLM'", lambda: other.trainer("Load", folder=f"{self.name}/llama"))
        (data,) = (self.folder / "llama").glob("data-*")
        (data / "reference.safetensors").write_bytes(b"nonsense")
        self.refused("FAILED_PRECONDITION", "nothing was changed", lambda: own.trainer("Load", folder=f"{self.name}/llama"))
        state = json.loads((self.folder / "llama" / "checkpoint.json").read_text())
        self.assertEqual(state["steps"], 2)
        self.assertEqual(list(other.score(policy=True)), list(before))


class Resets(Case):
    def state(self, own):
        """All that a client can learn of it, and two steps more."""
        info = own.trainer("GetInfo").SerializeToString()
        scores = [score.SerializeToString() for score in own.score(policy=True, reference=True, kl=True)]
        made = [c.SerializeToString() for c in own.complete([1, 40], n=2, seed=1, max_tokens=10, logprobs=0)]
        norms = []
        for _ in range(2):
            own.forward_backward(SOME)
            norms.append(own.trainer("OptimStep", learning_rate=0.01).gradient_norm)
        return info, scores, made, norms, [score.SerializeToString() for score in own.score(policy=True)]

    def test_a_reset_trainer_is_one_that_has_just_started(self):
        for name, lora in [("llama", None), ("gemma3", LORA)]:
            used, fresh = self.local(name, lora=lora), self.local(name, lora=lora)
            used.move()
            used.trainer("CopyReference", rate=0.5)
            used.trainer("Publish", policy=True)
            used.forward_backward(SOME)
            used.trainer("Reset")
            # A gradient that was under way is gone, too.
            self.refused("FAILED_PRECONDITION", "no gradient", lambda: used.trainer("OptimStep", learning_rate=0.1))
            self.assertEqual(self.state(used), self.state(fresh))
            # Not only once.
            used.trainer("Reset")
            self.assertEqual(self.state(used), self.state(self.local(name, lora=lora)))

    def test_a_model_whose_files_have_changed_is_not_mixed_in(self):
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

    def test_a_trainer_that_somebody_holds_is_not_reset_by_others(self):
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
            # Two of the same name are two.
            lambda: next(own.trainer("Hold", None, holder="the run one")),
        ):
            self.refused("FAILED_PRECONDITION", "the run one is using this trainer; stop it", act)
        own.trainer("Reset", holder="the run one")
        own.trainer("Load", folder="held/checkpoint", holder="the run one")
        stream.cancel()
        own.eventually(lambda: own.trainer("Reset"))

    def test_what_it_is_and_whose_is_said_while_it_computes(self):
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

    def test_a_holder_that_is_killed_lets_go(self):
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


class Published(Case):
    def test_a_checkpoint_that_transformers_loads(self):
        for name in ("llama", "gemma3"):
            own = self.local(name)
            own.move()
            answer = own.trainer("Publish", folder=f"published/{name}", policy=True)
            self.assertEqual((answer.published, answer.folder), (1, str(FOLDER / "published" / name)))
            loaded = transformers.AutoModelForCausalLM.from_pretrained(answer.folder, dtype=torch.float32).eval()
            tokenizer = transformers.AutoTokenizer.from_pretrained(answer.folder)
            self.assertEqual(tokenizer.get_vocab(), own.model.tokenizer.get_vocab())
            self.same_logits(loaded, own.model.module)
            # The reference's, in the same place.
            own.trainer("Publish", folder=f"published/{name}")
            again = transformers.AutoModelForCausalLM.from_pretrained(answer.folder, dtype=torch.float32).eval()
            self.same_logits(again, self.local(name).model.module)
            self.assertEqual(sorted(path.name for path in (FOLDER / "published").iterdir() if path.name.startswith(".")), [])

    def test_an_adapter_that_peft_loads_and_this_program_goes_on_from(self):
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
        # As vLLM reads it.
        config = json.loads((pathlib.Path(folder) / "adapter_config.json").read_text())
        self.assertEqual((config["r"], config["peft_type"]), (4, "LORA"))
        self.assertTrue((pathlib.Path(folder) / "adapter_model.safetensors").exists())

    def same_logits(self, one, other):
        tokens = torch.tensor([[1, 40, 41, 42, 43, 44, 45, 46, 47, 48]])
        with torch.no_grad():
            self.close_to(one(input_ids=tokens).logits, other(input_ids=tokens).logits, 1e-5)


if __name__ == "__main__":
    unittest.main()
