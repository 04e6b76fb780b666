"""The networks of `pmpo.sb3.PMPO`: an actor, its reference, critics, and their targets.

Shapes: N samples per context, B contexts, A action dimensions, K actions of a discrete space, C critics.
"""

from __future__ import annotations

import math
from typing import Any, Union

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy, ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
    create_mlp,
    get_actor_critic_arch,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from ..control import MixedCategorical

Architecture = Union["list[int]", "dict[str, list[int]]"]


class _Network(BasePolicy):
    """What actors and critics of discrete actions have in common."""

    features_dim: int

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
            squash_output=isinstance(action_space, spaces.Box),
        )
        self.net_arch = net_arch
        self.features_dim = features_dim
        self.activation_fn = activation_fn

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            "net_arch": self.net_arch,
            "features_extractor": self.features_extractor,
            "features_dim": self.features_dim,
            "activation_fn": self.activation_fn,
        }

    def _mlp(self, outputs: int) -> nn.Sequential:
        return nn.Sequential(*create_mlp(self.features_dim, outputs, self.net_arch, self.activation_fn))


class GaussianActor(_Network):
    """A diagonal Gaussian over actions, whose mean a tanh keeps within the bounds, -1 and 1. Actions are clipped to them."""

    def __init__(self, *args: Any, initial_std: float = 0.5, min_std: float = 0.05, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial_std, self.min_std = initial_std, min_std
        self.net = self._mlp(2 * get_action_dim(self.action_space))
        _shrink(self.net)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"initial_std": self.initial_std, "min_std": self.min_std}
        return {**super()._get_constructor_parameters(), **own}

    def distribution(self, obs: PyTorchObs) -> Normal:
        """The policy at observations, [B, A]. Its standard deviation is `initial_std` for outputs of 0, and at least `min_std`."""
        mean, spread = self.net(self.extract_features(obs, self.features_extractor)).chunk(2, dim=-1)
        stddev = self.min_std + (self.initial_std - self.min_std) / math.log(2) * F.softplus(spread)
        return Normal(torch.tanh(mean), stddev, validate_args=False)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        policy = self.distribution(observation)
        return (policy.mean if deterministic else policy.sample()).clamp(-1, 1)


class CategoricalActor(_Network):
    """A categorical distribution over actions, mixed with a share of the uniform one, which keeps every action possible."""

    action_space: spaces.Discrete[Any]

    def __init__(self, *args: Any, uniform_share: float = 0.02, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.uniform_share = uniform_share
        self.net = self._mlp(int(self.action_space.n))
        _shrink(self.net)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "uniform_share": self.uniform_share}

    def distribution(self, obs: PyTorchObs) -> MixedCategorical:
        """The policy at observations, [B, K]."""
        return MixedCategorical(self.net(self.extract_features(obs, self.features_extractor)), self.uniform_share)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        policy = self.distribution(observation)
        return policy.probs.argmax(-1) if deterministic else policy.sample()


def _shrink(net: nn.Sequential) -> None:
    """Makes the outputs small, so that every state starts with the same distribution."""
    last = net[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(0.1)
        last.bias.zero_()


class BoxCritics(ContinuousCritic):
    """Stable-Baselines3's critics, for several actions at each observation."""

    def evaluate(self, obs: PyTorchObs, samples: torch.Tensor) -> torch.Tensor:
        """Values [C, N, B] of actions [N, B, A] at observations [B]."""
        features = self.extract_features(obs, self.features_extractor)
        rows = torch.cat([features.expand(len(samples), *features.shape), samples.clamp(-1, 1)], dim=-1)
        return torch.stack([net(rows).squeeze(-1) for net in self.q_networks])


class DiscreteCritics(_Network):
    """Critics with an output for each action."""

    action_space: spaces.Discrete[Any]

    def __init__(self, *args: Any, n_critics: int = 2, share_features_extractor: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.share_features_extractor = share_features_extractor
        self.q_networks = nn.ModuleList(self._mlp(int(self.action_space.n)) for _ in range(n_critics))

    def evaluate(self, obs: PyTorchObs) -> torch.Tensor:
        """Values [C, K, B] of every action at observations [B]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.share_features_extractor):
            features = self.extract_features(obs, self.features_extractor)
        return torch.stack([net(features).transpose(0, 1) for net in self.q_networks])

    def forward(self, obs: PyTorchObs, actions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The value [B, 1] by each critic of the actions [B, 1] at observations [B]."""
        values = self.evaluate(obs)
        return tuple(value.transpose(0, 1).gather(1, actions.long().reshape(-1, 1)) for value in values)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        return self.evaluate(observation).mean(0).argmax(0)


class PMPOPolicy(BasePolicy):
    """The actor and the critics, with the copies of them that learning needs.

    Its arguments are those of `SACPolicy`, without those of gSDE, and:

    :param initial_std: the standard deviation at the start; the action bounds are -1 and 1 (`Box`)
    :param min_std: the least standard deviation (`Box`)
    :param uniform_share: the share of the uniform distribution in the policy (`Discrete`)
    """

    actor: GaussianActor | CategoricalActor
    reference: GaussianActor | CategoricalActor
    critic: BoxCritics | DiscreteCritics
    critic_target: BoxCritics | DiscreteCritics

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: Architecture | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        initial_std: float = 0.5,
        min_std: float = 0.05,
        uniform_share: float = 0.02,
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        n_critics: int = 2,
        share_features_extractor: bool = False,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class,
            features_extractor_kwargs,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            squash_output=isinstance(action_space, spaces.Box),
            normalize_images=normalize_images,
        )
        self.net_arch: Architecture = [256, 256] if net_arch is None else net_arch
        self.activation_fn = activation_fn
        self.share_features_extractor = share_features_extractor
        self.n_critics = n_critics
        self.initial_std, self.min_std, self.uniform_share = initial_std, min_std, uniform_share
        self._build(lr_schedule)

    def _build(self, lr_schedule: Schedule) -> None:
        actor_arch, critic_arch = get_actor_critic_arch(self.net_arch)
        self.actor = self._make_actor(actor_arch)
        self.reference = self._make_actor(actor_arch)
        self.reference.load_state_dict(self.actor.state_dict())
        shared = self.actor.features_extractor if self.share_features_extractor else None
        self.critic = self._make_critic(critic_arch, shared)
        self.critic_target = self._make_critic(critic_arch, None)
        self.critic_target.load_state_dict(self.critic.state_dict())
        # A shared features extractor learns from the actor's loss alone.
        learned = [p for name, p in self.critic.named_parameters() if shared is None or "features_extractor" not in name]
        make_optimizer: Any = self.optimizer_class
        rate = lr_schedule(1)
        self.actor.optimizer = make_optimizer(self.actor.parameters(), lr=rate, **self.optimizer_kwargs)
        self.critic.optimizer = make_optimizer(learned, lr=rate, **self.optimizer_kwargs)
        self.reference.set_training_mode(False)
        self.critic_target.set_training_mode(False)

    def _arguments(self, net_arch: list[int], features_extractor: BaseFeaturesExtractor | None) -> dict[str, Any]:
        arguments = {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "net_arch": net_arch,
            "activation_fn": self.activation_fn,
            "normalize_images": self.normalize_images,
        }
        return self._update_features_extractor(arguments, features_extractor)

    def _make_actor(self, net_arch: list[int]) -> GaussianActor | CategoricalActor:
        arguments = self._arguments(net_arch, None)
        if isinstance(self.action_space, spaces.Box):
            return GaussianActor(**arguments, initial_std=self.initial_std, min_std=self.min_std)
        return CategoricalActor(**arguments, uniform_share=self.uniform_share)

    def _make_critic(
        self, net_arch: list[int], features_extractor: BaseFeaturesExtractor | None
    ) -> BoxCritics | DiscreteCritics:
        arguments = self._arguments(net_arch, features_extractor)
        made = BoxCritics if isinstance(self.action_space, spaces.Box) else DiscreteCritics
        return made(**arguments, n_critics=self.n_critics, share_features_extractor=features_extractor is not None)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            "net_arch": self.net_arch,
            "activation_fn": self.activation_fn,
            "initial_std": self.initial_std,
            "min_std": self.min_std,
            "uniform_share": self.uniform_share,
            "n_critics": self.n_critics,
            "share_features_extractor": self.share_features_extractor,
            "lr_schedule": self._dummy_schedule,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
            "features_extractor_class": self.features_extractor_class,
            "features_extractor_kwargs": self.features_extractor_kwargs,
        }

    def forward(self, obs: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        return self._predict(obs, deterministic=deterministic)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        return self.actor._predict(observation, deterministic)

    def set_training_mode(self, mode: bool) -> None:
        """Puts actor and critics in training or evaluation mode. The reference and the targets stay in evaluation mode."""
        self.actor.set_training_mode(mode)
        self.critic.set_training_mode(mode)
        self.training = mode


MlpPolicy = PMPOPolicy


class CnnPolicy(PMPOPolicy):
    """`PMPOPolicy` for images."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"features_extractor_class": NatureCNN, **kwargs})


class MultiInputPolicy(PMPOPolicy):
    """`PMPOPolicy` for dictionaries of observations."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"features_extractor_class": CombinedExtractor, **kwargs})
