"""Adds a LoRA adapter to its model: `python -m pmpo_torch_trainer.merge_adapter ADAPTER DIR`.

For servers that load whole models only, as vLLM's gRPC server does. The sum W + BA · scale is taken in float32 and written in the
model's own type.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from pmpo_torch_trainer.replacing import replaced


def merge(adapter: Path, folder: Path, model: Path | None) -> None:
    """Writes model and tokenizer aside, then in the place of what this program wrote there before.

    `model`: default: the one that the adapter names. Raises ValueError or OSError where it cannot.
    """
    import peft
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        base = model or Path(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{adapter / 'adapter_config.json'} does not say of which model; give --model") from error
    if not (base / "config.json").is_file():
        raise ValueError(f"{base} holds no model; give --model, the folder that the adapter was trained on")
    if folder.exists() and any(folder.iterdir()) and not (folder / _MERGED).exists():
        raise ValueError(f"{folder} holds something that this program did not write; give another folder")
    config = transformers.AutoConfig.from_pretrained(base, local_files_only=True)
    whole = transformers.AutoModelForCausalLM.from_pretrained(base, local_files_only=True, dtype="float32")
    merged = peft.PeftModel.from_pretrained(whole, adapter).merge_and_unload()
    merged.to(config.dtype or whole.dtype)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base, local_files_only=True)
    with replaced(folder) as aside:
        merged.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        (aside / _MERGED).write_text(json.dumps({"model": str(base), "adapter": str(adapter)}) + "\n", encoding="utf-8")


_MERGED = "pmpo_merged.json"


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pmpo_torch_trainer.merge_adapter", description=str(__doc__).split("\n")[0])
    parser.add_argument("adapter", type=Path, metavar="ADAPTER", help="the adapter's folder, as the trainer publishes it")
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the model goes")
    parser.add_argument("--model", type=Path, metavar="DIR", help="the model that it is of (the one that it names)")
    options = parser.parse_args(arguments)
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        merge(options.adapter, options.folder, options.model)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"merge_adapter: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    print(f"Wrote {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
