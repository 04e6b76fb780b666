"""pmpo.sb3 as an algorithm of Stable-Baselines3: spaces, saving and loading, VecNormalize, operators, feedback."""

import pathlib
import pickle
import subprocess
import sys
import tempfile
import unittest
import warnings

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch.distributions import Categorical, Normal

PACKAGE = pathlib.Path(__file__).resolve().parents[3] / "plugins" / "python"
sys.path.insert(0, str(PACKAGE))
import pmpo  # noqa: E402
from pmpo import control  # noqa: E402
from pmpo.sb3 import PMPO, PMPOPolicy  # noqa: E402

torch.set_num_threads(1)
SMALL = {"policy_kwargs": {"net_arch": [32]}, "batch_size": 32, "learning_starts": 50, "device": "cpu", "seed": 0, "buffer_size": 1000}

PER_TOKEN: tuple[str, ...] = ("orpo", "simpo")


class Target(gymnasium.Env):
    """A bandit: episodes of one step, whose reward is best at one action. Observations are boxes, images or dictionaries."""

    def __init__(self, observation, action):
        self.observation_space, self.action_space = observation, action

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        if isinstance(self.action_space, spaces.Discrete):
            reward = float(action == self.action_space.start + 2)
        else:
            reward = -float(np.square(action - self.action_space.high * 0.6).sum())
        return self.observation_space.sample(), reward, True, False, {}


POINT = spaces.Box(-1, 1, (3,), np.float32)
ACTIONS = spaces.Box(np.array([-1, -5], np.float32), np.array([3, 5], np.float32))


class SpacesTest(unittest.TestCase):
    def test_box_actions_improve_in_their_own_units(self):
        POINT.seed(0)
        model = PMPO("MlpPolicy", Target(POINT, ACTIONS), actor_rate=1.0, **{**SMALL, "learning_starts": 300}).learn(4000)
        action, _ = model.predict(POINT.sample(), deterministic=True)
        # The best action has a reward of 0, the middle of the bounds, where the policy starts, -9.6.
        self.assertGreater(-float(np.square(action - ACTIONS.high * 0.6).sum()), -5.0)
        self.assertTrue(ACTIONS.contains(action))
        self.assertLessEqual(model.replay_buffer.sample(200).actions.abs().max().item(), 1)

    def test_discrete_actions_are_learned(self):
        model = PMPO("MlpPolicy", Target(POINT, spaces.Discrete(4)), **SMALL).learn(800)
        observations = np.stack([POINT.sample() for _ in range(50)])
        self.assertGreater((model.predict(observations, deterministic=True)[0] == 2).mean(), 0.9)
        # Every action stays possible.
        probs = model.actor.distribution(torch.as_tensor(observations)).probs
        self.assertGreaterEqual(probs.min().item(), 0.02 / 4 - 1e-6)

    def test_images_and_dictionaries(self):
        image = spaces.Box(0, 255, (36, 36, 3), np.uint8)
        both = spaces.Dict({"point": POINT, "other": POINT})
        for policy, observation, action in (("CnnPolicy", image, ACTIONS), ("MultiInputPolicy", both, ACTIONS), ("MultiInputPolicy", both, spaces.Discrete(3))):
            for share in (False, True):
                with self.subTest(policy=policy, action=action, share=share):
                    kwargs = {"net_arch": [8], "share_features_extractor": share}
                    model = PMPO(policy, Target(observation, action), **{**SMALL, "policy_kwargs": kwargs}).learn(60)
                    self.assertTrue(np.isfinite(model.logger.name_to_value["train/actor_loss"]))

    def test_other_spaces_are_refused(self):
        with self.assertRaisesRegex(AssertionError, "only supports"):
            PMPO("MlpPolicy", Target(POINT, spaces.MultiDiscrete([2, 2])))

    def test_several_environments_and_truncated_episodes(self):
        env = make_vec_env("Pendulum-v1", n_envs=3)
        model = PMPO("MlpPolicy", env, gradient_steps=-1, train_freq=4, **SMALL).learn(900)
        self.assertEqual(model.num_timesteps, 900)
        # An episode of Pendulum is truncated and never ends, so no value is cut off.
        self.assertEqual(model.replay_buffer.sample(256).dones.sum().item(), 0)


class SavingTest(unittest.TestCase):
    def test_saved_loaded_and_continued_as_sac_is(self):
        model = PMPO("MlpPolicy", "Pendulum-v1", operator=pmpo.operators.mpo(epsilon=0.2), feedback="top-half", **SMALL).learn(300)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("error")
            path = pathlib.Path(folder) / "model"
            model.save(path)
            model.save_replay_buffer(path.with_suffix(".pkl"))
            loaded = PMPO.load(path, env=gymnasium.make("Pendulum-v1"))
            loaded.load_replay_buffer(path.with_suffix(".pkl"))
            model.policy.save(path.with_suffix(".policy"))
            policy = PMPOPolicy.load(path.with_suffix(".policy"))
        self.assertEqual(repr(loaded.operator), repr(model.operator))
        self.assertEqual((loaded.feedback, loaded.n_steps, loaded._n_updates), ("top-half", 3, model._n_updates))
        for ours, theirs in zip((*model.policy.state_dict().values(), *model.operator_state.state_dict().values()), (*loaded.policy.state_dict().values(), *loaded.operator_state.state_dict().values()), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        observation = model.observation_space.sample()
        for other in (loaded, policy):
            np.testing.assert_array_equal(other.predict(observation, deterministic=True)[0], model.predict(observation, deterministic=True)[0])
        # One more update of both, on the same randomness, is the same: optimizers and duals were saved too.
        for one in (model, loaded):
            one.set_random_seed(7)
            one._logger = model.logger
            one.train(3, 32)
        for ours, theirs in zip(model.policy.parameters(), loaded.policy.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        loaded.learn(100)

    def test_vec_normalize(self):
        env = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]))
        model = PMPO("MlpPolicy", env, **SMALL).learn(300)
        self.assertLess(model.replay_buffer.sample(200, env=env).rewards.abs().max().item(), 10.1 * 3)
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model")
            env.save(f"{folder}/env")
            loaded_env = VecNormalize.load(f"{folder}/env", DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]))
            loaded = PMPO.load(f"{folder}/model", env=loaded_env)
        np.testing.assert_array_equal(loaded_env.obs_rms.mean, env.obs_rms.mean)
        loaded.learn(60)

    def test_operators_can_be_pickled(self):
        for name in pmpo.operators.__all__:
            operator = getattr(pmpo.operators, name)()
            again = pickle.loads(pickle.dumps(operator))
            self.assertEqual((repr(again), again.settings), (repr(operator), operator.settings))


class OperatorsTest(unittest.TestCase):
    def test_every_operator_takes_a_step(self):
        for name in pmpo.operators.__all__:
            for env in ("Pendulum-v1", "CartPole-v1"):
                with self.subTest(operator=name, env=env):
                    model = PMPO("MlpPolicy", env, operator=getattr(pmpo.operators, name)(), **SMALL)
                    if name in PER_TOKEN:
                        # Their sequences have lengths, which actions lack.
                        self.assertRaisesRegex(pmpo.PmpoError, "length", model.learn, 60)
                        continue
                    before = [p.clone() for p in model.actor.parameters()]
                    model.learn(60)
                    self.assertTrue(all(p.isfinite().all() for p in model.policy.parameters()))
                    self.assertTrue(any(not torch.equal(p, q) for p, q in zip(before, model.actor.parameters())))

    def test_feedback_of_ones_own(self):
        shapes = set()

        def mine(evaluation, weights):
            shapes.add(tuple(evaluation.shape))
            return evaluation > 0, evaluation < 0

        PMPO("MlpPolicy", "Pendulum-v1", feedback=mine, n_samples=5, **SMALL).learn(60)
        self.assertEqual(shapes, {(5, 32)})

    def test_what_is_wrong_is_said(self):
        for words, settings in (
            ("feedback: is 'best'. It must be value-baseline, top-half, or a function", {"feedback": "best"}),
            ("feedback: the function returned Tensor. Return two tensors", {"feedback": lambda evaluation, weights: weights}),
            ("n_samples: is 1. It must be at least 2", {"n_samples": 1}),
            ("operator: is a int. Give its name", {"operator": 1}),
            ("operator: there is no 'pmo'. Did you mean 'pmpo'?", {"operator": "pmo"}),
        ):
            with self.subTest(words=words), self.assertRaises(pmpo.PmpoError) as caught:
                PMPO("MlpPolicy", "Pendulum-v1", **settings, **SMALL).learn(60)
            self.assertIn(words, str(caught.exception))


class ControlTest(unittest.TestCase):
    """pmpo.control against PyTorch's distributions."""

    def test_gaussian(self):
        torch.manual_seed(0)
        policy, reference = (Normal(torch.randn(5, 2), torch.rand(5, 2) + 0.1) for _ in range(2))
        samples = 2 * torch.randn(7, 5, 2)
        terms = control.gaussian(policy, reference, samples)
        torch.testing.assert_close(terms["log_prob"], policy.log_prob(samples).sum(-1))
        torch.testing.assert_close(terms["reference_log_prob"], reference.log_prob(samples).sum(-1))
        torch.testing.assert_close(terms["kl"]["mean"] + terms["kl"]["covariance"], torch.distributions.kl_divergence(reference, policy))
        mixed = Normal(policy.mean, reference.stddev), Normal(reference.mean, policy.stddev)
        for part, other in zip(("mean", "covariance"), mixed):
            torch.testing.assert_close(terms["decoupled_kl"][part], torch.distributions.kl_divergence(reference, other))
            torch.testing.assert_close(terms["decoupled_log_prob"][part], other.log_prob(samples).sum(-1))
        outside = torch.relu(samples.abs() - 1).norm(dim=-1)
        torch.testing.assert_close(terms["bound_violation"], outside, atol=2e-6, rtol=1e-4)

    def test_categorical(self):
        torch.manual_seed(0)
        policy, reference = (Categorical(logits=torch.randn(5, 3)) for _ in range(2))
        terms = control.categorical(policy, reference)
        for action in range(3):
            torch.testing.assert_close(terms["log_prob"][action], policy.log_prob(torch.full((5,), action)))
        torch.testing.assert_close(terms["mask"].sum(0), torch.ones(5))
        torch.testing.assert_close(terms["kl"]["categorical"][:, 0], torch.distributions.kl_divergence(reference, policy))

    def test_the_kl_keeps_the_gradient_of_a_lost_action(self):
        model = PMPO("MlpPolicy", Target(POINT, spaces.Discrete(4)), **SMALL)
        last = model.actor.net[-1]
        with torch.no_grad():
            last.weight.zero_()
            last.bias.copy_(torch.tensor([0.3, 0.0, -20.0, 0.1]))
        model.reference.load_state_dict(model.actor.state_dict())
        softmax = last.bias.detach().softmax(0)
        mixture = 0.98 * softmax + 0.02 / 4
        terms = control.categorical(model.actor.distribution(torch.zeros(1, 3)), model.reference.distribution(torch.zeros(1, 3)))
        torch.testing.assert_close(terms["mask"][:, 0], mixture)
        torch.testing.assert_close(terms["log_prob"][:, 0], mixture.log())
        kl = terms["kl"]["categorical"].sum()
        torch.testing.assert_close(kl, (mixture * (mixture / softmax).log()).sum())
        kl.backward()
        # −0.005 for the lost action: a step down the KL makes it likelier.
        torch.testing.assert_close(last.bias.grad, softmax - mixture, rtol=1e-4, atol=1e-7)

    def test_feedback(self):
        q = torch.tensor([[1.0, 2.0, 5.0], [2.0, 2.0, 1.0], [3.0, 2.0, 1.0], [6.0, 2.0, 1.0]])
        accept, reject = control.value_baseline(q)
        self.assertEqual(accept.T.tolist(), [[0, 0, 0, 1], [0] * 4, [1, 0, 0, 0]])
        self.assertEqual(reject.T.tolist(), [[1, 1, 0, 0], [0] * 4, [0, 1, 1, 1]])
        accept, reject = control.top_half(q)
        self.assertEqual(accept.T.tolist(), [[0, 0, 1, 1], [0] * 4, [1, 0, 0, 0]])
        self.assertEqual(reject.T.tolist(), [[1, 1, 0, 0], [0] * 4, [0] * 4])
        # Samples that are absent take no place in either half, and one sample alone has none to compare with.
        there = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
        accept, reject = control.top_half(torch.tensor([[3.0, -1.0, 0.0], [2.0, 0.0, 5.0], [1.0, -2.0, 0.0], [9.0, -3.0, 0.0]]), there)
        self.assertEqual(accept.T.tolist(), [[1, 0, 0, 0], [1, 0, 0, 0], [0] * 4])
        self.assertEqual(reject.T.tolist(), [[0, 0, 1, 0], [0, 0, 0, 1], [0] * 4])
        weights = torch.tensor([[0.9], [0.1], [0.0]])
        accept, reject = control.value_baseline(torch.tensor([[1.0], [0.0], [9.0]]), weights)
        self.assertEqual((accept[:, 0].tolist(), reject[:, 0].tolist()), ([1, 0, 0], [0, 1, 0]))

    def test_each_action_counts_by_its_probability_once(self):
        probs = torch.tensor([0.5, 0.2, 0.2, 0.1])
        reference = Categorical(probs=probs[None])
        policy = Categorical(logits=torch.tensor([[0.3, -0.2, 0.5, 0.1]]))
        log_prob = policy.logits[0]
        # V = 0.5·0 + 0.2·3 + 0.2·0 + 0.1·5 = 1.1. The better half are the actions 1 and 3 by either rule.
        evaluation = torch.tensor([[0.0], [3.0], [0.0], [5.0]])
        accepted = (0.2 * log_prob[1] + 0.1 * log_prob[3]) / 0.3
        rejected = (0.5 * log_prob[0] + 0.2 * log_prob[2]) / 0.7
        kl = (probs * (probs.log() - log_prob)).sum()
        expected = -0.3 * accepted + 0.7 * rejected + 0.9 * kl
        for feedback in ("value-baseline", "top-half"):
            accept, reject = control.classify(feedback, evaluation, probs[:, None])
            terms = control.categorical(policy, reference)
            loss, _ = pmpo.operators.pmpo(alpha=0.3, beta=0.9).torch(**terms, accept=accept, reject=reject)
            torch.testing.assert_close(loss, expected)


class PackageTest(unittest.TestCase):
    def test_types(self):
        command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--follow-imports", "silent"]
        done = subprocess.run([*command, "pmpo/sb3", "pmpo/gymnasium", "pmpo/control.py"], cwd=PACKAGE, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_pmpo_alone_imports_none_of_it(self):
        code = "import sys, pmpo; print({'torch', 'gymnasium', 'stable_baselines3', 'grpc'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE, capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.strip(), "set()")


if __name__ == "__main__":
    unittest.main()
