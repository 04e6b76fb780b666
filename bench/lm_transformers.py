"""The transformers side of bench/lm-update.ts and bench/lm-sampling.ts: a Llama of the same shape in eager PyTorch.

    python lm_transformers.py '{"config": {...}, "threads": 2, ...}'

Reads one JSON object per line, {"update": n} or {"sample": n}, does the work n times, and answers each line with
{"milliseconds": ..., "processor": ...}: the average wall time and the average time of all processors together.
"""

import json
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def main():
    settings = json.loads(sys.argv[1])
    shape = settings["config"]
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape["vocabularySize"],
            hidden_size=shape["width"],
            intermediate_size=shape["hidden"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
            num_key_value_heads=shape["keyValueHeads"],
            max_position_embeddings=shape["contextLength"],
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    batch, length = settings["batch"], settings["length"]
    tokens = torch.randint(3, shape["vocabularySize"], (batch, length + 1))

    def update():
        optimizer.zero_grad()
        logits = model(tokens[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def sample():
        prompt = tokens[:, : settings["promptLength"]]
        with torch.inference_mode():
            model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=True,
                top_k=0,
                min_new_tokens=settings["newTokens"],
                max_new_tokens=settings["newTokens"],
                use_cache=True,
            )

    work = {"update": update, "sample": sample}
    for line in sys.stdin:
        (name, count), = json.loads(line).items()
        started, processor = time.perf_counter(), time.process_time()
        for _ in range(count):
            work[name]()
        print(
            json.dumps(
                {
                    "milliseconds": (time.perf_counter() - started) * 1000 / count,
                    "processor": (time.process_time() - processor) * 1000 / count,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
