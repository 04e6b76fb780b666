"""PMPO, and every other operator of this package, as trainers of TRL.

    from pmpo.trl import PMPOConfig, PMPOTrainer

    trainer = PMPOTrainer("Qwen/Qwen3-0.6B", args=PMPOConfig(output_dir="aligned"), train_dataset=dataset)
    trainer.train()

`PMPOTrainer` takes the data sets of TRL's `DPOTrainer` and `KTOTrainer`. `OnlinePMPOTrainer` takes the arguments of its `GRPOTrainer`:
prompts and reward functions.
"""

from __future__ import annotations

try:
    import trl as _trl  # noqa: F401
except ImportError as _error:
    raise ImportError("pmpo.trl: it needs TRL 1.15 or newer. Install it with `pip install 'trl>=1.15'`") from _error

from ._online import OnlinePMPOConfig, OnlinePMPOTrainer, better_half
from ._preference import PMPOConfig, PMPOTrainer

__all__ = ["OnlinePMPOConfig", "OnlinePMPOTrainer", "PMPOConfig", "PMPOTrainer", "better_half"]
