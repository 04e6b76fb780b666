"""Loads a model folder with transformers; prints, as JSON, its tokens, log-probs and greedy completion of given inputs.

    python transformers_peer.py FOLDER '{"texts": [...], "sequences": [[...]], "prompt": [...], "newTokens": n}'
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    folder, asked = sys.argv[1], json.loads(sys.argv[2])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    log_probs = []
    with torch.inference_mode():
        for sequence in asked["sequences"]:
            tokens = torch.tensor([sequence])
            scores = torch.log_softmax(model(tokens).logits[0, :-1], -1)
            log_probs.append(scores.gather(-1, tokens[0, 1:, None])[:, 0].tolist())
        greedy = model.generate(
            torch.tensor([asked["prompt"]]),
            do_sample=False,
            min_new_tokens=asked["newTokens"],
            max_new_tokens=asked["newTokens"],
        )
    tokens = [tokenizer(text)["input_ids"] for text in asked["texts"]]
    print(
        json.dumps(
            {
                "class": type(model).__name__,
                "tokens": tokens,
                "texts": [tokenizer.decode(ids, skip_special_tokens=True) for ids in tokens],
                "special": [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id],
                "logProbs": log_probs,
                "greedy": greedy[0, len(asked["prompt"]) :].tolist(),
            }
        )
    )


if __name__ == "__main__":
    main()
