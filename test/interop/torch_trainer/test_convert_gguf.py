"""convert_gguf on a file that ggml's own package has written: the folder holds the dequantized weights."""

import contextlib
import io
import json
import pathlib
import shutil
import tempfile
import unittest

import gguf
import numpy as np
import torch
import transformers
from serving import FOLDER, MODELS, Case

from pmpo_torch_trainer.convert_gguf import main

TEXT = "The cat sat on the mat; naïve café, 日本語 🙂."


def small_model():
    """A tiny Qwen 2: gguf and transformers both support it, and the conversion only renames its tensors."""
    torch.manual_seed(3)
    config = transformers.Qwen2Config(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        rms_norm_eps=1e-5,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def write(path, model):
    """Writes the model with 8-bit matrices; returns the dequantized tensors by their names in transformers."""
    config = model.config
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    words = json.loads((MODELS["llama"] / "tokenizer.json").read_text())
    vocabulary = sorted(words["model"]["vocab"], key=words["model"]["vocab"].get)
    special = {token["content"] for token in words["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([gguf.TokenType.CONTROL if word in special else gguf.TokenType.NORMAL for word in vocabulary])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in words["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.num_hidden_layers)
    meant = {}
    for name, tensor in model.state_dict().items():
        there = names.get_name(name, try_suffixes=(".weight", ".bias"))
        values = tensor.numpy()
        if values.ndim == 2:
            packed = gguf.quantize(values, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(there, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
            values = gguf.dequantize(packed, gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(there, values)
        meant[name] = torch.from_numpy(np.array(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meant


class Convert(Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(dir=FOLDER))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.model = small_model()
        cls.file = cls.folder / "small.gguf"
        cls.meant = write(cls.file, cls.model)

    def convert(self, *arguments):
        """Runs the program; returns its exit code and output."""
        with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(said):
            code = main([str(argument) for argument in arguments])
        return code, said.getvalue()

    def test_weights_and_tokenizer_equal_those_of_the_file(self):
        folder = self.folder / "whole"
        code, said = self.convert(self.file, folder, "--dtype", "float32")
        self.assertEqual((code, said.strip().split("\n")[-1]), (0, f"Wrote {folder}"))
        loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        found = loaded.state_dict()
        self.assertEqual(found.keys(), self.meant.keys())
        for name, tensor in self.meant.items():
            self.assertTrue(torch.equal(found[name], tensor), name)
        # Quantization to 8 bits has changed the original weights.
        self.assertFalse(torch.equal(found["lm_head.weight"], self.model.lm_head.weight))
        self.model.load_state_dict(self.meant)
        tokens = torch.tensor([[1, 40, 41, 42, 43]])
        with torch.no_grad():
            self.close_to(loaded(input_ids=tokens).logits, self.model.eval()(input_ids=tokens).logits)
        own = transformers.AutoTokenizer.from_pretrained(folder)
        plain = transformers.AutoTokenizer.from_pretrained(MODELS["llama"])
        self.assertEqual(own.encode(TEXT, add_special_tokens=False), plain.encode(TEXT, add_special_tokens=False))
        self.assertEqual((own.bos_token_id, own.eos_token_id), (1, 2))
        # The trainer can load the folder.
        trainer = self.local(folder)
        self.assertEqual(len(trainer.score([([1, 40], [41, 42])], policy=True)[0].log_prob), 2)

    def test_errors_have_a_message_and_leave_no_files(self):
        broken = self.folder / "broken.gguf"
        broken.write_bytes(self.file.read_bytes()[:200])
        taken = self.folder / "taken"
        taken.mkdir()
        for pattern, file, folder in [
            ("none.gguf: the file does not exist", self.folder / "none.gguf", "new"),
            (r"taken already exists; give a new folder", self.file, "taken"),
            ("broken.gguf: transformers cannot read a model from this file", broken, "new"),
        ]:
            code, said = self.convert(file, self.folder / folder)
            self.assertEqual(code, 1, said)
            self.assertRegex(said, pattern)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir() if path.name not in ("whole",)), ["broken.gguf", "small.gguf", "taken"])


if __name__ == "__main__":
    unittest.main()
