"""Reads and writes files with Python's safetensors, for safetensors.test.ts.

Usage: python peer.py read FILE    prints the tensors and metadata of a file as JSON, with values as hexadecimal bytes
       python peer.py write FILE   writes a file with a tensor of every dtype
"""

import json
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file


def read(path: str) -> None:
    with safe_open(path, framework="numpy") as file:
        tensors = {}
        for name in file.keys():
            array = file.get_tensor(name)
            tensors[name] = {
                "dtype": str(array.dtype),
                "shape": list(array.shape),
                "bytes": np.ascontiguousarray(array).tobytes().hex(),
            }
        print(json.dumps({"tensors": tensors, "metadata": file.metadata()}))


def write(path: str) -> None:
    values = np.arange(6).reshape(2, 3)
    dtypes = ["float64", "float32", "float16", "int64", "int32", "int16", "int8"]
    dtypes += ["uint64", "uint32", "uint16", "uint8", "bool"]
    tensors = {name: values.astype(name) for name in dtypes}
    tensors["scalar"] = np.array(0.1, np.float32)
    tensors["empty"] = np.zeros((0, 4), np.float32)
    save_file(tensors, path, metadata={"who": "größer"})


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](sys.argv[2])
