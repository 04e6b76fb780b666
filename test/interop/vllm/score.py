"""Scores completions with transformers in float32.

    python score.py MODEL_FOLDER SEQUENCES.json

reads [{"prompt": [token, ...], "completion": [token, ...]}, ...] and prints the log-probs of each completion's tokens as JSON.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM


@torch.no_grad()
def score(model, prompt: list[int], completion: list[int]) -> list[float]:
    logits = model(torch.tensor([prompt + completion])).logits[0].float()
    log_probs = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    return log_probs.gather(1, torch.tensor(completion)[:, None])[:, 0].tolist()


def main(folder: str, sequences: list[dict]) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    json.dump([score(model, one["prompt"], one["completion"]) for one in sequences], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
