"""Converts a GGUF file to an ordinary model folder: `python -m pmpo_torch_trainer.convert_gguf FILE DIR`.

Quantized weights are dequantized to float32 or bfloat16, from which training can start. Needs the packages gguf and
accelerate.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any


def convert(file: Path, folder: Path, dtype: str) -> None:
    """Writes the model and its tokenizer to the new folder `folder`, atomically.

    Args:
      file: the GGUF file.
      folder: output folder, which must not exist.
      dtype: name of the dtype of the written weights.
    Raises:
      ValueError: `folder` exists, or transformers cannot read the file.
      OSError: a file cannot be read or written.
    """
    import torch
    import transformers

    if folder.exists():
        raise ValueError(f"{folder} already exists; give a new folder")
    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    quantization = transformers.GgufConfig(dequantize=True)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, **where)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(file.parent, **where, quantization_config=quantization)
    except ImportError:
        raise
    except Exception as error:  # transformers raises errors of many types for broken files.
        raise ValueError(f"{file}: transformers cannot read a model from this file: {error}") from error
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # A new model with the same weights, because a model that was loaded from GGUF refuses to be saved.
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    if loaded.generation_config is not None:
        model.generation_config = loaded.generation_config
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        aside.mkdir(parents=True)
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pmpo_torch_trainer.convert_gguf", description=str(__doc__).split("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE", help="the GGUF file")
    parser.add_argument("folder", type=Path, metavar="DIR", help="output folder; must not exist")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16", help="dtype of the weights (%(default)s)")
    options = parser.parse_args(arguments)
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        if not options.file.is_file():
            raise ValueError(f"{options.file}: the file does not exist")
        convert(options.file, options.folder, options.dtype)
    except (ValueError, OSError, ImportError, NotImplementedError) as error:
        print(f"convert_gguf: {error}", file=sys.stderr)
        return 1
    print(f"Wrote {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
