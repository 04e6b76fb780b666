"""Writes chat_layouts_trl.json.gz: how TRL lays conversations out as tokens, with the templates and tokenizers of model families.

For each family a small tokenizer with the family's own pipeline (normalizer, pre-tokenizer, post-processor, added tokens), and for each
of 200 conversations and 40 pairs of texts the length of the prompt and a hash of all tokens, as TRL's trainers compute them with
transformers; null where the template refuses the conversation. Needs trl, but no model.

    python chat_layouts_trl.py [FILE] [--train] [--conversations N] [--seed S]

Training a tokenizer is not reproducible, so the tokenizers of the committed file are used, unless --train is given.
"""

import argparse
import gzip
import hashlib
import json
import random
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from trl.data_utils import _tokenize, common_prefix_length

HERE = Path(__file__).resolve().parent
FIXTURE = HERE / "chat_layouts_trl.json.gz"

PIECES = [
    "four", " the sum", "  two\n", "x = {'a': [1, 2.0, True]}", "naïve café", "日本語です", "\n\nHello", "wait <think>hm</think> ok",
    "<think>\nI see\n</think>\n\nYes", "a\"b'c\\d", "🙂 ok\t", "end. ", "| table |", "12345 + 6 = 12351", "1 < 2 & 3 > 2", "", " ",
    "I'll, won't", "\u00a0thin\u2009space\u00a0", "Ελληνικά", "def f(x):\n    return x\n", "it's  two  spaces",
]  # fmt: skip
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city's \"day\" <b>",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Tøwn"},
                "days": {"type": "integer", "minimum": 0.5, "default": None},
                "unit": {"type": "string", "enum": ["c", "f"]},
                "brief": {"type": "boolean", "default": True},
            },
            "required": ["city"],
        },
    },
}
CORPUS = [
    *PIECES,
    "the quick brown fox jumps over the lazy dog, and the other foxes too: four, fourth, the sum of two and four",
    "What is the weather in a city? I see, it is twenty degrees. system user assistant model Cutting Knowledge Date",
    "You are a helpful assistant. Today Date: 26 Jul 2024. Hello, how are you? Yes, I will return two spaces.",
] * 8

# The patterns of the families' own tokenizer.json files.
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA_3 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA_3.replace("{1,3}", "")
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def template_processing(tokenizer, begin):
    return processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))])


def byte_level(splits, special, normalizer=None, begin=None, own_regex=False, after=()):
    """A byte-level BPE, the kind of Llama 3, Qwen and most others."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=begin == "<|begin_of_text|>"))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=own_regex)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, level, *after])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, max_token_length=12
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens(special)
    parts = [processors.ByteLevel(trim_offsets=False)]
    if begin is not None:
        parts.append(template_processing(tokenizer, begin))
    tokenizer.post_processor = processors.Sequence(parts)
    return tokenizer


def sentence_piece(special, normalizer, pre_tokenizer, begin="<s>", words=()):
    """A BPE over characters with bytes for unknown ones, as SentencePiece makes it for Llama 2, Mistral and Gemma."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    # Trained on words with ▁, which is what the normalizer or the pre-tokenizer makes of spaces.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    controls = ["<unk>", *(token.content for token in special if token.content in ("<s>", "</s>", "<bos>", "<eos>", "<pad>"))]
    values = [f"<0x{value:02X}>" for value in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=640, special_tokens=controls + values, show_progress=False, max_token_length=12
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    # The bytes must be ordinary tokens of the vocabulary, not added tokens.
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] in controls]
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.add_tokens([*special, *(AddedToken(word, normalized=False) for word in words)])
    tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    else:
        document = json.loads(tokenizer.to_str())
        tokenizer = Tokenizer.from_str(json.dumps({**document, "pre_tokenizer": None}))
    fuse = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    strips = begin == "<s>"
    tokenizer.decoder = decoders.Sequence([*fuse, decoders.Strip(" ", 1, 0)] if strips else fuse)
    tokenizer.post_processor = template_processing(tokenizer, begin)
    return tokenizer


def controls(*contents, **options):
    return [AddedToken(content, special=True, normalized=False, **options) for content in contents]


def split(pattern, behavior="isolated"):
    return pre_tokenizers.Split(Regex(pattern), behavior)


def prepended():
    return normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


def gemma():
    special = controls("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")
    return sentence_piece(
        special,
        normalizers.Replace(" ", "▁"),
        pre_tokenizers.Split(" ", "merged_with_previous"),
        begin="<bos>",
        words=["\n\n", "▁▁", "▁▁▁▁"],
    )


def qwen(*words):
    special = [*controls("<|endoftext|>", "<|im_start|>", "<|im_end|>"), *(AddedToken(w, normalized=False) for w in words)]
    return byte_level([split(QWEN)], special, normalizers.NFC())


def digits_and_words(special, **options):
    return byte_level([pre_tokenizers.Digits(True)], special, own_regex=True, **options)


FAMILIES = {
    "llama-2": (lambda: sentence_piece(controls("<s>", "</s>"), prepended(), None), "<s>", "</s>"),
    "llama-3": (
        lambda: byte_level(
            [split(LLAMA_3)],
            controls(
                "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"
            ),
            begin="<|begin_of_text|>",
        ),
        "<|begin_of_text|>",
        "<|eot_id|>",
    ),
    "mistral": (
        lambda: sentence_piece(
            controls(
                "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
                "[/TOOL_RESULTS]",
            ),  # fmt: skip
            None,
            pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
        ),
        "<s>",
        "</s>",
    ),
    "qwen-2.5": (lambda: qwen("<tool_call>", "</tool_call>"), None, "<|im_end|>"),
    "qwen-3": (
        lambda: qwen("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
        None,
        "<|im_end|>",
    ),
    "gemma-2": (gemma, "<bos>", "<eos>"),
    "gemma-3": (gemma, "<bos>", "<eos>"),
    "phi-3": (
        lambda: sentence_piece(
            [
                *controls("<s>", "</s>"),
                *controls("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>", rstrip=True),
            ],
            prepended(),
            None,
        ),
        "<s>",
        "<|endoftext|>",
    ),
    "phi-4": (
        lambda: byte_level(
            [],
            [
                *controls("<|endoftext|>"),
                *controls("<|im_start|>", "<|im_end|>", "<|im_sep|>", lstrip=True, rstrip=True),
            ],
            own_regex=True,
        ),
        "<|endoftext|>",
        "<|im_end|>",
    ),
    "chatml": (
        lambda: digits_and_words(controls("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
        "<|im_start|>",
        "<|im_end|>",
    ),
    "zephyr": (lambda: sentence_piece(controls("<s>", "</s>"), prepended(), None), "<s>", "</s>"),
    "deepseek-r1": (
        lambda: byte_level(
            [split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK)],
            [
                *controls("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
                *(AddedToken(one, normalized=False) for one in ("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")),
            ],
            begin="<｜begin▁of▁sentence｜>",
        ),
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
    ),
    "falcon": (
        lambda: byte_level(
            [pre_tokenizers.Punctuation("contiguous")],
            controls("<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>"),
            own_regex=True,
            after=[pre_tokenizers.Digits(False), split("[0-9][0-9][0-9]")],
        ),
        "<|begin_of_text|>",
        "<|end_of_text|>",
    ),
    "command-r": (
        lambda: digits_and_words(
            controls(
                "<BOS_TOKEN>", "<EOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>",
                "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>",
            ),  # fmt: skip
            normalizer=normalizers.NFC(),
            begin="<BOS_TOKEN>",
        ),
        "<BOS_TOKEN>",
        "<|END_OF_TURN_TOKEN|>",
    ),
    "glm-4": (
        lambda: byte_level(
            [split(LLAMA_3)],
            [
                *controls("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
                *(AddedToken(one, normalized=False) for one in ("<think>", "</think>", "/nothink", "<tool_call>", "</tool_call>")),
            ],
        ),
        None,
        "<|endoftext|>",
    ),
    "lfm-2": (
        lambda: byte_level(
            [split(LLAMA_3)], controls("<|startoftext|>", "<|im_start|>", "<|im_end|>"), begin="<|startoftext|>"
        ),
        "<|startoftext|>",
        "<|im_end|>",
    ),
    "exaone-4": (
        lambda: byte_level(
            [split(LLAMA_3)],
            controls("[BOS]", "[EOS]", "[|system|]", "[|user|]", "[|assistant|]", "[|endofturn|]", "[|tool|]"),
            normalizers.NFC(),
        ),
        "[BOS]",
        "[|endofturn|]",
    ),
}


def conversation(draw):
    """A prompt and a completion: two lists of messages, or a text with which the prompt's last message goes on."""

    def text():
        return "".join(draw.choice(PIECES) for _ in range(draw.randint(1, 4)))

    def said(role, **fields):
        return {"role": role, "content": text(), **fields}

    kind = draw.random()
    messages = [said("system")] if draw.random() < 0.3 else []
    for _ in range(draw.choice([0, 0, 1, 2])):
        messages += [said("user"), said("assistant")]
    messages.append(said("user"))
    # A template may write the date of today, unless it is told another one.
    row = {"prompt": messages, "chat_template_kwargs": {"date_string": "26 Jul 2024"}}
    if kind < 0.15:
        row["tools"] = [TOOL]
    if kind < 0.07:
        arguments = {"city": text(), "days": 3, "list": [1, None, False], "share": 1.5}
        call = {"id": "call12345", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
        answers = [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            said("tool", name="get_weather", tool_call_id="call12345"),
            said("assistant"),
        ]
        # The turns between the prompt and the last answer belong to the completion, or to the prompt.
        return {**row, "completion": answers} if kind < 0.035 else {**row, "prompt": messages + answers[:2], "completion": answers[2:]}
    if kind < 0.25:
        return {**row, "completion": [said("assistant"), said("user"), said("assistant")]}
    if kind < 0.4:
        return {**row, "prompt": [*messages, said("assistant")], "completion": text()}
    if kind < 0.45:
        return {**row, "completion": [said("assistant", reasoning_content=text())]}
    return {**row, "completion": [said("assistant")]}


def text_pair(draw):
    """A prompt and a completion that are texts, cut at any character."""
    text = "".join(draw.choice(PIECES) for _ in range(5))
    cut = draw.randint(1, max(1, len(text) - 1))
    return {"prompt": text[:cut], "completion": text[cut:]}


def tokens_of(peer, row):
    """The tokens of a prompt and of prompt and completion, as in `KTOTrainer` of TRL."""
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, str):
        if not completion.endswith(peer.eos_token):
            completion = completion + peer.eos_token
        return _tokenize(peer, prompt)["input_ids"], _tokenize(peer, prompt + completion)["input_ids"]
    options = {"tools": row.get("tools"), **row["chat_template_kwargs"]}
    if isinstance(completion, str):
        # As in `apply_chat_template` of TRL, which goes on with a prompt that ends in an assistant's message.
        begun = _tokenize(peer, prompt, continue_final_message=True, **options)["input_ids"]
        whole = [*prompt[:-1], {**prompt[-1], "content": prompt[-1]["content"] + completion}]
        return begun, _tokenize(peer, whole, **options)["input_ids"]
    begun = _tokenize(peer, prompt, add_generation_prompt=True, **options)["input_ids"]
    return begun, _tokenize(peer, prompt + completion, **options)["input_ids"]


def expectation(peer, row):
    """[tokens of the prompt, tokens of both, hash of both, hash of the prompt by itself], or null if the template refuses the row."""
    try:
        prompt, whole = tokens_of(peer, row)
    except Exception:
        return None

    def digest(ids):
        return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()[:8]

    return [common_prefix_length(prompt, whole), len(whole), digest(whole), digest(prompt)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output", nargs="?", type=Path, default=FIXTURE)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    committed = None if options.train else json.loads(gzip.decompress(FIXTURE.read_bytes()))
    draw = random.Random(options.seed)
    rows = [conversation(draw) for _ in range(options.conversations)]
    rows += [text_pair(draw) for _ in range(options.conversations // 5)]
    families = {}
    for name, (make, begin, end) in FAMILIES.items():
        text = make().to_str() if committed is None else json.dumps(committed["families"][name]["tokenizer"])
        names = {"eos_token": end, **({} if begin is None else {"bos_token": begin})}
        template = (HERE / "chat-templates" / f"{name}.jinja").read_text(encoding="utf-8")
        peer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(text), clean_up_tokenization_spaces=False, chat_template=template, **names
        )
        families[name] = {
            "tokenizer": json.loads(text),
            "config": names,
            "expected": [expectation(peer, row) for row in rows],
        }
    document = json.dumps({"rows": rows, "families": families}, ensure_ascii=False, separators=(",", ":"))
    options.output.write_bytes(gzip.compress(document.encode(), mtime=0))


if __name__ == "__main__":
    sys.exit(main())
