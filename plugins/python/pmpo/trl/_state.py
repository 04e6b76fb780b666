"""The variables that some operators train with the policy: MPO's temperature, and the duals of bounds on the KL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from ..errors import PmpoError
from ._operators import PARTS

_file = "operator_state.pt"


class _Keeper(TrainerCallback):
    """Averages the gradients of the state over the processes, keeps the state in its domain, and saves it with each checkpoint."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for parameter in self._trainer.operator_state.parameters():
            if parameter.grad is not None:
                parameter.grad = self._trainer.accelerator.reduce(parameter.grad, "mean")

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.operator_state.project()
        # The trainer clears the gradients of its model only.
        self._trainer.operator_state.zero_grad()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            torch.save(self._trainer.operator_state.state_dict(), folder / _file)


class TrainsState:
    """Adds the operator's state, if it has one, to what a trainer optimizes, saves and resumes."""

    operator: Any
    operator_state: Any = None
    """The state, a module, or None."""

    def make_state(self) -> None:
        """Makes the operator's state, once the trainer has been made, and checks that the operator works with what a trainer has.

        Raises:
          PmpoError: naming what the operator needs.
        """
        trainer: Any = self
        if self.operator._choose(PARTS, False, False).file.state:
            self.operator_state = self.operator.torch_state({PARTS[0]: 1}, device=trainer.accelerator.device)
            trainer.add_callback(_Keeper(self))
        # What the trainers do not have, such as the KL in the other direction, is missed now and not at the first step.
        plane = torch.zeros(2, 1, device=trainer.accelerator.device)
        self.operator.torch(
            plane,
            plane,
            evaluation=plane,
            accept=1 - plane,
            reject=plane,
            length=1 - plane,
            kl=plane[0],
            state=self.operator_state,
        )

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        optimizer = base.create_optimizer(*args, **kwargs)
        if self.operator_state is None:
            return optimizer
        own = list(self.operator_state.parameters())
        if not any(parameter is own[0] for group in optimizer.param_groups for parameter in group["params"]):
            trainer: Any = self
            if trainer.lr_scheduler is not None:
                raise PmpoError(
                    "optimizers",
                    f"have a scheduler, but not the variables that {self.operator.name} trains",
                    "Leave the scheduler to the trainer",
                )
            group = self.operator_state.parameter_group(trainer.args.state_learning_rate)
            optimizer.add_param_group({**group, "weight_decay": 0.0})
        return optimizer

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        base: Any = super()
        base._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or self.operator_state is None:
            return
        file = Path(checkpoint) / _file
        if not file.is_file():
            raise PmpoError(str(checkpoint), f"has no {_file}", f"Resume a run of the operator {self.operator.name}")
        self.operator_state.load_state_dict(torch.load(file, map_location=next(self.operator_state.parameters()).device))
