"""Trains Stable-Baselines3's SAC on a remote simulator until it reaches a return; prints a JSON line for each evaluation.

Usage: python time_to_return_sb3.py ADDRESS SIMULATOR TARGET SEED EVERY LIMIT_SECONDS
"""

import json
import pathlib
import sys
import time

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "plugins" / "python"))
from pmpo.gymnasium import RemoteEnv  # noqa: E402


class EvaluationCallback(BaseCallback):
    """Evaluates the deterministic policy every `every` steps, and stops at the target or the time limit in seconds."""

    def __init__(self, env: RemoteEnv, target: float, every: int, limit: float) -> None:
        super().__init__()
        self._env, self._target, self._every, self._limit = env, target, every, limit
        self._started = time.perf_counter()

    def _episode(self, seed: int) -> float:
        observation, _ = self._env.reset(seed=seed)
        total, done = 0.0, False
        while not done:
            action, _ = self.model.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = self._env.step(action)
            total, done = total + reward, terminated or truncated
        return total

    def _on_step(self) -> bool:
        seconds = time.perf_counter() - self._started
        if self.num_timesteps % self._every != 0:
            return seconds < self._limit
        mean = float(np.mean([self._episode(seed) for seed in range(10)]))
        seconds = time.perf_counter() - self._started
        print(json.dumps({"steps": self.num_timesteps, "seconds": seconds, "return": mean}), flush=True)
        return mean < self._target and seconds < self._limit


def main() -> None:
    address, simulator, target, seed, every, limit = sys.argv[1:]
    torch.set_num_threads(2)
    env = RemoteEnv(address, simulator=simulator)
    evaluation = EvaluationCallback(RemoteEnv(address, simulator=simulator), float(target), int(every), float(limit))
    # Everything else has SAC's defaults.
    model = SAC("MlpPolicy", env, seed=int(seed), device="cpu")
    model.learn(total_timesteps=10_000_000, callback=evaluation)


if __name__ == "__main__":
    main()
