"""The architectures of transformers' causal language models: a tiny random model of each, compared with transformers.

    python architectures.py [NAME…]            prints a line for each
    python architectures.py --write FILE.md    writes the table of docs/
"""

import dataclasses
import pathlib
import sys
import tempfile

import small_models
import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "plugins" / "torch-trainer"))
from pmpo_torch_trainer.batches import TokenSequence  # noqa: E402
from pmpo_torch_trainer.body_and_head import call  # noqa: E402
from pmpo_torch_trainer.coefficients import Coefficients  # noqa: E402
from pmpo_torch_trainer.engine import Engine, EngineOptions, Request  # noqa: E402
from pmpo_torch_trainer.errors import StartError  # noqa: E402
from pmpo_torch_trainer.model import ModelOptions, load  # noqa: E402
from pmpo_torch_trainer.rows import CachedRows  # noqa: E402
from pmpo_torch_trainer.sampling import SamplingSettings  # noqa: E402
from pmpo_torch_trainer.token_terms import TermSelection  # noqa: E402
from pmpo_torch_trainer.trainer import Trainer, TrainerOptions  # noqa: E402
from pmpo_torch_trainer.trial import try_update  # noqa: E402

_plain = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128}
_grouped = {**_plain, "num_key_value_heads": 2}
_headed = {**_grouped, "head_dim": 8}
_old = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
_experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_deepseek = {
    **_plain, "num_key_value_heads": 4, "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4,
    "v_head_dim": 8, "n_routed_experts": 4, "moe_intermediate_size": 16, "first_k_dense_replace": 1, "num_experts_per_tok": 2,
    "n_group": 1, "topk_group": 1,
}  # fmt: skip
_mamba = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}
_linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8}

ARCHITECTURES = {
    "bamba": {
        **_grouped, "attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1,
    },
    "bart": {
        "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 128,
    },
    "bert": {**_plain, "is_decoder": True},
    "biogpt": _plain,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "codegen": {**_old, "rotary_dim": 4},
    "cohere": {**_grouped, "logit_scale": 0.25},
    "cohere2": {**_grouped, "sliding_window": 6, "logit_scale": 0.25},
    "ctrl": {**_old, "dff": 64},
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "ernie4_5": _grouped,
    "exaone4": {**_grouped, "sliding_window": 6},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": False, "new_decoder_architecture": False},
    "falcon_mamba": _mamba,
    "gemma": _headed,
    "gemma2": {**_headed, "sliding_window": 6, "final_logit_softcapping": 3.0},
    "gemma3_text": {**_headed, "sliding_window": 6},
    "glm": _headed,
    "glm4": _headed,
    "gpt2": _old,
    "gpt_bigcode": _old,
    "gpt_neo": {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "intermediate_size": 64, "max_position_embeddings": 128,
        "attention_types": [[["global", "local"], 1]], "window_size": 8,
    },
    "gpt_neox": _plain,
    "gpt_oss": {**_headed, "num_local_experts": 4, "sliding_window": 6},
    "gptj": {**_old, "rotary_dim": 4},
    "granite": {**_grouped, "logits_scaling": 3.0, "embedding_multiplier": 2.0},
    "granitemoe": {**_grouped, "num_local_experts": 4, "logits_scaling": 3.0},
    "helium": _headed,
    "hunyuan_v1_dense": _headed,
    "jamba": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False, "mamba_d_state": 8,
    },
    "lfm2": {**_grouped, "full_attn_idxs": [1], "block_multiple_of": 8},
    "llama": _grouped,
    "llama4_text": {**_headed, "intermediate_size_mlp": 64, "num_local_experts": 2},
    "mamba": _mamba,
    "mamba2": {**_mamba, "num_heads": 8, "head_dim": 8, "n_groups": 1},
    "minimax": {**_grouped, "num_local_experts": 2},
    "mistral": {**_grouped, "sliding_window": 6},
    "mixtral": {**_grouped, "num_local_experts": 4, "num_experts_per_tok": 2},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 128},
    "nemotron": _grouped,
    "olmo": _plain,
    "olmo2": _plain,
    "olmoe": {**_plain, "num_experts": 4, "num_experts_per_tok": 2},
    "openai-gpt": _old,
    "opt": {
        "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128,
        "word_embed_proj_dim": 16,
    },
    "persimmon": _plain,
    "phi": _plain,
    "phi3": _grouped,
    "qwen2": _grouped,
    "qwen2_moe": {**_grouped, **_experts, "shared_expert_intermediate_size": 32},
    "qwen3": _headed,
    "qwen3_moe": {**_headed, **_experts},
    "qwen3_next": {
        **_headed, **_experts, **_linear, "shared_expert_intermediate_size": 16, "layer_types": ["linear_attention", "full_attention"],
    },
    "recurrent_gemma": {
        "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "lru_width": 32,
        "attention_window_size": 16,
    },
    "rwkv": {"hidden_size": 32, "num_hidden_layers": 2, "context_length": 128, "rescale_every": 1},
    "smollm3": _grouped,
    "stablelm": _grouped,
    "starcoder2": _grouped,
    "xglm": {"d_model": 32, "ffn_dim": 64, "num_layers": 2, "attention_heads": 4, "max_position_embeddings": 128},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    "zamba2": {**_plain, "layers_block_type": ["linear_attention", "hybrid"], "num_mem_blocks": 1, "mamba_ngroups": 1, "n_mamba_heads": 8},
}  # fmt: skip
"""By transformers' name of each kind of model, the settings that make it tiny."""


@dataclasses.dataclass
class Outcome:
    """What became of one architecture; the errors are the largest ones against transformers."""

    name: str
    refused: str | None = None
    log_prob: float = 0.0
    gradient: float = 0.0
    """Relative to the largest gradient of each parameter, but at least to 1."""
    sampled: float = 0.0
    changed: float = 0.0
    """The largest change of a parameter by one step, which must not be 0."""
    cached: bool = False
    """Whether sampling continues with the cache of keys and values."""

    @property
    def worst(self) -> float:
        return max(self.log_prob, self.gradient, self.sampled)


def make(name, folder):
    words = small_models.tokenizer()
    torch.manual_seed(0)
    tokens = {"vocab_size": len(words), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(name, **{**tokens, **ARCHITECTURES[name]}))
    with torch.no_grad():
        for parameter in model.parameters():
            # Far from uniform, so that a wrong log-prob shows.
            if parameter.dim() > 1:
                parameter.normal_(std=0.1)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return len(words)


def log_probs(model, prompt, completion):
    """Of the tokens of a completion, by one plain forward pass."""
    logits = call(model, input_ids=torch.tensor([[*prompt, *completion]]), use_cache=False).logits[0].float().log_softmax(-1)
    return logits[torch.arange(len(prompt) - 1, len(prompt) + len(completion) - 1), torch.tensor(completion)]


def examine(name, folder):
    """Scores, trains one step and samples, beside transformers."""
    outcome = Outcome(name)
    vocabulary = make(name, folder)
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if hasattr(plain.config, "rescale_every"):
        # Outside of training RWKV would divide its weights, and so its gradients.
        plain.config.rescale_every = 0
    try:
        model = load(ModelOptions(folder=pathlib.Path(folder), device="cpu"))
        trainer = Trainer(model, TrainerOptions())
        try_update(trainer)
    except StartError as error:
        outcome.refused = str(error).split("cannot be trained here: ")[-1].split("cannot read the ")[-1]
        return outcome
    generator = torch.Generator().manual_seed(0)
    random = lambda count: torch.randint(3, vocabulary, (count,), generator=generator).tolist()  # noqa: E731
    sequences = [TokenSequence(random(p), random(c)) for p, c in ((3, 5), (9, 7), (6, 2))]

    def apart(found, wanted):
        return (torch.as_tensor(found) - wanted.detach()).abs().max().item()

    for sequence, terms in zip(sequences, trainer.score(sequences, TermSelection(policy=True))):
        outcome.log_prob = max(outcome.log_prob, apart(terms.log_prob, log_probs(plain, sequence.prompt, sequence.completion)))

    trainer.forward_backward(sequences, [Coefficients(log_prob=1.0, kl=0.5)] * 3)
    for sequence in sequences:
        log_probs(plain, sequence.prompt, sequence.completion).sum().backward()
    wanted = {key: p.grad for key, p in plain.named_parameters() if p.grad is not None}
    for key, parameter in trainer.parameters.items():
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        scale = max(1.0, wanted[key].abs().max().item()) if key in wanted else 1.0
        outcome.gradient = max(outcome.gradient, apart(found, wanted.get(key, torch.zeros_like(found))) / scale)

    engine = Engine(model, trainer.sampled, EngineOptions())
    try:
        outcome.cached = engine._rows is CachedRows
        settings = SamplingSettings(max_tokens=4, logprobs=0, seed=1, n=2)
        requests = [Request(list(sequence.prompt), settings, trainer.sampled, str(i)) for i, sequence in enumerate(sequences)]
        for request in requests:
            engine.submit(request)
        for request in requests:
            drawn = {0: ([], []), 1: ([], [])}
            for piece in request.deltas():
                drawn[piece.index][0].extend(piece.tokens)
                drawn[piece.index][1].extend(piece.scores.log_probs)
            for tokens, found in drawn.values():
                outcome.sampled = max(outcome.sampled, apart(found, log_probs(plain, request.prompt, tokens)))
    finally:
        engine.close()
    before = {key: p.detach().clone() for key, p in trainer.parameters.items()}
    trainer.optim_step(1e-3, 0.0)
    outcome.changed = max(apart(p.detach(), before[key]) for key, p in trainer.parameters.items())
    return outcome


def examine_all(names=tuple(ARCHITECTURES)):
    transformers.logging.set_verbosity_error()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            try:
                yield examine(name, folder)
            except Exception as error:
                raise RuntimeError(f"{name}: {type(error).__name__}: {error}") from error


def table(outcomes):
    rows = []
    for outcome in outcomes:
        sampling = "" if outcome.refused else "with a cache" if outcome.cached else "without a cache"
        rows.append(f"| `{outcome.name}` | {'yes' if outcome.refused is None else 'no: ' + outcome.refused} | {sampling} |")
    trained = sum(outcome.refused is None for outcome in outcomes)
    return "\n".join(
        [
            "# Models that the trainer trains",
            "",
            f"`pmpo serve trainer` trains {trained} of these {len(rows)} architectures of transformers {transformers.__version__}. A tiny model of each with",
            "random weights is scored, trained one step and sampled from; log-probs and gradients are those of transformers to 1e-5. Any",
            "other model is tried when it is loaded, and refused by name if its parts do not give what the whole gives. Without a cache",
            "sampling reads the whole sequence again for every token, so it is slower.",
            "",
            "This table is written by `python test/interop/torch_trainer/architectures.py --write docs/trainer-models.md`.",
            "",
            "| architecture | trained | sampling |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--write"]:
        pathlib.Path(arguments[1]).write_text(table(list(examine_all())), encoding="utf-8")
        return
    for name in arguments or ARCHITECTURES:
        try:
            (outcome,) = examine_all([name])
            print("BAD" if outcome.worst > 1e-5 else "ok", outcome, flush=True)
        except Exception as error:
            print("FAIL", name, type(error).__name__, str(error).split("\n")[0][:300], flush=True)


if __name__ == "__main__":
    main()
