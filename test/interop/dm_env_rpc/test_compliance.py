"""DeepMind's compliance suite for dm_env_rpc servers, run against the embedded simulators."""

from absl.testing import absltest
from dm_env_rpc.v1 import dm_env_rpc_pb2, tensor_utils
from dm_env_rpc.v1.compliance import create_destroy_world, join_leave_world, reset, reset_world, step

import server


class Connected(absltest.TestCase):
    """A fresh connection for each test."""

    def setUp(self):
        super().setUp()
        self._connection = self.enter_context(server.connect())

    @property
    def connection(self):
        return self._connection


class InWorld(Connected):
    """A fresh connection and a fresh world for each test."""

    simulator = "cartpole_swingup"
    more_settings = {}

    def setUp(self):
        super().setUp()
        self._world_name = server.create(self.connection, simulator=self.simulator, **self.more_settings)

    def tearDown(self):
        # The tear-down of DeepMind's suite leaves the world first.
        super().tearDown()
        server.destroy(self.connection, self._world_name)

    @property
    def world_name(self):
        return self._world_name


class CreateDestroyWorldTest(Connected, create_destroy_world.CreateDestroyWorld):
    has_multiple_world_support = True
    required_world_settings = {}
    invalid_world_settings = {
        "no_such_setting": tensor_utils.pack_tensor(1),
        "simulator": tensor_utils.pack_tensor("no_such_simulator"),
        "episodeSteps": tensor_utils.pack_tensor("many"),
        "batchSize": tensor_utils.pack_tensor(0),
    }


class JoinLeaveWorldTest(InWorld, join_leave_world.JoinLeaveWorld):
    invalid_join_settings = {
        "no_such_setting": tensor_utils.pack_tensor(1),
        "seed": tensor_utils.pack_tensor("not a number"),
    }


class ResetTest(InWorld, reset.Reset):
    def join_world(self):
        return self.connection.send(dm_env_rpc_pb2.JoinWorldRequest(world_name=self.world_name)).specs


class ResetWorldTest(InWorld, reset_world.ResetWorld):
    pass


class CartpoleStepTest(InWorld, step.Step):
    def setUp(self):
        super().setUp()
        request = dm_env_rpc_pb2.JoinWorldRequest(world_name=self.world_name)
        self._specs = self.connection.send(request).specs

    @property
    def specs(self):
        return self._specs


class WalkerStepTest(CartpoleStepTest):
    simulator = "walker_run"


class QuadrupedStepTest(CartpoleStepTest):
    simulator = "quadruped_run"


class BatchStepTest(CartpoleStepTest):
    more_settings = {"batchSize": 3}


class BatchResetTest(ResetTest):
    more_settings = {"batchSize": 2}


class BatchResetWorldTest(ResetWorldTest):
    more_settings = {"batchSize": 2}


# Base classes must not be collected as tests.
del Connected, InWorld


if __name__ == "__main__":
    absltest.main()
