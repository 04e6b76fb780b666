"""dm_env_rpc's own Python client, which is a dm_env environment, steps our server."""

import unittest

import numpy as np
from dm_env_rpc.v1 import dm_env_adaptor, dm_env_rpc_pb2, error, tensor_utils

import server


class ClientTest(unittest.TestCase):
    def setUp(self):
        self.connection = self.enterContext(server.connect())

    def join(self, **settings):
        name = server.create(self.connection, **settings)
        self.addCleanup(server.destroy, self.connection, name)
        specs = self.connection.send(dm_env_rpc_pb2.JoinWorldRequest(world_name=name)).specs
        return dm_env_adaptor.DmEnvAdaptor(self.connection, specs)

    def test_an_episode_is_truncated_after_a_thousand_steps(self):
        environment = self.join(simulator="cartpole_swingup")
        action = {name: np.ones(spec.shape, spec.dtype) for name, spec in environment.action_spec().items()}
        timestep = environment.reset()
        self.assertTrue(timestep.first())
        count = 0
        while not timestep.last():
            timestep = environment.step(action)
            self.assertGreaterEqual(timestep.reward, 0)
            self.assertLessEqual(timestep.reward, 1)
            for name, spec in environment.observation_spec().items():
                self.assertEqual(timestep.observation[name].shape, spec.shape)
            count += 1
        self.assertEqual(count, 1000)
        self.assertEqual(timestep.discount, 1)
        self.assertTrue(environment.step(action).first())

    def test_a_seed_makes_an_episode_repeatable(self):
        environment = self.join(simulator="walker_run")
        rng = np.random.default_rng(0)
        actions = rng.uniform(-1, 1, (20, 6))

        def rollout(seed):
            settings = {"seed": tensor_utils.pack_tensor(seed)}
            self.connection.send(dm_env_rpc_pb2.ResetRequest(settings=settings))
            [(name, spec)] = environment.action_spec().items()
            # The first step of an episode ignores its action and returns the first observation.
            environment.step({})
            steps = [environment.step({name: action.astype(spec.dtype)}) for action in actions]
            return np.concatenate([np.ravel(value) for step in steps for value in step.observation.values()])

        first, again, other = rollout(7), rollout(7), rollout(8)
        np.testing.assert_array_equal(first, again)
        self.assertGreater(np.abs(first - other).max(), 1e-3)

    def test_worlds_of_two_connections_are_independent(self):
        with server.connect() as connection:
            mine = self.join(simulator="cartpole_swingup")
            name = server.create(connection, simulator="reacher")
            specs = connection.send(dm_env_rpc_pb2.JoinWorldRequest(world_name=name)).specs
            other = dm_env_adaptor.DmEnvAdaptor(connection, specs)
            self.assertTrue(mine.reset().first())
            self.assertTrue(other.reset().first())
            self.assertNotEqual(mine.observation_spec().keys(), other.observation_spec().keys())
            with self.assertRaisesRegex(error.DmEnvRpcError, r"the world \S+ is in use"):
                self.connection.send(dm_env_rpc_pb2.LeaveWorldRequest())
                self.connection.send(dm_env_rpc_pb2.DestroyWorldRequest(world_name=name))
            server.destroy(connection, name)


if __name__ == "__main__":
    unittest.main()
