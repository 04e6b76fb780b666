"""Every architecture of docs/trainer-models.md, and what is refused when it is loaded."""

import pathlib
import tempfile
import unittest

import architectures
import torch
import transformers
from pmpo_torch_trainer.errors import StartError
from pmpo_torch_trainer.model import ModelOptions, load
from pmpo_torch_trainer.trainer import Trainer, TrainerOptions
from pmpo_torch_trainer.trial import try_update

TABLE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "trainer-models.md"


class ArchitecturesTest(unittest.TestCase):
    def test_each_is_trained_and_sampled_as_transformers_does_or_refused(self):
        outcomes = []
        for outcome in architectures.examine_all():
            outcomes.append(outcome)
            if outcome.refused is None:
                with self.subTest(outcome.name):
                    self.assertLess(outcome.worst, 1e-5)
                    self.assertGreater(outcome.changed, 1e-4)
        self.assertGreaterEqual(sum(outcome.refused is None for outcome in outcomes), 50)
        self.assertGreaterEqual(len(outcomes), 60)
        self.assertEqual(architectures.table(outcomes), TABLE.read_text(encoding="utf-8"), "write the table again")


class RefusalTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def assert_refused(self, pattern):
        with self.assertRaisesRegex(StartError, pattern):
            load(ModelOptions(folder=self.folder, device="cpu"))

    def change(self, change):
        model = transformers.AutoModelForCausalLM.from_pretrained(self.folder)
        change(model)
        model.save_pretrained(self.folder)

    def test_a_model_that_reads_later_tokens(self):
        architectures.make("bert", self.folder)
        self.change(lambda model: setattr(model.config, "is_decoder", False))
        self.assert_refused("models of type 'bert' cannot be trained here: a token's probability depends on the tokens after it")

    def test_broken_parameters(self):
        architectures.make("llama", self.folder)
        self.change(lambda model: torch.nn.init.constant_(model.lm_head.weight, torch.nan))
        self.assert_refused("its logits are not finite, so its parameters are broken")

    def test_an_update_that_fails(self):
        architectures.make("llama", self.folder)
        trainer = Trainer(load(ModelOptions(folder=self.folder, device="cpu")), TrainerOptions())

        class Torn(torch.autograd.Function):
            @staticmethod
            def forward(_context, x):
                return x.clone()

            @staticmethod
            def backward(_context, _gradient):
                raise NotImplementedError("this kernel has no backward pass")

        trainer.model.module.model.norm.register_forward_hook(lambda _module, _inputs, output: Torn.apply(output))
        with self.assertRaisesRegex(StartError, "models of type 'llama' cannot be trained here: an update was tried, and failed: this kernel has no"):
            try_update(trainer)

    def test_the_update_that_is_tried_changes_nothing(self):
        architectures.make("llama", self.folder)
        trainer = Trainer(load(ModelOptions(folder=self.folder, device="cpu")), TrainerOptions())
        before = trainer.model.weights()
        try_update(trainer)
        for name, parameter in trainer.parameters.items():
            self.assertTrue(torch.equal(parameter, before[name]))
            self.assertIsNone(parameter.grad)
        self.assertEqual((trainer.steps, len(trainer.optimizer.state)), (0, 0))


if __name__ == "__main__":
    unittest.main()
