"""Runs CleanRL's script, and prints the return of each episode.

Usage: python run_script.py SCRIPT [ARGUMENT…]
"""

import runpy
import sys

import gym
import torch


class PrintedReturns(gym.Wrapper):
    """Prints the return of each episode at its end."""

    def reset(self, **options):
        self.total = 0.0
        return self.env.reset(**options)

    def step(self, action):
        observation, reward, done, info = self.env.step(action)
        self.total += float(reward)
        if done:
            print(f"return {self.total}", flush=True)
        return observation, float(reward), done, info


make = gym.make
gym.make = lambda name: PrintedReturns(make(name))
torch.set_num_threads(1)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
