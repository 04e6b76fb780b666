"""What the tests of this suite share: the package, a tiny model, data sets, and settings that suit both TRL's trainers and ours."""

import atexit
import functools
import os
import pathlib
import shutil
import sys
import tempfile
import warnings

os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
INTEROP = pathlib.Path(__file__).resolve().parent.parent
PLUGINS = INTEROP.parent.parent / "plugins"
sys.path += [str(INTEROP / "torch_trainer"), str(INTEROP / "operators"), str(PLUGINS / "torch-trainer")]

import installed  # noqa: E402

if os.environ.get("PMPO_INSTALLED") is None:
    # A program that a test starts finds the package that the test has installed.
    os.environ["PMPO_INSTALLED"] = os.environ["PYTHONPATH"] = str(installed.folder())

import small_models  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from datasets import Dataset, disable_progress_bars  # noqa: E402

warnings.filterwarnings("ignore", category=FutureWarning)
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
disable_progress_bars()
torch.set_num_threads(1)


@functools.cache
def scratch() -> pathlib.Path:
    """A folder that is removed at the end."""
    made = pathlib.Path(tempfile.mkdtemp(prefix="pmpo-trl-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@functools.cache
def model_folder() -> str:
    """A tiny Llama with random weights and its tokenizer."""
    return str(small_models.make(scratch() / "models")["llama"])


def load(folder=None):
    """The model without dropout."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder or model_folder(), dtype=torch.float32, attention_dropout=0.0)


@functools.cache
def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(model_folder())


def pairs(count=8):
    """Pairs of completions of several lengths."""
    return Dataset.from_list(
        [{"prompt": f"The cat{' sat' * (i % 3)}", "chosen": f" on the mat{' one' * (i % 4)}", "rejected": f" by the door {i}"} for i in range(count)]
    )


def labelled(count=8, labels=(True, False)):
    """Completions with labels."""
    texts = {True: " on the mat", False: " by the door"}
    of = lambda i: labels[i % len(labels)]  # noqa: E731
    return Dataset.from_list(
        [{"prompt": f"The cat{' sat' * (i % 3)} {i}", "completion": f"{texts[of(i)]}{' two' * (i % 4)}", "label": of(i)} for i in range(count)]
    )


def settings(**changes):
    """Settings of a quick run on the CPU, for any configuration of TRL."""
    return {
        "output_dir": str(scratch() / "run"),
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "gradient_checkpointing": False,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "per_device_train_batch_size": 4,
        "num_train_epochs": 3,
        "logging_steps": 1,
        "disable_tqdm": True,
        "save_strategy": "no",
        "model_init_kwargs": {"attention_dropout": 0.0},
        **changes,
    }


def train(trainer_class, config_class, dataset, *, config=None, resume=None, model=None, **options):
    """A trainer after its run."""
    trainer = trainer_class(
        model or model_folder(), args=config_class(**settings(**(config or {}))), train_dataset=dataset, **options
    )
    # The progress is printed otherwise.
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def logged(trainer, key="loss"):
    """The values of a metric in the order of the steps."""
    return [entry[key] for entry in trainer.state.log_history if key in entry]


def tokens_of(row, name):
    """The tokens of a prompt and those of a completion, as TRL makes them: with the end-of-sequence token."""
    prompt = tokenizer()(row["prompt"])["input_ids"]
    whole = tokenizer()(row["prompt"] + row[name] + tokenizer().eos_token)["input_ids"]
    assert whole[: len(prompt)] == prompt
    return prompt, whole[len(prompt) :]


@torch.no_grad()
def measured(model, reference, dataset):
    """Log-probs of completions and KL(reference ‖ policy), summed over their tokens, from plain forward passes: `{side: (means)}`."""
    found = {"accepted": [], "rejected": []}
    for row in dataset:
        sides = {"accepted": "chosen", "rejected": "rejected"}
        if "label" in row:
            sides = {"accepted" if row["label"] else "rejected": "completion"}
        for side, name in sides.items():
            prompt, completion = tokens_of(row, name)
            inputs = torch.tensor([[*prompt, *completion]])
            p, q = (torch.log_softmax(m.eval()(input_ids=inputs).logits[0, len(prompt) - 1 : -1], -1) for m in (model, reference))
            log_prob = p.gather(-1, torch.tensor(completion)[:, None]).sum()
            found[side].append((log_prob, (q.exp() * (q - p)).sum()))
    return {side: torch.tensor(values).mean(0).tolist() for side, values in found.items() if values}
