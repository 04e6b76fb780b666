"""A world of a dm_env_rpc server, with flat observations and actions. DeepMind's dm_env_rpc client implements the protocol."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from dm_env_rpc.v1 import connection as dm_env_rpc_connection
from dm_env_rpc.v1 import dm_env_rpc_pb2, spec_manager, tensor_spec_utils, tensor_utils
from dm_env_rpc.v1 import error as dm_env_rpc_error

import grpc

Floats = npt.NDArray[np.float32]

_RESERVED = ("reward", "discount")
_LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\]):")


class World:
    """A world that this object has created and joined. `RemoteEnv` says what observations and actions are."""

    def __init__(self, address: str, timeout: float, settings: dict[str, Any]) -> None:
        """Raises what `RemoteEnv` raises."""
        # gRPC would send even this machine's own addresses to the proxy of `http_proxy`, which cannot reach them.
        options = [("grpc.enable_http_proxy", 0)] if _LOOPBACK.match(address) else []
        self._channel = grpc.insecure_channel(address, options=options)
        self._connection: Any = None
        self._world: str | None = None
        try:
            self._join(address, timeout, settings)
        except BaseException:
            self.close()
            raise

    def _join(self, address: str, timeout: float, settings: dict[str, Any]) -> None:
        try:
            grpc.channel_ready_future(self._channel).result(timeout=timeout)
        except grpc.FutureTimeoutError:
            raise TimeoutError(f"{address}: no answer within {timeout:g} s") from None
        self._connection = dm_env_rpc_connection.Connection(self._channel)
        packed = {key: tensor_utils.pack_tensor(value) for key, value in settings.items()}
        self._world = self._connection.send(dm_env_rpc_pb2.CreateWorldRequest(settings=packed)).world_name
        specs = self._connection.send(dm_env_rpc_pb2.JoinWorldRequest(world_name=self._world)).specs
        self._observations = spec_manager.SpecManager(specs.observations)
        self._actions = spec_manager.SpecManager(specs.actions)
        self._names = sorted(set(self._observations.names()) - set(_RESERVED))
        self._requested = [self._observations.name_to_uid(name) for name in (*self._names, "reward")]

        if len(self._actions.names()) != 1:
            raise ValueError(f"{address}: the world must have one action; it has {sorted(self._actions.names())}")
        (self._action_name,) = self._actions.names()
        spec = self._actions.name_to_spec(self._action_name)
        self._action_dtype = tensor_utils.data_type_to_np_type(spec.dtype)
        bounds = tensor_spec_utils.bounds(spec)
        self._action_shape = tuple(spec.shape)
        self._low = np.broadcast_to(np.asarray(bounds.min, np.float64), self._action_shape)
        self._high = np.broadcast_to(np.asarray(bounds.max, np.float64), self._action_shape)
        # For a limit that is not given, `bounds` returns that of the dtype, which is finite but useless for scaling.
        bounded = spec.HasField("min") and spec.HasField("max") and np.isfinite([self._low, self._high]).all()
        if not np.issubdtype(self._action_dtype, np.floating) or not bounded:
            raise ValueError(f"{address}: the action '{self._action_name}' is not a bounded floating-point tensor")
        self.action_size = int(np.prod(self._action_shape, dtype=int))
        self.observation_size = sum(int(np.prod(self._spec_shape(name), dtype=int)) for name in self._names)

    def _spec_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._observations.name_to_spec(name).shape)

    def reset(self, seed: int | None = None) -> Floats:
        """Starts an episode and returns its first observation."""
        settings = {} if seed is None else {"seed": tensor_utils.pack_tensor(seed)}
        self._send(dm_env_rpc_pb2.ResetRequest(settings=settings))
        observation, _, _ = self._exchange({})
        return observation

    def step(self, action: npt.ArrayLike) -> tuple[Floats, float, bool, bool]:
        """Takes a step: the observation, the reward, whether the episode terminated, and whether it was truncated.

        The step after the end of an episode starts the next one: it ignores its action, and its reward is 0.
        """
        unit = np.clip(np.asarray(action, np.float64), -1.0, 1.0).reshape(self._action_shape)
        value = self._low + (unit + 1.0) / 2.0 * (self._high - self._low)
        packed = self._actions.pack({self._action_name: value.astype(self._action_dtype)})
        observation, reward, state = self._exchange(packed)
        terminated = state == dm_env_rpc_pb2.EnvironmentStateType.TERMINATED
        truncated = state == dm_env_rpc_pb2.EnvironmentStateType.INTERRUPTED
        return observation, reward, terminated, truncated

    def _exchange(self, actions: dict[int, Any]) -> tuple[Floats, float, int]:
        response = self._send(dm_env_rpc_pb2.StepRequest(actions=actions, requested_observations=self._requested))
        values = self._observations.unpack(response.observations)
        parts = [np.ravel(values[name]).astype(np.float32) for name in self._names]
        return np.concatenate(parts), float(values["reward"]), response.state

    def _send(self, request: Any) -> Any:
        if self._connection is None:
            raise gymnasium.error.ClosedEnvironmentError("this environment is closed")
        return self._connection.send(request)

    def close(self) -> None:
        """Leaves and destroys the world, and disconnects. May be called repeatedly, and after the server has ended."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(grpc.RpcError, dm_env_rpc_error.DmEnvRpcError):
                connection.send(dm_env_rpc_pb2.LeaveWorldRequest())
                if self._world is not None:
                    connection.send(dm_env_rpc_pb2.DestroyWorldRequest(world_name=self._world))
            connection.close()
        self._channel.close()
