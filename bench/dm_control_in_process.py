"""Steps DM Control simulators without a server, and prints the steps per second of all of them together.

Usage: python dm_control_in_process.py TASK NUM_ENVS STEPS PROCESSES

Each process steps its share of the environments in turn, with as little overhead as possible: there is no learner, and
observations are not copied.
"""

import multiprocessing
import sys
import time
from multiprocessing.synchronize import Barrier

import numpy as np
from dm_control import suite


def play(task: str, num_envs: int, steps: int, ready: Barrier) -> None:
    """Steps one process's share of the environments; waits for the other processes after warm-up and at the end."""
    domain, name = task.split("-", 1)
    environments = [suite.load(domain, name, task_kwargs={"random": seed}) for seed in range(num_envs)]
    specs = [environment.action_spec() for environment in environments]
    width = specs[0].shape[0]
    waves = np.sin(0.1 * np.arange(1000)[:, None] + np.arange(width))
    for environment in environments:
        environment.reset()
        for t in range(50):
            environment.step(waves[t])
    ready.wait()
    for t in range(steps):
        for environment in environments:
            # After the end of an episode this is a reset, as on a server.
            environment.step(waves[t % 1000])
    ready.wait()


def main() -> None:
    task, num_envs, steps, processes = sys.argv[1], *map(int, sys.argv[2:])
    shares = [num_envs // processes + (i < num_envs % processes) for i in range(processes)]
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(processes + 1)
    players = [context.Process(target=play, args=(task, share, steps, ready)) for share in shares]
    for player in players:
        player.start()
    ready.wait()
    started = time.perf_counter()
    ready.wait()
    seconds = time.perf_counter() - started
    for player in players:
        player.join()
    print(num_envs * steps / seconds)


if __name__ == "__main__":
    main()
