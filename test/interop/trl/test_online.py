"""OnlinePMPOTrainer beside TRL's GRPOTrainer."""

import unittest

import setting  # isort: skip

import torch
from datasets import Dataset
from peft import LoraConfig
from trl import GRPOConfig, GRPOTrainer

import pmpo
from pmpo.trl import OnlinePMPOConfig, OnlinePMPOTrainer, better_half

PROMPTS = Dataset.from_list([{"prompt": f"The cat sat {i}"} for i in range(32)])


def dense(completion_ids, **_):
    """The share of tokens in the first half of the vocabulary."""
    return [sum(token < 160 for token in ids) / 8 for ids in completion_ids]


def settings(**changes):
    return setting.settings(
        **{
            "num_generations": 4,
            "max_completion_length": 8,
            "per_device_train_batch_size": 32,
            "max_steps": 30,
            "learning_rate": 3e-3,
            "eval_strategy": "no",
            **changes,
        }
    )


def make(trainer_class=OnlinePMPOTrainer, config_class=OnlinePMPOConfig, reward=dense, config=None, **options):
    import transformers

    trainer = trainer_class(
        setting.model_folder(), reward_funcs=reward, args=config_class(**settings(**(config or {}))), train_dataset=PROMPTS, **options
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def trained(*args, **options):
    trainer = make(*args, **options)
    trainer.train()
    return trainer


def rewards(trainer):
    return setting.logged(trainer, "reward")


class DenseReward(unittest.TestCase):
    """With 4 completions of each prompt, in 3 of 3 seeds, beside GRPO with the same settings."""

    def test_rises(self):
        for seed in range(3):
            ours = rewards(trained(config={"seed": seed}))
            theirs = rewards(trained(GRPOTrainer, GRPOConfig, config={"seed": seed}))
            print(f"seed {seed}: PMPO {ours[0]:.2f} → {ours[-1]:.2f}, GRPO {theirs[0]:.2f} → {theirs[-1]:.2f}")
            with self.subTest(seed=seed):
                self.assertGreater(ours[-1], ours[0] + 0.2)
                self.assertGreater(ours[-1], theirs[-1] - 0.1)

    def test_falls_with_the_feedback_turned_round(self):
        found = rewards(trained(feedback=lambda x: better_half(x)[::-1], config={"max_steps": 20}))
        self.assertLess(found[-1], found[0] - 0.15)

    def test_rejected_completions_alone(self):
        found = rewards(trained(operator=pmpo.operators.pmpo(alpha=0.0, beta=2.0), config={"num_iterations": 2, "max_steps": 40}))
        self.assertGreater(found[-1], found[0] + 0.1)


    def test_of_mpo_with_its_temperature(self):
        operator = pmpo.operators.mpo(initial_temperature=0.1, kl={"sequence": {"epsilon": 1.0, "initial_weight": 1.0}})
        trainer = trained(operator=operator, config={"reference": "model", "sync_ref_model": True, "ref_model_sync_steps": 5, "ref_model_mixup_alpha": 1.0})
        found = rewards(trainer)
        self.assertGreater(found[-1], found[0] + 0.1)
        temperatures = setting.logged(trainer, "policy/temperature")
        self.assertNotAlmostEqual(temperatures[0], temperatures[-1], places=2)


class Groups(unittest.TestCase):
    def test_stay_together_through_shuffling_and_splitting(self):
        trainer = make(config={"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4})
        seen = []
        original = trainer._compute_loss

        def spy(model, inputs):
            seen.append({name: inputs[name].clone() for name in ("group", "accept", "reject", "evaluation", "completion_ids", "prompt_ids")})
            return original(model, inputs)

        trainer._compute_loss = spy
        trainer.args.max_steps = 2
        trainer.train()
        self.assertEqual(len(seen), 8)
        mixed = False
        for batch in seen:
            for group in batch["group"].unique():
                own = batch["group"] == group
                self.assertEqual(int(own.sum()), 4)
                # One prompt, and the feedback of its own completions.
                self.assertTrue((batch["prompt_ids"][own] == batch["prompt_ids"][own][0]).all())
                given = torch.tensor(dense(batch["completion_ids"][own]))
                torch.testing.assert_close(batch["evaluation"][own], given)
                accept, reject = better_half(given[:, None])
                torch.testing.assert_close(batch["accept"][own], accept[:, 0])
                torch.testing.assert_close(batch["reject"][own], reject[:, 0])
                mixed |= bool(accept.any() and reject.any())
        self.assertTrue(mixed)
        self.assertGreater(len({tuple(batch["group"].tolist()) for batch in seen[:4]}), 1)

    def test_gradient_accumulation_equals_one_batch(self):
        config = {"optim": "sgd", "learning_rate": 1e-2, "max_grad_norm": 0.0, "max_steps": 2}
        for options in ({}, {"reference": "model"}):
            one, two = (
                dict(trained(config={**config, **options, "per_device_train_batch_size": size, "gradient_accumulation_steps": 16 // size}).model.named_parameters())
                for size in (16, 4)
            )
            for name, value in one.items():
                self.assertLess((value - two[name]).abs().max().item(), 2e-6, name)

    def test_feedback_without_ties(self):
        nan = torch.nan
        table = {
            (3.0, 1.0, 2.0, 0.0): ([1, 0, 1, 0], [0, 1, 0, 1]),
            (1.0, 0.0, 0.0, 0.0): ([1, 0, 0, 0], [0, 0, 0, 0]),
            (2.0, 1.0, 1.0, 0.0): ([1, 0, 0, 0], [0, 0, 0, 1]),
            (1.0, 1.0, 1.0, 1.0): ([0, 0, 0, 0], [0, 0, 0, 0]),
            (3.0, 2.0, 1.0, nan): ([1, 0, 0, 0], [0, 0, 1, 0]),
            (nan, nan, nan, nan): ([0, 0, 0, 0], [0, 0, 0, 0]),
        }
        accept, reject = better_half(torch.tensor(list(table)).T)
        self.assertEqual([(a, r) for a, r in zip(accept.T.int().tolist(), reject.T.int().tolist())], list(table.values()))


class Losses(unittest.TestCase):
    def test_of_a_batch_from_plain_forward_passes(self):
        self.compare()

    def test_completions_without_tokens_or_reward_have_no_part_in_it(self):
        self.compare(no_tokens=0, no_reward=5)

    def compare(self, no_tokens=None, no_reward=None):
        """PMPO with the KL to the initial model, computed for one sequence at a time without padding.

        The completion `no_tokens` was cut off, and that of `no_reward` has no reward.
        """
        trainer = make(config={"reference": "model", "per_device_train_batch_size": 16, "temperature": 0.8, "max_steps": 1})
        with torch.no_grad():
            for p in trainer.model.parameters():
                p.mul_(1.1)
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        batch = trainer._prepare_inputs([PROMPTS[i // 4] for i in range(16)])
        if no_tokens is not None:
            batch["completion_mask"][no_tokens] = 0
        if no_reward is not None:
            batch["evaluation"][no_reward] = torch.nan
            batch["accept"][no_reward] = batch["reject"][no_reward] = 0
        loss = trainer._compute_loss(trainer.model, batch)
        reference = setting.load()
        accepted, rejected, kls = {}, {}, {}
        for i in range(16):
            if i in (no_tokens, no_reward):
                continue
            prompt = batch["prompt_ids"][i][batch["prompt_mask"][i].bool()]
            completion = batch["completion_ids"][i][batch["completion_mask"][i].bool()]
            inputs = torch.cat([prompt, completion])[None]
            p, q = (torch.log_softmax(m(input_ids=inputs).logits[0, len(prompt) - 1 : -1] / 0.8, -1) for m in (trainer.model, reference))
            log_prob, group = p.gather(-1, completion[:, None]).sum(), int(batch["group"][i])
            kls.setdefault(group, []).append((q.exp() * (q - p)).sum())
            if batch["accept"][i] > 0:
                accepted.setdefault(group, []).append(log_prob)
            if batch["reject"][i] > 0:
                rejected.setdefault(group, []).append(log_prob)
        side = lambda of: sum(torch.stack(x).mean() for x in of.values()) / 4  # noqa: E731
        expected = -0.5 * side(accepted) + 0.5 * side(rejected) + side(kls)
        self.assertTrue(accepted and rejected)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)

    def test_sampled_kl_is_that_of_the_policy_that_sampled(self):
        trainer = trained(config={"num_iterations": 3, "max_steps": 6})
        kl = setting.logged(trainer, "kl")
        self.assertEqual([value == 0 for value in kl], [True, False, False, True, False, False])
        self.assertTrue(all(value >= 0 for value in kl))

    def test_kl_holds_the_policy(self):
        config = {"num_iterations": 8, "max_steps": 8}
        held, free = (setting.logged(trained(operator=pmpo.operators.pmpo(beta=beta), config=config), "kl")[-1] for beta in (10.0, 0.0))
        self.assertLess(held, free / 2)

    def test_other_operators_and_setups(self):
        for options in (
            {"operator": "dpo", "config": {"beta": 0.1, "max_steps": 2}},
            {"operator": pmpo.operators.kto(), "config": {"max_steps": 2}},
            {"operator": "behavior_cloning", "config": {"max_steps": 2}},
            {"operator": pmpo.operators.grpo(per_token=True), "config": {"max_steps": 2, "num_iterations": 2}},
            {"operator": "reinforce", "config": {"max_steps": 2}},
            {"operator": "simpo", "config": {"max_steps": 2}},
            {"peft_config": LoraConfig(r=4, task_type="CAUSAL_LM"), "config": {"max_steps": 2, "beta": 1.0}},
            {"config": {"max_steps": 2, "sync_ref_model": True, "ref_model_sync_steps": 1, "beta": 1.0}},
            {"config": {"max_steps": 2, "mask_truncated_completions": True}},
        ):
            trainer = trained(**options)
            self.assertEqual(trainer.state.global_step, 2)
            self.assertTrue({"policy/loss", "frac_reward_zero_std"} <= set(trainer.state.log_history[0]), options)

    def test_evaluation_and_resume(self):
        folder = str(setting.scratch() / "online")
        config = {"output_dir": folder, "save_strategy": "steps", "save_steps": 2, "max_steps": 4, "beta": 1.0}
        options = {"eval_dataset": PROMPTS, "config": {**config, "eval_strategy": "steps", "eval_steps": 4, "per_device_eval_batch_size": 8}}
        # Within an epoch: GRPO's sampler starts its sequence of epochs anew.
        whole = trained(**options)
        self.assertTrue({"eval_loss", "eval_reward", "eval_kl"} <= {key for entry in whole.state.log_history for key in entry})
        resumed = make(**options)
        resumed.train(resume_from_checkpoint=f"{folder}/checkpoint-2")
        for (name, one), two in zip(whole.model.named_parameters(), resumed.model.parameters()):
            self.assertTrue(torch.equal(one, two), name)


class Refusals(unittest.TestCase):
    def refused(self, words, **options):
        with self.assertRaises(pmpo.PmpoError) as caught:
            make(**options)
        self.assertIn(words, str(caught.exception))

    def test_what_does_not_fit(self):
        self.refused("per_device_train_batch_size: is 6, and a prompt has 4 completions", config={"per_device_train_batch_size": 6, "gradient_accumulation_steps": 2})
        self.refused("OnlinePMPOConfig, loss_type: is 'bnpo', and has no effect here", config={"loss_type": "bnpo"})
        self.refused("OnlinePMPOConfig, reference: is 'old'", config={"reference": "old"})
        self.refused("operator mpo: needs the exact KL, and reference='sampling' estimates it", operator="mpo")


if __name__ == "__main__":
    unittest.main()
