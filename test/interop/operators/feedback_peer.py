"""Runs exported classifiers in PyTorch, JAX and NumPy. Usage: python feedback_peer.py FOLDER

FOLDER holds NAME.onnx and cases.json: inputs, and the weights that TensorFlow.js gives. Prints how many were compared, and which
differ.
"""

import json
import pathlib
import sys

import installed

installed.folder()

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import pmpo  # noqa: E402


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    compared, different = 0, []
    for case in json.loads((folder / "cases.json").read_text()):
        n, b = case["n"], case["b"]
        feedback = pmpo.load_feedback(folder / f"{case['name']}.onnx")
        arrays = {
            "mask": np.asarray(case["mask"], np.float32).reshape(n, b),
            "baseline": np.zeros(b, np.float32),
            "samples": np.asarray(case["samples"], np.float32).reshape(n, b, 2),
        }
        evaluation = np.asarray(case["evaluation"], np.float32).reshape(n, b)
        expected = [np.asarray(side, np.float32).reshape(n, b) for side in case["weights"]]
        for library, make in (("torch", torch.from_numpy), ("jax", jnp.asarray), ("numpy", np.asarray)):
            run = getattr(feedback, library)
            found = run(make(evaluation), **{name: make(values) for name, values in arrays.items()})
            compared += 1
            if not all(np.array_equal(np.asarray(x), y * arrays["mask"]) for x, y in zip(found, expected)):
                different.append([case["name"], library, n, b])
            # Nothing is known of absent samples. The default baseline is the mean of the others.
            absent = arrays["mask"] == 0
            count = np.maximum((~absent).sum(0), 1)
            mean = (evaluation.sum(0, where=~absent) / count).astype(np.float32)
            known, unknown = np.where(absent, 9, evaluation), np.where(absent, np.float32("nan"), evaluation)
            others = {name: make(values) for name, values in arrays.items() if name != "baseline"}
            with_mean = run(make(known), baseline=make(mean), **others)
            by_default = run(make(unknown), **others)
            compared += 1
            if not all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(with_mean, by_default)):
                different.append([case["name"], library, n, b, "absent"])
    print(json.dumps({"compared": compared, "different": different}))


main()
