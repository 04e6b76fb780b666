"""pmpo.gymnasium at an address: on our server, and on one that behaves differently."""

import os
import pathlib
import sys
import unittest
import warnings

import grpc
import gymnasium
import numpy as np
from dm_env_rpc.v1 import connection as dm_env_rpc_connection
from dm_env_rpc.v1 import dm_env_rpc_pb2, error, spec_manager, tensor_utils
from gymnasium.utils.env_checker import check_env

import small_server

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "plugins" / "python"))
from pmpo.gymnasium import RemoteEnv, RemoteVectorEnv  # noqa: E402

ADDRESS = os.environ["PMPO_SERVER_ADDRESS"]


class OwnServerTest(unittest.TestCase):
    def make(self, **settings):
        env = RemoteEnv(ADDRESS, **settings)
        self.addCleanup(env.close)
        return env

    def test_passes_gymnasiums_check(self):
        for simulator, observations, actions in (("cartpole_swingup", 5, 1), ("walker_run", 24, 6)):
            env = self.make(simulator=simulator)
            self.assertEqual((env.observation_space.shape, env.action_space.shape), ((observations,), (actions,)))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                check_env(env, skip_render_check=True)
            # Expected warnings: the observations are unbounded, and gymnasium.make did not create the environment.
            known = ("infinity", "gymnasium.make", "spec")
            others = [str(w.message) for w in caught if not any(word in str(w.message) for word in known)]
            self.assertEqual(others, [])

    def test_the_same_seed_gives_the_same_episode(self):
        env = self.make(simulator="walker_run")
        actions = np.random.default_rng(0).uniform(-1, 1, (10, 6))

        def episode(seed):
            first, info = env.reset(seed=seed)
            self.assertEqual(info, {})
            return np.stack([first, *(env.step(action)[0] for action in actions)])

        first, other, again = episode(3), episode(4), episode(3)
        np.testing.assert_array_equal(first, again)
        self.assertGreater(np.abs(first - other).max(), 1e-3)

    def test_agrees_with_dm_env_rpcs_own_client(self):
        env = self.make(simulator="walker_run")
        action = np.linspace(-1, 1, 6)
        env.reset(seed=5)
        observation, reward, terminated, truncated, _ = env.step(action)
        with grpc.insecure_channel(ADDRESS) as channel, dm_env_rpc_connection.Connection(channel) as connection:
            settings = {"simulator": tensor_utils.pack_tensor("walker_run")}
            world = connection.send(dm_env_rpc_pb2.CreateWorldRequest(settings=settings)).world_name
            specs = connection.send(dm_env_rpc_pb2.JoinWorldRequest(world_name=world)).specs
            connection.send(dm_env_rpc_pb2.ResetRequest(settings={"seed": tensor_utils.pack_tensor(5)}))
            sees = spec_manager.SpecManager(specs.observations)
            acts = spec_manager.SpecManager(specs.actions)
            (name,) = acts.names()
            dtype = tensor_utils.data_type_to_np_type(acts.name_to_spec(name).dtype)
            asked = [sees.name_to_uid(observed) for observed in sees.names()]
            connection.send(dm_env_rpc_pb2.StepRequest())
            packed = acts.pack({name: action.astype(dtype)})
            response = connection.send(dm_env_rpc_pb2.StepRequest(actions=packed, requested_observations=asked))
            values = sees.unpack(response.observations)
        names = sorted(set(values) - {"reward", "discount"})
        expected = np.concatenate([np.ravel(values[observed]) for observed in names])
        np.testing.assert_array_equal(observation, expected.astype(np.float32))
        self.assertEqual((reward, terminated, truncated), (float(values["reward"]), False, False))

    def test_a_limit_on_steps_truncates_each_episode(self):
        env = self.make(simulator="cartpole_swingup", episodeSteps=3)
        for _ in range(2):
            env.reset()
            ends = [env.step(np.zeros(1))[2:4] for _ in range(3)]
            self.assertEqual(ends, [(False, False), (False, False), (False, True)])

    def test_works_in_a_vector_environment(self):
        envs = gymnasium.vector.SyncVectorEnv(
            [lambda: RemoteEnv(ADDRESS, simulator="cartpole_swingup") for _ in range(3)]
        )
        self.addCleanup(envs.close)
        observations, _ = envs.reset(seed=[1, 2, 1])
        np.testing.assert_array_equal(observations[0], observations[2])
        self.assertFalse(np.array_equal(observations[0], observations[1]))
        observations, rewards, *_ = envs.step(np.zeros((3, 1), np.float32))
        self.assertEqual((observations.shape, rewards.shape), ((3, 5), (3,)))

    def test_a_vector_environment_of_its_own_agrees_with_single_ones(self):
        settings = {"simulator": "cartpole_swingup", "episodeSteps": 3}
        envs = RemoteVectorEnv(2, ADDRESS, **settings)
        self.addCleanup(envs.close)
        singles = [self.make(**settings) for _ in range(2)]
        observations, info = envs.reset(seed=5)
        self.assertEqual(info, {})
        np.testing.assert_array_equal(observations, [env.reset(seed=5 + i)[0] for i, env in enumerate(singles)])
        for step in range(3):
            actions = np.array([[0.5], [-1.0]], np.float32)
            observations, rewards, terminated, truncated, _ = envs.step(actions)
            expected = [env.step(action) for env, action in zip(singles, actions)]
            np.testing.assert_array_equal(observations, [one[0] for one in expected])
            np.testing.assert_array_equal(rewards, [one[1] for one in expected])
            self.assertEqual((terminated.tolist(), truncated.tolist()), ([False] * 2, [step == 2] * 2))
        # The next step starts an episode, with a reward of 0 and whatever the action.
        observations, rewards, _, truncated, _ = envs.step(actions)
        self.assertEqual((rewards.tolist(), truncated.tolist()), ([0, 0], [False, False]))
        self.assertTrue(envs.observation_space.contains(observations))
        envs.close()
        with self.assertRaisesRegex(gymnasium.error.ClosedEnvironmentError, "closed"):
            envs.step(actions)

    def test_vector_environments_refuse_what_does_not_fit(self):
        with self.assertRaisesRegex(error.DmEnvRpcError, "cartpole_swingup"):
            RemoteVectorEnv(2, ADDRESS, simulator="cartpole_swingpu")
        envs = RemoteVectorEnv(2, ADDRESS, simulator="cartpole_swingup")
        self.addCleanup(envs.close)
        with self.assertRaisesRegex(ValueError, "seed: has 3 numbers. Give 2"):
            envs.reset(seed=[1, 2, 3])

    def test_rendering_is_refused(self):
        # Stable-Baselines3 tries render_mode="rgb_array" first, and goes on without it after a TypeError.
        with self.assertRaisesRegex(TypeError, "not rendered"):
            RemoteEnv(ADDRESS, simulator="cartpole_swingup", render_mode="rgb_array")

    def test_resetting_a_closed_environment_is_an_error(self):
        env = self.make(simulator="cartpole_swingup")
        env.close()
        env.close()
        with self.assertRaisesRegex(gymnasium.error.ClosedEnvironmentError, "closed"):
            env.reset()

    def test_errors_of_the_server_are_raised(self):
        with self.assertRaisesRegex(error.DmEnvRpcError, "cartpole_swingup"):
            RemoteEnv(ADDRESS, simulator="cartpole_swingpu")


class OtherServerTest(unittest.TestCase):
    def setUp(self):
        self.address, self.server = self.enterContext(small_server.serving())

    def make(self, **settings):
        env = RemoteEnv(self.address, **settings)
        self.addCleanup(env.close)
        return env

    def test_actions_are_scaled_to_the_bounds_and_clipped(self):
        env = self.make()
        env.reset()
        for action, torque in (([-1, -1], [0, -2]), ([1, 1], [10, 2]), ([0.5, 3], [7.5, 2])):
            observation, reward, *_ = env.step(np.array(action))
            np.testing.assert_allclose(observation[1:], torque)
            self.assertAlmostEqual(reward, torque[0])

    def test_observations_come_in_the_order_of_their_names(self):
        env = self.make()
        env.reset()
        np.testing.assert_allclose(env.step(np.array([0.0, 0.0]))[0], [1, 5, 0])

    def test_terminated_is_not_truncated(self):
        for end, expected in (("terminated", (True, False)), ("interrupted", (False, True))):
            env = self.make(end=end)
            env.reset()
            ends = [env.step(np.zeros(2))[2:4] for _ in range(3)]
            self.assertEqual(ends, [(False, False), (False, False), expected])
            observation, _ = env.reset()
            self.assertEqual(observation[0], 0)

    def test_closing_destroys_the_world(self):
        env = self.make()
        self.assertEqual(self.server.worlds, ["small"])
        env.close()
        self.assertEqual(self.server.worlds, [])

    def test_unsupported_actions_are_an_error_and_their_world_is_destroyed(self):
        for settings in ({"whole": True}, {"unbounded": True}):
            with self.assertRaisesRegex(ValueError, f"{self.address}.*'torque' is not a bounded floating-point"):
                RemoteEnv(self.address, **settings)
            self.assertEqual(self.server.worlds, [])
        with self.assertRaisesRegex(error.DmEnvRpcError, "not today"):
            RemoteEnv(self.address, refuse=True)

    def test_losing_the_server_is_an_error_but_closing_still_works(self):
        with small_server.serving() as (address, _):
            env = RemoteEnv(address)
        with self.assertRaises(grpc.RpcError):
            env.reset()
        env.close()

    def test_no_server_at_the_address(self):
        with small_server.serving() as (address, _):
            pass
        with self.assertRaisesRegex(TimeoutError, f"{address}: no answer within 0.5 s"):
            RemoteEnv(address, timeout=0.5)


if __name__ == "__main__":
    unittest.main()
