"""Imports OpenRLHF where no CUDA compiler is: its losses and trainers are its own, and two packages for GPUs are stood in for.

flash-attn cannot be built here. OpenRLHF calls it for packed samples only, so its functions are stand-ins that raise when they are
called. The `__init__` of `openrlhf.trainer.ray`, which imports vLLM for its sampling engines, is left out, as OpenRLHF's own tests do.
"""

import importlib
import pathlib
import sys
import types
import warnings

# The deprecation notices of pynvml are about GPUs.
warnings.filterwarnings("ignore", category=FutureWarning, module="torch.cuda")

# Before the stand-ins, which transformers would take for flash-attn.
import deepspeed  # noqa: E402, F401
import peft  # noqa: E402, F401
import transformers  # noqa: E402
import transformers.integrations.deepspeed  # noqa: E402, F401

for lazy in ("AutoModelForCausalLM", "AutoModelForImageTextToText", "BitsAndBytesConfig"):
    getattr(transformers, lazy)


def not_here(*_args, **_kwargs):
    raise AssertionError("flash-attn was called, which only a stand-in is here for")


def package(name, path=()):
    module = types.ModuleType(name)
    module.__path__ = list(path)
    return module


padding = types.ModuleType("flash_attn.bert_padding")
padding.index_first_axis = padding.pad_input = padding.rearrange = padding.unpad_input = not_here
distributed = types.ModuleType("flash_attn.utils.distributed")
distributed.all_gather = not_here
stand_ins = [package("flash_attn"), package("flash_attn.utils"), padding, distributed]
sys.modules.update({module.__name__: module for module in stand_ins})
try:
    importlib.import_module("openrlhf.models")
finally:
    for module in stand_ins:
        del sys.modules[module.__name__]

trainers = importlib.import_module("openrlhf.trainer")
folder = pathlib.Path(trainers.__path__[0]) / "ray"
sys.modules["openrlhf.trainer.ray"] = package("openrlhf.trainer.ray", [str(folder)])
dpo_trainer = importlib.import_module("openrlhf.trainer.dpo_trainer")
ppo_actor = importlib.import_module("openrlhf.trainer.ray.ppo_actor")
trainers.ray = sys.modules["openrlhf.trainer.ray"]
