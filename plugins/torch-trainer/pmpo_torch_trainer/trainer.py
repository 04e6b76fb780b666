"""The policy, its reference and its optimizer: the implementation of `pmpo.v1.Trainer`, independent of gRPC.

Not thread-safe: the service makes one call at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from pmpo_torch_trainer import token_terms
from pmpo_torch_trainer.batches import Batch, TokenSequence, check_sequences, collate
from pmpo_torch_trainer.body_and_head import Head
from pmpo_torch_trainer.coefficients import Coefficient, Coefficients, check_coefficients
from pmpo_torch_trainer.errors import StartError, exhausted, invalid, precondition
from pmpo_torch_trainer.model import LanguageModel, Weights, read_weights
from pmpo_torch_trainer.processes import SINGLE_PROCESS, Pass, Processes
from pmpo_torch_trainer.token_terms import LazyLogits, Terms, TermSelection, TokenCoefficients


@dataclasses.dataclass(frozen=True)
class TrainerOptions:
    """Batch size, in tokens of one pass including padding, and Adam's constants."""

    max_tokens_per_batch: int = 4096
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8


@contextlib.contextmanager
def _memory(doing: str) -> Iterator[None]:
    """Converts an out-of-memory error to a RequestError that says how to use less memory."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(doing) from error
    except RuntimeError as error:
        # PyTorch's CPU allocator raises a plain RuntimeError.
        if "alloc" in str(error) and "memory" in str(error):
            raise _out_of_memory(doing) from error
        raise


def _out_of_memory(doing: str) -> Exception:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return exhausted(
        f"out of memory while {doing}; nothing was changed. Use less memory with a smaller --max-tokens-per-batch, "
        "--gradient-checkpointing, LoRA instead of full training, shorter completions or --dtype bfloat16"
    )


class Trainer:
    """Trains a model with gradients of weighted sums, whose coefficients the client chooses.

    Shapes: S sequences; T completion tokens of one sequence; P completion tokens of a batch; H the width of a hidden state.
    """

    def __init__(self, model: LanguageModel, options: TrainerOptions, processes: Processes = SINGLE_PROCESS) -> None:
        self.processes = processes
        self.options = options
        self.full_model = model
        """The model before it was split among processes; only its untrained parameters and properties may be used."""
        parts = processes.split(model)
        self.model = parts.policy
        self.parameters = self.model.trainable()
        self.reference: Weights = parts.reference.weights
        self.published: Weights = self.reference
        self.sampled: Weights = parts.sampled
        """The published weights, not sharded, in the process that samples; empty in the others."""
        # The initial weights for `reset`. An adapter is small enough to keep; a whole model is read again from its files.
        self._initial_weights: Weights | None = None if model.peft is None else self.reference
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
            # On a GPU the fused kernel, which needs no extra memory; elsewhere the plain loop, which needs the least.
            fused=model.device.type == "cuda",
            foreach=False,
        )

    # Scores and gradients

    def score(
        self, sequences: Sequence[TokenSequence], wanted: TermSelection, alive: Callable[[], None] = lambda: None
    ) -> list[Terms]:
        """Computes the selected terms of each sequence, [T] each, in nats.

        Args:
          sequences: S sequences.
          wanted: the terms to compute.
          alive: called between passes; raises to stop the computation.
        Returns:
          The terms of the S sequences.
        Raises:
          RequestError: a sequence is invalid, no term is selected, a term is not finite, or memory runs out.
        """
        self._check(sequences)
        if not (wanted.needs_policy or wanted.needs_reference):
            raise invalid("the request selects no terms; set policy, reference, kl or reverse_kl")

        def evaluate(batch: Batch) -> Terms:
            policy = self._policy_logits(batch) if wanted.needs_policy else None
            reference = self._reference_logits(batch) if wanted.needs_reference else None
            return token_terms.evaluate(policy, reference, batch.targets, wanted, self.model.vocabulary_size)

        with _memory("scoring"), torch.no_grad(), self.model.autocast():
            scores, _ = self._run_passes(sequences, lambda batch, _: (evaluate(batch), 0.0), alive)
        return scores

    def forward_backward(
        self,
        sequences: Sequence[TokenSequence],
        coefficients: Sequence[Coefficients],
        alive: Callable[[], None] = lambda: None,
    ) -> tuple[list[Terms], float]:
        """Accumulates the gradient of Σ coefficient · term over all tokens.

        Args:
          sequences: S sequences.
          coefficients: the coefficients of the S sequences.
          alive: called between passes; raises to stop the computation.
        Returns:
          The terms of the S sequences, and the weighted sum.
        Raises:
          RequestError: a sequence or coefficient is invalid, a result is not finite, or memory runs out. The accumulated
            gradient stays as it was.
        """
        self._check(sequences)
        check_coefficients(sequences, coefficients)
        has = {name: any(getattr(c, name) is not None for c in coefficients) for name in Coefficients.FIELDS}
        wanted = TermSelection(policy=True, kl=has["kl"], reverse_kl=has["reverse_kl"])

        def differentiate(batch: Batch, current: Pass) -> tuple[Terms, float]:
            token_coefficients = TokenCoefficients(
                **{
                    name: self._token_coefficients(name, current, sequences, coefficients)
                    for name in Coefficients.FIELDS
                    if has[name]
                }
            )
            return self._differentiate(batch, wanted, token_coefficients)

        with _memory("taking the gradient"), self._atomic_gradient(), self.model.autocast():
            scores, value = self._run_passes(sequences, differentiate, alive)
            if not math.isfinite(value):
                raise precondition(f"the weighted sum is {value}; no gradient was added. Check the size of the coefficients")
        return scores, value

    def _differentiate(self, batch: Batch, wanted: TermSelection, token_coefficients: TokenCoefficients) -> tuple[Terms, float]:
        reference = self._reference_logits(batch) if wanted.needs_reference else None
        # transformers uses gradient checkpointing only in training mode, which changes nothing else, as dropout is off.
        self.model.module.train(self.model.gradient_checkpointing)
        try:
            policy = self._policy_logits(batch)
            if token_coefficients.log_prob is None and token_coefficients.kl is None and token_coefficients.reverse_kl is None:
                raise invalid("no sequence has coefficients")
            found, gradient, value = token_terms.differentiate(
                policy, reference, batch.targets, wanted, token_coefficients, self.model.vocabulary_size
            )
            # If only the output layer is trained, the hidden states require no gradient.
            if policy.states.requires_grad:
                policy.states.backward(gradient)
            return found, value
        finally:
            self.model.module.eval()

    def _token_coefficients(
        self, name: str, current: Pass, sequences: Sequence[TokenSequence], coefficients: Sequence[Coefficients]
    ) -> Tensor:
        values: list[float] = []
        for index in current.members:
            given: Coefficient = getattr(coefficients[index], name) if current.contributes else None
            length = len(sequences[index].completion)
            values.extend([0.0] * length if given is None else [given] * length if isinstance(given, float) else given)
        return torch.tensor(values, dtype=torch.float32, device=self.model.device)

    def _policy_logits(self, batch: Batch) -> LazyLogits:
        return _lazy_logits(self._policy, batch)

    def _reference_logits(self, batch: Batch) -> LazyLogits:
        with torch.no_grad():
            return _lazy_logits(self._reference, batch)

    def _run_passes(
        self,
        sequences: Sequence[TokenSequence],
        do: Callable[[Batch, Pass], tuple[Terms, float]],
        alive: Callable[[], None],
    ) -> tuple[list[Terms], float]:
        """Calls `do` for each pass of this process, and combines the results of all processes.

        `do` runs the model on a batch, and returns its terms and its part of the weighted sum.
        """
        processes = self.processes
        results: dict[int, Terms] = {}
        total = 0.0

        def check(found: dict[int, Terms]) -> None:
            alive()
            for index, terms_of_sequence in found.items():
                _check_finite(index, terms_of_sequence)

        try:
            processes.agree(alive)
            for current in processes.passes(sequences, self.options.max_tokens_per_batch):
                batch = collate([sequences[index] for index in current.members], self.model.device)
                terms, value = do(batch, current)
                found = dict(zip(current.members, _by_sequence(terms, batch), strict=True)) if current.contributes else {}
                processes.agree(functools.partial(check, found))
                results.update(found)
                total += value if current.contributes else 0.0
        finally:
            self._policy.body.release()
            self._reference.body.release()
        gathered = processes.all_gather((results, total))
        scores = {index: terms for part, _ in gathered for index, terms in part.items()}
        return [scores[index] for index in range(len(sequences))], sum(part for _, part in gathered)

    def _check(self, sequences: Sequence[TokenSequence]) -> None:
        check_sequences(sequences, self.model.vocabulary_size, self.model.context_length)

    @contextlib.contextmanager
    def _atomic_gradient(self) -> Iterator[None]:
        """Adds the gradient computed in the block to the accumulated one at the end, or discards it if the block raises."""
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
        """Takes one step of Adam with the accumulated gradient, and clears the gradient.

        Args:
          learning_rate: step size, 0 or more.
          max_gradient_norm: norm to which a larger gradient is scaled down; 0: never.
        Returns:
          The gradient's norm before scaling.
        Raises:
          RequestError: an argument is invalid, there is no gradient, its norm is not finite (the gradient is then
            discarded), or memory runs out. No step is taken.
        """
        if not (math.isfinite(learning_rate) and learning_rate >= 0):
            raise invalid(f"learning_rate is {learning_rate}; it must be 0 or more")
        if not max_gradient_norm >= 0:
            raise invalid(f"max_gradient_norm is {max_gradient_norm}; it must be 0 (no limit) or more")
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        if not gradients:
            raise precondition("no gradient has been accumulated; call ForwardBackward first")
        norm = self.processes.full_scalar(torch.nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            self.optimizer.zero_grad()
            raise precondition(f"the gradient's norm is {norm}; no step was taken, and the gradient was discarded")
        if max_gradient_norm > 0 and norm > max_gradient_norm:
            for gradient in gradients:
                gradient.mul_(max_gradient_norm / norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        try:
            with _memory("creating the optimizer's state"):
                self.optimizer.step()
        except Exception:
            # Adam creates all its state before it changes a parameter, so incomplete state has seen no step.
            for parameter in [p for p, state in self.optimizer.state.items() if len(state) < 3]:
                del self.optimizer.state[parameter]
            raise
        self.optimizer.zero_grad()
        self.steps += 1
        return norm

    def copy_reference(self, rate: float) -> None:
        """reference ← (1 − rate) · reference + rate · policy.

        Raises:
          RequestError: `rate` is not above 0 and at most 1, or memory runs out.
        """
        if not 0 < rate <= 1:
            raise invalid(f"rate is {rate}; it must be above 0 and at most 1")
        with _memory("copying the reference"):
            policy = self.model.weights()
            if rate < 1:
                policy = {name: self.reference[name].lerp(value, rate) for name, value in policy.items()}
        self.set_reference(policy)

    def set_reference(self, weights: Weights) -> None:
        """Replaces the reference's weights."""
        self.reference = weights
        self._reference_view.use(weights)

    def weights_of(self, policy: bool) -> Weights:
        """A copy of the policy's current weights, or the reference's weights."""
        if not policy:
            return self.reference
        with _memory("copying the policy"):
            return self.model.weights()

    def publish(self, weights: Weights) -> None:
        """Makes later requests sample with these weights."""
        if weights is not self.published:
            with _memory("gathering the published weights"):
                self.sampled = self.processes.gather_tensors(weights)
        self.published = weights
        self.publications += 1

    def reset(self) -> None:
        """Restores the state at the start of the program.

        Raises:
          RequestError: the model's files cannot be read, or have changed. Nothing changes.
        """
        try:
            with _memory("reading the model again"):
                weights = self._initial_weights
                if weights is None:
                    read = self.processes.agree(lambda: read_weights(self.full_model))
                    weights = self.processes.shard_tensors(read, self.parameters)
        except StartError as error:
            raise precondition(f"{error}; nothing was changed. Start the trainer again") from error
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])
        self.optimizer.zero_grad()
        self.optimizer.state.clear()
        self.set_reference(self.model.weights() if self._initial_weights is None else self._initial_weights)
        self.publish(self.reference)
        self.publications = 0
        self.steps = 0


class Network:
    """A model in two parts: the body maps tokens to hidden states, and the head maps those to logits."""

    def __init__(self, module: Any, processes: Processes) -> None:
        self.body = processes.body(module)
        self.head = Head(module)


def _lazy_logits(network: Network, batch: Batch) -> LazyLogits:
    states = network.body(batch.tokens, batch.attention_mask)
    return LazyLogits(states.flatten(0, 1)[batch.positions], network.head)


def _by_sequence(terms: Terms, batch: Batch) -> list[Terms]:
    rows = [Terms() for _ in batch.lengths]
    for name in Terms.FIELDS:
        values: Tensor | None = getattr(terms, name)
        if values is None:
            continue
        for row, row_values in zip(rows, batch.split(values.cpu()), strict=True):
            setattr(row, name, row_values)
    return rows


def _check_finite(index: int, terms: Terms) -> None:
    for name in Terms.FIELDS:
        values: Tensor | None = getattr(terms, name)
        if values is not None and not bool(torch.isfinite(values).all()):
            at = int((~torch.isfinite(values)).nonzero()[0])
            raise precondition(
                f"sequence {index}: {name} of completion token {at} is {values[at].item()}; "
                "the model's parameters are broken or too large"
            )
