"""Merges a LoRA adapter into its model: `python -m pmpo_torch_trainer.merge_adapter ADAPTER DIR`.

For servers that only load whole models, such as vLLM's gRPC server. The merged weights W + BA · scale are computed in
float32 and written in the model's own dtype.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from pmpo_torch_trainer.atomic_folder import replace_folder


def merge(adapter: Path, folder: Path, model: Path | None) -> None:
    """Writes the merged model and its tokenizer to `folder`, replacing an earlier output of this program.

    Args:
      adapter: folder of the LoRA adapter.
      folder: output folder.
      model: folder of the model; None for the one that the adapter names.
    Raises:
      ValueError: the model cannot be found, or `folder` holds files that this program did not write.
      OSError: a file cannot be read or written.
    """
    import peft
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        base = model or Path(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{adapter / 'adapter_config.json'} does not name its model; give --model") from error
    if not (base / "config.json").is_file():
        raise ValueError(f"{base} does not contain a model; give --model, the model that the adapter was trained on")
    if folder.exists() and any(folder.iterdir()) and not (folder / _MERGED).exists():
        raise ValueError(f"{folder} holds files that this program did not write; give another folder")
    config = transformers.AutoConfig.from_pretrained(base, local_files_only=True)
    whole = transformers.AutoModelForCausalLM.from_pretrained(base, local_files_only=True, dtype="float32")
    merged = peft.PeftModel.from_pretrained(whole, adapter).merge_and_unload()
    merged.to(config.dtype or whole.dtype)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base, local_files_only=True)
    with replace_folder(folder) as aside:
        merged.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        (aside / _MERGED).write_text(json.dumps({"model": str(base), "adapter": str(adapter)}) + "\n", encoding="utf-8")


_MERGED = "pmpo_merged.json"


def main(arguments: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pmpo_torch_trainer.merge_adapter", description=str(__doc__).split("\n")[0])
    parser.add_argument("adapter", type=Path, metavar="ADAPTER", help="folder of the adapter, as the trainer publishes it")
    parser.add_argument("folder", type=Path, metavar="DIR", help="output folder of the merged model")
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="folder of the adapter's model (the one that the adapter names)"
    )
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
