"""PMPO, or any other operator, for the actor of CleanRL's SAC; see cleanrl/sac_continuous_action.diff.

Shapes: N samples per context, B contexts (the batch), A action dimensions.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.distributions import Normal
from torch.nn import functional as F

from . import control
from ._operator import Operator

__all__ = ["ClippedActor"]


class ClippedActor(torch.nn.Module):
    """CleanRL's `Policy` with a Gaussian in the space of actions, which is clipped at the bounds instead of squashed.

    The same two outputs of the network are read as `pmpo.sb3` reads its own: the mean is a tanh, and the standard deviation
    `min_std` plus a softplus, which is `initial_std` for outputs of 0. A squashed Gaussian does not learn under bounded KLs: where its mean
    lies far from 0, all of its samples are nearly the same action, and the bound lets the mean come back only slowly. Nor does
    CleanRL's log-std, which a tanh stretches to [-5, 2]: single steps of Adam exceed the bound on the covariance.

    Args:
      policy: gives mean and log-std, [B, A] each, when called with states and a device. It has CleanRL's action_scale and action_bias.
      n_samples: N, the actions that are drawn at each state.
      reference_update_interval: the reference becomes a copy of the policy every so many losses.
      initial_std, min_std: in units of the action's half range.
      operator, feedback: as those of `pmpo.control.ActorLoss`.
    """

    def __init__(
        self,
        policy: Any,
        *,
        n_samples: int = 8,
        reference_update_interval: int = 25,
        initial_std: float = 0.5,
        min_std: float = 0.05,
        operator: Operator | None = None,
        feedback: control.Feedback = "value-baseline",
    ) -> None:
        super().__init__()
        with torch.no_grad():
            # Every state starts with nearly the same distribution.
            policy.mean.weight.mul_(0.1)
            policy.logstd.weight.mul_(0.1)
        self.policy = policy
        self.reference = copy.deepcopy(policy).requires_grad_(False)
        self.n_samples, self.reference_update_interval = n_samples, reference_update_interval
        self.actor_loss = control.ActorLoss(policy.mean.out_features, operator=operator, feedback=feedback).to(policy.action_scale.device)
        self.initial_std, self.min_std = initial_std, min_std
        self._losses = 0

    def _distribution(self, network: Any, states: Any, device: Any) -> Normal:
        mean, log_std = network(states, device)
        # CleanRL's log-std is -1.5 + 3.5·tanh(spread); the spread is the network's own output.
        spread = ((log_std + 1.5) / 3.5).clamp(-0.9999, 0.9999).atanh()
        stddev = self.min_std + (self.initial_std - self.min_std) / math.log(2) * F.softplus(spread)
        return Normal(mean.tanh(), stddev, validate_args=False)

    def _action(self, samples: torch.Tensor) -> torch.Tensor:
        action: torch.Tensor = samples.clamp(-1, 1) * self.policy.action_scale + self.policy.action_bias
        return action

    def get_action(self, states: Any, device: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A sampled action, its log-prob before clipping, and the mean action: [B, A], [B, 1] and [B, A], as CleanRL's `Policy` has it."""
        policy = self._distribution(self.policy, states, device)
        sample = policy.sample()
        return self._action(sample), policy.log_prob(sample).sum(-1, keepdim=True), self._action(policy.mean)

    def loss(self, states: Any, device: Any, critic: Callable[[Any, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """The operator's loss, a scalar.

        Args:
          states: [B, …], an array.
          critic: the values, [N · B, 1], of actions [N · B, A] at states [N · B, …].
        """
        if self._losses % self.reference_update_interval == 0:
            self.reference.load_state_dict(self.policy.state_dict())
        self._losses += 1
        with torch.no_grad():
            reference = self._distribution(self.reference, states, device)
            samples = reference.sample((self.n_samples,))
            repeated = np.concatenate([states] * self.n_samples)
            values = critic(repeated, self._action(samples).flatten(0, 1)).view(self.n_samples, -1)
        loss: torch.Tensor = self.actor_loss(self._distribution(self.policy, states, device), reference, samples, values)
        return loss
