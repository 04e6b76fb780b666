"""Serves DM Control, Gymnasium and any other dm_env simulators over dm_env_rpc, many worlds at once."""

from pmpo_simulator_server.simulator import Simulator, Spec, State, Step

__all__ = ["Simulator", "Spec", "State", "Step"]
