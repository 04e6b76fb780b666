"""A simulator behind a dm_env_rpc server as a Gymnasium environment."""

from pmpo_gymnasium.remote_env import RemoteEnv

__all__ = ["RemoteEnv"]
