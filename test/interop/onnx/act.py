"""Runs an exported policy with Python's onnxruntime, for onnx.test.ts.

Usage: python act.py POLICY.onnx, with observations [B, O] as JSON on standard input; prints the outputs as JSON.
"""

import json
import sys

import numpy as np
import onnxruntime


def main() -> None:
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    observation = np.asarray(json.load(sys.stdin), np.float32)
    names = [output.name for output in session.get_outputs()]
    outputs = session.run(names, {"observation": observation})
    print(json.dumps({name: values.tolist() for name, values in zip(names, outputs)}))


if __name__ == "__main__":
    main()
