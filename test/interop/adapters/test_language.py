"""pmpo.verl and pmpo.tinker on the real packages, with synthetic tensors, against PMPO written by hand."""

import pathlib
import sys
import unittest

import torch
from by_hand import ALPHA, BETA
from by_hand import pmpo_by_hand as by_hand
from tinker import types
from tinker.lib.public_interfaces.training_client import TrainingClient
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.workers.config import ActorConfig

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "plugins" / "python"))
import pmpo  # noqa: E402
import pmpo.tinker  # noqa: E402
import pmpo.verl  # noqa: E402

torch.set_num_threads(1)


def sequences(count=12, tokens=7):
    """Log-probs, those of the policy that sampled, a mask, and advantages, [S, T]. What is masked is NaN in the first two."""
    generator = torch.Generator().manual_seed(0)
    old = -torch.rand(count, tokens, generator=generator, dtype=torch.float64)
    log_prob = old + 0.2 * torch.randn(count, tokens, generator=generator, dtype=torch.float64)
    mask = torch.arange(tokens) < torch.randint(1, tokens + 1, (count, 1), generator=generator)
    advantages = torch.randn(count, 1, generator=generator, dtype=torch.float64).expand(count, tokens)
    return log_prob.masked_fill(~mask, torch.nan).requires_grad_(), old.masked_fill(~mask, torch.nan), mask, advantages


def operator():
    return pmpo.operators.pmpo(alpha=ALPHA, beta=BETA)


class LanguageTest(unittest.TestCase):
    def assert_same(self, loss, expected, tensors, scale=1.0):
        self.assertAlmostEqual(loss.item(), expected.item() * scale, delta=1e-6)
        tensors = list(tensors)
        wanted = torch.autograd.grad(expected, tensors)
        found = torch.autograd.grad(loss, tensors)
        for want, have in zip(wanted, found):
            torch.testing.assert_close(have.nan_to_num(), want.nan_to_num() * scale, atol=1e-6, rtol=0)
            self.assertTrue(bool(have.isfinite().all()))

    def test_verl(self):
        for size in (1, 4):
            with self.subTest(group_size=size):
                log_prob, old, mask, advantages = sequences()
                pmpo.verl.register("pmpo-test", operator(), group_size=size)
                registered = get_policy_loss_fn("pmpo-test")
                given = {"old_log_prob": old, "log_prob": log_prob, "advantages": advantages, "response_mask": mask}
                loss, metrics = registered(**given, loss_agg_mode="token-mean", config=None, rollout_is_weights=None)
                group = [row // size for row in range(12)]
                self.assert_same(loss, by_hand(log_prob, old, mask, advantages, group), [log_prob])
                self.assertTrue(all(isinstance(value, float) and key.startswith("actor/") for key, value in metrics.items()))

    def test_verl_adds_up_over_micro_batches(self):
        log_prob, old, mask, advantages = sequences()
        registered = pmpo.verl.register("pmpo-parts", operator(), group_size=2)
        config = ActorConfig(strategy="fsdp", rollout_n=2, ppo_micro_batch_size_per_gpu=4, ppo_mini_batch_size=12)
        config.global_batch_info.update(dp_size=1, global_batch_size=12, batch_num_tokens=int(mask.sum()))
        parts = [
            registered(old[part], log_prob[part], advantages[part], mask[part], "token-mean", config)[0]
            for part in (slice(0, 4), slice(4, 12))
        ]
        self.assert_same(sum(parts), by_hand(log_prob, old, mask, advantages, [row // 2 for row in range(12)]), [log_prob])

    def test_verl_refuses_what_it_would_not_use(self):
        log_prob, old, mask, advantages = sequences()
        registered = pmpo.verl.register("pmpo-refusals", operator(), group_size=5)
        with self.assertRaisesRegex(pmpo.PmpoError, "group_size: is 5, and the batch has 12 sequences"):
            registered(old, log_prob, advantages, mask)
        with self.assertRaisesRegex(pmpo.PmpoError, "rollout_is_weights: were given"):
            registered(old, log_prob, advantages, mask, rollout_is_weights=torch.ones_like(old))
        with self.assertRaisesRegex(pmpo.PmpoError, "operator mpo: trains variables of its own"):
            pmpo.verl.register("mpo", pmpo.operators.mpo())

    def test_what_learns_nothing_from_sequences_that_are_alone_is_refused(self):
        log_prob, old, mask, advantages = sequences()
        compare = [{"operator": getattr(pmpo.operators, name)()} for name in ("dpo", "reinforce", "grpo", "awr", "crr")]
        compare += [{"operator": pmpo.operators.pmpo(advantage_scale=1.0)}, {"feedback": "value-baseline"}, {"feedback": "top-half"}]
        for options in compare:
            with self.subTest(**options):
                with self.assertRaisesRegex(pmpo.PmpoError, "compares the sequences of a prompt, and each is a prompt by itself here"):
                    pmpo.verl.register("pmpo-alone", **options)
                data, forward, _ = self.data()
                with self.assertRaisesRegex(pmpo.PmpoError, "compares the sequences of a prompt, and each is a prompt by itself here"):
                    TrainingClient._compute_custom_loss(data, pmpo.tinker.custom_loss(**options), forward)
                # In groups all of them learn.
                log_prob.grad = None
                pmpo.verl.register("pmpo-together", **options, group_size=4)(old, log_prob, advantages, mask)[0].backward()
                self.assertGreater(log_prob.grad.nan_to_num().abs().max().item(), 0)

    def test_an_empty_response_is_no_sample(self):
        log_prob, old, mask, advantages = sequences()
        mask = mask.clone()
        mask[3] = False
        registered = pmpo.verl.register("pmpo-empty", operator(), group_size=4)
        loss, _ = registered(old, log_prob, advantages, mask)
        self.assert_same(loss, by_hand(log_prob, old, mask, advantages, [row // 4 for row in range(12)]), [log_prob])

    def data(self, groups=None):
        log_prob, old, mask, advantages = sequences()
        log_prob = log_prob.detach().nan_to_num(-1.0).float()
        old = old.nan_to_num(-1.0).float()
        data, outputs = [], []
        for row in range(12):
            # The first token is the prompt's, and the lengths differ.
            length = int(mask[row].sum()) + 1
            weights = torch.ones(length)
            weights[0] = 0
            head = torch.zeros(1)
            fields = {
                "target_tokens": torch.arange(length),
                "weights": weights,
                "logprobs": torch.cat([head, old[row, : length - 1]]),
                "advantages": torch.cat([head, advantages[row, : length - 1].float()]),
            }
            if groups is not None:
                fields["group"] = torch.tensor([groups[row]])
            data.append(types.Datum(model_input=types.ModelInput.from_ints(list(range(length))), loss_fn_inputs=fields))
            outputs.append({"logprobs": types.TensorData.from_torch(torch.cat([head - 0.5, log_prob[row, : length - 1]]))})
        return data, types.ForwardBackwardOutput(loss_fn_output_type="scalar", loss_fn_outputs=outputs, metrics={}), (log_prob, old, mask, advantages)

    def test_tinker(self):
        """`_compute_custom_loss` is what `forward_backward_custom` runs between the server's forward and backward passes."""
        shuffled = [2, 0, 1, 0, 1, 2, 2, 1, 0, 0, 1, 2]
        for name, given, carried, group in (
            ("by group", {}, shuffled, shuffled),
            ("by layout", {"group_size": 3}, None, [row // 3 for row in range(12)]),
            ("alone", {}, None, list(range(12))),
        ):
            with self.subTest(name):
                data, forward, (log_prob, old, mask, advantages) = self.data(carried)
                found = TrainingClient._compute_custom_loss(data, pmpo.tinker.custom_loss(operator(), **given), forward)
                log_prob = log_prob.double().requires_grad_()
                expected = by_hand(log_prob, old.double(), mask, advantages.float().double(), group)
                (gradient,) = torch.autograd.grad(expected, [log_prob])
                self.assertAlmostEqual(found.loss_sum, expected.item(), delta=1e-6)
                for row, datum in enumerate(found.data):
                    weights = datum.loss_fn_inputs["weights"].to_torch()
                    self.assertEqual(weights[0].item(), 0)
                    torch.testing.assert_close(-weights[1:].double(), gradient[row, : len(weights) - 1], atol=1e-6, rtol=0)

    def test_tinker_says_what_a_datum_lacks(self):
        data, forward, _ = self.data()
        del data[2].loss_fn_inputs["advantages"]
        with self.assertRaisesRegex(pmpo.PmpoError, r"data\[2\].loss_fn_inputs: has no advantages"):
            TrainingClient._compute_custom_loss(data, pmpo.tinker.custom_loss(), forward)


if __name__ == "__main__":
    unittest.main()
