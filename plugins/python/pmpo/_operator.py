"""Operators as Python calls them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ._batch import Arrays, Checker, Given, Kl, Layout, kl_parts_of
from ._chosen import Chosen
from ._file import OperatorFile
from ._settings import Schema, checked, in_file_case, in_python_case, leaves, merged, snake
from .errors import PmpoError, SettingError

if TYPE_CHECKING:
    import numpy as np
    from jax import Array as JaxArray
    from torch import Tensor
    from torch import device as TorchDevice
    from torch import dtype as TorchDtype

    from ._torch import TorchState

Settings = Mapping[str, Any]


class Result(NamedTuple):
    """The outcome of a call: what to minimise, and scalars for the log, which carry no gradient."""

    loss: Any
    metrics: dict[str, Any]


class NumpyResult(NamedTuple):
    """The outcome of a call with NumPy arrays.

    `gradients` holds the gradient of the loss in `log_prob`, and in each part of the KL and of the state, by names such as `log_prob`,
    `kl/mean`, `decoupled_log_prob/mean` and `state/log_temperature`; those that are always 0 are left out.
    """

    loss: np.floating[Any]
    metrics: dict[str, Any]
    gradients: dict[str, Any]


Adapt = Callable[[Settings, Sequence[str], bool], Settings]
"""Writes settings, in the case of files, as the file for a policy has them: of these KL parts, with or without action bounds."""


def _unchanged(settings: Settings, parts: Sequence[str], bounds: bool) -> Settings:
    return settings


class Operator:
    """A policy improvement operator: from log-probs and feedback to a loss.

    Shapes: N samples per context, B contexts, D the size of one part of the KL. Planes are [N, B], samples first, as
    `torch.distributions` and rlax have them; with `layout="BN"` they are [B, N], contexts first.

    `torch`, `jax` and `numpy` take the same arguments:

      log_prob: log π_θ(y|x) of each sample, in nats, floating-point. The loss is differentiable in it.
      reference_log_prob: log π_ref(y|x).
      evaluation: f(x, y), such as a Q value or a reward.
      accept, reject: weights of the feedback in [0, 1]; booleans are 0 and 1.
      mask: 1 where a sample is present. Entries where it is 0 may hold anything, NaN included.
      length: the number of tokens of each sample, for operators with `per_token`, and for those that always divide by it.
      kl: KL(reference ‖ policy) of each context, [B] or [B, D], or a mapping from the name of each part (`mean` and `covariance` of a
        Gaussian, `categorical`, `sequence`) to such an array. The loss is differentiable in it.
      reverse_kl: KL(policy ‖ reference), exact and in the same form, for operators with `reverse_kl=True`.
      mismatched_log_ratio: log π_θ − log π_ref of a sample of another context in each place, for `kto(reference_point="mismatched")`.
      decoupled_log_prob, decoupled_kl: by part, with the other parts held at the reference: MPO's decoupled M-step.
      bound_violation: the distance of each sample from the action bounds, for MPO's action penalty.
      state: the variables that are trained with the policy by the same loss, for an operator that has them.

    The computation has the element type of `log_prob`, or float32 if that is a shorter one; the gradient has the element type of
    the argument. Gradients are of first order.
    """

    def __init__(self, files: Sequence[OperatorFile], settings: Settings, adapt: Adapt = _unchanged) -> None:
        self._files = tuple(files)
        self._settings = settings
        self._adapt = adapt
        self._reads_kl = any(file.kl_parts for file in files)
        self._by_file: dict[int, Chosen] = {}
        self._by_state: dict[frozenset[str], Chosen] = {}
        self._chosen: dict[tuple[tuple[str, ...] | None, bool, bool], Chosen] = {}
        self._graph_function: Callable[..., Any] | None = None
        if "torch" in sys.modules:
            self._prepare_torch()

    def __reduce__(self) -> tuple[Any, ...]:
        # Programs are made anew: they hold functions of the array libraries.
        return Operator, (self._files, self._settings, self._adapt)

    @property
    def name(self) -> str:
        """The name of the operator, as configurations have it."""
        return self._files[0].name

    @property
    def settings(self) -> dict[str, Any]:
        """The settings, with every default filled in."""
        return dict(in_python_case(self._settings))

    def __repr__(self) -> str:
        words = ", ".join(f"{key}={value!r}" for key, value in self.settings.items())
        return f"{self.name.replace('-', '_')}({words})"

    def _prepare_torch(self) -> None:
        """Makes what `torch.compile` calls, which cannot be made while it traces."""
        from ._torch import graph_function, names_function

        self._graph_function = graph_function(self)
        self._names_function = names_function(self)

    def _choose(self, parts: tuple[str, ...] | None, decoupled: bool, bounds: bool) -> Chosen:
        # An operator that reads no KL is the same for every policy.
        key = parts if self._reads_kl else None, decoupled, bounds
        if key not in self._chosen:
            self._chosen[key] = self._find(key[0], decoupled, bounds)
        return self._chosen[key]

    def _find(self, parts: tuple[str, ...] | None, decoupled: bool, bounds: bool) -> Chosen:
        fitting = [
            file
            for file in self._files
            if (parts is None or not file.kl_parts or set(parts) >= set(file.kl_parts))
            and (decoupled or not file.reads("decoupledKl"))
            and (bounds or not file.reads("boundViolation"))
        ]
        # The graph that reads most of what is given.
        fitting.sort(key=lambda file: (-len(file.kl_parts), -file.reads("decoupledKl"), -file.reads("boundViolation")))
        if parts is None and len(self._files) > 1:
            # One array for the whole KL, or none: the operator as it is for policies that do not divide.
            fitting = [file for file in fitting if len(file.kl_parts) <= 1]
            fitting.sort(key=lambda file: file.kl_parts != ("sequence",))
        for file in fitting:
            settings = self._adapt(self._settings, file.kl_parts, bounds)
            values = _values_for(file, settings)
            if values is not None:
                index = self._files.index(file)
                if index not in self._by_file:
                    self._by_file[index] = Chosen(file, values)
                return self._by_file[index]
        known = sorted({f"{{{', '.join(file.kl_parts)}}}" for file in self._files})
        given = "one array" if parts is None else f"the parts {', '.join(parts)}"
        raise PmpoError(
            f"operator {self.name}, kl",
            f"is {given}, and no graph has these parts and these settings",
            f"Its parts may be {' or '.join(known)}; `pmpo export-operator --kl` writes a graph for other parts",
        )

    def _chosen_for(self, given: Given) -> Chosen:
        """The graph for the arguments of a call."""
        decoupled = given.decoupled_kl is not None or given.decoupled_log_prob is not None
        return self._choose(kl_parts_of(given), decoupled, given.bound_violation is not None)

    def _prepare(self, arrays: Arrays, given: Given) -> tuple[Chosen, dict[str, Any]]:
        chosen = self._chosen_for(given)
        return chosen, Checker(chosen.file, chosen.needs, arrays, given, self._feeds_reverse(chosen.file)).inputs()

    def _feeds_reverse(self, file: OperatorFile) -> bool:
        """Whether the graph's KL is given as `reverse_kl`: a loss is the same function of the KL in either direction."""
        return bool(self._settings.get("reverseKl", False)) and not file.reads("reverseKl")

    def torch(
        self,
        log_prob: Tensor,
        reference_log_prob: Tensor | None = None,
        *,
        evaluation: Tensor | None = None,
        accept: Tensor | None = None,
        reject: Tensor | None = None,
        mask: Tensor | None = None,
        length: Tensor | None = None,
        mismatched_log_ratio: Tensor | None = None,
        kl: Tensor | Mapping[str, Tensor] | None = None,
        reverse_kl: Tensor | Mapping[str, Tensor] | None = None,
        decoupled_log_prob: Mapping[str, Tensor] | None = None,
        decoupled_kl: Mapping[str, Tensor] | None = None,
        bound_violation: Tensor | None = None,
        state: TorchState | Mapping[str, Tensor] | None = None,
        layout: Layout = "NB",
        metrics: bool = True,
    ) -> Result:
        """The loss of PyTorch tensors, with the operator's gradients. See the class for the arguments.

        With `metrics=False` the result has no metrics, which saves their time; `torch.compile` leaves out those that are not read.

        Raises:
          PmpoError: naming the argument that is missing or wrong, with its shape, element type and device.
        """
        from ._torch import TorchState, evaluate

        held = state.tensors() if isinstance(state, TorchState) else state
        given = Given(
            log_prob, reference_log_prob, evaluation, accept, reject, mask, length, mismatched_log_ratio, kl,
            reverse_kl, decoupled_log_prob, decoupled_kl, bound_violation, held or {}, layout,
        )  # fmt: skip
        return Result(*evaluate(self, given, metrics))

    def jax(
        self,
        log_prob: JaxArray,
        reference_log_prob: JaxArray | None = None,
        *,
        evaluation: JaxArray | None = None,
        accept: JaxArray | None = None,
        reject: JaxArray | None = None,
        mask: JaxArray | None = None,
        length: JaxArray | None = None,
        mismatched_log_ratio: JaxArray | None = None,
        kl: JaxArray | Mapping[str, JaxArray] | None = None,
        reverse_kl: JaxArray | Mapping[str, JaxArray] | None = None,
        decoupled_log_prob: Mapping[str, JaxArray] | None = None,
        decoupled_kl: Mapping[str, JaxArray] | None = None,
        bound_violation: JaxArray | None = None,
        state: Mapping[str, JaxArray] | None = None,
        layout: Layout = "NB",
    ) -> Result:
        """The loss of JAX arrays, with the operator's gradients. See the class for the arguments.

        Raises:
          PmpoError: naming the argument that is missing or wrong, with its shape and element type.
        """
        from ._jax import evaluate, jax_arrays

        given = Given(
            log_prob, reference_log_prob, evaluation, accept, reject, mask, length, mismatched_log_ratio, kl,
            reverse_kl, decoupled_log_prob, decoupled_kl, bound_violation, state or {}, layout,
        )  # fmt: skip
        return Result(*evaluate(*self._prepare(jax_arrays, given)))

    def numpy(
        self,
        log_prob: Any,
        reference_log_prob: Any = None,
        *,
        evaluation: Any = None,
        accept: Any = None,
        reject: Any = None,
        mask: Any = None,
        length: Any = None,
        mismatched_log_ratio: Any = None,
        kl: Kl = None,
        reverse_kl: Kl = None,
        decoupled_log_prob: Mapping[str, Any] | None = None,
        decoupled_kl: Mapping[str, Any] | None = None,
        bound_violation: Any = None,
        state: Mapping[str, Any] | None = None,
        layout: Layout = "NB",
    ) -> NumpyResult:
        """The loss of NumPy arrays and its gradients. See the class for the arguments.

        Raises:
          PmpoError: naming the argument that is missing or wrong, with its shape and element type.
        """
        from ._numpy import evaluate, numpy_arrays

        given = Given(
            log_prob, reference_log_prob, evaluation, accept, reject, mask, length, mismatched_log_ratio, kl,
            reverse_kl, decoupled_log_prob, decoupled_kl, bound_violation, state or {}, layout,
        )  # fmt: skip
        chosen, inputs = self._prepare(numpy_arrays, given)
        loss, metrics, gradients = evaluate(chosen, inputs)
        names = {
            name: name if name.startswith("state/") else "/".join([snake(name.split("/")[0]), *name.split("/")[1:]])
            for name in gradients
        }
        if self._feeds_reverse(chosen.file):
            names = {name: key.replace("kl/", "reverse_kl/", 1) if key.startswith("kl/") else key for name, key in names.items()}
        if layout == "BN":
            planes = ("logProb", "decoupledLogProb")
            gradients = {k: g.T if k.split("/")[0] in planes else g for k, g in gradients.items()}
        return NumpyResult(loss, metrics, {names[name]: gradient for name, gradient in gradients.items()})

    def _initial(self, kl_parts: Mapping[str, int], bounds: bool) -> tuple[Chosen, dict[str, tuple[tuple[int, ...], float]]]:
        chosen = self._choose(tuple(kl_parts) or None, False, bounds)
        missing = [part for part in chosen.file.kl_parts if part not in kl_parts]
        if missing and chosen.file.state:
            raise PmpoError(
                f"operator {self.name}, kl_parts",
                f"lacks the size of {', '.join(missing)}",
                "Give the size D of each part: {'mean': 6, 'covariance': 6}",
            )
        return chosen, chosen.initial(kl_parts)

    def torch_state(
        self,
        kl_parts: Mapping[str, int],
        *,
        bound_violation: bool = False,
        dtype: TorchDtype | None = None,
        device: TorchDevice | str | None = None,
    ) -> TorchState:
        """The operator's state as a module of `nn.Parameter`s, which an optimizer trains with the policy's.

        Args:
          kl_parts: the size D of each part of the policy's KL: `{"mean": 6, "covariance": 6}`.
          bound_violation: whether calls give `bound_violation`.
          dtype: float32 by default.
          device: the device of the parameters.

        Call `project()` of the result after each step of the optimizer.
        """
        from ._torch import TorchState

        return TorchState(*self._initial(kl_parts, bound_violation), dtype=dtype, device=device)

    def jax_state(self, kl_parts: Mapping[str, int], *, bound_violation: bool = False, dtype: Any = None) -> dict[str, JaxArray]:
        """The operator's initial state as a pytree. After each update, bring it into its domain by `project_state`."""
        import jax.numpy as jnp

        _, initial = self._initial(kl_parts, bound_violation)
        return {name: jnp.full(shape, value, dtype or jnp.float32) for name, (shape, value) in initial.items()}

    def numpy_state(self, kl_parts: Mapping[str, int], *, bound_violation: bool = False, dtype: Any = None) -> dict[str, Any]:
        """The operator's initial state as arrays. After each update, bring it into its domain by `project_state`."""
        import numpy as np

        _, initial = self._initial(kl_parts, bound_violation)
        return {name: np.full(shape, value, dtype or np.float32) for name, (shape, value) in initial.items()}

    def project_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A state of NumPy or JAX arrays, brought into its domain after a gradient step."""
        chosen = self._projecting(frozenset(state))
        if chosen is None:
            raise PmpoError(
                f"operator {self.name}, state",
                f"has the parts {', '.join(state) or 'none'}",
                "Make it by jax_state or numpy_state",
            )
        if not chosen.projections:
            return dict(state)
        import numpy as np

        library = "numpy" if all(isinstance(x, (np.ndarray, np.generic)) for x in state.values()) else "jax"
        inputs = {f"state/{name}": value for name, value in state.items()}
        results = chosen.projector(library)(inputs, next(iter(state.values())))
        return dict(zip((part.name for part in chosen.file.state), results))

    def _projecting(self, names: frozenset[str]) -> Chosen | None:
        """A graph whose state has these parts. Its projection does not depend on settings."""
        if names not in self._by_state:
            for file in self._files:
                if {part.name for part in file.state} == names:
                    self._by_state[names] = Chosen(file, {path: 0.0 for path in file.open})
                    break
        return self._by_state.get(names)


def _is_other_part(path: str, parts: Sequence[str]) -> bool:
    """Whether a setting belongs to a part of the KL that the policy does not have."""
    keys = path.split(".")
    return len(keys) > 1 and keys[0] == "kl" and keys[1] not in parts


def _values_for(file: OperatorFile, settings: Settings) -> dict[str, float] | None:
    """The values of a file's open settings, or None if its graph is for other settings."""

    def relevant(values: Settings) -> dict[str, Any]:
        return {
            path: value
            for path, value in leaves(values)
            if path not in file.unused and not _is_other_part(path, file.kl_parts) and value != {}
        }

    wanted, held = relevant(settings), relevant(file.values)
    if wanted.keys() != held.keys():
        return None
    if any(path not in file.open and wanted[path] != held[path] for path in held):
        return None
    return {path: float(wanted[path]) for path in file.open}


def checked_settings(name: str, schema: Schema, settings: Settings) -> dict[str, Any]:
    """Settings in the case of files, with the defaults of the schema filled in. Raises SettingError."""
    filled: dict[str, Any] = checked(f"operator {name}", in_file_case(settings), schema)
    return filled


def operator_of_file(file: OperatorFile, settings: Settings) -> Operator:
    """The operator of one file, with its own settings but for those given. Raises SettingError."""
    values = merged(file.values, in_file_case(settings))
    filled = checked_settings(file.name, file.schema, values)
    before, after = dict(leaves(file.values)), dict(leaves(filled))
    for path, value in after.items():
        if path in file.open or path in file.unused or before.get(path) == value or value == {}:
            continue
        where = f"operator {file.name}, {'.'.join(map(snake, path.split('.')))}"
        known = ", ".join(".".join(map(snake, key.split("."))) for key in file.open) or "none"
        raise SettingError(where, f"is fixed in {file.where}", f"Open settings: {known}. Export the operator again for another value")
    return Operator([file], filled)
