"""The trainer of preference data sets."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from accelerate.logging import get_logger
from torch import Tensor
from trl import DPOConfig, DPOTrainer

from .._operator import Operator
from .._sequences import held_at_floor
from ..errors import PmpoError
from ._data import Collator, as_pairs, kind_of, sides_of
from ._operators import check_feedback, chosen_operator, needs_of, reads_kl
from ._scoring import Request, Scores
from ._state import TrainsState
from ._training import Planes, Share, mean, prepare_models, record, reference_states, refuse_changed

logger = get_logger(__name__)

_of_dpo = ("loss_type", "loss_weights", "ld_alpha", "f_divergence_type", "label_smoothing", "use_weighting")


@dataclasses.dataclass
class PMPOConfig(DPOConfig):
    """The settings of `PMPOTrainer`: those of TRL's `DPOConfig`, but for the ones that choose a loss, and the operator's.

    Args:
      alpha: the weight of accepted against rejected completions, in [0, 1]; by default the operator's, 0.5.
      beta: the operator's β; by default its own. For PMPO it is the weight of KL(reference ‖ policy), 1 or
        1.25 · (1 − alpha) if that is more; for DPO and KTO it scales
        the log-ratios, as in `DPOConfig` and `KTOConfig`.
      rejected_floor: the share of its probability under the reference at which a rejected completion is pushed down no further, for PMPO,
        in [0, 1). 0 means no floor: the probability of unlikely tokens then falls without end.
      state_learning_rate: the learning rate of the variables that an operator trains with the policy (temperatures, and duals of bounds
        on the KL), on the schedule of the other.

    `alpha` and `beta` are for an operator that the trainer makes; one that is given to it has its own.
    """

    alpha: float | None = dataclasses.field(
        default=None, metadata={"help": "The weight of accepted against rejected completions, in [0, 1]; by default 0.5."}
    )
    beta: float | None = dataclasses.field(
        default=None, metadata={"help": "The operator's β: for PMPO the weight of KL(reference ‖ policy), by default 1 or more."}
    )
    rejected_floor: float = dataclasses.field(
        default=0.1,
        metadata={"help": "The share of its probability at which a rejected completion is pushed down no further, for PMPO; 0: no floor."},
    )
    state_learning_rate: float = dataclasses.field(
        default=1e-2, metadata={"help": "The learning rate of variables that the operator trains: temperatures and duals."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_changed(self, DPOConfig, _of_dpo, "Choose a loss by PMPOTrainer(operator=…)")
        if not 0 <= self.rejected_floor < 1:
            raise PmpoError("PMPOConfig, rejected_floor", f"is {self.rejected_floor!r}", "Give a share from 0 to below 1")


class PMPOTrainer(TrainsState, DPOTrainer):
    """Trains on accepted completions, rejected completions, or both, by an operator of this package.

    Takes the arguments of TRL's `DPOTrainer` and `KTOTrainer`, and their data sets: pairs (`prompt`, `chosen`, `rejected`, with the
    prompt explicit or not) and completions with labels (`prompt`, `completion`, `label`), plain or conversational.

    Args:
      operator: an operator (`pmpo.operators.dpo(beta=0.1)`, `pmpo.load(FILE)`) or the name of a built-in one; by default
        `pmpo.operators.pmpo` with `alpha` and `beta` of the configuration.

    log π(y|x) and KL(reference ‖ policy) are summed over the tokens of a completion. The KL is exact over the vocabulary at each token,
    and averaged over the two completions of a pair. With PEFT the reference is the model without the adapter.

    Metrics are those of `DPOTrainer`, and the operator's own. `rewards/chosen` and `rewards/rejected` are β·log(π_θ/π_ref) with the
    operator's β, or 1; those of a side that a batch lacks are left out, and accuracies and margins are those of pairs.

    Raises:
      PmpoError: before training, naming what the data, the operator or the configuration lacks.
    """

    data_collator: Any
    _tag_names = ["trl", "pmpo"]
    _name = "PMPO"
    _paper = {
        "title": "Learning from negative feedback, or positive feedback or both",
        "id": "2410.04166",
        "citation": "@inproceedings{abdolmaleki2025learning,\n"
        "    title  = {Learning from negative feedback, or positive feedback or both},\n"
        "    author = {Abdolmaleki, Abbas and others},\n"
        "    booktitle = {ICLR},\n"
        "    year   = {2025},\n"
        "}",
    }

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: PMPOConfig | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        *rest: Any,
        operator: Operator | str | None = None,
        **options: Any,
    ) -> None:
        args = PMPOConfig(output_dir="trainer_output") if args is None else args
        if not isinstance(args, PMPOConfig):
            raise PmpoError("args", f"is a {type(args).__name__}", "Give a pmpo.trl.PMPOConfig")
        self.operator = chosen_operator(operator, "PMPOConfig", {"alpha": args.alpha, "beta": args.beta})
        if self.operator.name == "pmpo" and operator in (None, "pmpo") and args.beta is not None and 0 < args.beta < 0.5:
            logger.warning(
                f"beta={args.beta} is the weight of the KL in PMPO, which is 1 by default. It is not the β of DPO, which is often 0.1: in a "
                "script that was DPO's, leave beta out."
            )
        self._needs = needs_of(self.operator, "a preference data set")
        self._reads_kl = reads_kl(self.operator)
        if train_dataset is None:
            raise PmpoError("train_dataset", "is missing", "Give a data set of pairs, or of completions with labels")
        self._check(args, train_dataset, eval_dataset)
        super().__init__(model, ref_model, args, data_collator, train_dataset, eval_dataset, *rest, **options)
        self.beta = float(self.operator.settings.get("beta", 1.0))
        prepare_models(self, "PMPOConfig")
        self.make_state()
        self.data_collator = Collator(self.data_collator)

    def _check(self, args: PMPOConfig, train_dataset: Any, eval_dataset: Any) -> None:
        if args.precompute_ref_log_probs:
            raise PmpoError(
                "PMPOConfig, precompute_ref_log_probs",
                "is True, and log-probs are not enough: the exact KL needs the reference's distributions",
                "Leave it out",
            )
        kind = kind_of(train_dataset, "train_dataset")
        accepts, rejects = sides_of(train_dataset, kind, "train_dataset")
        less = check_feedback(
            self.operator, self._needs, "train_dataset", accepts=accepts, rejects=rejects, pairs=kind == "pairs"
        )
        if less is not None:
            logger.warning(f"train_dataset: {self.operator.name} learns from {less}.")
        for name, dataset in (eval_dataset.items() if isinstance(eval_dataset, dict) else [(None, eval_dataset)]):
            if dataset is not None:
                where = "eval_dataset" if name is None else f"eval_dataset['{name}']"
                pairs = kind_of(dataset, where) == "pairs"
                check_feedback(self.operator, self._needs, where, accepts=True, rejects=True, pairs=pairs)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        return super()._prepare_dataset(as_pairs(dataset, f"{dataset_name} data set"), processing_class, args, dataset_name)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if "label" not in self._signature_columns:
            self._signature_columns.append("label")

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The operator's loss of a batch."""
        inputs = dict(inputs)
        mask, accept = inputs.pop("completion_mask"), inputs.pop("accept")
        context, sample = inputs.pop("context"), inputs.pop("sample")
        request = Request(mask)
        if self._reads_kl or self._needs.reference_log_prob:
            request = Request(mask, reference=reference_states(self, request, inputs), kl=self._reads_kl)
        scores: Scores = model(**inputs, request=request)
        planes = Planes(mask, context, sample)
        log_prob = planes.sums(scores.log_prob)
        reference = None if scores.reference_log_prob is None else planes.sums(scores.reference_log_prob)
        if reference is not None:
            log_prob = held_at_floor(self.operator, log_prob, reference, ~accept, self.args.rejected_floor)
        kl = None if scores.kl is None else planes.sums(scores.kl)
        loss, metrics = self.operator.torch(
            planes.of(log_prob),
            None if reference is None else planes.of(reference),
            accept=planes.of(accept),
            reject=planes.of(~accept),
            length=planes.of(planes.length),
            kl=None if kl is None else planes.context_means(kl),
            state=self.operator_state,
        )
        tokens = inputs["attention_mask"].sum()
        shares = self._shares(planes.row, accept, sample, scores, log_prob, reference, kl)
        self._record(shares | {name: mean(value) for name, value in metrics.items()}, tokens, bool(sample.max() == 1))
        if not return_outputs:
            return loss
        with torch.no_grad():
            return loss, model(**inputs, use_cache=False)

    def _shares(
        self,
        row: Tensor,
        accept: Tensor,
        sample: Tensor,
        scores: Scores,
        log_prob: Tensor,
        reference: Tensor | None,
        kl: Tensor | None,
    ) -> dict[str, Share]:
        """The metrics of TRL's trainers."""
        shares = {"entropy": mean(scores.entropy)}
        reward = None if reference is None else self.beta * (log_prob.detach() - reference)
        for side, of_side in (("chosen", accept), ("rejected", ~accept)):
            weight = of_side.float()
            shares[f"logps/{side}"] = mean(log_prob, weight)
            shares[f"logits/{side}"] = mean(scores.mean_logit, weight[row])
            if reward is not None:
                shares[f"rewards/{side}"] = mean(reward, weight)
        shares["mean_token_accuracy"] = mean(scores.correct, accept[row].float())
        if reward is not None and bool(sample.max() == 1):
            margin = reward[sample == 0] - reward[sample == 1]
            shares |= {"rewards/margins": mean(margin), "rewards/accuracies": mean((margin > 0).float())}
        if kl is not None:
            shares["kl"] = mean(kl)
        return shares

    def _record(self, shares: dict[str, Share], tokens: Tensor, pairs: bool) -> None:
        total = record(self, shares)
        training = bool(self.model.training)
        metrics = self._metrics["train" if training else "eval"]
        if "rewards/chosen" in total and not pairs:
            (chosen, accepted), (rejected, others) = total["rewards/chosen"], total["rewards/rejected"]
            if accepted > 0 and others > 0:
                metrics["rewards/margins"].append((chosen / accepted - rejected / others).item())
        if training:
            self._total_train_tokens += int(self.accelerator.gather(tokens).sum()) // self._tp_size
        metrics["num_tokens"] = [self._total_train_tokens]
