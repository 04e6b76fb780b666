"""Operators on PyTorch tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

try:
    import torch
except ImportError as _error:
    raise ImportError("operator.torch: PyTorch is not installed. Install it with `pip install torch`") from _error

from ._batch import Checker, Given, default_of, planes, required, state_shape
from ._chosen import Chosen
from ._graph import Program
from ._libraries import torch_library
from .errors import PmpoError

if TYPE_CHECKING:
    from ._operator import Operator


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

_plain = {torch.Tensor, torch.nn.Parameter}
"""Classes of tensors that hold elements: those of others may be symbols."""

_computing = {torch.float32, torch.float64}
_most_kept = 16


def _transforms_active() -> bool:
    """Whether a function runs under `torch.func`, whose transforms need another kind of `autograd.Function`."""
    return bool(torch._C._are_functorch_transforms_active())


class Call:
    """How tensors get into a graph, and the loss, its gradients and its metrics out of it."""

    def __init__(self, chosen: Chosen, metrics: bool, traced: bool) -> None:
        file = chosen.file
        self.chosen = chosen
        self.program: Program = chosen.program("traced torch" if traced else "torch", metrics)
        self.metrics: Sequence[str] = file.metrics if metrics else ()
        self.count = len(file.gradients)
        reads = self.program.reads
        self.names = (*reads, *dict.fromkeys(name for name in (*file.gradients, *self.program.shaped) if name not in reads))
        """The inputs that the graph needs, those that its function reads first."""
        self.arguments = len(reads)
        self.places = tuple(self.names.index(name) for name in file.gradients)
        self._kept: dict[Any, tuple[Any, ...]] = {}
        fields = Given._fields
        needed = set(self.names)
        # Places in `Given`.
        self._required = [fields.index(name) for name in required(chosen.needs)]
        self._planes = [(fields.index(field), name, name in needed) for name, field in planes.items()]
        self._parts = [
            (fields.index(field), part, f"{group}/{part}", group == "decoupledLogProb")
            for group, field in (("kl", "kl"), ("reverseKl", "reverse_kl"), ("decoupledKl", "decoupled_kl"), ("decoupledLogProb", "decoupled_log_prob"))
            for part in file.kl_parts
            if f"{group}/{part}" in file.inputs
        ]
        self._state = [(part.name, f"state/{part.name}", part.axes) for part in file.state]

    def quick_inputs(self, given: Given, reverse: bool) -> dict[str, torch.Tensor] | None:
        """What `Checker` makes of a call's arguments, if they are as they mostly are. None leaves it to the checker, which may refuse."""
        log_prob = given.log_prob
        if type(log_prob) not in _plain or given.layout != "NB":
            return None
        shape, dtype, device = log_prob.shape, log_prob.dtype, log_prob.device
        if len(shape) != 2 or dtype not in _computing:
            return None
        arguments: tuple[Any, ...] = given
        for i in self._required:
            if arguments[i] is None:
                return None
        inputs = {"logProb": log_prob}
        x: Any
        for i, name, needed in self._planes:
            x = arguments[i]
            if x is None:
                if needed:
                    inputs[name] = torch.full(shape, default_of(name), dtype=dtype, device=device)
                continue
            if type(x) not in _plain or x.shape != shape or x.device != device or x.dtype.is_complex:
                return None
            if needed:
                inputs[name] = x if x.dtype is dtype else x.to(dtype)
        sizes: dict[str, int] = {}
        for i, part, name, is_plane in self._parts:
            group = given.reverse_kl if reverse and name.startswith("kl/") else arguments[i]
            if isinstance(group, torch.Tensor) and len(self.chosen.file.kl_parts) == 1 and not name.startswith("decoupled"):
                group = {part: group}
            x = group.get(part) if type(group) is dict else None
            if type(x) not in _plain or x.device != device or not x.dtype.is_floating_point:
                return None
            if is_plane:
                if x.shape != shape:
                    return None
            else:
                if x.dim() == 1:
                    x = x.unsqueeze(-1)
                if x.dim() != 2 or x.shape[0] != shape[1]:
                    return None
                sizes[part] = x.shape[1]
            inputs[name] = x if x.dtype is dtype else x.to(dtype)
        if len(given.state) != len(self._state):
            return None
        for part, name, axes in self._state:
            x = given.state.get(part)
            if type(x) not in _plain or x.device != device or not x.dtype.is_floating_point or x.shape != state_shape(axes, sizes):
                return None
            inputs[name] = x if x.dtype is dtype else x.to(dtype)
        return inputs

    def constants(self, inputs: dict[str, torch.Tensor]) -> tuple[Any, ...]:
        """The program's constants as tensors, kept for the lengths, the element types and the devices that were met last."""
        like = inputs[self.names[0]]
        key = (like.dtype, like.device, *[inputs[name].shape for name in self.program.shaped])
        found = self._kept.get(key)
        if found is not None:
            return found
        # Tensors that are made in inference mode could not be used outside of it.
        with torch.inference_mode(False), torch.no_grad():
            made = self.program.constants(inputs, like)
            hold = torch_library().held
            kept = tuple(hold(like, value, number) for value, (_, number) in zip(made, self.program.held))
        if all(type(x) in _plain for x in kept if isinstance(x, torch.Tensor)):
            if len(self._kept) == _most_kept:
                self._kept.clear()
            self._kept[key] = kept
        return kept


def call_of(chosen: Chosen, metrics: bool, traced: bool = False) -> Call:
    """The call of a graph, made once."""
    key = "torch", metrics, traced
    if key not in chosen.functions:
        chosen.functions[key] = Call(chosen, metrics, traced)
    made: Call = chosen.functions[key]
    return made


def _scaled_gradients(ctx: Any, first: int, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    """The saved gradients times the loss's own, in the places of a function's arguments, of which the tensors begin at `first`."""
    needed = ctx.needs_input_grad
    gradients: list[torch.Tensor | None] = [None] * len(needed)
    for place, gradient in zip(ctx.places, ctx.saved_tensors):
        if needed[first + place]:
            gradients[first + place] = gradient * upstream
    return tuple(gradients)


class _Loss(torch.autograd.Function):
    """The loss of the tensors that a graph reads. Its gradients are computed with it, and the metrics appended to `found`."""

    @staticmethod
    def forward(ctx: Any, call: Call, constants: tuple[Any, ...], found: list[torch.Tensor], *tensors: torch.Tensor) -> Any:
        outputs = call.program.function(tensors[0], *tensors[: call.arguments], *constants)
        ctx.places = call.places
        ctx.save_for_backward(*outputs[1 : 1 + call.count])
        # A metric may be the loss itself or an input, and must be a tensor of its own.
        found += [x.clone() for x in outputs[1 + call.count :]]
        return outputs[0]

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        return _scaled_gradients(ctx, 3, upstream)


class _TransformedLoss(torch.autograd.Function):
    """The same for the transforms of `torch.func`: the gradients and the metrics are outputs."""

    generate_vmap_rule = True

    @staticmethod
    def forward(call: Call, *tensors: torch.Tensor) -> Any:
        inputs = dict(zip(call.names, tensors))
        outputs = call.program(inputs, tensors[0])
        return *outputs[: 1 + call.count], *[x.clone() for x in outputs[1 + call.count :]]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        call = inputs[0]
        ctx.places = call.places
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1 : 1 + call.count])

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, *_: Any) -> Any:
        return _scaled_gradients(ctx, 1, upstream)


def run(operator: Operator, given: Given, metrics: bool, traced: bool = False) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss and the metrics. With `traced`, tensors may be symbols, and nothing that is made of them is kept."""
    chosen = operator._chosen_for(given)
    reverse = operator._feeds_reverse(chosen.file)
    transformed = _transforms_active()
    inputs: dict[str, torch.Tensor] | None = None
    if not traced and not transformed:
        call = call_of(chosen, metrics)
        inputs = call.quick_inputs(given, reverse)
    if inputs is None:
        inputs = Checker(chosen.file, chosen.needs, torch_arrays, given, reverse).inputs()
        traced = traced or transformed or any(type(x) not in _plain for x in inputs.values())
        call = call_of(chosen, metrics, traced)
    tensors = [inputs[name] for name in call.names]
    if transformed:
        loss, *outputs = _TransformedLoss.apply(call, *tensors)
        return loss, dict(zip(call.metrics, outputs[call.count :]))
    constants = call.program.constants(inputs, tensors[0]) if traced else call.constants(inputs)
    found: list[torch.Tensor] = []
    loss = _Loss.apply(call, constants, found, *tensors)
    return loss, dict(zip(call.metrics, found))


Signature = tuple[tuple[str, str], ...]
"""The arguments that a call gives: the name of each, and of the part if it is a mapping."""


def graph_function(operator: Operator) -> Callable[..., tuple[torch.Tensor, ...]]:
    """The loss and the metrics as a function of tensors alone, which `torch.compile` puts into its graph without tracing its Python.

    So a compiled function checks none of the objects that it is made of before each call.
    """

    def call(signature: Signature, layout: Any, metrics: bool, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        loss, found = run(operator, _given(signature, layout, tensors), metrics, traced=True)
        return loss, *found.values()

    function: Callable[..., tuple[torch.Tensor, ...]] = torch.compiler.allow_in_graph(call)
    return function


def names_function(operator: Operator) -> Callable[[Signature], tuple[str, ...]]:
    """The names of the metrics, as a function that `torch.compile` calls once and whose result it takes as constant."""

    def names(signature: Signature) -> tuple[str, ...]:
        return operator._chosen_for(_given(signature, "NB", [0.0] * len(signature))).file.metrics

    function: Callable[[Signature], tuple[str, ...]] = torch.compiler.assume_constant_result(names)
    return function


def _given(signature: Signature, layout: Any, tensors: Sequence[Any]) -> Given:
    arguments: dict[str, Any] = {**dict.fromkeys(Given._fields), "state": {}, "layout": layout}
    for (field, part), tensor in zip(signature, tensors):
        if part == "":
            arguments[field] = tensor
        else:
            arguments[field] = {**(arguments[field] or {}), part: tensor}
    return Given(**arguments)


def evaluate(operator: Operator, given: Given, metrics: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss and the metrics.

    Raises:
      PmpoError: naming the argument that is missing or wrong; or the operator is first called while `torch.compile` traces.
    """
    if not torch.compiler.is_compiling():
        return run(operator, given, metrics)
    function = operator._graph_function
    if function is None:
        raise PmpoError(
            f"operator {operator.name}",
            "it is called for the first time inside of torch.compile, and was made before torch was imported",
            "Import torch first, or make the operator before the compiled function runs",
        )
    signature: list[tuple[str, str]] = []
    tensors: list[Any] = []
    for field, x in zip(Given._fields, given):
        if field == "layout" or x is None:
            continue
        for part, tensor in x.items() if isinstance(x, Mapping) else (("", x),):
            signature.append((field, part))
            tensors.append(tensor)
    loss, *found = function(tuple(signature), given.layout, metrics, *tensors)
    return loss, dict(zip(operator._names_function(tuple(signature)), found)) if metrics else {}


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
        self._parameter_names = {name: name.replace("/", "__") for name in initial}
        for name, (shape, value) in initial.items():
            tensor = torch.full(shape, value, dtype=dtype or torch.float32, device=device)
            self.register_parameter(self._parameter_names[name], torch.nn.Parameter(tensor))

    def tensors(self) -> dict[str, torch.Tensor]:
        """The parameters by the names that the operator has for them."""
        return {name: getattr(self, parameter) for name, parameter in self._parameter_names.items()}

    def parameter_group(self, learning_rate: float = 1e-2) -> dict[str, Any]:
        """The parameters as a group of an Adam optimizer, by which no step is longer than the learning rate.

        A dual is stored as a logarithm, so its gradient grows with it. By Adam's usual second beta, 0.999, one update whose KL was far from
        its bound raises the weight by orders of magnitude, and is remembered for thousands of updates on the way down.
        """
        return {"params": list(self.parameters()), "lr": learning_rate, "betas": (0.9, 0.9)}

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
