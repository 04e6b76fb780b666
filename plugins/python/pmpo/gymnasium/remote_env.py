"""The Gymnasium environment of a world of a dm_env_rpc server."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from .embedded_server import embedded_address
from .world import World

Floats = npt.NDArray[np.float32]


class RemoteEnv(gymnasium.Env[Floats, Floats]):
    """A world of a dm_env_rpc server as a Gymnasium environment.

    Shapes: O is the total size of all observations except `reward` and `discount`, A the size of the world's only action.

    Observations are float32 [O]: the named observations, flattened and concatenated in the order of their names. Actions
    are float32 [A] in [-1, 1], scaled linearly to the bounds of the world's action.
    """

    def __init__(self, address: str | None = None, timeout: float = 30.0, *, render_mode: None = None, **settings: Any) -> None:
        """Connects, creates a world with `settings`, for example `simulator="walker_run"`, and joins it.

        Args:
          address: host:port of the server; by default the embedded simulators, for which the program `pmpo` is started once.
          timeout: seconds to wait for the connection.
          render_mode: must be None.
          **settings: sent with CreateWorld.
        Raises:
          TimeoutError: the server did not accept a connection within `timeout`.
          dm_env_rpc.v1.error.DmEnvRpcError: the server answered with an error.
          ValueError: the world's action is not a single, bounded floating-point tensor.
          EmbeddedServerError: there is no address, and the program `pmpo` was not found or did not start.
        """
        if render_mode is not None:
            raise TypeError(f"render_mode: is {render_mode!r}. Remote simulators are not rendered; leave it out")
        self._seeded = False
        self._world = World(embedded_address() if address is None else address, timeout, settings)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self._world.action_size,), np.float32)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (self._world.observation_size,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Starts an episode. The same seed gives the same episode if the server supports seeds.

        Returns:
          The first observation, float32 [O], and an empty dictionary.
        Raises:
          gymnasium.error.ClosedEnvironmentError: the environment is closed.
          dm_env_rpc.v1.error.DmEnvRpcError: the server answered with an error, for example because it takes no seed.
        """
        super().reset(seed=seed)
        self._seeded = self._seeded or seed is not None
        if seed is None and self._seeded:
            # Gymnasium's seed determines the later episodes as well.
            seed = int(self.np_random.integers(2**31))
        return self._world.reset(seed), {}

    def step(self, action: npt.ArrayLike) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Takes one step with an action [A]; values outside [-1, 1] are clipped.

        Returns:
          The observation, float32 [O]; the reward; whether the episode terminated; whether it was truncated; and an empty
          dictionary.
        Raises:
          gymnasium.error.ClosedEnvironmentError: the environment is closed.
          dm_env_rpc.v1.error.DmEnvRpcError: the server answered with an error.
        """
        return *self._world.step(action), {}

    def close(self) -> None:
        """Leaves and destroys the world, and disconnects. May be called repeatedly, and after the server has ended."""
        if hasattr(self, "_world"):
            self._world.close()
