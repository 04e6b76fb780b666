"""The algorithm: Stable-Baselines3's replay, with the policy improved by an operator of pmpo.

Shapes: N samples per context, B contexts (the batch), A action dimensions, K actions of a discrete space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, PyTorchObs, Schedule
from stable_baselines3.common.utils import get_parameters_by_name, polyak_update, update_learning_rate
from torch.distributions import Categorical, Normal
from torch.nn import functional as F

from .. import control
from .._named import named_operator
from .._operator import Operator
from .._torch import TorchState
from ..errors import PmpoError
from .policies import BoxCritics, CategoricalActor, CnnPolicy, DiscreteCritics, GaussianActor, MlpPolicy, MultiInputPolicy, PMPOPolicy

Self = TypeVar("Self", bound="PMPO")


class _Drawn(NamedTuple):
    """Samples of the reference at a batch of observations, and what the critics say of them."""

    reference: Normal | Categorical
    samples: torch.Tensor | None
    """[N, B, A]; None for discrete actions, each of which is evaluated."""
    evaluation: torch.Tensor
    """[N, B]"""
    weights: torch.Tensor
    """[N, B]: 1, or the reference's probability of each action."""

    def value(self) -> torch.Tensor:
        """The value of each observation, [B]."""
        return (self.weights * self.evaluation).sum(0) / self.weights.sum(0)


class PMPO(OffPolicyAlgorithm):
    """Preference-based MPO (arXiv 2410.04166), or another operator, on Stable-Baselines3's replay.

    Each update draws N actions of the reference policy at each observation, evaluates them by the target critics, calls them accepted
    or rejected, and takes a step on the operator's loss. The reference follows the actor. Discrete actions are all evaluated, each
    weighted by its probability.

    The other arguments are those of `stable_baselines3.SAC`; gSDE is not supported. `n_steps` is 3 by default, or 1 where
    Stable-Baselines3 has no n-step returns: with dictionaries of observations, a replay of your own, or `optimize_memory_usage`.

    :param operator: an operator of `pmpo.operators` or of `pmpo.load`, or the name of a built-in one; PMPO with bounded KLs by default
    :param feedback: which actions are accepted and rejected: `"value-baseline"` by the sign of the advantage, `"top-half"`, or a
        function from evaluations and weights, [N, B] each, to accept and reject, [N, B] each, which do not hold the weights; see
        `pmpo.control.Feedback`
    :param n_samples: N, the actions that are drawn for each observation
    :param reference_update_interval: the reference becomes a copy of the actor every so many updates
    :param actor_rate: the actor's learning rate as a share of `learning_rate`. Where steps of Adam exceed the bounds by their noise
        alone, the weights of the KLs rise without end and the actor stands still: on Pendulum, 1.0 left one of three seeds at −195 and
        0.3 brought all three to −130 or better within 6,000 steps
    :param operator_learning_rate: the learning rate of the operator's own variables, such as the weights of bounded KLs
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    policy: PMPOPolicy
    actor: GaussianActor | CategoricalActor
    reference: GaussianActor | CategoricalActor
    critic: BoxCritics | DiscreteCritics
    critic_target: BoxCritics | DiscreteCritics
    operator_state: TorchState
    replay_buffer_class: type[ReplayBuffer] | None

    def __init__(
        self,
        policy: str | type[PMPOPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        buffer_size: int = 1_000_000,
        learning_starts: int = 1_000,
        batch_size: int = 256,
        tau: float = 0.01,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 1,
        gradient_steps: int = 1,
        action_noise: ActionNoise | None = None,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int | None = None,
        operator: Operator | str | None = None,
        feedback: control.Feedback = "value-baseline",
        n_samples: int = 8,
        reference_update_interval: int = 50,
        actor_rate: float = 0.3,
        operator_learning_rate: float = 1e-2,
        target_update_interval: int = 1,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate,
            buffer_size,
            learning_starts,
            batch_size,
            tau,
            gamma,
            train_freq,
            gradient_steps,
            action_noise,
            replay_buffer_class=replay_buffer_class,
            replay_buffer_kwargs=replay_buffer_kwargs,
            optimize_memory_usage=optimize_memory_usage,
            n_steps=1 if n_steps is None else n_steps,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            seed=seed,
            sde_support=False,
            supported_action_spaces=(spaces.Box, spaces.Discrete),
            support_multi_env=True,
        )
        if isinstance(operator, str):
            operator = named_operator(operator, {}, "operator")
        elif operator is not None and not isinstance(operator, Operator):
            what = f"is a {type(operator).__name__}"
            raise PmpoError("operator", what, "Give its name, make it by pmpo.operators, or read it by pmpo.load")
        control.check_feedback(feedback)
        if n_samples < 2:
            raise PmpoError("n_samples", f"is {n_samples}", "It must be at least 2, because the samples of a state are compared")
        if n_steps is None and replay_buffer_class is None and not optimize_memory_usage and env is not None:
            # Stable-Baselines3 has n-step returns for this replay alone.
            self.n_steps = 1 if isinstance(self.observation_space, spaces.Dict) else 3
        self.operator = control.default_operator() if operator is None else operator
        self.feedback = feedback
        self.n_samples = n_samples
        self.reference_update_interval = reference_update_interval
        self.actor_rate = actor_rate
        self.operator_learning_rate = operator_learning_rate
        self.target_update_interval = target_update_interval
        self.operator_optimizer: torch.optim.Optimizer | None = None
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        if self.replay_buffer_class is NStepReplayBuffer and self.replay_buffer_kwargs.get("n_steps") == self.n_steps:
            # The choice that Stable-Baselines3 made, in a loaded model: it makes it again, and warns of one that it finds.
            self.replay_buffer_class = None
        super()._setup_model()
        self.actor, self.reference = self.policy.actor, self.policy.reference
        self.critic, self.critic_target = self.policy.critic, self.policy.critic_target
        self.batch_norm_stats = get_parameters_by_name(self.critic, ["running_"])
        self.batch_norm_stats_target = get_parameters_by_name(self.critic_target, ["running_"])
        continuous = isinstance(self.action_space, spaces.Box)
        dimensions = get_action_dim(self.action_space)
        parts = {"mean": dimensions, "covariance": dimensions} if continuous else {"categorical": 1}
        self.operator_state = self.operator.torch_state(parts, bound_violation=continuous, device=self.device)
        group = self.operator_state.parameter_group(self.operator_learning_rate)
        self.operator_optimizer = torch.optim.Adam([group]) if group["params"] else None

    @torch.no_grad()
    def _draw(self, obs: PyTorchObs) -> _Drawn:
        reference = self.reference.distribution(obs)
        if isinstance(reference, Normal):
            assert isinstance(self.critic_target, BoxCritics)
            samples = reference.sample((self.n_samples,))
            evaluation = self.critic_target.evaluate(obs, samples).mean(0)
            return _Drawn(reference, samples, evaluation, torch.ones_like(evaluation))
        assert isinstance(self.critic_target, DiscreteCritics)
        evaluation = self.critic_target.evaluate(obs).mean(0)
        return _Drawn(reference, None, evaluation, reference.probs.transpose(0, 1))

    def _operator_loss(self, obs: PyTorchObs) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """The operator's loss at observations [B], and its metrics."""
        drawn = self._draw(obs)
        policy = self.actor.distribution(obs)
        if isinstance(policy, Normal):
            assert isinstance(drawn.reference, Normal) and drawn.samples is not None
            terms = control.gaussian(policy, drawn.reference, drawn.samples)
        else:
            assert isinstance(drawn.reference, Categorical)
            terms = control.categorical(policy, drawn.reference)
        accept, reject = control.classify(self.feedback, drawn.evaluation, drawn.weights)
        return self.operator.torch(**terms, evaluation=drawn.evaluation, accept=accept, reject=reject, state=self.operator_state)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Takes `gradient_steps` steps of critics, actor and the operator's variables."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.critic.optimizer)
        update_learning_rate(self.actor.optimizer, self.actor_rate * self.lr_schedule(self._current_progress_remaining))
        critic_losses: list[float] = []
        logged: dict[str, list[float]] = {}
        for _ in range(gradient_steps):
            assert self.replay_buffer is not None
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            critic_losses.append(self._improve_critics(batch))
            loss, metrics = self._operator_loss(batch.observations)
            self.actor.optimizer.zero_grad()
            if self.operator_optimizer is not None:
                self.operator_optimizer.zero_grad()
            loss.backward()
            self.actor.optimizer.step()
            if self.operator_optimizer is not None:
                self.operator_optimizer.step()
                self.operator_state.project()
            for name, value in {"actor_loss": loss, **metrics}.items():
                logged.setdefault(name, []).append(value.mean().item())
            self._n_updates += 1
            if self._n_updates % self.target_update_interval == 0:
                polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
                polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)
            if self._n_updates % self.reference_update_interval == 0:
                self.reference.load_state_dict(self.actor.state_dict())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/critic_loss", np.mean(critic_losses))
        for name, values in logged.items():
            self.logger.record(f"train/{name}", np.mean(values))

    def _improve_critics(self, batch: Any) -> float:
        """A step of the critics towards the rewards and the value of the next observations. Returns the loss."""
        discounts = self.gamma if batch.discounts is None else batch.discounts
        value = self._draw(batch.next_observations).value().unsqueeze(-1)
        targets = batch.rewards + (1 - batch.dones) * discounts * value
        loss = torch.stack([F.mse_loss(q, targets) for q in self.critic(batch.observations, batch.actions)]).sum()
        self.critic.optimizer.zero_grad()
        loss.backward()
        self.critic.optimizer.step()
        return loss.item()

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "PMPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Trains for a number of environment steps; the arguments are those of every algorithm of Stable-Baselines3."""
        return super().learn(
            total_timesteps=total_timesteps,
            callback=callback,
            log_interval=log_interval,
            tb_log_name=tb_log_name,
            reset_num_timesteps=reset_num_timesteps,
            progress_bar=progress_bar,
        )

    def _excluded_save_params(self) -> list[str]:
        networks = ["actor", "reference", "critic", "critic_target", "operator_state", "operator_optimizer"]
        return [*super()._excluded_save_params(), *networks]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts = ["policy", "actor.optimizer", "critic.optimizer", "operator_state"]
        if self.operator_optimizer is not None:
            state_dicts.append("operator_optimizer")
        return state_dicts, []
