"""A causal language model from a folder, and views of it that share what is not trained."""

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

Weights = Mapping[str, Tensor]
"""The parameters that are trained, by name, as they were at one moment. Never changed in place."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclasses.dataclass(frozen=True)
class LoraOptions:
    rank: int
    alpha: float
    targets: tuple[str, ...] = ()
    """Names of modules; none: all linear ones but the output layer."""


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    folder: Path
    device: str = "auto"
    dtype: str = "float32"
    """In which is computed. What is trained is kept in float32 in any case: smaller types would lose small steps."""
    lora: LoraOptions | None = None
    adapter: Path | None = None
    """Where to start from: a LoRA adapter of this model, as `Publish` writes it."""
    context_length: int | None = None
    gradient_checkpointing: bool = False
    seed: int = 0
    local_rank: int | None = None
    """Which of the machine's processes this is, where there are several. The model then stays in the computer's memory, for
    `Processes.split` to place."""


Files = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of each file of weights."""


def _files(folder: Path) -> Files:
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
    return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths)


def find_device(name: str, local_rank: int | None = None) -> torch.device:
    """`auto` is the GPU if there is one; each of several processes has its own. Raises StartError where there are too few."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise StartError("--device cuda: this PyTorch sees no GPU; --device cpu works anywhere")
    if local_rank is None:
        return torch.device("cuda")
    if local_rank >= torch.cuda.device_count():
        raise StartError(f"there are {torch.cuda.device_count()} GPUs here, fewer than processes; start one process for each")
    return torch.device("cuda", local_rank)


@dataclasses.dataclass(frozen=True)
class LanguageModel:
    """What is loaded: the model itself, whose trainable parameters are the policy, and what there is to know of it."""

    name: str
    module: Any
    """The Hugging Face model, adapters inside it where there are any."""
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
    """What the folder's weights were like when they were read."""

    def trainable(self) -> dict[str, nn.Parameter]:
        """The policy's parameters by name; those that are tied together once."""
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def weights(self) -> Weights:
        """A copy of them."""
        return {name: p.detach().clone() for name, p in self.trainable().items()}

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """In which the model is run."""
        if self.dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def load(options: ModelOptions) -> LanguageModel:
    """Reads the model and its tokenizer. Raises StartError, with the reason, for a folder that holds none."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    device = find_device(options.device, options.local_rank)
    config = _config(options.folder)
    files = _files(options.folder)
    # PyTorch's own generator makes the adapter's first weights.
    torch.manual_seed(options.seed)
    tokenizer = _read(options.folder, "tokenizer", lambda folder: transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True))
    adapted = options.lora is not None or options.adapter is not None
    module = _read(
        options.folder,
        "causal language model",
        lambda folder: transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            # The frozen ones may be small; those that are trained may not.
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
        # Renamed in the library's version 5.
        enable = getattr(module, "activation_checkpointing_enable", None) or module.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    text = config.get_text_config()
    longest = _context_length(text)
    if options.context_length is not None and longest is not None and options.context_length > longest:
        raise StartError(f"--context-length {options.context_length}: this model's is {longest}")
    eos = module.generation_config.eos_token_id if module.generation_config is not None else None
    eos = text.eos_token_id if eos is None else eos
    return LanguageModel(
        name=str(options.folder),
        module=module,
        peft=peft_model,
        tokenizer=tokenizer,
        device=device,
        dtype=_DTYPES[options.dtype],
        method="lora" if adapted else "full",
        context_length=options.context_length or longest or 2048,
        vocabulary_size=module.get_output_embeddings().weight.shape[0],
        eos_token_ids=tuple(eos) if isinstance(eos, (list, tuple)) else () if eos is None else (int(eos),),
        bos_token_id=tokenizer.bos_token_id if tokenizer.bos_token_id is not None else text.bos_token_id,
        gradient_checkpointing=options.gradient_checkpointing,
        files=files,
    )


def read_weights(model: LanguageModel) -> Weights:
    """The trained parameters of a model that is trained whole, once more from its folder, in the computer's own memory.

    Raises StartError where they cannot be read, or are others by now.
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
    except Exception as error:  # Whatever is wrong with the files: the libraries raise errors of every kind.
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise StartError(f"--model {folder}: no {what} can be read there: {reason}") from error


def _config(folder: Path) -> Any:
    if not (folder / "config.json").is_file():
        raise StartError(f"--model {folder}: there is no config.json; give the folder of a Hugging Face model")
    config = _read(folder, "model", lambda path: transformers.AutoConfig.from_pretrained(path, local_files_only=True))
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        for name, value in list(vars(part).items()):
            # The same sequence has the same log-prob whenever it is asked for.
            if ("dropout" in name or name.endswith("pdrop")) and isinstance(value, float):
                setattr(part, name, 0.0)
    return config


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
            raise StartError(f"--adapter {adapter}: there is no adapter_config.json; give the folder of a LoRA adapter")
        return _read(adapter, "adapter of this model", lambda path: peft.PeftModel.from_pretrained(module, path, is_trainable=True))
    assert options.lora is not None
    lora = options.lora
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft declares an int, and takes any number
        lora_dropout=0.0,
        target_modules=list(lora.targets) or "all-linear",
        task_type="CAUSAL_LM",
    )
    try:
        return peft.get_peft_model(module, config)
    except ValueError as error:
        raise StartError(f"--lora-targets: {str(error).split(chr(10))[0]}") from error


class View:
    """The model with other trained parameters: those of the reference, or those that are sampled from.

    A tree of modules of its own that shares every frozen tensor with the model, so that it costs no memory, and may be run
    while another view, or the policy, is run by another thread.
    """

    def __init__(self, model: LanguageModel, weights: Weights) -> None:
        names = {id(parameter): name for name, parameter in model.trainable().items()}
        shared = [*model.module.parameters(), *model.module.buffers()]
        self.module: Any = copy.deepcopy(model.module, {id(tensor): tensor for tensor in shared})
        self.module.eval()
        # Everywhere that a trained parameter stands, tied ones included.
        self._places = [
            (module, key, names[id(parameter)])
            for module in self.module.modules()
            for key, parameter in module._parameters.items()
            if id(parameter) in names
        ]
        self.weights: Weights = weights
        self.use(weights)

    def use(self, weights: Weights) -> None:
        """From now on it has these."""
        parameters = {name: nn.Parameter(tensor, requires_grad=False) for name, tensor in weights.items()}
        for module, key, name in self._places:
            module._parameters[key] = parameters[name]
        self.weights = weights


class _GivenStates(nn.Module):
    """In the place of a model's body: what is given as embeddings comes out as the last hidden states."""

    def forward(self, inputs_embeds: Tensor, **_: object) -> Any:
        return transformers.modeling_outputs.BaseModelOutputWithPast(last_hidden_state=inputs_embeds)


class Head:
    """From hidden states to logits, exactly as the model does it, soft caps and scales included."""

    def __init__(self, module: Any) -> None:
        self._shell = copy.copy(module)
        self._shell._modules = dict(module._modules)
        self._shell._modules[module.base_model_prefix] = _GivenStates()

    def __call__(self, states: Tensor) -> Tensor:
        """[P, H] → [P, V], float32."""
        logits: Tensor = self._shell(inputs_embeds=states.unsqueeze(0), use_cache=False).logits
        return logits.squeeze(0).float()


def hidden_states(module: Any, tokens: Tensor, attention_mask: Tensor) -> Tensor:
    """The last hidden states, [R, L, H], of R rows of L tokens."""
    body = getattr(module, module.base_model_prefix)
    states: Tensor = body(input_ids=tokens, attention_mask=attention_mask, use_cache=False).last_hidden_state
    return states
