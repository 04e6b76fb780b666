"""A causal language model in two parts: its body maps tokens to hidden states, and its head maps those to logits.

Shapes: R rows of L tokens; P positions; H the width of a hidden state; V vocabulary size.
"""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

import torch
from torch import Tensor, nn


def _body_name(module: Any) -> str | None:
    """The attribute that holds the body. A few models lack the one that they declare."""
    return next((name for name in (module.base_model_prefix, "model", "transformer") if hasattr(module, name)), None)


def body_of(module: Any) -> Any:
    """The part of a model whose output is its last hidden states; None if the model has no such part."""
    name = _body_name(module)
    return None if name is None else getattr(module, name)


@functools.lru_cache
def _accepted(forward: Any) -> frozenset[str] | None:
    """The names of a forward method's arguments; None if it takes any."""
    parameters = inspect.signature(forward).parameters.values()
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else frozenset(p.name for p in parameters)


def call(module: Any, **arguments: object) -> Any:
    """Calls a module without the arguments that its architecture does not have."""
    accepted = _accepted(type(module).forward)
    return module(**{name: value for name, value in arguments.items() if accepted is None or name in accepted})


def hidden_states(module: Any, tokens: Tensor, attention_mask: Tensor) -> Tensor:
    """Computes the last hidden states [R, L, H] of tokens [R, L] with their attention mask [R, L]."""
    states: Tensor = call(body_of(module), input_ids=tokens, attention_mask=attention_mask, use_cache=False, return_dict=True)[0]
    return states


class _Given:
    """The output of a body that has only hidden states: it lacks caches, attentions and whatever else an architecture reads."""

    def __init__(self, states: Tensor) -> None:
        self.last_hidden_state = states

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)

    def __getitem__(self, key: int | slice | str) -> Any:
        if isinstance(key, slice):
            return (self.last_hidden_state,)[key]
        return self.last_hidden_state if key in (0, "last_hidden_state") else None

    def __len__(self) -> int:
        return 1


class _GivenStates(nn.Module):
    """A stand-in for a body, which returns hidden states that were computed before."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.states: Tensor | None = None

    @property
    def decoder(self) -> Any:
        """Some models call their body's decoder."""
        return self

    def forward(self, *_arguments: object, **_named: object) -> _Given:
        assert self.states is not None
        return _Given(self.states)


class Head:
    """Maps hidden states to logits exactly as the model does, including soft caps and scales: by the model's own forward method."""

    def __init__(self, module: Any) -> None:
        self._shell = copy.copy(module)
        self._shell._modules = dict(module._modules)
        self._body = _GivenStates(module.config)
        self._shell._modules[_body_name(module)] = self._body

    def __call__(self, states: Tensor) -> Tensor:
        """Maps hidden states [P, H] to logits [P, V], float32."""
        self._body.states = states.unsqueeze(0)
        # No architecture reads the tokens again.
        tokens = torch.zeros(1, len(states), dtype=torch.long, device=states.device)
        try:
            logits: Tensor = call(self._shell, input_ids=tokens, use_cache=False, return_dict=True).logits
        finally:
            self._body.states = None
        return logits.squeeze(0).float()
