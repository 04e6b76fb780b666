"""Trains PMPO or SAC on Pendulum until its return is at least −200; prints a JSON object.

Usage: python learn.py PMPO|SAC SEED STEPS [ADDRESS]

Both have the same networks, batches and learning rate, and otherwise their own defaults. The policy's mode is evaluated over 20
episodes, the same ones each time, every 1,000 steps.
"""

import json
import pathlib
import sys

import gymnasium
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "plugins" / "python"))
import pmpo.gymnasium  # noqa: E402, F401
from pmpo.sb3 import PMPO  # noqa: E402

TARGET = -200


def make(address):
    if address is None:
        return gymnasium.make("Pendulum-v1")
    return gymnasium.make("pmpo/remote-v0", address=address, simulator="gymnasium/Pendulum-v1")


def evaluated(model, address, episodes, seed):
    env = DummyVecEnv([lambda: Monitor(make(address))] * 10)
    env.seed(seed)
    mean, _ = evaluate_policy(model, env, episodes)
    env.close()
    return float(mean)


def main():
    algorithm, seed, steps = {"PMPO": PMPO, "SAC": SAC}[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
    address = sys.argv[4] if len(sys.argv) > 4 else None
    torch.set_num_threads(1)
    env = make(address)
    settings = {"learning_rate": 1e-3, "batch_size": 128, "policy_kwargs": {"net_arch": [64, 64]}}
    model = algorithm("MlpPolicy", env, seed=seed, device="cpu", **settings)
    curve, reached = [], None
    while model.num_timesteps < steps and reached is None:
        model.learn(1000, reset_num_timesteps=False)
        curve.append(round(evaluated(model, address, 20, seed=10_000), 1))
        reached = curve[-1] if curve[-1] >= TARGET else None
    env.close()
    print(json.dumps({"steps": model.num_timesteps, "curve": curve, "reached": reached}))


if __name__ == "__main__":
    main()
