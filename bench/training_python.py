"""Trains SAC of Stable-Baselines3 or of SBX on DM Control tasks in this process, and prints its environment steps per second.

SBX has Stable-Baselines3's algorithms in JAX. The environments are stepped by turns. There is one update for every two steps, batches of 256, two hidden layers of 256 in every network, and SAC's defaults for everything else. The
first skipped steps, half of them with random actions and without updates, are not timed: functions are compiled in them. The time
of the other steps includes acting, stepping, storing and learning, but no evaluation.
"""

import argparse
import importlib
import time
from typing import Any

import gymnasium
import numpy as np
from dm_control import suite
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv


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


class Timer(BaseCallback):
    """Records the time after `skipped` steps, and how many steps have been made by then."""

    def __init__(self, skipped: int) -> None:
        super().__init__()
        self._skipped = skipped
        self.started: float | None = None
        self.steps_before = 0

    def _on_step(self) -> bool:
        if self.started is None and self.num_timesteps >= self._skipped:
            self.steps_before = self.num_timesteps
            self.started = time.perf_counter()
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=["stable_baselines3", "sbx"])
    parser.add_argument("task", help="a task of the DM Control Suite, such as walker-walk")
    parser.add_argument("num_envs", type=int)
    parser.add_argument("skipped", type=int, help="steps that are not timed")
    parser.add_argument("steps", type=int, help="steps that are timed")
    given = parser.parse_args()
    options = {} if given.library == "sbx" else {"device": "cpu"}
    model = importlib.import_module(given.library).SAC(
        "MlpPolicy",
        DummyVecEnv([lambda: SuiteTask(given.task)] * given.num_envs),
        batch_size=256,
        # One update for every two steps, counted over all environments.
        train_freq=max(1, 2 // given.num_envs),
        gradient_steps=max(1, given.num_envs // 2),
        learning_starts=given.skipped // 2,
        policy_kwargs={"net_arch": [256, 256]},
        seed=0,
        **options,
    )
    timer = Timer(given.skipped)
    model.learn(total_timesteps=given.skipped + given.steps, callback=timer)
    seconds = time.perf_counter() - timer.started
    print((model.num_timesteps - timer.steps_before) / seconds)


if __name__ == "__main__":
    main()
