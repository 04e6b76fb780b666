"""Simulators behind dm_env_rpc servers as Gymnasium environments; without an address, those embedded in the program `pmpo`.

    import gymnasium
    import pmpo.gymnasium

    env = gymnasium.make("pmpo/cartpole_swingup-v0")
    envs = gymnasium.make_vec("pmpo/remote-v0", num_envs=8, address="10.0.0.7:50051", simulator="suite/walker-walk")
"""

from __future__ import annotations

from gymnasium.envs.registration import register as _register

from .embedded_server import EmbeddedServerError, embedded_address
from .remote_env import RemoteEnv
from .vector_env import RemoteVectorEnv

__all__ = ["SIMULATORS", "EmbeddedServerError", "RemoteEnv", "RemoteVectorEnv", "embedded_address"]

SIMULATORS = (
    "cartpole_swingup",
    "cartpole_balance",
    "acrobot_swingup",
    "reacher",
    "walker_stand",
    "walker_walk",
    "walker_run",
    "cheetah_run",
    "quadruped_run",
    "humanoid_stand",
)
"""The simulators embedded in the program `pmpo`."""


def _register_all() -> None:
    one, several = f"{__name__}:RemoteEnv", f"{__name__}:RemoteVectorEnv"
    _register("pmpo/remote-v0", entry_point=one, vector_entry_point=several)
    for simulator in SIMULATORS:
        _register(f"pmpo/{simulator}-v0", entry_point=one, vector_entry_point=several, kwargs={"simulator": simulator})


_register_all()
