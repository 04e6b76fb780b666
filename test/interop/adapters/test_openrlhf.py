"""pmpo.openrlhf in OpenRLHF's own trainers: they run their steps on a tiny model, and call the losses with their own arguments.

Stand-ins (openrlhf_without_cuda.py says why): flash-attn, the package `__init__` that imports vLLM, and here DeepSpeed's engine, whose
place `Strategy` takes with plain PyTorch, and the CUDA calls of a trainer that is made.
"""

import pathlib
import subprocess
import sys
import unittest
from types import SimpleNamespace
from unittest import mock

import torch
from by_hand import ALPHA, BETA, pmpo_by_hand
from openrlhf_without_cuda import dpo_trainer, ppo_actor
from transformers import LlamaConfig, LlamaForCausalLM

from openrlhf.models import Actor, DPOLoss, PolicyLoss
from openrlhf.trainer.ppo_utils import Experience

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "plugins" / "python"))
import pmpo  # noqa: E402
import pmpo.openrlhf  # noqa: E402

torch.set_num_threads(1)
MODEL = {"vocab_size": 20, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


class Strategy:
    """What the trainers ask of a DeepSpeed strategy: it keeps gradients, scaled by the micro-batches of a step as DeepSpeed's are."""

    ring_attn_group = None

    def __init__(self, args, accumulated_gradient=1):
        self.args = args
        self.accumulated_gradient = accumulated_gradient
        self.losses = []

    def is_rank_0(self):
        return False

    def all_reduce(self, values):
        return values

    def backward(self, loss, _model, _optimizer):
        self.losses.append(loss.item())
        (loss / self.accumulated_gradient).backward()

    def optimizer_step(self, *_args, **_kwargs):
        pass

    def get_grad_norm(self, _model):
        return 0.0


def spaces(**values):
    return SimpleNamespace(**{key: spaces(**value) if isinstance(value, dict) else value for key, value in values.items()})


def ppo_args(correction="off"):
    advantage = {f"is_correction_{key}": value for key, value in (("mode", "mask"), ("gating", "ratio"), ("threshold", (0.5, 5.0)))}
    return spaces(
        train={"max_epochs": 1, "dynamic_batch_enable": False, "colocate_all": False, "async_enable": False},
        actor={
            "eps_clip_low_high": (0.2, 0.2), "dual_clip": None, "loss_agg_mode": "token-mean", "policy_loss_type": "ppo",
            "aux_loss_coef": 0.0, "entropy_coef": None,
        },
        algo={"advantage": {"is_correction_level": correction, **advantage}, "kl": {"use_loss": False, "init_coef": 0.0}},
        ds={"packing_samples": False, "tensor_parallel_size": 1},
        vllm={},
    )  # fmt: skip


def dpo_args(**model):
    return spaces(
        model={"label_smoothing": 0.0, "ipo_enable": False, "aux_loss_coef": 0.0, "nll_loss_coef": 0.0, **model},
        ds={"packing_samples": False},
        logger={"wandb": {"key": None}, "tensorboard_dir": None, "logging_steps": 1},
        train={"batch_size": 4},
        eval={"steps": -1},
        ckpt={"save_steps": -1},
    )


def actor(noise=0.0):
    """The same model each time, up to noise in its parameters."""
    torch.manual_seed(0)
    made = Actor(LlamaForCausalLM(LlamaConfig(**MODEL, initializer_range=0.5)))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += noise * torch.randn_like(parameter)
    # OpenRLHF sets it where it loads a model itself.
    made.packing_samples = False
    return made


def scheduler():
    return SimpleNamespace(get_last_lr=lambda: [0.0])


def token_log_probs(model, ids, attention):
    """The log-prob of each token but the first given those before it, [S, T − 1], without OpenRLHF."""
    position = (attention.cumsum(-1) - 1).clamp(min=0)
    logits = model.model(ids, attention_mask=attention, position_ids=position).logits.float()
    return logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)


def right_padded(seed, count, prompt=3, longest=9):
    """Tokens, the attention mask, and the mask of the response among all tokens but the first."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 20, (count, longest), generator=generator)
    lengths = torch.randint(prompt + 1, longest + 1, (count, 1), generator=generator)
    place = torch.arange(longest)
    attention = (place < lengths).long()
    return ids * attention, attention, ((place >= prompt) & (place < lengths))[:, 1:]


class OpenRlhfTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)

    @classmethod
    def tearDownClass(cls):
        torch.distributed.destroy_process_group()

    def assert_gradients(self, model, expected):
        wanted = torch.autograd.grad(expected, list(model.parameters()))
        for want, parameter in zip(wanted, model.parameters()):
            torch.testing.assert_close(parameter.grad, want, atol=1e-5, rtol=0)
        self.assertGreater(max(want.abs().max().item() for want in wanted), 1e-3)

    def ppo_trainer(self, policy, args, accumulated=1, micro=4):
        with mock.patch.object(torch.cuda, "current_device", lambda: 0), mock.patch.object(torch.cuda, "synchronize"):
            return ppo_actor.ActorPPOTrainer(
                Strategy(args, accumulated), policy, None, None, scheduler(), micro_train_batch_size=micro, dataloader_pin_memory=False
            )

    def test_ppo_train_takes_the_gradient_of_pmpo(self):
        """12 responses in 3 shuffled micro-batches of one step, through the replay buffer: the gradient is that of all of them."""
        pmpo.openrlhf.use_in_ppo(pmpo.operators.pmpo(alpha=ALPHA, beta=BETA))
        policy, old = actor(), actor(0.05)
        trainer = self.ppo_trainer(policy, ppo_args(), accumulated=3)
        ids, attention, mask = right_padded(2, 12)
        old_log_probs = token_log_probs(old, ids, attention).detach() * mask
        advantages = torch.randn(12, 1, generator=torch.Generator().manual_seed(3)).expand(12, 8) * mask
        fields = {"sequences": ids, "attention_mask": attention, "action_mask": mask, "action_log_probs": old_log_probs}
        info = {"reward": [0.0] * 12}
        lengths = attention.sum(1)
        trainer.replay_buffer.append(
            Experience(**fields, rollout_log_probs=old_log_probs, advantages=advantages, total_length=lengths, info=info)
        )
        with mock.patch.object(torch.cuda, "current_device", lambda: "cpu"):
            status = trainer.ppo_train(0.0)
        expected = pmpo_by_hand(token_log_probs(policy, ids, attention), old_log_probs, mask, advantages, list(range(12)))
        self.assertEqual(len(trainer.strategy.losses), 3)
        self.assertAlmostEqual(sum(trainer.strategy.losses) / 3, expected.item(), delta=1e-5 * abs(expected.item()))
        self.assert_gradients(policy, expected)
        log_ratio = (token_log_probs(policy, ids, attention) - old_log_probs)[mask]
        self.assertAlmostEqual(status["ppo_kl"], -log_ratio.mean().item(), delta=1e-4)
        self.assertEqual(status["ppo_clip_ratio"], 0)

    def test_the_actor_loss_is_called_as_openrlhfs(self):
        """One response has no tokens, and two processes share a step: both count as in OpenRLHF's mean over sequences."""
        generator = torch.Generator().manual_seed(0)
        old = -torch.rand(6, 5, generator=generator)
        mask = torch.arange(5) < torch.tensor([[5], [3], [0], [1], [4], [2]])
        log_prob = (old + 0.2 * torch.randn(6, 5, generator=generator)) * mask
        advantages = torch.randn(6, 1, generator=generator).expand(6, 5)
        loss_fn = pmpo.openrlhf.actor_loss(pmpo.operators.pmpo(alpha=ALPHA, beta=BETA))
        given = {"action_mask": mask, "rollout_log_probs": old, "dp_size": 2, "batch_num_tokens": torch.tensor(15.0)}
        whole = loss_fn(log_prob, old, advantages, **given, global_batch_size=torch.tensor(10.0))
        expected = pmpo_by_hand(log_prob, old, mask, advantages, list(range(6))) * 6 / 10 * 2
        self.assertAlmostEqual(whole[0].item(), expected.item(), delta=1e-6)
        theirs = PolicyLoss(token_level_loss=False)(log_prob, old, advantages, **given, global_batch_size=torch.tensor(10.0))
        self.assertEqual([type(value) for value in whole], [type(value) for value in theirs])
        torch.testing.assert_close(whole[2], theirs[2])
        # Without the counts the mean is over the responses that have tokens.
        alone = loss_fn(log_prob, old, advantages, action_mask=mask)[0]
        self.assertAlmostEqual(alone.item(), expected.item() * 10 / 2 / 5, delta=1e-6)

    def test_the_trainer_of_a_ray_worker_is_ours(self):
        """Ray sends the actor's class to its workers by cloudpickle: another process that unpickles it makes our trainer."""
        pmpo.openrlhf.use_in_ppo(pmpo.operators.pmpo(alpha=0.25))
        sent = ppo_actor.ray.cloudpickle.dumps(ppo_actor.PolicyModelActor.__ray_metadata__.modified_class)
        program = (
            "import sys, inspect, openrlhf_without_cuda as here\n"
            "sent = here.ppo_actor.ray.cloudpickle.loads(sys.stdin.buffer.read())\n"
            "made = inspect.unwrap(sent.init_model_from_pretrained).__globals__['ActorPPOTrainer']\n"
            "cells = inspect.getclosurevars(made.__init__).nonlocals\n"
            "theirs = here.ppo_actor.ActorPPOTrainer.training_step.__code__\n"
            "print(made.training_step.__code__ == theirs, cells['operator'].settings['alpha'])\n"
        )
        environment = {"PYTHONPATH": f"{HERE}:{HERE.parents[2] / 'plugins' / 'python'}", "PATH": ""}
        done = subprocess.run([sys.executable, "-c", program], input=sent, capture_output=True, env=environment, check=False)
        self.assertEqual(done.stdout.decode().split("\n")[-2:], ["True 0.25", ""], done.stderr.decode())

    def dpo(self, operator, beta=0.3):
        """One step of OpenRLHF's DPOTrainer on 4 pairs: the trainer, the policy, and the log-probs of the two sides, [2, 4]."""
        pmpo.openrlhf.use_in_dpo(operator)
        policy, reference = actor(), actor(0.05)
        args = dpo_args()
        sides = [right_padded(seed, 4) for seed in (5, 6)]
        (chosen, chosen_mask, _), (rejected, rejected_mask, _) = sides
        batch = (chosen[:, None], chosen_mask[:, None], rejected[:, None], rejected_mask[:, None], [3] * 4)
        tokenizer = SimpleNamespace(pad_token_id=0)
        loader = mock.MagicMock(__iter__=lambda _self: iter([batch]), __len__=lambda _self: 1)
        trainer = dpo_trainer.DPOTrainer(policy, reference, Strategy(args), tokenizer, None, loader, None, scheduler(), beta=beta, max_epochs=1)
        logs = []
        with mock.patch.object(trainer, "save_logs_and_checkpoints", lambda *given: logs.append(given[3])):
            trainer.fit(args)
        sums = [
            torch.stack([(token_log_probs(model, ids, attention) * mask).sum(1) for ids, attention, mask in sides])
            for model in (policy, reference)
        ]
        return trainer, policy, sums[0], sums[1].detach(), logs

    def test_dpo_in_the_dpo_trainer_is_openrlhfs_own(self):
        trainer, policy, log_prob, reference, logs = self.dpo(pmpo.operators.dpo(beta=0.3))
        theirs, chosen, rejected = DPOLoss(beta=0.3)(*log_prob, *reference)
        self.assertAlmostEqual(trainer.strategy.losses[0], theirs.item(), delta=1e-5)
        self.assert_gradients(policy, theirs)
        self.assertEqual(logs[0]["acc"], (chosen > rejected).float().mean().item())

    def test_pmpo_in_the_dpo_trainer(self):
        trainer, policy, log_prob, reference, logs = self.dpo(pmpo.operators.pmpo(alpha=ALPHA, beta=BETA))
        log_ratio = log_prob - reference
        kl = (log_ratio.exp() - 1 - log_ratio).mean()
        expected = -ALPHA * log_prob[0].mean() + (1 - ALPHA) * log_prob[1].mean() + BETA * kl
        self.assertAlmostEqual(trainer.strategy.losses[0], expected.item(), delta=1e-5 * abs(expected.item()))
        self.assert_gradients(policy, expected)
        self.assertAlmostEqual(logs[0]["chosen_reward"], log_ratio[0].mean().item(), delta=1e-4)

    def test_a_rejected_completion_at_its_floor_is_pushed_down_no_further(self):
        def gradient(**options):
            rejected = torch.tensor([-30.0], requires_grad=True)
            others = (torch.tensor([-10.0]), rejected, torch.tensor([-10.0]), torch.tensor([-20.0]))
            pmpo.openrlhf.preference_loss(pmpo.operators.pmpo(alpha=0.0, beta=1.0), **options)(*others)[0].backward()
            return rejected.grad.item()

        self.assertAlmostEqual(gradient(rejected_floor=0.0), 0.5, places=3)
        # Only the KL is left, which pulls it up.
        self.assertAlmostEqual(gradient(), -0.5, places=3)

    def test_what_openrlhf_would_ignore_is_refused(self):
        with self.assertRaisesRegex(pmpo.PmpoError, "operator mpo: trains variables of its own, which OpenRLHF would not optimize"):
            pmpo.openrlhf.use_in_ppo(pmpo.operators.mpo())
        for operator, feedback in ((pmpo.operators.grpo(), None), (None, "top-half")):
            with self.assertRaisesRegex(pmpo.PmpoError, "compares the sequences of a prompt, and each is a prompt by itself here"):
                pmpo.openrlhf.actor_loss(operator, feedback=feedback)
        with self.assertRaisesRegex(pmpo.PmpoError, "operator simpo, length"):
            pmpo.openrlhf.preference_loss(pmpo.operators.simpo())
        pmpo.openrlhf.use_in_ppo()
        with self.assertRaisesRegex(pmpo.PmpoError, "--algo.advantage.is_correction_level: corrects for the rollout"):
            self.ppo_trainer(actor(), ppo_args(correction="token"))
        pmpo.openrlhf.use_in_dpo()
        for option, value in (("ipo_enable", True), ("label_smoothing", 0.1)):
            with self.assertRaisesRegex(pmpo.PmpoError, f"--model.{option}: is set, and DPO's loss is not used"):
                dpo_trainer.DPOTrainer(None, None, Strategy(dpo_args(**{option: value})), None, None, None, None, None)


if __name__ == "__main__":
    unittest.main()
