"""PMPO, or any other operator, as a loss module of TorchRL.

    loss_module = pmpo.torchrl.PMPOLoss(actor, qvalue, action_size=6)   # was: SACLoss(actor, qvalue)
    target_updater = SoftUpdate(loss_module, tau=0.01)

Shapes: N samples per context, B contexts (the batch), A action dimensions, Q critics.
"""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase, TensorDictParams
from tensordict.nn import TensorDictModule
from torch.distributions import Normal
from torchrl.objectives import LossModule

from . import control
from ._operator import Operator
from ._torch import TorchState
from .errors import PmpoError

__all__ = ["PMPOLoss"]


class PMPOLoss(LossModule):
    """The losses of critics, actor and the operator's own variables, for continuous actions in [-1, 1].

    The target actor is the reference policy. It is sampled N times at each observation; the target critics evaluate the samples, and
    classify them into accepted and rejected ones. An updater such as `SoftUpdate` moves both targets.

    Its input has `observation`, `action` and `next` with `observation`, `reward` and `terminated`; its output has the losses
    `loss_actor` (which also trains the operator's variables) and `loss_qvalue`. Call `project()` after each step of the optimizer.

    Args:
      actor_network: a module that writes `loc` and `scale`, [B, A]: the mean, within [-1, 1], and the standard deviation. Actions are
        clipped, not squashed.
      qvalue_network: a module that reads `observation` and `action` and writes `state_action_value`, [B, 1].
      operator: PMPO with bounded KLs by default.
      feedback: `value-baseline`, `top-half`, or a function; see `pmpo.control`.
      action_size: A.
      num_qvalue_nets: Q.
      num_samples: N.
      gamma: the discount.
    """

    actor_network: TensorDictModule
    qvalue_network: TensorDictModule
    actor_network_params: TensorDictParams
    qvalue_network_params: TensorDictParams
    target_actor_network_params: TensorDictParams
    target_qvalue_network_params: TensorDictParams

    def __init__(
        self,
        actor_network: TensorDictModule,
        qvalue_network: TensorDictModule,
        action_size: int,
        *,
        operator: Operator | None = None,
        feedback: control.Feedback = "value-baseline",
        num_qvalue_nets: int = 2,
        num_samples: int = 8,
        gamma: float = 0.99,
    ) -> None:
        super().__init__()
        if num_samples < 2:
            raise PmpoError("num_samples", f"is {num_samples}", "It must be at least 2, because the samples of a state are compared")
        self.convert_to_functional(actor_network, "actor_network", create_target_params=True)
        self.convert_to_functional(
            qvalue_network, "qvalue_network", expand_dim=num_qvalue_nets, create_target_params=True
        )
        self.operator = control.default_operator() if operator is None else operator
        self.feedback, self.num_qvalue_nets, self.num_samples, self.gamma = feedback, num_qvalue_nets, num_samples, gamma
        parts = {"mean": action_size, "covariance": action_size}
        self.operator_state: TorchState = self.operator.torch_state(parts, bound_violation=True)
        self.in_keys = ["observation", "action", ("next", "observation"), ("next", "reward"), ("next", "terminated")]
        self.out_keys = ["loss_actor", "loss_qvalue"]

    def _policy(self, params: TensorDictParams, observation: torch.Tensor) -> Normal:
        with params.to_module(self.actor_network):
            written = self.actor_network(TensorDict({"observation": observation}, observation.shape[:-1]))
        if "loc" not in written.keys() or "scale" not in written.keys():
            raise PmpoError("actor_network", "did not write `loc` and `scale`", "End it with a NormalParamExtractor")
        return Normal(written["loc"], written["scale"], validate_args=False)

    def _values(self, params: TensorDictParams, observation: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """The value by each critic, [Q, …] for actions […, A]."""
        found = []
        for i in range(self.num_qvalue_nets):
            with params[i].to_module(self.qvalue_network):
                given = TensorDict({"observation": observation, "action": action.clamp(-1, 1)}, action.shape[:-1])
                found.append(self.qvalue_network(given)["state_action_value"].squeeze(-1))
        return torch.stack(found)

    @torch.no_grad()
    def _draw(self, observation: torch.Tensor) -> tuple[Normal, torch.Tensor, torch.Tensor]:
        """The reference at observations [B], its samples [N, B, A], and their evaluation [N, B]."""
        reference = self._policy(self.target_actor_network_params, observation)
        samples = reference.sample((self.num_samples,))
        repeated = observation.expand(self.num_samples, *observation.shape)
        return reference, samples, self._values(self.target_qvalue_network_params, repeated, samples).mean(0)

    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        """The losses, and the operator's metrics, which carry no gradient."""
        batch = tensordict.reshape(-1)
        following = batch["next"]
        _, _, evaluation = self._draw(following["observation"])
        ongoing = 1 - following["terminated"].squeeze(-1).to(evaluation.dtype)
        targets = following["reward"].squeeze(-1) + self.gamma * ongoing * evaluation.mean(0)
        values = self._values(self.qvalue_network_params, batch["observation"], batch["action"])
        loss_qvalue = (values - targets).square().mean(-1).sum()
        reference, samples, evaluation = self._draw(batch["observation"])
        accept, reject = control.classify(self.feedback, evaluation, torch.ones_like(evaluation))
        policy = self._policy(self.actor_network_params, batch["observation"])
        terms = control.gaussian(policy, reference, samples)
        loss, metrics = self.operator.torch(
            **terms, evaluation=evaluation, accept=accept, reject=reject, state=self.operator_state
        )
        logged = {name: value.detach().mean() for name, value in metrics.items()}
        return TensorDict({"loss_actor": loss, "loss_qvalue": loss_qvalue, **logged}, [])

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The groups of an optimizer: the networks, and the operator's variables (`TorchState.parameter_group`)."""
        own = {id(parameter) for parameter in self.operator_state.parameters()}
        networks = [parameter for parameter in self.parameters() if id(parameter) not in own]
        return [{"params": networks}, self.operator_state.parameter_group()]

    def project(self) -> None:
        """Brings the operator's variables into their domain. Call it after each step of the optimizer."""
        self.operator_state.project()
