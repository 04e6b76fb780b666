"""Makes an ordinary model folder from a GGUF file: `python -m pmpo_torch_trainer.convert_gguf FILE DIR`.

What was quantized is written as the numbers that it stands for, in float32 or bfloat16: what training starts from. Needs the
packages gguf and accelerate.
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
    """Writes model and tokenizer aside, then renames. Raises ValueError or OSError where it cannot."""
    import torch
    import transformers

    if folder.exists():
        raise ValueError(f"{folder} exists; give a folder that does not")
    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    quantization = transformers.GgufConfig(dequantize=True)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, **where)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(file.parent, **where, quantization_config=quantization)
    except ImportError:
        raise
    except Exception as error:  # Whatever is wrong with the file: the library raises errors of every kind.
        raise ValueError(f"{file}: no model that transformers knows can be read there: {error}") from error
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # Anew, with the numbers: what the library remembers of the file would keep the model from being saved.
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
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pmpo_torch_trainer.convert_gguf", description=str(__doc__).split("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE", help="the GGUF file")
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the model goes; must not exist")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16", help="(%(default)s)")
    options = parser.parse_args(arguments)
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        if not options.file.is_file():
            raise ValueError(f"{options.file}: there is no such file")
        convert(options.file, options.folder, options.dtype)
    except (ValueError, OSError, ImportError, NotImplementedError) as error:
        print(f"convert_gguf: {error}", file=sys.stderr)
        return 1
    print(f"Wrote {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
