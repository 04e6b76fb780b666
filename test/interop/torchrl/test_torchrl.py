"""pmpo.torchrl in TorchRL's own Trainer."""

import ast
import inspect
import pathlib
import subprocess
import sys
import unittest

import torch
from tensordict import TensorDict
from tensordict.nn import InteractionType, TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import Bounded, Composite, LazyTensorStorage, TensorDictReplayBuffer, Unbounded
from torchrl.envs import EnvBase
from torchrl.modules import IndependentNormal, ProbabilisticActor, ValueOperator
from torchrl.objectives import SoftUpdate
from torchrl.trainers import ReplayBufferTrainer, Trainer

PACKAGE = pathlib.Path(__file__).resolve().parents[3] / "plugins" / "python"
sys.path.insert(0, str(PACKAGE))
import pmpo  # noqa: E402
from pmpo.torchrl import PMPOLoss  # noqa: E402

torch.set_num_threads(1)


class Bandit(EnvBase):
    """Episodes of one step. The best action is half the observation, with reward 0."""

    def __init__(self):
        super().__init__(batch_size=[])
        self.observation_spec = Composite(observation=Bounded(-1, 1, (2,)))
        self.action_spec = Bounded(-1, 1, (2,))
        self.reward_spec = Unbounded((1,))

    def _reset(self, tensordict, **kwargs):
        return TensorDict({"observation": 2 * torch.rand(2) - 1}, [])

    def _step(self, tensordict):
        distance = (tensordict["action"].clamp(-1, 1) - tensordict["observation"] / 2).square().sum()
        ended = torch.ones(1, dtype=torch.bool)
        observation = {"observation": 2 * torch.rand(2) - 1}
        return TensorDict({**observation, "reward": -distance.reshape(1), "terminated": ended, "done": ended}, [])

    def _set_seed(self, seed):
        torch.manual_seed(seed)


class Head(nn.Module):
    """A mean within the action bounds, and a standard deviation."""

    def forward(self, x):
        mean, spread = x.chunk(2, -1)
        return torch.tanh(mean), 0.05 + 0.45 * nn.functional.softplus(spread) / 0.6931


def make(**settings):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 4), Head())
    module = TensorDictModule(net, in_keys=["observation"], out_keys=["loc", "scale"])
    actor = ProbabilisticActor(
        module, in_keys=["loc", "scale"], distribution_class=IndependentNormal, default_interaction_type=InteractionType.RANDOM
    )

    class Q(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 1))

        def forward(self, observation, action):
            return self.net(torch.cat([observation, action], -1))

    qvalue = ValueOperator(Q(), in_keys=["observation", "action"])
    return actor, PMPOLoss(actor, qvalue, 2, **settings)


def batch(size=32):
    following = {"observation": torch.rand(size, 2), "reward": torch.rand(size, 1), "terminated": torch.zeros(size, 1, dtype=torch.bool)}
    return TensorDict({"observation": torch.rand(size, 2), "action": torch.rand(size, 2), "next": TensorDict(following, [size])}, [size])


class LossTest(unittest.TestCase):
    def test_each_loss_reaches_its_own_parameters(self):
        _, loss = make()
        for name, reached in (("loss_actor", ("actor_network", "operator_state")), ("loss_qvalue", ("qvalue_network",))):
            loss.zero_grad()
            loss(batch())[name].backward()
            for parameter, value in loss.named_parameters():
                with self.subTest(loss=name, parameter=parameter):
                    learns = value.grad is not None and bool(value.grad.abs().sum() > 0)
                    self.assertEqual(learns, parameter.startswith(reached))

    def test_other_operators(self):
        for operator in (pmpo.operators.mpo(), pmpo.operators.dpo(), pmpo.operators.behavior_cloning()):
            with self.subTest(operator=operator.name):
                _, loss = make(operator=operator, feedback="top-half", num_samples=5)
                losses = loss(batch())
                (losses["loss_actor"] + losses["loss_qvalue"]).backward()
                loss.project()

    def test_what_is_wrong_is_said(self):
        with self.assertRaisesRegex(pmpo.PmpoError, "num_samples: is 1"):
            make(num_samples=1)


class TrainerTest(unittest.TestCase):
    def test_learns_in_torchrls_trainer(self):
        actor, loss = make()
        replay = TensorDictReplayBuffer(storage=LazyTensorStorage(4000), batch_size=128)
        collector = Collector(Bandit(), actor, frames_per_batch=20, total_frames=4000, init_random_frames=400)
        optimizer = torch.optim.Adam(loss.parameter_groups(), lr=2e-3)
        updater = SoftUpdate(loss, tau=0.02)
        trainer = Trainer(
            collector=collector, total_frames=4000, frame_skip=1, optim_steps_per_batch=5, loss_module=loss, optimizer=optimizer, progress_bar=False
        )
        buffered = ReplayBufferTrainer(replay, batch_size=128, flatten_tensordicts=True)
        buffered.register(trainer)

        def follow(*_):
            loss.project()
            updater.step()

        trainer.register_op("post_optim", follow)
        observations = 2 * torch.rand(200, 2) - 1

        def error():
            with torch.no_grad():
                return (actor.module[0](TensorDict({"observation": observations}, [200]))["loc"] - observations / 2).abs().mean().item()

        before = error()
        trainer.train()
        self.assertGreater(before, 0.2)
        self.assertLess(error(), 0.12)


class PackageTest(unittest.TestCase):
    def test_the_example_of_the_docstring_is_a_call_that_can_be_made(self):
        (line,) = [line for line in pmpo.torchrl.__doc__.splitlines() if "PMPOLoss(" in line]
        call = ast.parse(line.split("#")[0].strip()).body[0].value
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        inspect.signature(PMPOLoss.__init__).bind(None, *call.args, **given)

    def test_types(self):
        command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--follow-imports", "silent", "pmpo/torchrl.py"]
        done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
