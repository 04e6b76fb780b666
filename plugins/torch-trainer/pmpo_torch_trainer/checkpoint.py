"""Folders: the trainer's whole state, and weights for others to load. Whatever stops the program, a checkpoint stays whole."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pmpo_torch_trainer.errors import RequestError, invalid, precondition
from pmpo_torch_trainer.model import View, Weights
from pmpo_torch_trainer.trainer import Trainer

_STATE = "checkpoint.json"
_PUBLISHED = "pmpo_published.json"
_VERSION = 1


def resolve(root: Path, folder: str, field: str = "folder") -> Path:
    """The folder a client means. Raises RequestError for one outside `root`."""
    if folder == "":
        raise invalid(f"{field} is empty")
    path = (root / folder).resolve()
    if path != root.resolve() and root.resolve() in path.parents:
        return path
    raise invalid(f"{field} '{folder}' is not below {root.resolve()}, where this trainer may write (--folder)")


def save(trainer: Trainer, folder: Path) -> None:
    """Writes policy, reference, what is published, the optimizer and the gradient that is under way.

    The files of one checkpoint lie in a folder of their own, which `checkpoint.json` names: it is replaced when they are
    all there, and at once. Raises RequestError when they cannot be written; then the folder holds what it held.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / _STATE).exists():
        raise precondition(f"{folder} holds something that is no checkpoint of this program; give another folder")
    data = folder / f"data-{trainer.steps}-{uuid.uuid4().hex[:8]}"
    with _disk(folder):
        try:
            data.mkdir(parents=True)
            for name, tensors in _tensors(trainer).items():
                _write_tensors(data / f"{name}.safetensors", tensors)
            _replace_text(folder / _STATE, json.dumps({"data": data.name, **_identity(trainer), **_counters(trainer)}, indent=2))
        except BaseException:
            shutil.rmtree(data, ignore_errors=True)
            raise
        for other in folder.glob("data-*"):
            if other != data:
                shutil.rmtree(other, ignore_errors=True)


def load(trainer: Trainer, folder: Path) -> None:
    """Reads it back. Raises RequestError when there is none, or one of another model; then nothing is changed."""
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RequestError(_not_found(), f"{folder} holds no checkpoint") from error
    except (OSError, ValueError) as error:
        raise precondition(f"{folder / _STATE} cannot be read: {error}") from error
    for key, own in _identity(trainer).items():
        if state.get(key) != own:
            raise precondition(f"the checkpoint in {folder} is of another model: {key} is {state.get(key)!r}, here {own!r}")
    data = folder / str(state["data"])
    names = trainer.parameters.keys()
    with _disk(folder):
        policy = _read_tensors(data, "policy", names)
        reference = _read_tensors(data, "reference", names)
        published = reference if state["publishedReference"] else _read_tensors(data, "published", names)
        gradient = _read_tensors(data, "gradient", None)
        first, second = _read_tensors(data, "optimizer_first", None), _read_tensors(data, "optimizer_second", None)
    device = trainer.model.device
    place: Callable[[Weights], Weights] = lambda weights: {name: tensor.to(device) for name, tensor in weights.items()}  # noqa: E731
    with torch.no_grad():
        for name, parameter in trainer.parameters.items():
            parameter.copy_(policy[name])
            parameter.grad = gradient[name].to(device) if name in gradient else None
    trainer.optimizer.state.clear()
    for name in first:
        trainer.optimizer.state[trainer.parameters[name]] = {
            "step": torch.tensor(float(state["optimizerSteps"]), device=device if device.type == "cuda" else "cpu"),
            "exp_avg": first[name].to(device),
            "exp_avg_sq": second[name].to(device),
        }
    trainer.set_reference(place(reference))
    trainer.published = trainer.reference if published is reference else place(published)
    trainer.steps = int(state["steps"])
    trainer.publications = int(state["published"])


def _not_found() -> Any:
    import grpc

    return grpc.StatusCode.NOT_FOUND


def _identity(trainer: Trainer) -> dict[str, object]:
    """What must be the same for a checkpoint to fit."""
    return {
        "version": _VERSION,
        "method": trainer.model.method,
        "architecture": type(trainer.model.module).__name__,
        "parameters": {name: list(parameter.shape) for name, parameter in trainer.parameters.items()},
    }


def _counters(trainer: Trainer) -> dict[str, object]:
    steps = {int(state["step"]) for state in trainer.optimizer.state.values()}
    return {
        "steps": trainer.steps,
        "published": trainer.publications,
        "publishedReference": trainer.published is trainer.reference,
        "optimizerSteps": max(steps, default=0),
    }


def _tensors(trainer: Trainer) -> dict[str, Mapping[str, Tensor]]:
    policy = {name: parameter.detach() for name, parameter in trainer.parameters.items()}
    state = {name: trainer.optimizer.state[p] for name, p in trainer.parameters.items() if p in trainer.optimizer.state}
    parts: dict[str, Mapping[str, Tensor]] = {
        "policy": policy,
        "reference": trainer.reference,
        "gradient": {name: p.grad for name, p in trainer.parameters.items() if p.grad is not None},
        "optimizer_first": {name: own["exp_avg"] for name, own in state.items()},
        "optimizer_second": {name: own["exp_avg_sq"] for name, own in state.items()},
    }
    if trainer.published is not trainer.reference:
        parts["published"] = trainer.published
    return parts


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _read_tensors(data: Path, name: str, expected: Any) -> Mapping[str, Tensor]:
    tensors = load_file(data / f"{name}.safetensors")
    if expected is not None and tensors.keys() != expected:
        raise precondition(f"{data / name}.safetensors does not hold the parameters of this model")
    return tensors


def _replace_text(path: Path, text: str) -> None:
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def _disk(folder: Path) -> Any:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise precondition(f"{folder}: {getattr(error, 'strerror', None) or error}; nothing was changed") from error


def export(trainer: Trainer, weights: Weights, folder: Path, publication: int) -> None:
    """Writes weights as vLLM, transformers and peft load them: an adapter, or a checkpoint with its tokenizer.

    Written aside and renamed. Raises RequestError when it cannot be, or the folder holds something else already.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / _PUBLISHED).exists():
        raise precondition(f"{folder} holds something that was not published by this program; give another folder")
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    old = aside.with_name(f"{aside.name}.old")
    with _disk(folder):
        try:
            aside.mkdir(parents=True)
            _write_model(trainer, weights, aside)
            note = {"published": publication, "steps": trainer.steps, "model": trainer.model.name}
            (aside / _PUBLISHED).write_text(json.dumps(note) + "\n", encoding="utf-8")
            if folder.exists():
                folder.rename(old)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def _write_model(trainer: Trainer, weights: Weights, folder: Path) -> None:
    model = trainer.model
    if model.peft is None:
        # With the module's own state: every tied name, and what is not trained.
        module = View(model, weights).module
        dtype = model.dtype
        module.save_pretrained(folder, state_dict={name: t.to(dtype) for name, t in module.state_dict().items()})
    else:
        state = {f"base_model.model.{name}": tensor for name, tensor in weights.items()}
        model.peft.save_pretrained(folder, state_dict=state)
    model.tokenizer.save_pretrained(folder)
