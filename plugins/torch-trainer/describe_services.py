"""Writes pmpo_torch_trainer/services.binpb, the compiled descriptions of the .proto files, which the program loads.

    python plugins/torch-trainer/describe_services.py [FILE]

Needs grpcio-tools. Unlike generated code, descriptions work with every version of protobuf.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
PROTO = HERE.parents[1] / "proto"
FILES = ["pmpo/v1/trainer.proto", "vllm/grpc/engine/vllm_engine.proto"]


def main() -> int:
    """Writes the file and returns protoc's exit code."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "pmpo_torch_trainer" / "services.binpb"
    well_known = resources.files("grpc_tools") / "_proto"
    flags = [f"--proto_path={PROTO}", f"--proto_path={well_known}", "--include_imports"]
    return int(protoc.main(["protoc", *flags, f"--descriptor_set_out={target}", *FILES]))


if __name__ == "__main__":
    sys.exit(main())
