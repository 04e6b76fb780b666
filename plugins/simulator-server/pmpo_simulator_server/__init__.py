"""Serves DM Control, Gymnasium and any other dm_env simulators over dm_env_rpc, many worlds at once."""

from pmpo_simulator_server.world import Spec, State, Step, World

__all__ = ["Spec", "State", "Step", "World"]
