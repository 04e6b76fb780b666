"""Checkpoints of the trainer's whole state, and export of weights for other programs.

Writes are atomic: whatever stops the program, the last complete checkpoint stays readable.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pmpo_torch_trainer.atomic_folder import replace_folder
from pmpo_torch_trainer.errors import RequestError, invalid, precondition
from pmpo_torch_trainer.model import View, Weights
from pmpo_torch_trainer.trainer import Trainer

_STATE = "checkpoint.json"
_PUBLISHED = "pmpo_published.json"
_VERSION = 1


def resolve(root: Path, folder: str, field: str = "folder") -> Path:
    """The path of a folder that a client names, relative to `root`.

    Raises:
      RequestError: the name is empty, or the folder is not inside `root`.
    """
    if folder == "":
        raise invalid(f"{field} is empty")
    path = (root / folder).resolve()
    if path != root.resolve() and root.resolve() in path.parents:
        return path
    raise invalid(f"{field} '{folder}' is not inside {root.resolve()}, the only folder that clients may use (--folder)")


def save(trainer: Trainer, folder: Path) -> None:
    """Writes the policy, the reference, the published weights, the optimizer's state and the accumulated gradient.

    The files of each checkpoint are in a separate folder. `checkpoint.json` names that folder; it is replaced atomically
    after all files are written.

    Raises:
      RequestError: the files cannot be written. The folder then still holds the previous checkpoint.
    """
    processes = trainer.processes
    data = folder / f"data-{trainer.steps}-{uuid.uuid4().hex[:8]}"

    def begin() -> None:
        if folder.exists() and any(folder.iterdir()) and not (folder / _STATE).exists():
            raise precondition(f"{folder} holds files that are not a checkpoint of this program; give another folder")
        with _disk(folder):
            data.mkdir(parents=True)

    def write(name: str, tensors: Weights) -> None:
        with _disk(folder):
            _write_tensors(data / f"{name}.safetensors", tensors)

    def finish() -> None:
        with _disk(folder):
            state = {"data": data.name, **_identity(trainer), **_counters(trainer)}
            _replace_text(folder / _STATE, json.dumps(state, indent=2))
            for other in folder.glob("data-*"):
                if other != data:
                    shutil.rmtree(other, ignore_errors=True)

    try:
        processes.run_on_first(begin)
        for name, tensors in _tensors(trainer).items():
            processes.run_on_first(functools.partial(write, name, processes.gather_tensors(tensors, torch.device("cpu"))))
        processes.run_on_first(finish)
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        raise


def load(trainer: Trainer, folder: Path) -> None:
    """Restores the state of a checkpoint.

    Raises:
      RequestError: there is no checkpoint in `folder`, it belongs to another model, or it cannot be read. Nothing changes.
    """
    processes = trainer.processes
    state, parts = processes.agree(lambda: _read(trainer, folder))
    shards = {name: processes.shard_tensors(tensors, trainer.parameters) for name, tensors in parts.items()}
    device = trainer.model.device
    with torch.no_grad():
        for name, parameter in trainer.parameters.items():
            parameter.copy_(shards["policy"][name])
            parameter.grad = shards["gradient"].get(name)
    trainer.optimizer.state.clear()
    for name, first in shards["optimizer_first"].items():
        trainer.optimizer.state[trainer.parameters[name]] = {
            "step": torch.tensor(float(state["optimizerSteps"]), device=device if device.type == "cuda" else "cpu"),
            "exp_avg": first,
            "exp_avg_sq": shards["optimizer_second"][name],
        }
    trainer.set_reference(shards["reference"])
    trainer.publish(shards.get("published", trainer.reference))
    trainer.steps = int(state["steps"])
    trainer.publications = int(state["published"])


def _read(trainer: Trainer, folder: Path) -> tuple[dict[str, Any], dict[str, Mapping[str, Tensor]]]:
    """Reads the description of a checkpoint, and its whole tensors by part and name."""
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RequestError(_not_found(), f"{folder} does not contain a checkpoint") from error
    except (OSError, ValueError) as error:
        raise precondition(f"{folder / _STATE} cannot be read: {error}") from error
    for key, expected in _identity(trainer).items():
        if state.get(key) != expected:
            raise precondition(
                f"the checkpoint in {folder} belongs to another model: its {key} is {state.get(key)!r}, here it is {expected!r}"
            )
    data = folder / str(state["data"])
    names = trainer.parameters.keys()
    complete = ["policy", "reference", *([] if state["publishedReference"] else ["published"])]
    with _disk(folder):
        parts = {name: _read_tensors(data, name, names) for name in complete}
        for name in ("gradient", "optimizer_first", "optimizer_second"):
            parts[name] = _read_tensors(data, name, None)
    return state, parts


def _not_found() -> Any:
    import grpc

    return grpc.StatusCode.NOT_FOUND


def _identity(trainer: Trainer) -> dict[str, object]:
    """The properties that a checkpoint and the trainer must have in common."""
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
        "optimizer_first": {name: values["exp_avg"] for name, values in state.items()},
        "optimizer_second": {name: values["exp_avg_sq"] for name, values in state.items()},
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
        raise precondition(f"{data / name}.safetensors does not contain the parameters of this model")
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
    """Writes weights in the format of transformers and peft, which vLLM loads too: an adapter or a model, with its tokenizer.

    `publication` is the number of this publication. The folder is replaced atomically.

    Raises:
      RequestError: the files cannot be written, or the folder holds files that this program did not publish.
    """
    whole = trainer.processes.gather_tensors(weights)
    trainer.processes.run_on_first(lambda: _export(trainer, whole, folder, publication))


def _export(trainer: Trainer, weights: Weights, folder: Path, publication: int) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / _PUBLISHED).exists():
        raise precondition(f"{folder} holds files that this program did not publish; give another folder")
    with _disk(folder), replace_folder(folder) as aside:
        _write_model(trainer, weights, aside)
        note = {"published": publication, "steps": trainer.steps, "model": trainer.model.name}
        (aside / _PUBLISHED).write_text(json.dumps(note) + "\n", encoding="utf-8")


def _write_model(trainer: Trainer, weights: Weights, folder: Path) -> None:
    model = trainer.full_model
    if model.peft is None:
        # The module's state dict has every tied name and the untrained parameters too.
        module = View(model, weights).module
        dtype = model.dtype
        module.save_pretrained(folder, state_dict={name: t.to(dtype) for name, t in module.state_dict().items()})
    else:
        state = {f"base_model.model.{name}": tensor for name, tensor in weights.items()}
        model.peft.save_pretrained(folder, state_dict=state)
    model.tokenizer.save_pretrained(folder)
