"""The policy, its reference and its optimizer: what `pmpo.v1.Trainer` does, without its wire.

Not for several threads at once; the service lets one call in at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Listed
from typing import Any

import torch
from torch import Tensor

from pmpo_torch_trainer import terms as token_terms
from pmpo_torch_trainer.batches import Batch, TokenSequence, check_sequences, collate
from pmpo_torch_trainer.errors import StartError, exhausted, invalid, precondition
from pmpo_torch_trainer.model import Head, LanguageModel, Weights, read_weights
from pmpo_torch_trainer.processes import ALONE, Pass, Processes
from pmpo_torch_trainer.terms import Factors, Side, Terms, Wanted

Factor = float | Listed[float] | None
"""One number for all tokens of a completion, one for each, or none."""


@dataclasses.dataclass(frozen=True)
class Coefficients:
    """By what the terms of one sequence are multiplied."""

    log_prob: Factor = None
    kl: Factor = None
    reverse_kl: Factor = None

    FIELDS = ("log_prob", "kl", "reverse_kl")


@dataclasses.dataclass(frozen=True)
class TrainerOptions:
    max_tokens_per_batch: int = 4096
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8


@contextlib.contextmanager
def _memory(doing: str) -> Iterator[None]:
    """Says what to do where memory has run out."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(doing) from error
    except RuntimeError as error:
        # What the CPU's allocator says has no class of its own.
        if "alloc" in str(error) and "memory" in str(error):
            raise _out_of_memory(doing) from error
        raise


def _out_of_memory(doing: str) -> Exception:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return exhausted(
        f"out of memory while {doing}; nothing was changed. A smaller --max-tokens-per-batch, --gradient-checkpointing, "
        "LoRA in place of full training, shorter completions or --dtype bfloat16 need less"
    )


class Trainer:
    """A model that is trained by coefficients. `reference` and `published` are weights as they were at some moment."""

    def __init__(self, model: LanguageModel, options: TrainerOptions, processes: Processes = ALONE) -> None:
        self.processes = processes
        self.options = options
        self.given = model
        """As it was given: what is not trained, and what there is to know."""
        parts = processes.split(model)
        self.model = parts.policy
        self.parameters = self.model.trainable()
        self.reference: Weights = parts.reference.weights
        self.published: Weights = self.reference
        self.sampled: Weights = parts.sampled
        """What is published, whole, in the process that samples."""
        # An adapter is small enough to keep; a whole model is read again when it is needed.
        self._first: Weights | None = None if model.peft is None else self.reference
        self.publications = 0
        self.steps = 0
        self._reference_view = parts.reference
        self._policy = Network(self.model.module, processes)
        self._reference = Network(parts.reference.module, processes)
        self.optimizer = torch.optim.AdamW(
            list(self.parameters.values()),
            lr=0.0,
            betas=(options.adam_beta1, options.adam_beta2),
            eps=options.adam_epsilon,
            weight_decay=0.0,
            # One kernel that needs no memory of its own on a GPU; the plain loop, which needs the least, elsewhere.
            fused=model.device.type == "cuda",
            foreach=False,
        )

    # Scores and gradients

    def score(self, sequences: Listed[TokenSequence], wanted: Wanted, alive: Callable[[], None] = lambda: None) -> list[Terms]:
        """The terms of each sequence. `alive` is called between batches and may raise."""
        self._check(sequences)
        if not (wanted.needs_policy or wanted.needs_reference):
            raise invalid("nothing is asked for: set policy, reference, kl or reverse_kl")

        def evaluate(batch: Batch) -> Terms:
            policy = self._policy_side(batch) if wanted.needs_policy else None
            reference = self._reference_side(batch) if wanted.needs_reference else None
            return token_terms.evaluate(policy, reference, batch.targets, wanted, self.model.vocabulary_size)

        with _memory("scoring"), torch.no_grad(), self.model.autocast():
            scores, _ = self._in_batches(sequences, lambda batch, _: (evaluate(batch), 0.0), alive)
        return scores

    def forward_backward(
        self,
        sequences: Listed[TokenSequence],
        coefficients: Listed[Coefficients],
        alive: Callable[[], None] = lambda: None,
    ) -> tuple[list[Terms], float]:
        """Adds a gradient; returns the terms of each sequence and the weighted sum. What fails adds nothing."""
        self._check(sequences)
        _check_coefficients(sequences, coefficients)
        has = {name: any(getattr(c, name) is not None for c in coefficients) for name in Coefficients.FIELDS}
        wanted = Wanted(policy=True, kl=has["kl"], reverse_kl=has["reverse_kl"])

        def differentiate(batch: Batch, own: Pass) -> tuple[Terms, float]:
            factors = Factors(
                **{name: self._factors(name, own, sequences, coefficients) for name in Coefficients.FIELDS if has[name]}
            )
            return self._differentiate(batch, wanted, factors)

        with _memory("taking the gradient"), self._gradient_of_its_own(), self.model.autocast():
            scores, value = self._in_batches(sequences, differentiate, alive)
            if not math.isfinite(value):
                raise precondition(f"the weighted sum is {value}: are the coefficients too large? No gradient was added")
        return scores, value

    def _differentiate(self, batch: Batch, wanted: Wanted, factors: Factors) -> tuple[Terms, float]:
        reference = self._reference_side(batch) if wanted.needs_reference else None
        # Only in training mode does the library recompute what it has not kept. There is no dropout.
        self.model.module.train(self.model.gradient_checkpointing)
        try:
            policy = self._policy_side(batch)
            if factors.log_prob is None and factors.kl is None and factors.reverse_kl is None:
                raise invalid("no sequence has coefficients")
            found, gradient, value = token_terms.differentiate(
                policy, reference, batch.targets, wanted, factors, self.model.vocabulary_size
            )
            # Where only the output layer is trained, the states have no gradient to pass on.
            if policy.states.requires_grad:
                policy.states.backward(gradient)
            return found, value
        finally:
            self.model.module.eval()

    def _factors(
        self, name: str, own: Pass, sequences: Listed[TokenSequence], coefficients: Listed[Coefficients]
    ) -> Tensor:
        values: list[float] = []
        for index in own.members:
            given: Factor = getattr(coefficients[index], name) if own.counts else None
            length = len(sequences[index].completion)
            values.extend([0.0] * length if given is None else [given] * length if isinstance(given, float) else given)
        return torch.tensor(values, dtype=torch.float32, device=self.model.device)

    def _policy_side(self, batch: Batch) -> Side:
        return _side(self._policy, batch)

    def _reference_side(self, batch: Batch) -> Side:
        with torch.no_grad():
            return _side(self._reference, batch)

    def _in_batches(
        self,
        sequences: Listed[TokenSequence],
        do: Callable[[Batch, Pass], tuple[Terms, float]],
        alive: Callable[[], None],
    ) -> tuple[list[Terms], float]:
        """`do` puts a batch through the model: its terms, and its part of the sum."""
        processes = self.processes
        mine: dict[int, Terms] = {}
        total = 0.0

        def check(found: dict[int, Terms]) -> None:
            alive()
            for index, own in found.items():
                _check_finite(index, own)

        try:
            processes.agree(alive)
            for own in processes.passes(sequences, self.options.max_tokens_per_batch):
                batch = collate([sequences[index] for index in own.members], self.model.device)
                terms, value = do(batch, own)
                found = dict(zip(own.members, _by_sequence(terms, batch), strict=True)) if own.counts else {}
                processes.agree(functools.partial(check, found))
                mine.update(found)
                total += value if own.counts else 0.0
        finally:
            self._policy.body.release()
            self._reference.body.release()
        everybody = processes.gather((mine, total))
        scores = {index: terms for part, _ in everybody for index, terms in part.items()}
        return [scores[index] for index in range(len(sequences))], sum(part for _, part in everybody)

    def _check(self, sequences: Listed[TokenSequence]) -> None:
        check_sequences(sequences, self.model.vocabulary_size, self.model.context_length)

    @contextlib.contextmanager
    def _gradient_of_its_own(self) -> Iterator[None]:
        """What is accumulated in here is added to what there is at the end, or forgotten when something fails."""
        before = {name: parameter.grad for name, parameter in self.parameters.items()}
        for parameter in self.parameters.values():
            parameter.grad = None
        try:
            yield
        except BaseException:
            for name, parameter in self.parameters.items():
                parameter.grad = before[name]
            raise
        for name, parameter in self.parameters.items():
            old, new = before[name], parameter.grad
            if old is not None:
                parameter.grad = old if new is None else old.add_(new)

    # Steps

    def optim_step(self, learning_rate: float, max_gradient_norm: float) -> float:
        """One step of Adam; returns the gradient's norm before it was scaled. The gradient is gone in any case."""
        if not (math.isfinite(learning_rate) and learning_rate >= 0):
            raise invalid(f"learning_rate is {learning_rate}; it must be 0 or more")
        if not max_gradient_norm >= 0:
            raise invalid(f"max_gradient_norm is {max_gradient_norm}; it must be 0 (never scaled) or more")
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        if not gradients:
            raise precondition("there is no gradient; call ForwardBackward first")
        norm = self.processes.number(torch.nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            self.optimizer.zero_grad()
            raise precondition(f"the gradient's norm is {norm}: no step was taken, and the gradient was discarded")
        if max_gradient_norm > 0 and norm > max_gradient_norm:
            for gradient in gradients:
                gradient.mul_(max_gradient_norm / norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        try:
            with _memory("making the optimizer's state"):
                self.optimizer.step()
        except Exception:
            # The state is made before anything moves: what is half made has seen no step.
            for parameter in [p for p, state in self.optimizer.state.items() if len(state) < 3]:
                del self.optimizer.state[parameter]
            raise
        self.optimizer.zero_grad()
        self.steps += 1
        return norm

    def copy_reference(self, rate: float) -> None:
        """reference ← (1 − rate) · reference + rate · policy."""
        if not 0 < rate <= 1:
            raise invalid(f"rate is {rate}; it must be above 0 and at most 1")
        with _memory("copying the reference"):
            policy = self.model.weights()
            if rate < 1:
                policy = {name: self.reference[name].lerp(value, rate) for name, value in policy.items()}
        self.set_reference(policy)

    def set_reference(self, weights: Weights) -> None:
        self.reference = weights
        self._reference_view.use(weights)

    def chosen(self, policy: bool) -> Weights:
        """The weights that are meant: the policy's as they are now, or the reference's."""
        if not policy:
            return self.reference
        with _memory("copying the policy"):
            return self.model.weights()

    def publish(self, weights: Weights) -> None:
        """From now on these are sampled from."""
        if weights is not self.published:
            with _memory("gathering what is published"):
                self.sampled = self.processes.whole(weights)
        self.published = weights
        self.publications += 1

    def reset(self) -> None:
        """All is as it was at the start. Raises RequestError, with nothing changed, where the first weights cannot be had."""
        try:
            with _memory("reading the model again"):
                weights = self._first
                if weights is None:
                    read = self.processes.agree(lambda: read_weights(self.given))
                    weights = self.processes.piece(read, self.parameters)
        except StartError as error:
            raise precondition(f"{error}; nothing was changed. Start the trainer again") from error
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])
        self.optimizer.zero_grad()
        self.optimizer.state.clear()
        self.set_reference(self.model.weights() if self._first is None else self._first)
        self.publish(self.reference)
        self.publications = 0
        self.steps = 0


class Network:
    """A tree of modules as two parts: from tokens to hidden states, and from there to logits."""

    def __init__(self, module: Any, processes: Processes) -> None:
        self.body = processes.body(module)
        self.head = Head(module)


def _side(network: Network, batch: Batch) -> Side:
    states = network.body(batch.tokens, batch.attention_mask)
    return Side(states.flatten(0, 1)[batch.positions], network.head)


def _by_sequence(found: Terms, batch: Batch) -> list[Terms]:
    rows = [Terms() for _ in batch.lengths]
    for name in Terms.FIELDS:
        values: Tensor | None = getattr(found, name)
        if values is None:
            continue
        for row, own in zip(rows, batch.split(values.cpu()), strict=True):
            setattr(row, name, own)
    return rows


def _check_finite(index: int, found: Terms) -> None:
    for name in Terms.FIELDS:
        values: Tensor | None = getattr(found, name)
        if values is not None and not bool(torch.isfinite(values).all()):
            at = int((~torch.isfinite(values)).nonzero()[0])
            raise precondition(f"sequence {index}: {name} of completion token {at} is {values[at].item()}; the model's parameters are broken or too large")


def _check_coefficients(sequences: Listed[TokenSequence], coefficients: Listed[Coefficients]) -> None:
    if len(coefficients) != len(sequences):
        raise invalid(f"there are {len(sequences)} sequences and {len(coefficients)} coefficients; each sequence needs one entry")
    for index, (sequence, own) in enumerate(zip(sequences, coefficients, strict=True)):
        for name in Coefficients.FIELDS:
            given: Factor = getattr(own, name)
            if given is None:
                continue
            values = [given] if isinstance(given, float) else list(given)
            if not isinstance(given, float) and len(values) != len(sequence.completion):
                raise invalid(
                    f"sequence {index}: {len(values)} coefficients {name} for {len(sequence.completion)} completion tokens; "
                    "give one for all or one for each"
                )
            if not all(math.isfinite(value) for value in values):
                raise invalid(f"sequence {index}: a coefficient {name} is not finite")
    if all(getattr(own, name) is None for own in coefficients for name in Coefficients.FIELDS):
        raise invalid("no sequence has coefficients")
