"""Writes llama_transformers.json: results of a small Llama of transformers, the reference for src/networks/transformer.test.ts.

    $(node scripts/venv.mjs transformers) test/references/llama_transformers.py

Random parameters, tokens [B, T] and next tokens [B, T]; the logits [B, T, V], the mean cross-entropy of the next tokens for
which the mask is 1, and its gradients. With a second set of parameters as the reference model: the divergences of each token in
both directions, and the gradients of a weighted sum of log-probs and divergences with random coefficients.

Shapes: B sequences, T tokens, V vocabulary size.
"""

import torch
from fixtures import Draws, write
from transformers import LlamaConfig, LlamaForCausalLM

torch.set_default_dtype(torch.float64)

B, T, V = 3, 7, 19
LENGTHS = (7, 4, 6)


def model(seed):
    config = LlamaConfig(
        vocab_size=V,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        attention_bias=False,
        mlp_bias=False,
        attn_implementation="eager",
    )
    llama = LlamaForCausalLM(config).double()
    draws = Draws(seed)
    with torch.no_grad():
        for name, parameter in llama.named_parameters():
            values = draws.normal(*parameter.shape, scale=0.3)
            parameter.copy_(torch.tensor(values + (1 if "norm" in name else 0)))
    return llama


def parameters(llama):
    return {name: parameter.detach().numpy() for name, parameter in llama.named_parameters()}


def gradients(llama, loss):
    llama.zero_grad()
    loss.backward()
    return {name: parameter.grad.numpy().copy() for name, parameter in llama.named_parameters()}


def main():
    draws = Draws(3)
    tokens, following = draws.integers(V, B, T), draws.integers(V, B, T)
    mask = torch.tensor([[float(t < length) for t in range(T)] for length in LENGTHS])
    policy, reference = model(1), model(2)
    labels = torch.tensor(following)
    coefficients = {name: draws.normal(B, T) * mask.numpy() for name in ("logProb", "kl", "reverseKl")}

    logits = policy(torch.tensor(tokens)).logits
    log_probs = torch.log_softmax(logits, -1)
    log_prob = log_probs.gather(-1, labels[..., None])[..., 0]
    cross_entropy = -(log_prob * mask).sum() / mask.sum()
    cross_entropy_gradients = gradients(policy, cross_entropy)

    log_probs = torch.log_softmax(policy(torch.tensor(tokens)).logits, -1)
    reference_log_probs = torch.log_softmax(reference(torch.tensor(tokens)).logits, -1).detach()
    terms = {
        "logProb": log_probs.gather(-1, labels[..., None])[..., 0],
        "kl": (reference_log_probs.exp() * (reference_log_probs - log_probs)).sum(-1),
        "reverseKl": (log_probs.exp() * (log_probs - reference_log_probs)).sum(-1),
    }
    loss = sum((torch.tensor(coefficients[name]) * term).sum() for name, term in terms.items())
    write(
        __file__,
        {
            "lengths": list(LENGTHS),
            "parameters": parameters(policy),
            "referenceParameters": parameters(reference),
            "tokens": tokens,
            "next": following,
            "mask": mask.numpy(),
            "logits": logits.detach().numpy(),
            "crossEntropy": cross_entropy.item(),
            "crossEntropyGradients": cross_entropy_gradients,
            "coefficients": coefficients,
            "terms": {name: term.detach().numpy() for name, term in terms.items()},
            "referenceLogProb": reference_log_probs.gather(-1, labels[..., None])[..., 0].numpy(),
            "loss": loss.item(),
            "gradients": gradients(policy, loss),
        },
    )


if __name__ == "__main__":
    main()
