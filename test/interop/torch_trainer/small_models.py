"""Creates the tiny models of the tests: random float32 weights, and a byte-level BPE tokenizer.

    python small_models.py FOLDER

writes FOLDER/llama and FOLDER/gemma3.
"""

import pathlib
import sys

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

TEXTS = [
    "The cat sat on the mat, and the dog lay by the door.",
    "A policy is improved from accepted samples, rejected samples, or both.",
    "Übung macht den Meister; naïve café, Ångström, 日本語, emoji 🙂.",
    "one two three four five six seven eight nine ten",
]
SPECIAL = ["<pad>", "<bos>", "<eos>"]
CONTEXT = 64


def tokenizer():
    """A byte-level BPE tokenizer with a few hundred tokens, which prepends <bos>."""
    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    own.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        ),
    )
    own.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=own, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", model_max_length=CONTEXT
    )


def llama(vocabulary_size):
    return transformers.LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        attention_dropout=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def gemma3(vocabulary_size):
    return transformers.Gemma3TextConfig(
        vocab_size=vocabulary_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        query_pre_attn_scalar=8,
        max_position_embeddings=CONTEXT,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        final_logit_softcapping=20.0,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def make(folder):
    """Writes both models and returns their folders by name."""
    made = {}
    for name, config in (("llama", llama), ("gemma3", gemma3)):
        words = tokenizer()
        torch.manual_seed(7)
        model = transformers.AutoModelForCausalLM.from_config(config(len(words)), dtype=torch.float32)
        # Larger weights make the distributions far from uniform, so that a wrong log-prob shows.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3.0)
        path = pathlib.Path(folder) / name
        model.save_pretrained(path)
        words.save_pretrained(path)
        made[name] = path
    return made


if __name__ == "__main__":
    make(sys.argv[1])
