"""Scores, divergences and gradients against transformers, torch.distributions and plain autograd."""

import unittest

import torch
import transformers
from serving import LORA, MODELS, SEQUENCES, Case
from torch.distributions import Categorical, kl_divergence

from pmpo_torch_trainer import token_terms
from pmpo_torch_trainer.trainer import TrainerOptions

KINDS = [(name, lora) for name in ("llama", "gemma3") for lora in (None, LORA)]

COEFFICIENTS = [
    {"log_prob": [-0.7], "kl": [0.4]},
    {"log_prob": [0.3], "reverse_kl": [0.25]},
    {"log_prob": [0.1, -0.2, 0.3, 0, 0.5, 0.6, 0.7, -0.8], "kl": [0.1, 0.2, 0, 0, 0.3, 0.1, 0.1, 0.2], "reverse_kl": [0.5]},
]


def plain_model(name, weights=None, adapted=None):
    """The model as transformers and peft load it, with a trainer's weights and without dropout."""
    model = transformers.AutoModelForCausalLM.from_pretrained(MODELS[name], dtype=torch.float32)
    if adapted is not None:
        import peft

        config = peft.LoraConfig(r=adapted.rank, lora_alpha=adapted.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
        model = peft.get_peft_model(model, config).get_base_model()
    if weights is not None:
        missing = model.load_state_dict(dict(weights), strict=False)
        assert not missing.unexpected_keys
    return model.eval()


def log_softmax(model, prompt, completion):
    """Log-probs [T, V] of the completion's positions, from a forward pass without padding."""
    logits = model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0].float()
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


def plain_terms(policy, reference, prompt, completion):
    """log-prob, KL(reference ‖ policy) and KL(policy ‖ reference) at each token, [T] each."""
    own, other = log_softmax(policy, prompt, completion), log_softmax(reference, prompt, completion).detach()
    distributions = Categorical(logits=other), Categorical(logits=own)
    log_prob = own.gather(-1, torch.tensor(completion).unsqueeze(-1)).squeeze(-1)
    return log_prob, kl_divergence(*distributions), kl_divergence(*reversed(distributions))


def plain_value(policy, reference):
    """The weighted sum of the terms of SEQUENCES with COEFFICIENTS."""
    total = torch.zeros(())
    for (prompt, completion), given in zip(SEQUENCES, COEFFICIENTS, strict=True):
        for name, values in zip(("log_prob", "kl", "reverse_kl"), plain_terms(policy, reference, prompt, completion), strict=True):
            total = total + (torch.tensor(given.get(name, [0.0])) * values).sum()
    return total


class Gradients(Case):
    def test_scores_of_a_policy_and_its_reference(self):
        for name, lora in KINDS:
            own = self.local(name, lora=lora)
            own.move()
            policy = plain_model(name, own.model.weights(), lora)
            reference = plain_model(name, own.owner.reference, lora)
            scores = own.score(policy=True, reference=True, kl=True, reverse_kl=True)
            for (prompt, completion), found in zip(SEQUENCES, scores, strict=True):
                with torch.no_grad():
                    log_prob, kl, reverse_kl = plain_terms(policy, reference, prompt, completion)
                    reference_log_prob, _, _ = plain_terms(reference, reference, prompt, completion)
                self.close_to(found.log_prob, log_prob, what="log_prob")
                self.close_to(found.reference_log_prob, reference_log_prob, what="reference_log_prob")
                self.close_to(found.kl, kl, what="kl")
                self.close_to(found.reverse_kl, reverse_kl, what="reverse_kl")
                self.assertGreater(min(found.kl), 1e-4)

    def test_only_selected_terms_are_returned_and_a_new_policy_equals_its_reference(self):
        for name, lora in KINDS:
            own = self.local(name, lora=lora)
            found = own.score(reference=True, kl=True)[2]
            self.assertEqual((len(found.log_prob), len(found.reference_log_prob), len(found.reverse_kl)), (0, 8, 0))
            self.assertEqual(list(found.kl), [0] * 8)
            base = plain_model(name)
            with torch.no_grad():
                self.close_to(found.reference_log_prob, plain_terms(base, base, *SEQUENCES[2])[0])

    def test_gradients(self):
        for name, lora in KINDS:
            own = self.local(name, lora=lora)
            own.move()
            policy = plain_model(name, own.model.weights(), lora)
            reference = plain_model(name, own.owner.reference, lora)
            value = plain_value(policy, reference)
            value.backward()
            answer = own.forward_backward(COEFFICIENTS)
            self.close_to(answer.value, value.item(), what="value")
            self.assertEqual(len(answer.scores[2].kl), 8)
            expected = {key: p.grad for key, p in policy.named_parameters() if p.requires_grad}
            found = own.gradients()
            self.assertEqual(found.keys(), expected.keys())
            for key, gradient in found.items():
                self.close_to(gradient, expected[key], 1e-4, key)

    def test_gradients_do_not_depend_on_how_the_batch_is_split(self):
        whole = self.local("gemma3")
        whole.move()
        whole.forward_backward(COEFFICIENTS)
        expected = whole.gradients()
        # One sequence per pass; gradient checkpointing; logits of two positions at a time.
        others = [
            self.local("gemma3", training=TrainerOptions(max_tokens_per_batch=1)),
            self.local("gemma3", gradient_checkpointing=True),
            self.local("gemma3"),
        ]
        self.addCleanup(setattr, token_terms, "CHUNK_ELEMENTS", token_terms.CHUNK_ELEMENTS)
        for other in others:
            other.move()
            token_terms.CHUNK_ELEMENTS = 700 if other is others[-1] else 2**24
            other.forward_backward(COEFFICIENTS)
            for key, gradient in other.gradients().items():
                self.close_to(gradient, expected[key], 1e-4, key)

    def test_gradients_accumulate(self):
        own = self.local("llama")
        own.forward_backward(COEFFICIENTS)
        first = {key: gradient.clone() for key, gradient in own.gradients().items()}
        own.forward_backward(COEFFICIENTS)
        for key, gradient in own.gradients().items():
            self.close_to(gradient, 2 * first[key], 1e-5, key)

    def test_a_step_equals_that_of_pytorch_s_adam(self):
        own = self.local("llama")
        plain = plain_model("llama")
        adam = torch.optim.Adam(plain.parameters(), lr=0.01)
        for step in range(3):
            own.forward_backward(COEFFICIENTS)
            answer = own.trainer("OptimStep", learning_rate=0.01, max_gradient_norm=1.0)
            adam.zero_grad()
            plain_value(plain, plain_model("llama")).backward()
            norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            adam.step()
            self.close_to(answer.gradient_norm, norm, 1e-4, "norm")
            self.assertEqual(answer.steps, step + 1)
        for key, parameter in own.owner.parameters.items():
            # Adam divides by the size of the gradient. If that is as small as rounding errors, even its direction is uncertain.
            self.close_to(parameter.detach(), plain.get_parameter(key).detach(), 5e-3, key)
        self.assertTrue(all(gradient is None for gradient in own.gradients().values()))

    def test_the_reference_is_copied_wholly_or_at_a_rate(self):
        own = self.local("llama", lora=LORA)
        before = dict(own.owner.reference)
        own.move()
        policy = own.model.weights()
        own.trainer("CopyReference", rate=0.25)
        for key, value in own.owner.reference.items():
            self.close_to(value, 0.75 * before[key] + 0.25 * policy[key], 1e-6, key)
        own.trainer("CopyReference")
        self.assertEqual([list(found.kl) for found in own.score(kl=True)], [[0] * 3, [0], [0] * 8])

    def test_training_in_bfloat16(self):
        for name, lora in KINDS:
            own = self.local(name, lora=lora, dtype="bfloat16")
            exact = self.local(name, lora=lora)
            self.assertEqual({p.dtype for p in own.owner.parameters.values()}, {torch.float32})
            for found, expected in zip(own.score(policy=True), exact.score(policy=True), strict=True):
                self.close_to(found.log_prob, list(expected.log_prob), 0.05)
            own.move()
            self.assertEqual(own.trainer("GetInfo").dtype, "bfloat16")
            self.assertGreater(min(own.score(kl=True)[0].kl), 0)


if __name__ == "__main__":
    unittest.main()
