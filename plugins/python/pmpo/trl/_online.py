"""The trainer that learns from rewards of completions that it samples, beside TRL's GRPO."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from .._operator import Operator
from ..errors import PmpoError
from ._operators import check_feedback, chosen_operator, needs_of, reads_kl
from ._scoring import Request, Scores
from ._state import TrainsState
from ._training import Planes, mean, prepare_models, record, reference_states, refuse_changed

Feedback = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps rewards [N, B] of N completions of each of B prompts to the weights of accepted and of rejected ones, [N, B] each in [0, 1].
A reward is NaN if no reward function gave one; its completion has no feedback, whatever the weights."""

_of_grpo = (
    "loss_type",
    "epsilon",
    "epsilon_high",
    "delta",
    "importance_sampling_level",
    "scale_rewards",
    "multi_objective_aggregation",
    "off_policy_mask_threshold",
    "top_entropy_quantile",
    "entropy_coef",
    "use_adaptive_entropy",
    "use_bias_correction_kl",
)


def better_half(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Accepts the better half of each prompt's completions and rejects the worse half.

    A completion whose reward ties with one of the other half gets no feedback, and neither does the middle one of an odd number.
    """
    half = (~rewards.isnan()).sum(0) / 2
    at_least = (rewards.unsqueeze(0) >= rewards.unsqueeze(1)).sum(1)
    at_most = (rewards.unsqueeze(0) <= rewards.unsqueeze(1)).sum(1)
    there = ~rewards.isnan()
    return (there & (at_least <= half)).float(), (there & (at_most <= half)).float()


@dataclasses.dataclass
class OnlinePMPOConfig(GRPOConfig):
    """The settings of `OnlinePMPOTrainer`: those of TRL's `GRPOConfig`, but for the ones of GRPO's loss, and the operator's.

    Args:
      alpha: the weight of accepted against rejected completions, in [0, 1]; by default the operator's, 0.5.
      beta: the weight of KL(reference ‖ policy); by default the operator's, 1.
      reference: `sampling`, the policy that sampled the completions, or `model`, the initial model (or its moving copy with
        `sync_ref_model`). By default as in GRPO: `model` if `beta` is given and not 0.
      state_learning_rate: the learning rate of the variables that an operator trains with the policy (temperatures, and duals of bounds
        on the KL), on the schedule of the other.
    """

    alpha: float | None = dataclasses.field(
        default=None, metadata={"help": "The weight of accepted against rejected completions, in [0, 1]; by default 0.5."}
    )
    beta: float | None = dataclasses.field(
        default=None, metadata={"help": "The weight of KL(reference ‖ policy); by default the operator's, 1."}
    )
    reference: str | None = dataclasses.field(
        default=None,
        metadata={"help": "'sampling' (the policy that sampled) or 'model'; by default 'model' if beta is given and not 0."},
    )
    state_learning_rate: float = dataclasses.field(
        default=1e-2, metadata={"help": "The learning rate of variables that the operator trains: temperatures and duals."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_changed(self, GRPOConfig, _of_grpo, "Choose a loss by OnlinePMPOTrainer(operator=…)")
        if self.reference not in (None, "sampling", "model"):
            raise PmpoError("OnlinePMPOConfig, reference", f"is {self.reference!r}", "It must be 'sampling' or 'model'")
        if self.per_device_train_batch_size % self.num_generations != 0:
            raise PmpoError(
                "OnlinePMPOConfig, per_device_train_batch_size",
                f"is {self.per_device_train_batch_size}, and a prompt has {self.num_generations} completions",
                "It must be a multiple of num_generations: an operator compares the completions of a prompt",
            )


class OnlinePMPOTrainer(TrainsState, GRPOTrainer):
    """Samples completions, gets rewards, and learns from the better and the worse ones of each prompt, by an operator of this package.

    Takes the arguments of TRL's `GRPOTrainer`, and:

    Args:
      operator: an operator (`pmpo.operators.pmpo(alpha=0.3)`, `pmpo.load(FILE)`) or the name of a built-in one; by default
        `pmpo.operators.pmpo` with `alpha` and `beta` of the configuration.
      feedback: maps rewards [N, B] to accept and reject weights; by default `better_half`.

    With `reference="model"` the KL is exact over the vocabulary at each token. With `reference="sampling"` it is the estimate
    r − 1 − log r at each token, r = π_θ/π_ref, which holds for samples of the reference only: those are. It is 0 until the policy
    takes a second step with the same completions (`num_iterations`, `steps_per_generation`).

    The groups of completions stay together: each batch holds whole ones. Metrics are those of `GRPOTrainer` but for the clipping,
    and the operator's own.

    Raises:
      PmpoError: before training, naming what does not fit.
    """

    _buffered_inputs: Any
    _tag_names = ["trl", "pmpo"]
    _name = "PMPO"

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: OnlinePMPOConfig | None = None,
        *rest: Any,
        operator: Operator | str | None = None,
        feedback: Feedback = better_half,
        **options: Any,
    ) -> None:
        args = OnlinePMPOConfig(output_dir="trainer_output") if args is None else copy.copy(args)
        if not isinstance(args, OnlinePMPOConfig):
            raise PmpoError("args", f"is a {type(args).__name__}", "Give a pmpo.trl.OnlinePMPOConfig")
        self.reference = args.reference or ("model" if args.beta else "sampling")
        self.operator = chosen_operator(operator, "OnlinePMPOConfig", {"alpha": args.alpha, "beta": args.beta})
        self.feedback = feedback
        self._needs = needs_of(self.operator)
        self._reads_kl = reads_kl(self.operator)
        check_feedback(self.operator, self._needs, "feedback", accepts=True, rejects=True, pairs=True)
        if self._needs.kl == "exact" and self.reference == "sampling":
            raise PmpoError(
                f"operator {self.operator.name}",
                "needs the exact KL, and reference='sampling' estimates it",
                "Set reference='model' in OnlinePMPOConfig",
            )
        # GRPO loads its reference model if this is not 0.
        args.beta = float(self.reference == "model")
        super().__init__(model, reward_funcs, args, *rest, **options)
        # It would also compute the reference's log-probs, which the exact KL does not need.
        self.beta = 0.0
        prepare_models(self, "OnlinePMPOConfig")
        self.make_state()

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
        self._rewards = super()._calculate_rewards(*args, **kwargs)
        return self._rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """Adds to GRPO's batch, one for each completion: `group`, the index of its prompt, `accept`, `reject` and `evaluation`."""
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if batch.get("num_images") is not None:
            raise PmpoError("train_dataset", "holds images", "OnlinePMPOTrainer takes text only")
        size = self.num_generations if self.model.training else self.num_generations_eval
        weights = self.reward_weights.to(self._rewards.device)
        rewards = (self._rewards * weights).nansum(1).masked_fill(self._rewards.isnan().all(1), torch.nan)
        plane = rewards.view(-1, size).T
        accept, reject = self.feedback(plane)
        # The rewards are those of all processes; this one has a part.
        count = len(batch["completion_ids"])
        own = slice(self.accelerator.process_index * count, (self.accelerator.process_index + 1) * count)
        for name, values in (("accept", accept), ("reject", reject)):
            if values.shape != plane.shape:
                raise PmpoError("feedback", f"gives {name} of shape {list(values.shape)}", f"It must be {list(plane.shape)}")
            known = torch.where(plane.isnan(), 0.0, values.to(plane.dtype))
            batch[name] = known.T.reshape(-1)[own]
        batch["evaluation"] = rewards[own]
        batch["group"] = torch.arange(own.start, own.stop, device=rewards.device) // size
        return batch

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """As GRPO, which shuffles completions and splits them into batches, but with the completions of a prompt in one batch."""
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if not self.model.training or self._buffered_inputs is before:
            return inputs
        self._buffered_inputs = _regrouped(self._buffered_inputs)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        tokens = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        of_completion = inputs["completion_mask"]
        if inputs.get("tool_mask") is not None:
            of_completion = of_completion * inputs["tool_mask"]
        mask = torch.cat([torch.zeros_like(inputs["prompt_mask"]), of_completion], 1)
        given = {"input_ids": tokens, "attention_mask": attention}
        request = Request(mask, self.temperature)
        if self.reference == "model" and (self._reads_kl or self._needs.reference_log_prob):
            request = dataclasses.replace(request, reference=reference_states(self, request, given), kl=self._reads_kl)
        scores: Scores = model(**given, request=request)

        reference_log_prob, kl = scores.reference_log_prob, scores.kl
        if self.reference == "sampling":
            old = inputs.get("old_per_token_logps")
            # GRPO leaves it out where the policy has not changed since it sampled.
            reference_log_prob = scores.log_prob.detach() if old is None else old[of_completion.bool()]
            log_ratio = scores.log_prob - reference_log_prob
            kl = log_ratio.exp() - 1 - log_ratio
        planes = _planes(mask, inputs["group"])
        log_prob, entropy = planes.sums(scores.log_prob), mean(scores.entropy)
        sequence_kl = None if kl is None else planes.sums(kl)
        # A completion without tokens (one that was cut off, with mask_truncated_completions) does not count, in the KL either.
        there = ((of_completion.sum(1) > 0) & ~inputs["evaluation"].isnan()).to(log_prob.dtype)
        loss, metrics = self.operator.torch(
            planes.of(log_prob),
            None if reference_log_prob is None else planes.of(planes.sums(reference_log_prob)),
            evaluation=planes.of(inputs["evaluation"].nan_to_num()),
            accept=planes.of(inputs["accept"]),
            reject=planes.of(inputs["reject"]),
            mask=planes.of(there),
            length=planes.of(planes.length),
            kl=None if sequence_kl is None else planes.context_means(sequence_kl, there),
            state=self.operator_state,
        )
        shares = {name: mean(value) for name, value in metrics.items()} | {"entropy": entropy}
        for name, weights in (("chosen", inputs["accept"]), ("rejected", inputs["reject"])):
            shares[f"logps/{name}"] = mean(log_prob, weights)
        if kl is not None:
            # For each token, as GRPO's.
            shares["kl"] = mean(kl)
        record(self, shares)
        scaled: Tensor = loss / (self.current_gradient_accumulation_steps if self.model.training else 1)
        return scaled


def _planes(mask: Tensor, group: Tensor) -> Planes:
    """The planes of sequences by group, in their order."""
    _, context = group.unique(return_inverse=True)
    same = context.unsqueeze(0) == context.unsqueeze(1)
    return Planes(mask, context, same.tril(-1).sum(1))


def _regrouped(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Batches of the same sizes with the sequences of a group next to each other, groups in the order in which they first appear."""
    group = torch.cat([batch["group"] for batch in batches])
    _, context = group.unique(return_inverse=True)
    place = torch.arange(len(group), device=group.device)
    first = torch.full_like(place, len(group)).scatter_reduce(0, context, place, "amin")
    order = first[context].argsort(stable=True)
    size = len(order) // len(batches)
    whole: dict[str, Any] = {}
    for name, value in batches[0].items():
        if torch.is_tensor(value) and value.ndim > 0:
            whole[name] = torch.cat([batch[name] for batch in batches])[order]
        elif isinstance(value, list):
            items = [item for batch in batches for item in batch[name]]
            whole[name] = [items[i] for i in order.tolist()]
    return [
        {**batch, **{name: value[i * size : (i + 1) * size] for name, value in whole.items()}} for i, batch in enumerate(batches)
    ]
