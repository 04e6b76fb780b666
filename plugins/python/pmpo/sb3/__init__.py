"""PMPO, or any other operator, as an algorithm of Stable-Baselines3.

    from pmpo.sb3 import PMPO

    model = PMPO("MlpPolicy", "Pendulum-v1").learn(8_000)
    model.save("pendulum")
"""

from .algorithm import PMPO
from .policies import CnnPolicy, MlpPolicy, MultiInputPolicy, PMPOPolicy

__all__ = ["PMPO", "CnnPolicy", "MlpPolicy", "MultiInputPolicy", "PMPOPolicy"]
