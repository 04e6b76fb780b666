"""PMPO, or any other operator, as an algorithm of Stable-Baselines3.

    from pmpo.sb3 import PMPO

    model = PMPO("MlpPolicy", "Pendulum-v1").learn(8_000)
    model.save("pendulum")
"""

from __future__ import annotations

try:
    import stable_baselines3 as _stable_baselines3  # noqa: F401
except ImportError as _error:
    raise ImportError(
        "pmpo.sb3: it needs Stable-Baselines3 2.7 or newer. Install it with `pip install 'stable-baselines3>=2.7'`"
    ) from _error

from .algorithm import PMPO
from .policies import CnnPolicy, MlpPolicy, MultiInputPolicy, PMPOPolicy

__all__ = ["PMPO", "CnnPolicy", "MlpPolicy", "MultiInputPolicy", "PMPOPolicy"]
