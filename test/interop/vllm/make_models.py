"""Creates small random models as Hugging Face folders, each with a newly trained byte-level BPE tokenizer.

    python make_models.py FOLDER

writes FOLDER/llama and FOLDER/gemma3, with a few megabytes of deterministic random float32 weights.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "a policy is improved by accepted samples, rejected samples, or both",
    "naïve café, smörgåsbord, über, Ελληνικά, русский, 日本語, 한국어, 🎉🚀👩‍👩‍👧",
    "def f(x):\n    return x ** 2 + 1\n\n",
    "0 1 2 3 4 5 6 7 8 9 10 11 12 100 1000",
] * 20

LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
    "{% for message in turns %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}\n"
    "{{ first if loop.first else '' }}{{ message.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def write_tokenizer(folder: Path, special: list[str], begin: str, end: str, template: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    # An added token that is not special, so texts may contain it.
    tokenizer.add_tokens([AddedToken("<table>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": begin,
        "eos_token": end,
        "pad_token": special[0],
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(template)
    return tokenizer


def shapes(tokenizer: Tokenizer, begin: str, end: str) -> dict:
    return {
        # A few more logits than tokens, as real models have.
        "vocab_size": (tokenizer.get_vocab_size() + 15) // 16 * 16,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": tokenizer.token_to_id(begin),
        "eos_token_id": tokenizer.token_to_id(end),
        "pad_token_id": 0,
        "initializer_range": 0.3,
    }


def main(folder: Path) -> None:
    special = ["<pad>", "<bos>", "<|im_start|>", "<|im_end|>"]
    tokenizer = write_tokenizer(folder / "llama", special, "<bos>", "<|im_end|>", LLAMA_TEMPLATE)
    torch.manual_seed(1)
    config = LlamaConfig(**shapes(tokenizer, "<bos>", "<|im_end|>"), head_dim=32)
    LlamaForCausalLM(config).float().save_pretrained(folder / "llama")

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = write_tokenizer(folder / "gemma3", special, "<bos>", "<eos>", GEMMA_TEMPLATE)
    torch.manual_seed(2)
    config = Gemma3TextConfig(
        **shapes(tokenizer, "<bos>", "<eos>"), head_dim=32, query_pre_attn_scalar=32, sliding_window=64
    )
    Gemma3ForCausalLM(config).float().save_pretrained(folder / "gemma3")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
