"""A causal language model from a folder, and views of it that share its untrained parameters.

Shapes: R rows of L tokens; P positions; H the width of a hidden state; V vocabulary size.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from pmpo_torch_trainer.errors import StartError
from pmpo_torch_trainer.trial import check_parts

Weights = Mapping[str, Tensor]
"""A snapshot of the trained parameters, by name. Never changed in place."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclasses.dataclass(frozen=True)
class LoraOptions:
    """A new LoRA adapter. Its output is scaled by alpha / rank."""

    rank: int
    alpha: float
    targets: tuple[str, ...] = ()
    """Names of the adapted modules. Empty: all linear layers except the output layer."""


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """What to load, and how."""

    folder: Path
    device: str = "auto"
    dtype: str = "float32"
    """Dtype of computations. Trained parameters are always float32, because smaller dtypes would lose small steps."""
    lora: LoraOptions | None = None
    adapter: Path | None = None
    """Folder of a LoRA adapter of this model to start from, as `Publish` writes it."""
    context_length: int | None = None
    gradient_checkpointing: bool = False
    seed: int = 0
    local_rank: int | None = None
    """Rank of this process among several on this machine; None for a single process. With a rank, the model stays in host
    memory, from which `Processes.split` moves it."""


Files = tuple[tuple[str, int, int], ...]
"""Name, size in bytes and modification time in nanoseconds of each file of weights."""


def _files(folder: Path) -> Files:
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
    return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths)


def find_device(name: str, local_rank: int | None = None) -> torch.device:
    """Chooses a device: `auto` is a GPU if available. With `local_rank`, each process gets its own GPU.

    Raises:
      StartError: there is no GPU, or there are fewer GPUs than processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise StartError("--device cuda: PyTorch finds no GPU; --device cpu works on any machine")
    if local_rank is None:
        return torch.device("cuda")
    if local_rank >= torch.cuda.device_count():
        raise StartError(f"this machine has {torch.cuda.device_count()} GPUs, fewer than processes; start one process per GPU")
    return torch.device("cuda", local_rank)


@dataclasses.dataclass(frozen=True)
class LanguageModel:
    """A loaded model, whose trainable parameters are the policy, and its properties."""

    name: str
    module: Any
    """The Hugging Face model, including its LoRA adapter, if any."""
    peft: Any | None
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    method: str
    """`full` or `lora`."""
    context_length: int
    vocabulary_size: int
    """V, the width of the logits."""
    eos_token_ids: tuple[int, ...]
    bos_token_id: int | None
    gradient_checkpointing: bool
    files: Files
    """The files of weights at the time when they were read."""

    def trainable(self) -> dict[str, nn.Parameter]:
        """The policy's parameters by name. Tied parameters appear once."""
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def weights(self) -> Weights:
        """A copy of the policy's parameters."""
        return {name: p.detach().clone() for name, p in self.trainable().items()}

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which the model must be run, for its dtype."""
        if self.dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def load(options: ModelOptions) -> LanguageModel:
    """Reads a model and its tokenizer.

    Raises:
      StartError: the folder does not contain a usable model and tokenizer, or an option does not fit the model.
    """
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    device = find_device(options.device, options.local_rank)
    config = _config(options.folder)
    files = _files(options.folder)
    # peft draws the adapter's initial weights from PyTorch's global generator.
    torch.manual_seed(options.seed)
    tokenizer = _read(
        options.folder, "tokenizer", lambda folder: transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    )
    adapted = options.lora is not None or options.adapter is not None
    module = _read(
        options.folder,
        "causal language model",
        lambda folder: transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            # Frozen parameters may have a small dtype; trained ones are float32.
            dtype=_DTYPES[options.dtype] if adapted else torch.float32,
        ),
    )
    peft_model = _adapt(module, options) if adapted else None
    if peft_model is None:
        module.requires_grad_(True)
    if options.local_rank is None:
        module.to(device)
    module.eval()
    if options.gradient_checkpointing:
        # transformers 5 renamed this method.
        enable = getattr(module, "activation_checkpointing_enable", None) or module.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    text = config.get_text_config()
    longest = _context_length(text)
    if options.context_length is not None and longest is not None and options.context_length > longest:
        raise StartError(f"--context-length {options.context_length}: it must be at most {longest}, that of the model")
    eos = module.generation_config.eos_token_id if module.generation_config is not None else None
    eos = text.eos_token_id if eos is None else eos
    model = LanguageModel(
        name=str(options.folder),
        module=module,
        peft=peft_model,
        tokenizer=tokenizer,
        device=device,
        dtype=_DTYPES[options.dtype],
        method="lora" if adapted else "full",
        context_length=options.context_length or longest or 2048,
        vocabulary_size=_vocabulary_size(module, text),
        eos_token_ids=tuple(eos) if isinstance(eos, (list, tuple)) else () if eos is None else (int(eos),),
        bos_token_id=tokenizer.bos_token_id if tokenizer.bos_token_id is not None else text.bos_token_id,
        gradient_checkpointing=options.gradient_checkpointing,
        files=files,
    )
    check_parts(model)
    return model


def read_weights(model: LanguageModel) -> Weights:
    """Reads the parameters of a fully trained model from its folder again, to host memory.

    Raises:
      StartError: the files cannot be read, or have changed since the model was loaded.
    """
    folder = Path(model.name)
    changed = StartError(f"--model {folder}: its files have changed since they were read")
    try:
        if _files(folder) != model.files:
            raise changed
    except OSError as error:
        raise changed from error
    module = _read(
        folder,
        "causal language model",
        lambda path: transformers.AutoModelForCausalLM.from_pretrained(path, local_files_only=True, dtype=torch.float32),
    )
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def _read(folder: Path, what: str, read: Any) -> Any:
    try:
        return read(folder)
    except Exception as error:  # The libraries raise errors of many types for broken files.
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise StartError(f"--model {folder}: cannot read the {what} in this folder: {reason}") from error


def _config(folder: Path) -> Any:
    if not (folder / "config.json").is_file():
        raise StartError(f"--model {folder}: config.json is missing; give the folder of a Hugging Face model")
    config = _read(folder, "model", lambda path: transformers.AutoConfig.from_pretrained(path, local_files_only=True))
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        for name, value in list(vars(part).items()):
            # Dropout is off, so that a sequence has a single log-prob.
            if ("dropout" in name or name.endswith("pdrop")) and isinstance(value, float):
                setattr(part, name, 0.0)
        if hasattr(part, "rescale_every"):
            # RWKV would divide its weights in place when it does not train.
            part.rescale_every = 0
    return config


def _vocabulary_size(module: Any, text: Any) -> int:
    """The width of the logits, which may be more than the number of tokens."""
    weight = getattr(module.get_output_embeddings(), "weight", None)
    return int(text.vocab_size if weight is None else weight.shape[0])


def _context_length(text: Any) -> int | None:
    for name in ("max_position_embeddings", "n_positions", "max_sequence_length"):
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def _adapt(module: Any, options: ModelOptions) -> Any:
    import peft

    if options.adapter is not None:
        adapter = options.adapter
        if not (adapter / "adapter_config.json").is_file():
            raise StartError(f"--adapter {adapter}: adapter_config.json is missing; give the folder of a LoRA adapter")
        return _read(adapter, "LoRA adapter", lambda path: peft.PeftModel.from_pretrained(module, path, is_trainable=True))
    assert options.lora is not None
    lora = options.lora
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        target_modules=list(lora.targets) or "all-linear",
        task_type="CAUSAL_LM",
    )
    try:
        return peft.get_peft_model(module, config)
    except ValueError as error:
        raise StartError(f"--lora-targets: {str(error).split(chr(10))[0]}") from error


class View:
    """The model with other values of the trained parameters, such as the reference's.

    A separate tree of modules that shares every frozen tensor with the model, so that it takes no extra memory. Different
    threads may run different views, and the policy, at the same time.
    """

    def __init__(self, model: LanguageModel, weights: Weights) -> None:
        names = {id(parameter): name for name, parameter in model.trainable().items()}
        shared = [*model.module.parameters(), *model.module.buffers()]
        memo: dict[int, Any] = {id(tensor): tensor for tensor in shared}
        for part in model.module.modules():
            # What some models keep of their last pass cannot be copied, and is not needed.
            memo.update({id(x): x.detach() for x in vars(part).values() if isinstance(x, Tensor) and not x.is_leaf})
        self.module: Any = copy.deepcopy(model.module, memo)
        self.module.eval()
        # Every place that holds a trained parameter. Tied parameters have several.
        self._places = [
            (module, key, names[id(parameter)])
            for module in self.module.modules()
            for key, parameter in module._parameters.items()
            if id(parameter) in names
        ]
        self.weights: Weights = weights
        self.use(weights)

    def use(self, weights: Weights) -> None:
        """Replaces the trained parameters of this view."""
        parameters = {name: nn.Parameter(tensor, requires_grad=False) for name, tensor in weights.items()}
        for module, key, name in self._places:
            module._parameters[key] = parameters[name]
        self.weights = weights
