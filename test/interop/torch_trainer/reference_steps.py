"""Computes loss and gradient of one PMPO, DPO and KTO step with PyTorch alone, as a reference for trainer.test.ts.

    python reference_steps.py MODEL CHECKPOINT BATCH.json OUT

MODEL is the folder of the model that the trainer trains. CHECKPOINT is a folder that its Save has written, with the policy and
the reference. BATCH holds prompts [B], completions [N][B], evaluation, accept and reject [N][B], and the settings of the operators.
Writes the gradients to OUT/NAME.safetensors and the losses to OUT/losses.json. DPO and KTO are TRL's own code; PMPO is equation 10
of arXiv 2410.04166, written with torch.distributions.

Shapes: B prompts, N completions of each, T tokens of a completion, V vocabulary size.
"""

import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch  # noqa: E402
import transformers  # noqa: E402
from datasets import Dataset  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch.distributions import Categorical, kl_divergence  # noqa: E402
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer  # noqa: E402

MODEL, CHECKPOINT, BATCH, OUT = (pathlib.Path(argument) for argument in sys.argv[1:])
batch = json.loads(BATCH.read_text())
N, B = len(batch["completions"]), len(batch["prompts"])
accept, reject, evaluation = (torch.tensor(batch[name]) for name in ("accept", "reject", "evaluation"))


def load(part):
    data = CHECKPOINT / json.loads((CHECKPOINT / "checkpoint.json").read_text())["data"]
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager")
    model.load_state_dict(load_file(data / f"{part}.safetensors"), strict=False)
    return model.eval()


def distributions(model, n, b):
    """The distributions [T, V] of the completion's tokens, and the tokens [T], from a forward pass without padding."""
    prompt, completion = batch["prompts"][b], batch["completions"][n][b]
    logits = model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0]
    return Categorical(logits=logits[len(prompt) - 1 : -1]), torch.tensor(completion)


def table(of):
    """Evaluates a function of n and b to a tensor [N, B]."""
    return torch.stack([torch.stack([of(n, b) for b in range(B)]) for n in range(N)])


def log_prob(model):
    def of(n, b):
        own, completion = distributions(model, n, b)
        return own.log_prob(completion).sum()

    return table(of)


def kl(policy, reference):
    """KL(reference ‖ policy) [B], summed over tokens and averaged over the N samples."""

    def of(n, b):
        with torch.no_grad():
            other, _ = distributions(reference, n, b)
        return kl_divergence(other, distributions(policy, n, b)[0]).sum()

    return table(of).mean(0)


def pmpo(policy, reference, alpha, beta):
    values = log_prob(policy)

    def side(weights):
        return sum((values[:, b] * weights[:, b]).sum() / weights[:, b].sum() for b in range(B) if weights[:, b].sum() > 0) / B

    return -alpha * side(accept) + (1 - alpha) * side(reject) + beta * kl(policy, reference).mean()


def padded(pairs):
    """The sequences (n, b) as TRL's padded inputs."""
    texts = [(batch["prompts"][b], batch["completions"][n][b]) for n, b in pairs]
    width = max(len(prompt) + len(completion) for prompt, completion in texts)
    fill = lambda values: [*values, *[0] * (width - len(values))]  # noqa: E731
    return {
        "input_ids": torch.tensor([fill([*prompt, *completion]) for prompt, completion in texts]),
        "attention_mask": torch.tensor([fill([1] * (len(prompt) + len(completion))) for prompt, completion in texts]),
        "completion_mask": torch.tensor([fill([0] * len(prompt) + [1] * len(completion)) for prompt, completion in texts]),
    }


def of_trl(trainer_class, config_class, policy, reference, columns, **settings):
    """Creates a TRL trainer, of which only the loss is used."""
    arguments = config_class(
        output_dir=str(OUT / "trl"), use_cpu=True, bf16=False, report_to=[], gradient_checkpointing=False, per_device_train_batch_size=2, **settings
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    data = Dataset.from_list([columns] * 2)
    made = trainer_class(model=policy, ref_model=reference, args=arguments, train_dataset=data, processing_class=tokenizer)
    made.model.eval()
    return made


def dpo(policy, reference, beta):
    columns = {"prompt": "a", "chosen": "b", "rejected": "c"}
    trainer = of_trl(DPOTrainer, DPOConfig, policy, reference, columns, beta=beta)
    best = lambda weights, sign: [(int((sign * evaluation[:, b]).masked_fill(weights[:, b] == 0, -1e9).argmax()), b) for b in range(B)]  # noqa: E731
    return trainer._compute_loss(trainer.model, padded([*best(accept, 1), *best(reject, -1)]), False)


def kto(policy, reference, beta):
    columns = {"prompt": "a", "completion": "b", "label": True}
    trainer = of_trl(KTOTrainer, KTOConfig, policy, reference, columns, beta=beta)
    labeled = [(n, b) for n in range(N) for b in range(B) if accept[n, b] + reject[n, b] > 0]
    point = kl(policy, reference).mean().detach()
    # TRL estimates its reference point from mismatched pairs of prompts and completions; ours is the KL of the batch itself.
    trainer._compute_kl_logps = lambda model, _: torch.full((len(labeled),), point.item() if model is trainer.model else 0.0)
    inputs = {**padded(labeled), "label": torch.tensor([bool(accept[n, b] > 0) for n, b in labeled])}
    return trainer._compute_loss(trainer.model, inputs, False)


def main():
    OUT.mkdir(exist_ok=True)
    losses = {}
    for name, loss_of in (("pmpo", pmpo), ("dpo", dpo), ("kto", kto)):
        policy = load("policy")
        loss = loss_of(policy, load("reference"), **batch["settings"][name])
        loss.backward()
        losses[name] = loss.item()
        gradients = {key: p.grad.contiguous() for key, p in policy.named_parameters() if p.grad is not None}
        save_file(gradients, OUT / f"{name}.safetensors")
    (OUT / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main()
