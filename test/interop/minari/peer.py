"""Writes data sets with Minari, and prints what Minari itself reads from one, for minari.test.ts."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import minari
import numpy as np
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

SPACES: dict[str, tuple[spaces.Space, spaces.Space]] = {
    "box": (
        spaces.Box(-np.inf, np.inf, (3,), np.float64),
        spaces.Box(np.array([-2, -1], np.float32), np.array([2, 3], np.float32)),
    ),
    "dict": (
        spaces.Dict(
            velocity=spaces.Box(-1, 1, (2, 2), np.float32),
            position=spaces.Dict(x=spaces.Box(-np.inf, np.inf, (), np.float64), phase=spaces.Discrete(4, start=1)),
        ),
        spaces.Discrete(3),
    ),
    "tuple": (
        spaces.Tuple((spaces.Box(0, 255, (4,), np.int16), spaces.MultiBinary(2))),
        spaces.MultiDiscrete([2, 5]),
    ),
}


def _stack(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {key: _stack([value[key] for value in values]) for key in values[0]}
    if isinstance(values[0], tuple):
        return tuple(_stack(list(column)) for column in zip(*values))
    return np.stack([np.asarray(value) for value in values])


def write(folder: str, kind: str) -> None:
    """Writes three episodes of 1, 4 and 7 steps; the second one terminates."""
    observed, acted = SPACES[kind]
    observed.seed(1)
    acted.seed(2)
    generator = np.random.default_rng(3)
    path = pathlib.Path(folder) / "data"
    path.mkdir(parents=True)
    storage = MinariStorage.new(path, observation_space=observed, action_space=acted, data_format="hdf5")
    for steps, terminated in ((1, False), (4, True), (7, False)):
        last = np.arange(steps) == steps - 1
        # Rewards that are whole numbers are stored as int64.
        rewards = generator.integers(-3, 4, steps) if kind == "tuple" else generator.normal(size=steps)
        storage.update_episodes(
            [
                EpisodeBuffer(
                    observations=_stack([observed.sample() for _ in range(steps + 1)]),
                    actions=_stack([acted.sample() for _ in range(steps)]),
                    rewards=list(rewards),
                    terminations=list(last & terminated),
                    truncations=list(last & (not terminated)),
                )
            ]
        )
    storage.update_metadata({"dataset_id": f"test/{kind}-v0", "minari_version": minari.__version__})


def _leaves(space: spaces.Space, values: Any, keys: tuple[str, ...] = ()) -> dict[str, Any]:
    if isinstance(space, spaces.Dict):
        items = [(key, inner, values[key]) for key, inner in space.spaces.items()]
    elif isinstance(space, spaces.Tuple):
        items = [(str(i), inner, values[i]) for i, inner in enumerate(space.spaces)]
    else:
        return {"/".join(keys): np.asarray(values).astype(np.float64).reshape(len(values), -1).tolist()}
    return {name: leaf for key, inner, value in items for name, leaf in _leaves(inner, value, (*keys, key)).items()}


def read(folder: str) -> list[dict[str, Any]]:
    """What Minari iterates: the leaves of observations and actions by their paths."""
    data = minari.MinariDataset(pathlib.Path(folder) / "data")
    return [
        {
            "observations": _leaves(data.observation_space, episode.observations),
            "actions": _leaves(data.action_space, episode.actions),
            "rewards": episode.rewards.tolist(),
            "terminations": episode.terminations.astype(bool).tolist(),
            "truncations": episode.truncations.astype(bool).tolist(),
        }
        for episode in data.iterate_episodes()
    ]


if __name__ == "__main__":
    command, folder, *rest = sys.argv[1:]
    if command == "write":
        write(folder, *rest)
    else:
        json.dump(read(folder), sys.stdout)
