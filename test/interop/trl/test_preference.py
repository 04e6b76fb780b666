"""PMPOTrainer beside TRL's own trainers, plain forward passes, and the formula of plugins/torch-trainer."""

import json
import math
import os
import pathlib
import subprocess
import sys
import unittest

import setting  # isort: skip

import torch
import transformers
from datasets import Dataset, IterableDataset
from peft import LoraConfig
from pmpo_torch_trainer import token_terms
from torch.utils._python_dispatch import TorchDispatchMode
from trl import DPOConfig, DPOTrainer

import pmpo
from pmpo.trl import PMPOConfig, PMPOTrainer, _scoring

load, logged, train = setting.load, setting.logged, setting.train


def parameters(trainer):
    return {name: value.detach().clone() for name, value in trainer.model.named_parameters()}


def batch_of(trainer, dataset=None):
    """One batch of the training data, in its order."""
    rows = [trainer.train_dataset[i] for i in range(len(trainer.train_dataset))]
    return {name: x for name, x in trainer.data_collator(rows).items()}


class Learning(unittest.TestCase):
    """Accepted log-probs rise, rejected ones fall, and the KL stays bounded, as plain forward passes measure it."""

    def check(self, dataset, rises, falls, **operator):
        before, after = load(), load()
        start = setting.measured(before, before, dataset)
        found = {}
        for beta in (operator["beta"], 0.0):
            trainer = train(
                PMPOTrainer,
                PMPOConfig,
                dataset,
                operator=pmpo.operators.pmpo(**{**operator, "beta": beta}),
                config={"num_train_epochs": 20, "learning_rate": 2e-3},
            )
            after.load_state_dict(trainer.model.state_dict())
            found[beta] = setting.measured(after, before, dataset)
        end, free = found[operator["beta"]], found[0.0]
        for side in rises:
            self.assertGreater(end[side][0], start[side][0] + 1)
        for side in falls:
            self.assertLess(end[side][0], start[side][0] - 1)
        for side in end:
            self.assertLess(end[side][1], 25)
            # Without its weight the KL is not held.
            self.assertLess(end[side][1], free[side][1] / 2)

    def test_pairs(self):
        self.check(setting.pairs(), ["accepted"], ["rejected"], alpha=0.5, beta=4.0)

    def test_labels(self):
        self.check(setting.labelled(), ["accepted"], ["rejected"], alpha=0.5, beta=4.0)

    def test_accepted_only(self):
        self.check(setting.labelled(labels=(True,)), ["accepted"], [], alpha=0.5, beta=2.0)

    def test_rejected_only(self):
        self.check(setting.labelled(labels=(False,)), [], ["rejected"], alpha=0.5, beta=4.0)


class AgainstTorchTrainer(unittest.TestCase):
    """One batch's loss and gradients, from the functions of plugins/torch-trainer and the operator's coefficients."""

    def of_torch_trainer(self, operator, policy, reference, dataset, floor):
        sides = [("chosen", True), ("rejected", False)] if "chosen" in dataset.column_names else [("completion", None)]
        shape = len(sides), len(dataset)
        accept = torch.tensor([[row["label"] if label is None else label for row in dataset] for _, label in sides])
        bodies = {}
        for n, (name, _) in enumerate(sides):
            for b, row in enumerate(dataset):
                prompt, completion = setting.tokens_of(row, name)
                ids = torch.tensor([[*prompt, *completion]])
                span = slice(len(prompt) - 1, ids.shape[1] - 1)
                states = [token_terms.LazyLogits(m.model(input_ids=ids).last_hidden_state[0, span], m.lm_head) for m in (policy, reference)]
                bodies[n, b] = (*states, torch.tensor(completion))
        wanted = token_terms.TermSelection(policy=True, reference=True, kl=True)
        terms = {at: token_terms.evaluate(*body, wanted, policy.config.vocab_size) for at, body in bodies.items()}
        plane = lambda name: torch.stack([getattr(terms[n, b], name).sum() for n in range(shape[0]) for b in range(shape[1])]).view(shape)  # noqa: E731
        result = operator.numpy(
            plane("log_prob").numpy(),
            plane("reference_log_prob").numpy(),
            accept=accept.numpy(),
            reject=(~accept).numpy(),
            kl=plane("kl").mean(0).numpy(),
        )
        for (n, b), (states, of_reference, targets) in bodies.items():
            of_kl = result.gradients.get("kl/sequence")
            of_log_prob = torch.full((len(targets),), float(result.gradients["log_prob"][n, b]))
            fallen = (terms[n, b].log_prob - terms[n, b].reference_log_prob).sum().item()
            if operator.name == "pmpo" and not accept[n, b] and fallen <= math.log(floor):
                of_log_prob *= 0
            coefficients = token_terms.TokenCoefficients(
                log_prob=of_log_prob,
                kl=None if of_kl is None else torch.full((len(targets),), float(of_kl[b, 0]) / shape[0]),
            )
            _, gradient, _ = token_terms.differentiate(states, of_reference, targets, wanted, coefficients, policy.config.vocab_size)
            states.states.backward(gradient)
        return float(result.loss), {name: p.grad for name, p in policy.named_parameters()}

    def check(self, operator, dataset, floor=0.1):
        args = PMPOConfig(**setting.settings(), rejected_floor=floor)
        trainer = PMPOTrainer(setting.model_folder(), args=args, train_dataset=dataset, operator=operator)
        # A policy that is not its reference.
        with torch.no_grad():
            for p in trainer.model.parameters():
                p.mul_(1.1)
        policy = load()
        policy.load_state_dict(trainer.model.state_dict())
        loss, gradients = self.of_torch_trainer(operator, policy, load().requires_grad_(False), dataset, floor)
        ours = trainer.compute_loss(trainer.model.train(), batch_of(trainer))
        ours.backward()
        self.assertLess(abs(ours.item() - loss), 1e-5 * max(1, abs(loss)))
        for name, p in trainer.model.named_parameters():
            scale = max(1, gradients[name].abs().max().item())
            self.assertLess((p.grad - gradients[name]).abs().max().item(), 1e-5 * scale, name)

    def test_pmpo_on_pairs(self):
        self.check(pmpo.operators.pmpo(alpha=0.3, beta=2.0), setting.pairs())

    def test_pmpo_on_labels(self):
        self.check(pmpo.operators.pmpo(alpha=0.5, beta=1.0), setting.labelled(labels=(True, False, False)))

    def test_pmpo_with_completions_at_their_floor(self):
        # The policy of this test has moved far enough that a floor of 0.9 holds some of them.
        self.check(pmpo.operators.pmpo(alpha=0.0, beta=2.0), setting.labelled(labels=(False,)), floor=0.9)

    def test_kto_on_labels(self):
        self.check(pmpo.operators.kto(beta=0.3), setting.labelled())

    def test_behavior_cloning(self):
        self.check(pmpo.operators.behavior_cloning(), setting.labelled(labels=(True,)))


class AgainstDpoTrainer(unittest.TestCase):
    def check(self, dataset, loss="sigmoid", operator=pmpo.operators.dpo):
        theirs = train(DPOTrainer, DPOConfig, dataset, config={"beta": 0.2, "max_length": 24, "loss_type": loss})
        ours = train(PMPOTrainer, PMPOConfig, dataset, config={"max_length": 24}, operator=operator(beta=0.2))
        same = {"loss", "grad_norm", "num_tokens", "entropy", "mean_token_accuracy"}
        same |= {f"{kind}/{side}" for kind in ("rewards", "logps", "logits") for side in ("chosen", "rejected")}
        for key in same | {"rewards/margins", "rewards/accuracies"}:
            self.assertEqual(len(logged(ours, key)), 6, key)
            for step, (x, y) in enumerate(zip(logged(ours, key), logged(theirs, key))):
                self.assertLess(abs(x - y), 1e-4 * max(1, abs(y)), f"{key} at step {step}")
        self.assertNotEqual(logged(ours)[0], logged(ours)[-1])

    def test_explicit_prompts(self):
        self.check(setting.pairs())

    def test_ipo(self):
        self.check(setting.pairs(), "ipo", lambda beta: pmpo.operators.ipo(beta=beta, per_token=True))

    def test_implicit_prompts(self):
        self.check(Dataset.from_list([{key: f"{row['prompt']}{row[key]}" for key in ("chosen", "rejected")} for row in setting.pairs()]))

    def test_conversations(self):
        template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + ' ' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
        words = transformers.AutoTokenizer.from_pretrained(setting.model_folder())
        words.chat_template = template
        say = lambda role, text: [{"role": role, "content": text}]  # noqa: E731
        rows = [{"prompt": say("user", row["prompt"]), **{key: say("assistant", row[key]) for key in ("chosen", "rejected")}} for row in setting.pairs()]
        theirs, ours = (
            train(trainer, config, Dataset.from_list(rows), config={"beta": 0.1}, processing_class=words, **options)
            for trainer, config, options in ((DPOTrainer, DPOConfig, {}), (PMPOTrainer, PMPOConfig, {"operator": "dpo"}))
        )
        for x, y in zip(logged(ours), logged(theirs), strict=True):
            self.assertLess(abs(x - y), 1e-4)
        self.assertEqual(logged(ours, "num_tokens"), logged(theirs, "num_tokens"))


class Warnings(unittest.TestCase):
    def test_of_the_beta_of_a_script_that_was_dpos(self):
        with self.assertLogs("pmpo.trl._preference", "WARNING") as logs:
            train(PMPOTrainer, PMPOConfig, setting.pairs(), config={"beta": 0.1, "max_steps": 1})
        self.assertIn("It is not the β of DPO", logs.output[0])
        with self.assertNoLogs("pmpo.trl._preference", "WARNING"):
            train(PMPOTrainer, PMPOConfig, setting.pairs(), operator="dpo", config={"beta": 0.1, "max_steps": 1})


class Exactness(unittest.TestCase):
    def assert_same(self, one, two, tolerance):
        for name, value in one.items():
            self.assertLessEqual((value - two[name]).abs().max().item(), tolerance, name)

    def test_gradient_accumulation_equals_one_batch(self):
        for dataset in (setting.pairs(), setting.labelled(labels=(True, False, False))):
            # Plain SGD: Adam would enlarge differences in the last bit of a gradient near 0.
            common = {"optim": "sgd", "learning_rate": 1e-3, "max_grad_norm": 0.0}
            runs = [
                parameters(train(PMPOTrainer, PMPOConfig, dataset, config={**common, "per_device_train_batch_size": size, "gradient_accumulation_steps": 4 // size}))
                for size in (4, 2, 1)
            ]
            self.assert_same(runs[0], runs[1], 1e-6)
            self.assert_same(runs[0], runs[2], 1e-6)
            self.assertGreater(max((value - dict(load().named_parameters())[name]).abs().max().item() for name, value in runs[0].items()), 1e-3)

    def test_two_processes_equal_one(self):
        found = []
        for count in (1, 2):
            out = setting.scratch() / f"processes-{count}"
            script = str(pathlib.Path(__file__).parent / "processes.py")
            launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
            done = subprocess.run([*launch, script, setting.model_folder(), str(out), str(4 // count)], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr[-2000:])
            found.append((torch.load(f"{out}.pt"), json.loads(pathlib.Path(f"{out}.json").read_text())))
        (one, of_one), (two, of_two) = found
        self.assert_same(one, two, 1e-6)
        for x, y in zip(of_one, of_two):
            for key in {"loss", "kl", "logps/chosen", "rewards/margins", "policy/kl", "num_tokens"} & set(x):
                self.assertAlmostEqual(x[key], y[key], places=4, msg=key)

    def test_resume_is_exact(self):
        for options in ({}, {"peft_config": LoraConfig(r=2, task_type="CAUSAL_LM", lora_dropout=0.1)}):
            folder = setting.scratch() / f"resume-{len(options)}"
            config = {"output_dir": str(folder), "save_strategy": "steps", "save_steps": 3, "max_steps": 6, "disable_dropout": False}
            whole = parameters(train(PMPOTrainer, PMPOConfig, setting.labelled(), config=config, **options))
            resumed = train(PMPOTrainer, PMPOConfig, setting.labelled(), config=config, resume=str(folder / "checkpoint-3"), **options)
            self.assertEqual(resumed.state.global_step, 6)
            self.assert_same(whole, parameters(resumed), 0)


class State(unittest.TestCase):
    """Operators with variables of their own."""

    def test_bound_on_the_kl_holds(self):
        found = {}
        for epsilon in (0.5, 8.0):
            operator = pmpo.operators.pmpo(kl={"sequence": {"epsilon": epsilon, "initial_weight": 2.0}})
            config = {"num_train_epochs": 40, "learning_rate": 2e-3, "state_learning_rate": 0.1}
            trainer = train(PMPOTrainer, PMPOConfig, setting.pairs(), operator=operator, config=config)
            found[epsilon] = sum(logged(trainer, "kl")[-10:]) / 10
            self.assertNotEqual(trainer.operator_state.tensors()["logKlWeight/sequence"].item(), torch.tensor(2.0).log().item())
        self.assertLess(found[0.5], 1.0)
        self.assertTrue(5 < found[8.0] < 11, found)

    def test_resume_is_exact(self):
        operator = pmpo.operators.pmpo(kl={"sequence": {"epsilon": 0.5, "initial_weight": 2.0}})
        folder = setting.scratch() / "resume-state"
        config = {"output_dir": str(folder), "save_strategy": "steps", "save_steps": 3, "max_steps": 6}
        whole, resumed = (
            train(PMPOTrainer, PMPOConfig, setting.pairs(), config=config, operator=operator, resume=resume)
            for resume in (None, str(folder / "checkpoint-3"))
        )
        for part in ("model", "operator_state"):
            for one, two in zip(getattr(whole, part).parameters(), getattr(resumed, part).parameters(), strict=True):
                self.assertTrue(torch.equal(one, two), part)
        (folder / "checkpoint-3" / "operator_state.pt").unlink()
        with self.assertRaisesRegex(pmpo.PmpoError, "has no operator_state.pt"):
            train(PMPOTrainer, PMPOConfig, setting.pairs(), config=config, operator=operator, resume=str(folder / "checkpoint-3"))


class Setups(unittest.TestCase):
    def test_reference_is_the_policy_at_the_start(self):
        # The model's own configuration has dropout of attention.
        trainer = train(PMPOTrainer, PMPOConfig, setting.pairs(), config={"model_init_kwargs": {}, "max_steps": 2})
        self.assertEqual((logged(trainer, "kl")[0], logged(trainer, "rewards/chosen")[0]), (0, 0))
        self.assertGreater(logged(trainer, "kl")[1], 0)

    def test_reference_is_the_policy_at_the_start_in_mixed_precision(self):
        for name, loss in (("pmpo", None), ("dpo", math.log(2))):
            trainer = train(PMPOTrainer, PMPOConfig, setting.pairs(), operator=name, config={"bf16": True, "max_steps": 1})
            self.assertEqual(logged(trainer, "rewards/margins" if loss else "kl")[0], 0)
            if loss:
                self.assertAlmostEqual(logged(trainer)[0], loss, places=6)

    def test_peft(self):
        adapter = LoraConfig(r=4, task_type="CAUSAL_LM", target_modules="all-linear", modules_to_save=["lm_head"])
        trainer = train(PMPOTrainer, PMPOConfig, setting.pairs(), peft_config=adapter, config={"num_train_epochs": 6})
        self.assertIsNone(trainer.ref_model)
        self.assertEqual(logged(trainer, "kl")[0], 0)
        self.assertGreater(logged(trainer, "rewards/margins")[-1], 1)
        # The reference is the base model, the policy the merged one.
        batch = batch_of(trainer)
        trainer.model.eval()
        trainer.compute_loss(trainer.model, batch)
        kl = trainer._metrics["eval"]["kl"][-1]
        measured = setting.measured(trainer.model.merge_and_unload(), load(), setting.pairs())
        self.assertAlmostEqual(kl, (measured["accepted"][1] + measured["rejected"][1]) / 2, places=4)

    def test_adapter_that_was_trained_before(self):
        from peft import get_peft_model

        trained = get_peft_model(load(), LoraConfig(r=4, task_type="CAUSAL_LM"))
        torch.manual_seed(0)
        with torch.no_grad():
            for name, p in trained.named_parameters():
                if "lora_B" in name:
                    p.normal_(std=0.1)
        trainer = train(PMPOTrainer, PMPOConfig, setting.pairs(), model=trained, config={"max_steps": 2, "model_init_kwargs": None})
        self.assertLess(logged(trainer, "kl")[0], 1e-6)
        self.assertGreater(logged(trainer, "kl")[1], 1e-4)

    def test_evaluation(self):
        held_out = {"pairs": setting.pairs(4), "labels": setting.labelled(6)}
        config = {"eval_strategy": "epoch", "per_device_eval_batch_size": 3, "num_train_epochs": 1}
        trainer = train(PMPOTrainer, PMPOConfig, setting.labelled(), eval_dataset=held_out, config=config)
        logs = {key: value for entry in trainer.state.log_history for key, value in entry.items()}
        # In a dictionary of data sets, TRL's metrics carry `eval_` alone.
        self.assertTrue({"eval_pairs_loss", "eval_labels_loss", "eval_rewards/chosen", "eval_logps/rejected"} <= set(logs), logs)
        direct = trainer.evaluate(setting.labelled(6))
        self.assertAlmostEqual(direct["eval_loss"], logs["eval_labels_loss"], places=5)

    def test_streams(self):
        stream = IterableDataset.from_generator(lambda: iter(setting.labelled(12)))
        trainer = train(PMPOTrainer, PMPOConfig, stream, config={"max_steps": 3})
        self.assertEqual(len(logged(trainer)), 3)

    def test_gradient_checkpointing_and_bfloat16(self):
        plain, checkpointed = (
            train(PMPOTrainer, PMPOConfig, setting.pairs(), config={"gradient_checkpointing": on, "max_steps": 2}) for on in (False, True)
        )
        self.assertEqual(logged(plain), logged(checkpointed))
        half = train(PMPOTrainer, PMPOConfig, setting.pairs(), config={"bf16": True, "max_steps": 2})
        self.assertLess(abs(logged(half)[1] - logged(plain)[1]), 0.2)


class Operators(unittest.TestCase):
    def test_every_one_trains_or_is_refused_before_training(self):
        trained = set()
        for name in pmpo.operators.__all__:
            try:
                trainer = PMPOTrainer(setting.model_folder(), args=PMPOConfig(**setting.settings(max_steps=1)), train_dataset=setting.pairs(), operator=name)
            except pmpo.PmpoError as error:
                self.assertIn("needs evaluations", str(error))
                continue
            trained.add(name)
            loss = trainer.compute_loss(trainer.model.train(), batch_of(trainer))
            loss.backward()
            self.assertTrue(all(p.grad.isfinite().all() for p in trainer.model.parameters()), name)
            self.assertGreater(max(p.grad.abs().max() for p in trainer.model.parameters()), 0, name)
        self.assertLessEqual({"pmpo", "dpo", "kto", "ipo", "simpo", "orpo", "cpo", "behavior_cloning"}, trained)


class Largest(TorchDispatchMode):
    """Records the number of elements of the largest tensor that an operation makes."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for x in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.numel())
        return found


class Memory(unittest.TestCase):
    def test_logits_exist_for_a_chunk_at_a_time_and_are_not_kept(self):
        dataset = setting.pairs(24)
        trainer = PMPOTrainer(setting.model_folder(), args=PMPOConfig(**setting.settings()), train_dataset=dataset)
        batch, vocabulary = batch_of(trainer), trainer.model.config.vocab_size
        positions = int(batch["completion_mask"].sum())
        parameter = max(p.numel() for p in trainer.model.parameters())

        def step():
            kept = []
            trainer.model.zero_grad()
            with Largest() as largest, torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
                loss = trainer.compute_loss(trainer.model.train(), batch)
                loss.backward()
            return loss.item(), {name: p.grad.clone() for name, p in trainer.model.named_parameters()}, largest.elements, max(kept)

        whole = step()
        self.assertGreaterEqual(whole[2], positions * vocabulary)
        chunk, before = 16 * vocabulary, _scoring.CHUNK_ELEMENTS
        _scoring.CHUNK_ELEMENTS = chunk
        try:
            chunked = step()
        finally:
            _scoring.CHUNK_ELEMENTS = before
        others = max(parameter, batch["input_ids"].numel() * 48)
        self.assertLess(max(chunk, others) * 2, positions * vocabulary)
        self.assertLessEqual(chunked[2], max(chunk, others))
        self.assertAlmostEqual(whole[0], chunked[0], places=5)
        for name, gradient in whole[1].items():
            torch.testing.assert_close(gradient, chunked[1][name], rtol=1e-4, atol=1e-5)


class Refusals(unittest.TestCase):
    def refused(self, words, dataset=None, *, config=None, **options):
        with self.assertRaises(pmpo.PmpoError) as caught:
            PMPOTrainer(setting.model_folder(), args=PMPOConfig(**setting.settings(**(config or {}))), train_dataset=dataset or setting.labelled(), **options)
        self.assertIn(words, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_what_the_data_lacks(self):
        o = pmpo.operators
        self.refused("train_dataset: has completions with labels, without pairs, and the operator dpo compares", operator="dpo")
        self.refused("train_dataset: has rejected completions only, and the operator behavior-cloning learns from accepted", setting.labelled(labels=(False,)), operator="behavior_cloning")
        self.refused("learns from accepted completions", setting.labelled(labels=(False,)), operator=o.pmpo(alpha=1.0))
        self.refused("operator mpo: needs evaluations, and a preference data set has none", operator="mpo")
        self.refused("operator pmpo, reverse_kl: is missing", operator=o.pmpo(reverse_kl=True))
        self.refused("mismatched_log_ratio: is missing", operator=o.kto(reference_point="mismatched"))
        self.refused("train_dataset: has the columns text", Dataset.from_list([{"text": "x"}]))
        self.refused("train_dataset, row 1: has the label None", Dataset.from_list([{"prompt": "a", "completion": "b", "label": label} for label in (True, None)]))
        self.refused("eval_dataset: has completions with labels", setting.pairs(), eval_dataset=setting.labelled(), operator="dpo")

    def test_settings(self):
        self.refused("there is no 'dop'. Did you mean 'dpo'?", operator="dop")
        self.refused("PMPOConfig, beta: is 0.1, but the operator was given with its own settings", operator=pmpo.operators.pmpo(), config={"beta": 0.1})
        self.refused("PMPOConfig, alpha: is 0.3, and the operator kto has no such setting", operator="kto", config={"alpha": 0.3})
        self.refused("operator pmpo, alpha: must be at most 1", config={"alpha": 2.0})
        self.refused("PMPOConfig, precompute_ref_log_probs: is True", config={"precompute_ref_log_probs": True})
        self.refused("PMPOConfig, loss_type: is ['ipo'], and has no effect here", config={"loss_type": "ipo"})


class Versions(unittest.TestCase):
    """The main script, with the class name changed, in the current and the previous minor release of TRL."""

    def run_script(self, name, interpreter=sys.executable):
        script = pathlib.Path(__file__).parent / "script.py"
        done = subprocess.run([interpreter, script, setting.model_folder(), name], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return json.loads(done.stdout.splitlines()[-1])

    def check(self, found):
        self.assertEqual(len(found["histories"]), 2)
        for history in found["histories"]:
            logs = {key: [entry[key] for entry in history if key in entry] for key in ("kl", "logps/chosen", "logps/rejected", "eval_loss", "rewards/margins")}
            self.assertEqual(logs["kl"][0], 0)
            self.assertEqual(len(logs["eval_loss"]), 3)
            self.assertGreater(logs["rewards/margins"][-1], 1)

    def test_current(self):
        found = self.run_script("PMPOTrainer")
        self.check(found)
        for name in ("DPOTrainer", "KTOTrainer"):
            theirs = self.run_script(name)
            # What callbacks of TRL's own trainer read is there. KTO's labels have no accuracies.
            for mine, other in zip(found["histories"], theirs["histories"]):
                keys = lambda history: {key for entry in history for key in entry}  # noqa: E731
                self.assertEqual(keys(other) - keys(mine), set(), name)

    @unittest.skipUnless(os.environ.get("PMPO_PYTHON_TRL_PREVIOUS"), "needs the environment trl_previous")
    def test_previous(self):
        found = self.run_script("PMPOTrainer", os.environ["PMPO_PYTHON_TRL_PREVIOUS"])
        self.assertTrue(found["trl"].startswith("1.15."), found["trl"])
        self.check(found)


class Imports(unittest.TestCase):
    def test_package_works_without_trl(self):
        code = (
            "import sys; sys.modules['trl'] = None; import pmpo\n"
            "try: import pmpo.trl\n"
            "except ImportError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        self.assertIn("pmpo.trl: it needs TRL 1.15 or newer", done.stdout)


if __name__ == "__main__":
    unittest.main()
