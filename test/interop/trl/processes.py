"""Trains with several processes, and writes the parameters and the metrics: `torchrun --nproc-per-node N processes.py MODEL OUT BATCH`."""

import json
import sys

import setting
import torch

import pmpo
from pmpo.trl import PMPOConfig, PMPOTrainer

folder, out, size = sys.argv[1:]
operator = pmpo.operators.pmpo(kl={"sequence": {"epsilon": 0.1, "initial_weight": 1.0}})
config = {"optim": "sgd", "max_grad_norm": 0.0, "num_train_epochs": 2, "per_device_train_batch_size": int(size), "ddp_backend": "gloo"}
trainer = setting.train(PMPOTrainer, PMPOConfig, setting.labelled(labels=(True, False, False)), model=folder, config=config, operator=operator)
if trainer.is_world_process_zero():
    torch.save({name: p.detach().clone() for part in (trainer.model, trainer.operator_state) for name, p in part.named_parameters()}, f"{out}.pt")
    with open(f"{out}.json", "w", encoding="utf-8") as file:
        json.dump(trainer.state.log_history, file)
