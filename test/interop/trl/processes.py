"""Trains with several processes, and writes the parameters and the metrics: `torchrun --nproc-per-node N processes.py MODEL OUT BATCH`."""

import json
import sys

import setting
import torch

from pmpo.trl import PMPOConfig, PMPOTrainer

folder, out, size = sys.argv[1:]
config = {"optim": "sgd", "max_grad_norm": 0.0, "num_train_epochs": 2, "per_device_train_batch_size": int(size), "ddp_backend": "gloo"}
trainer = setting.train(PMPOTrainer, PMPOConfig, setting.labelled(labels=(True, False, False)), model=folder, config=config)
if trainer.is_world_process_zero():
    torch.save({name: p.detach().clone() for name, p in trainer.model.named_parameters()}, f"{out}.pt")
    with open(f"{out}.json", "w", encoding="utf-8") as file:
        json.dump(trainer.state.log_history, file)
