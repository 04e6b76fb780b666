"""Which rows a model is sampled with."""

import unittest
from unittest import mock

import serving  # noqa: F401  # Adds the plugin to sys.path.
import torch
import transformers
from pmpo_torch_trainer import rows

CPU = torch.device("cpu")


def model(dtype, vocabulary=32):
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    return transformers.GPT2LMHeadModel(config).to(dtype).eval()


class PaddingRead(rows.CachedRows):
    """Counts the padding when it says at which position a token is; each position has parameters of its own in this model."""

    def _forward(self, tokens, positions):
        end = self._mask.shape[1]
        return super()._forward(tokens, torch.arange(end - tokens.shape[1], end).expand(len(tokens), -1))


class SlightlyOff(rows.CachedRows):
    """The last row of each step is 6 % off, and the others are exact."""

    def step(self, tokens):
        states = super().step(tokens)
        states[-1] *= 1.06
        return states


class ChooseRowsTest(unittest.TestCase):
    def test_a_cache_that_reads_as_whole_rows_do_is_used(self):
        for dtype in (torch.float32, torch.bfloat16):
            self.assertIs(rows.choose_rows(model(dtype), CPU, 64), rows.CachedRows)

    def test_a_cache_that_differs_in_some_rows_is_not_used(self):
        for wrong in (PaddingRead, SlightlyOff):
            for dtype in (torch.float32, torch.bfloat16):
                with self.subTest(wrong=wrong.__name__, dtype=dtype), mock.patch.object(rows, "CachedRows", wrong):
                    with self.assertLogs("pmpo_torch_trainer", "WARNING") as logs:
                        self.assertIs(rows.choose_rows(model(dtype), CPU, 64), rows.RereadRows)
                    self.assertRegex(logs.output[0], "the cache of this model is not used .differs by")

    def test_a_vocabulary_of_four_tokens_does_not_end_the_start(self):
        with self.assertLogs("pmpo_torch_trainer", "WARNING"):
            self.assertIs(rows.choose_rows(model(torch.float32, vocabulary=4), CPU, 64), rows.RereadRows)


if __name__ == "__main__":
    unittest.main()
