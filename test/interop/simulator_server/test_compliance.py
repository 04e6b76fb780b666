"""DeepMind's compliance suite for dm_env_rpc servers, run against plugins/simulator-server."""

from absl.testing import absltest
from dm_env_rpc.v1 import dm_env_rpc_pb2, tensor_utils
from dm_env_rpc.v1.compliance import create_destroy_world, join_leave_world, reset, reset_world, step

import server

_server = None


def setUpModule():
    global _server
    _server = server.Server("any", "--allow-import", "catch_world", processes=1)


def tearDownModule():
    with _server:
        pass


class Connected(absltest.TestCase):
    """A fresh connection for each test."""

    def setUp(self):
        super().setUp()
        self._connection = self.enter_context(server.connect(_server.address))

    @property
    def connection(self):
        return self._connection


class InWorld(Connected):
    """A fresh connection and a fresh world for each test."""

    simulator = "suite/cartpole-balance"
    more_settings = {}

    def setUp(self):
        super().setUp()
        self._world_name = server.create(self.connection, simulator=self.simulator, **self.more_settings)

    def tearDown(self):
        # The tear-down of DeepMind's suite leaves the world first.
        super().tearDown()
        self.connection.send(dm_env_rpc_pb2.LeaveWorldRequest())
        self.connection.send(dm_env_rpc_pb2.DestroyWorldRequest(world_name=self._world_name))

    @property
    def world_name(self):
        return self._world_name


class CreateDestroyWorldTest(Connected, create_destroy_world.CreateDestroyWorld):
    has_multiple_world_support = True
    required_world_settings = {"simulator": tensor_utils.pack_tensor("suite/cartpole-balance")}
    invalid_world_settings = {
        "no_such_setting": tensor_utils.pack_tensor(1),
        "timeLimit": tensor_utils.pack_tensor("long"),
        "seed": tensor_utils.pack_tensor(-1),
    }


class JoinLeaveWorldTest(InWorld, join_leave_world.JoinLeaveWorld):
    invalid_join_settings = {
        "no_such_setting": tensor_utils.pack_tensor(1),
        "seed": tensor_utils.pack_tensor("not a number"),
    }


class ResetTest(InWorld, reset.Reset):
    def join_world(self):
        return server.join(self.connection, self.world_name)


class ResetWorldTest(InWorld, reset_world.ResetWorld):
    pass


class ControlStepTest(InWorld, step.Step):
    simulator = "suite/walker-walk"

    def setUp(self):
        super().setUp()
        self._specs = server.join(self.connection, self.world_name)

    @property
    def specs(self):
        return self._specs


class DiscreteStepTest(ControlStepTest):
    simulator = "gymnasium/CartPole-v1"


class ContinuousStepTest(ControlStepTest):
    simulator = "gymnasium/Pendulum-v1"


class OwnStepTest(ControlStepTest):
    simulator = "catch_world:catch"


class BatchStepTest(ControlStepTest):
    more_settings = {"batchSize": 2}


class DiscreteBatchStepTest(DiscreteStepTest):
    more_settings = {"batchSize": 3}


class BatchResetTest(ResetTest):
    more_settings = {"batchSize": 2}


class BatchResetWorldTest(ResetWorldTest):
    more_settings = {"batchSize": 2}


# Base classes must not be collected as tests.
del Connected, InWorld


if __name__ == "__main__":
    absltest.main()
