"""Operators on PyTorch tensors."""

from __future__ import annotations

from typing import Any

import torch

from ._chosen import Chosen
from .errors import PmpoError


class _TorchArrays:
    name = "a torch.Tensor"

    def is_array(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor)

    def is_float(self, x: torch.Tensor) -> bool:
        return x.dtype.is_floating_point

    def is_real(self, x: torch.Tensor) -> bool:
        return not x.dtype.is_complex

    def describe(self, x: torch.Tensor) -> str:
        return f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)} on {x.device}"

    def device_of(self, x: torch.Tensor) -> torch.device:
        return x.device

    def computing(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.dtype == torch.float64 else x.to(torch.float32)

    def like(self, x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return x.to(like.dtype)

    def filled(self, like: torch.Tensor, value: float) -> torch.Tensor:
        return torch.full(like.shape, value, dtype=like.dtype, device=like.device)

    def transposed(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(0, 1)

    def column(self, x: torch.Tensor) -> torch.Tensor:
        return x.unsqueeze(-1)


torch_arrays = _TorchArrays()


class _Loss(torch.autograd.Function):
    """The loss, its gradients and its metrics, of the tensors that a graph reads in the order of its inputs."""

    generate_vmap_rule = True

    @staticmethod
    def forward(chosen: Chosen, *tensors: torch.Tensor) -> Any:
        count = len(chosen.file.gradients)
        inputs = dict(zip(chosen.names, tensors))
        outputs = chosen.programs["torch"]({**chosen.numbers, **inputs}, tensors[0])
        # A metric may be the loss itself, and must be a tensor of its own.
        return outputs[0], *outputs[1 : 1 + count], *[x.clone() for x in outputs[1 + count :]]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        chosen = inputs[0]
        ctx.differentiable = chosen.differentiable
        ctx.count = len(inputs)
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1 : 1 + len(chosen.differentiable)])

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, *_: Any) -> Any:
        gradients: list[torch.Tensor | None] = [None] * ctx.count
        for index, gradient in zip(ctx.differentiable, ctx.saved_tensors):
            if ctx.needs_input_grad[1 + index]:
                gradients[1 + index] = gradient * upstream
        return tuple(gradients)


def evaluate(chosen: Chosen, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss and the metrics.

    Raises:
      PmpoError: the program would have to be made while `torch.compile` traces.
    """
    file = chosen.file
    if "torch" not in chosen.programs:
        if torch.compiler.is_compiling():
            raise PmpoError(
                f"operator {file.name}",
                "it is called for the first time inside of torch.compile, and was made before torch was imported",
                "Import torch first, or make the operator before the compiled function runs",
            )
        chosen.program("torch")
    outputs = _Loss.apply(chosen, *[inputs[name] for name in chosen.names])
    return outputs[0], dict(zip(file.metrics, outputs[1 + len(file.gradients) :]))


class TorchState(torch.nn.Module):
    """An operator's state: a parameter for each part, named as in the operator with `__` for `/`."""

    def __init__(
        self,
        chosen: Chosen,
        initial: dict[str, tuple[tuple[int, ...], float]],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self._chosen = chosen
        self._names = tuple(initial)
        for name, (shape, value) in initial.items():
            tensor = torch.full(shape, value, dtype=dtype or torch.float32, device=device)
            self.register_parameter(name.replace("/", "__"), torch.nn.Parameter(tensor))

    def tensors(self) -> dict[str, torch.Tensor]:
        """The parameters by the names that the operator has for them."""
        return {name: self.get_parameter(name.replace("/", "__")) for name in self._names}

    @torch.no_grad()
    def project(self) -> None:
        """Brings the state into its domain, after a step of the optimizer."""
        chosen = self._chosen
        if not chosen.projections:
            return
        held = self.tensors()
        inputs = {f"state/{name}": tensor for name, tensor in held.items()}
        projected = chosen.projector("torch")(inputs, next(iter(held.values())))
        for part, tensor in zip(chosen.file.state, projected):
            held[part.name].copy_(tensor)
