"""merge_adapter: an adapter is merged into its model, for servers that only load whole models."""

import contextlib
import io
import json
import os
import pathlib
import unittest

import torch
import transformers
from serving import FOLDER, LORA, SEQUENCES, Case

from pmpo_torch_trainer import merge_adapter

TOKENS = torch.tensor([SEQUENCES[0][0] + SEQUENCES[0][1]])


def logits(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(TOKENS).logits


def program(*arguments):
    """Runs the program; returns its exit code and standard error."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        return merge_adapter.main([str(argument) for argument in arguments]), said.getvalue()


class MergeAdapter(Case):
    def setUp(self):
        self.own = self.local("gemma3", lora=LORA)
        self.own.move()

    def published(self, name):
        return pathlib.Path(self.own.trainer("Publish", folder=f"merged/{name}", policy=True).folder)

    def test_the_merged_model_equals_the_policy_and_has_its_tokenizer(self):
        adapter = self.published("first")
        folder = FOLDER / "merged" / "first-whole"
        self.assertEqual(program(adapter, folder), (0, ""))
        with torch.no_grad():
            policy = self.own.model.module(TOKENS).logits
        self.close_to(logits(folder), policy)
        self.assertGreater((logits(self.own.model.name) - policy).abs().max().item(), 0.01)
        self.assertFalse((folder / "adapter_config.json").exists())
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.assertEqual(tokenizer.get_vocab(), self.own.model.tokenizer.get_vocab())

    def test_replaces_an_earlier_merged_model(self):
        folder = FOLDER / "merged" / "again-whole"
        self.assertEqual(program(self.published("again"), folder)[0], 0)
        before = logits(folder)
        self.own.move()
        self.assertEqual(program(self.published("again"), folder)[0], 0)
        self.assertGreater((logits(folder) - before).abs().max().item(), 0.01)
        self.assertEqual([name for name in os.listdir(FOLDER / "merged") if name.startswith(".")], [])

    def test_errors_have_a_message_and_write_no_files(self):
        adapter = self.published("wrong")
        taken = FOLDER / "merged" / "taken"
        taken.mkdir(parents=True)
        (taken / "thesis.txt").write_text("years of work")
        code, said = program(adapter, taken)
        self.assertEqual(code, 1)
        self.assertRegex(said, r"merge_adapter: .*taken holds files that this program did not write")
        self.assertEqual(os.listdir(taken), ["thesis.txt"])
        target = FOLDER / "merged" / "never"
        for expected, arguments in [
            (r"No such file", (FOLDER / "nowhere", target)),
            (r"does not contain a model; give --model", (adapter, target, "--model", FOLDER)),
        ]:
            code, said = program(*arguments)
            self.assertEqual(code, 1)
            self.assertRegex(said, expected)
        config = adapter / "adapter_config.json"
        values = json.loads(config.read_text())
        config.write_text(json.dumps({**values, "base_model_name_or_path": None}))
        code, said = program(adapter, target)
        self.assertEqual(code, 1)
        self.assertRegex(said, r"does not name its model; give --model")
        self.assertFalse(target.exists())


if __name__ == "__main__":
    unittest.main()
