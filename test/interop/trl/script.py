"""The main script of this suite: trains on pairs and on completions with labels, by TRL's trainers or by ours, and prints the metrics.

    python script.py FOLDER DPOTrainer|KTOTrainer|PMPOTrainer
"""

import json
import sys

import setting
import trl

import pmpo.trl

folder, name = sys.argv[1:]
trainer_class = getattr(pmpo.trl, name, None) or getattr(trl, name)
config_class = getattr(pmpo.trl, name.replace("Trainer", "Config"), None) or getattr(trl, name.replace("Trainer", "Config"))
histories = []
for dataset in (setting.pairs(), setting.labelled()):
    if name == "DPOTrainer" and "label" in dataset.column_names:
        continue
    trainer = setting.train(trainer_class, config_class, dataset, model=folder, eval_dataset=dataset, config={"eval_strategy": "epoch"})
    histories.append(trainer.state.log_history)
print(json.dumps({"trl": trl.__version__, "histories": histories}))
