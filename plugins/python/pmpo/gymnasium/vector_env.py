"""Several worlds of a dm_env_rpc server as one vector environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from .embedded_server import embedded_address
from .world import World

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


class RemoteVectorEnv(VectorEnv[Floats, Floats, Any]):
    """`num_envs` worlds with a stream each, stepped at the same time. `RemoteEnv` says what observations and actions are.

    The step after the end of an episode starts the next one (`AutoresetMode.NEXT_STEP`), as dm_env_rpc has it.
    """

    def __init__(
        self, num_envs: int = 1, address: str | None = None, timeout: float = 30.0, *, render_mode: None = None, **settings: Any
    ) -> None:
        """Connects and creates the worlds with `settings`; `RemoteEnv` says what the arguments are, and what is raised."""
        if render_mode is not None:
            raise TypeError(f"render_mode: is {render_mode!r}. Remote simulators are not rendered; leave it out")
        place = embedded_address() if address is None else address
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self._worlds: list[World] = []
        self._pool = ThreadPoolExecutor(max_workers=num_envs, thread_name_prefix="pmpo-world")
        try:
            for _ in range(num_envs):
                self._worlds.append(World(place, timeout, settings))
        except BaseException:
            self.close_extras()
            raise
        first = self._worlds[0]
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (first.action_size,), np.float32)
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (first.observation_size,), np.float32)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def _all(self, function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        """The function of each world, all at the same time. The first error is raised once every world has answered."""
        if self.closed:
            raise gymnasium.error.ClosedEnvironmentError("this environment is closed")
        futures = [self._pool.submit(function, *each) for each in zip(self._worlds, *arguments, strict=True)]
        for future in futures:
            future.exception()
        return [future.result() for future in futures]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Starts an episode in each world, with the seeds `seed`, `seed + 1`, … if it is a number. Observations are [num_envs, O]."""
        seeds: Sequence[int | None]
        if seed is None or isinstance(seed, Sequence):
            seeds = [None] * self.num_envs if seed is None else seed
        else:
            seeds = [int(seed) + i for i in range(self.num_envs)]
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed: has {len(seeds)} numbers. Give {self.num_envs}, one for each environment")
        return np.stack(self._all(World.reset, seeds)), {}

    def step(self, actions: Floats) -> tuple[Floats, Numbers, Booleans, Booleans, dict[str, Any]]:
        """Takes a step in each world with actions [num_envs, A]."""
        results = self._all(World.step, list(np.asarray(actions)))
        observations, rewards, terminated, truncated = zip(*results, strict=True)
        return np.stack(observations), np.asarray(rewards), np.asarray(terminated), np.asarray(truncated), {}

    def close_extras(self, **kwargs: Any) -> None:
        """Leaves and destroys the worlds, and disconnects."""
        for world in self._worlds:
            world.close()
        self._pool.shutdown(wait=False)
