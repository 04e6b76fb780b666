"""Trains Stable-Baselines3's SAC on a DM Control task in this process, and prints its environment steps per second.

Usage: python training_sb3.py TASK WARM_UP STEPS

One update for every two steps, batches of 256, two hidden layers of 256 in every network, and SAC's defaults for everything
else. The time starts with the first update and includes acting, stepping, storing and learning, but no evaluation.
"""

import sys
import time
from typing import Any

import gymnasium
import numpy as np
from dm_control import suite
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback


class SuiteTask(gymnasium.Env[np.ndarray, np.ndarray]):
    """A task of the DM Control Suite with its observations as one vector, wrapped with as little overhead as possible."""

    def __init__(self, task: str) -> None:
        domain, name = task.split("-", 1)
        self._environment = suite.load(domain, name, task_kwargs={"random": 0})
        action = self._environment.action_spec()
        self.action_space = gymnasium.spaces.Box(action.minimum, action.maximum, action.shape, np.float32)
        size = sum(int(np.prod(spec.shape)) for spec in self._environment.observation_spec().values())
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    @staticmethod
    def _vector(observation: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([np.ravel(part) for part in observation.values()]).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self._vector(self._environment.reset().observation), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        step = self._environment.step(action)
        terminated = bool(step.last() and step.discount == 0)
        return self._vector(step.observation), float(step.reward), terminated, step.last() and not terminated, {}


class FirstUpdateTimer(BaseCallback):
    """Records the time of the first update, which comes after `warm_up` steps."""

    def __init__(self, warm_up: int) -> None:
        super().__init__()
        self._warm_up = warm_up
        self.started = 0.0

    def _on_step(self) -> bool:
        if self.num_timesteps == self._warm_up:
            self.started = time.perf_counter()
        return True


def main() -> None:
    task, warm_up, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    model = SAC(
        "MlpPolicy",
        SuiteTask(task),
        batch_size=256,
        train_freq=2,
        gradient_steps=1,
        learning_starts=warm_up,
        policy_kwargs={"net_arch": [256, 256]},
        seed=0,
        device="cpu",
    )
    timer = FirstUpdateTimer(warm_up)
    model.learn(total_timesteps=warm_up + steps, callback=timer)
    print(steps / (time.perf_counter() - timer.started))


if __name__ == "__main__":
    main()
