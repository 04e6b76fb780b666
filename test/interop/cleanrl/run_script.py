"""Runs CleanRL's script on a small environment, which it registers, and prints the return of each episode.

Usage: python run_script.py SCRIPT [ARGUMENT…]
"""

import runpy
import sys

import gym
import numpy as np
import torch


class Reach(gym.Env):
    """A point on a line, for 10 steps. The reward is minus its distance from 0."""

    observation_space = gym.spaces.Box(-2, 2, (1,), np.float32)
    action_space = gym.spaces.Box(-0.5, 0.5, (1,), np.float32)

    def seed(self, seed=None):
        self.random = np.random.default_rng(seed)

    def reset(self):
        self.x, self.steps, self.total = self.random.uniform(-1, 1), 0, 0.0
        return np.array([self.x], np.float32)

    def step(self, action):
        self.x = float(np.clip(self.x + action[0], -2, 2))
        self.steps += 1
        self.total -= abs(self.x)
        ended = self.steps == 10
        if ended:
            print(f"return {self.total}")
        return np.array([self.x], np.float32), -abs(self.x), ended, {}


gym.register("Reach-v0", entry_point=Reach)
torch.set_num_threads(1)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
