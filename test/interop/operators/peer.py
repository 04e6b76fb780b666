"""Runs an exported operator in PyTorch and JAX. Usage: python peer.py FOLDER

FOLDER holds operator.onnx and cases.json: settings, inputs by the names of `Operator`, and the results of `engine.jit`. Prints the
largest difference, relative to the largest number of the result.
"""

import json
import pathlib
import sys

import installed

installed.folder()

import jax  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import pmpo  # noqa: E402


def array(entry):
    return np.asarray(entry["data"], np.float32).reshape(entry["shape"])


def in_torch(operator, inputs, state):
    tensor = lambda x: torch.from_numpy(x.copy())  # noqa: E731
    inputs = {key: {p: tensor(x) for p, x in value.items()} if key == "kl" else tensor(value) for key, value in inputs.items()}
    state = {key: tensor(value).requires_grad_() for key, value in state.items()}
    named = {"log_prob": inputs["log_prob"].requires_grad_()} | {f"kl/{p}": x.requires_grad_() for p, x in inputs["kl"].items()}
    named |= {f"state/{key}": value for key, value in state.items()}
    loss, metrics = operator.torch(**inputs, state=state)
    gradients = torch.autograd.grad(loss, list(named.values()))
    return {"loss": loss.detach(), **metrics, **dict(zip(named, gradients))}


def in_jax(operator, inputs, state):
    fixed = {key: value for key, value in inputs.items() if key not in ("log_prob", "kl")}

    def loss(log_prob, kl, state):
        return operator.jax(log_prob, **fixed, kl=kl, state=state)

    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(inputs["log_prob"], inputs["kl"], state)
    return {
        "loss": value[0],
        **value[1],
        "log_prob": gradients[0],
        **{f"kl/{part}": x for part, x in gradients[1].items()},
        **{f"state/{name}": x for name, x in gradients[2].items()},
    }


def main():
    folder = pathlib.Path(sys.argv[1])
    worst = 0.0
    for case in json.loads((folder / "cases.json").read_text()):
        operator = pmpo.load(folder / "operator.onnx", **case["settings"])
        inputs = {key: array(value) for key, value in case["inputs"].items() if "/" not in key}
        inputs["kl"] = {key[3:]: array(value) for key, value in case["inputs"].items() if key.startswith("kl/")}
        state = {key[6:]: array(value) for key, value in case["inputs"].items() if key.startswith("state/")}
        for run in (in_torch, in_jax):
            found = run(operator, inputs, state)
            for name, entry in case["results"].items():
                expected = array(entry)
                difference = np.abs(np.asarray(found[name]).reshape(expected.shape) - expected).max()
                worst = max(worst, float(difference / max(1, np.abs(expected).max())))
        start = operator.torch_state({part: x.shape[1] for part, x in inputs["kl"].items()})
        start.get_parameter("slack").data += 5
        start.project()
        assert start.get_parameter("slack").tolist() == [1.0], start
    try:
        pmpo.load(folder / "operator.onnx", margin=-1)
    except pmpo.SettingError as error:
        assert "operator margin, margin: must be at least 0, not -1" in str(error), error
    else:
        raise AssertionError("a setting out of range was accepted")
    print(json.dumps({"worst": worst}))


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    main()
