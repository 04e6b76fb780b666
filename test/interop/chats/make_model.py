"""Writes a tiny Llama with the tokenizer and template of a family, and what transformers and TRL make of a data set's rows.

    python make_model.py FAMILY FOLDER DATA.jsonl SCORES.json

SCORES holds, for each row of DATA ({prompt, completion} as chats or texts), the tokens of prompt and completion as TRL's KTOTrainer
cuts them, and the log-prob of the completion, nats; and the tokens of the prompt that `apply_chat_template` gives to sample from.
"""

import gzip
import json
import pathlib
import sys

import torch
import transformers
from tokenizers import Tokenizer
from trl.data_utils import _tokenize, common_prefix_length

REFERENCES = pathlib.Path(__file__).resolve().parents[2] / "references"
FAMILY, FOLDER, DATA, SCORES = sys.argv[1], *map(pathlib.Path, sys.argv[2:])

family = json.loads(gzip.decompress((REFERENCES / "chat_layouts_trl.json.gz").read_bytes()))["families"][FAMILY]
words = transformers.PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer.from_str(json.dumps(family["tokenizer"])),
    clean_up_tokenization_spaces=False,
    chat_template=(REFERENCES / "chat-templates" / f"{FAMILY}.jinja").read_text(encoding="utf-8"),
    model_max_length=512,
    **family["config"],
)
torch.manual_seed(3)
config = transformers.LlamaConfig(
    vocab_size=len(words),
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    bos_token_id=words.bos_token_id,
    eos_token_id=words.eos_token_id,
    pad_token_id=words.eos_token_id,
)
model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
with torch.no_grad():
    for parameter in model.parameters():
        parameter.mul_(3.0)
model.save_pretrained(FOLDER)
words.save_pretrained(FOLDER)


def scored(row):
    prompt, completion, tools = row["prompt"], row["completion"], row.get("tools")
    if isinstance(prompt, str) and not isinstance(completion, str):
        prompt = [{"role": "user", "content": prompt}]
    if isinstance(prompt, str):
        begun = _tokenize(words, prompt)["input_ids"]
        whole = _tokenize(words, prompt + completion + words.eos_token)["input_ids"]
    else:
        begun = _tokenize(words, prompt, add_generation_prompt=True, tools=tools)["input_ids"]
        whole = _tokenize(words, prompt + completion, tools=tools)["input_ids"]
    cut = common_prefix_length(begun, whole)
    with torch.no_grad():
        log_probs = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    score = sum(log_probs[i - 1, whole[i]].item() for i in range(cut, len(whole)))
    return {"prompt": whole[:cut], "completion": whole[cut:], "logProb": score, "sampled": begun}


rows = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
SCORES.write_text(json.dumps([scored(row) for row in rows]), encoding="utf-8")
