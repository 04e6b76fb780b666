"""Several simulators in one world of plugins/simulator-server: each is what it would be alone."""

import dm_env_rpc.v1.error
import numpy as np
from dm_env_rpc.v1 import dm_env_adaptor, dm_env_rpc_pb2, tensor_spec_utils, tensor_utils

import server
from server import Agent, Connected

RUNNING = dm_env_rpc_pb2.EnvironmentStateType.RUNNING
TERMINATED = dm_env_rpc_pb2.EnvironmentStateType.TERMINATED
INTERRUPTED = dm_env_rpc_pb2.EnvironmentStateType.INTERRUPTED
NO_EPISODE = dm_env_rpc_pb2.EnvironmentStateType.INVALID_ENVIRONMENT_STATE
STEP, RESET, WAIT = 0, 1, 2


def setUpModule():
    server.Connected.server = server.Server("any", "--allow-import", "catch_world", processes=1)


def tearDownModule():
    with server.Connected.server:
        pass


def command(*commands, **actions):
    return {"batch/command": np.array(commands, np.int32), **actions}


def seeds(*values):
    return {"batch/seed": np.array(values, np.int64)}


class Alone:
    """One simulator in a world of its own, stepped the way that a batch is."""

    def __init__(self, connection, **settings):
        self._agent = Agent(connection, **settings)
        self.state, self.values = NO_EPISODE, None

    def act(self, what, seed, **actions):
        if what == WAIT:
            return
        if what == RESET:
            if seed >= 0 or self.state == RUNNING:
                self._agent.connection.send(
                    dm_env_rpc_pb2.ResetRequest(settings={"seed": tensor_utils.pack_tensor(seed)} if seed >= 0 else {})
                )
            actions = {}
        self.state, self.values = self._agent.step(**actions)


class SpecsTest(Connected):
    def test_every_tensor_has_an_axis_of_simulators(self):
        agent = Agent(self.connection, simulator="suite/walker-walk", batchSize=3)
        shapes = {name: list(agent.observations.name_to_spec(name).shape) for name in agent.observations.names()}
        self.assertEqual(
            shapes,
            {
                "orientations": [3, 14],
                "height": [3],
                "velocity": [3, 9],
                "reward": [3],
                "discount": [3],
                "batch/state": [3],
                "batch/errorCode": [3],
                "batch/error": [3],
            },
        )
        shapes = {name: list(agent.actions.name_to_spec(name).shape) for name in agent.actions.names()}
        self.assertEqual(shapes, {"action": [3, 6], "batch/command": [3], "batch/seed": [3]})

    def test_bounds_are_those_of_each_simulator(self):
        agent = Agent(self.connection, simulator="gymnasium/catch_world:Spaces-v0", batchSize=2)
        bounds = tensor_spec_utils.bounds(agent.actions.name_to_spec("pair/1"))
        np.testing.assert_array_equal(bounds.max, [[2, 3], [2, 3]])
        message = agent.actions.name_to_spec("position/y")
        self.assertEqual((list(message.min.int64s.array), list(message.max.int64s.array)), ([2], [6]))

    def test_settings_that_are_wrong(self):
        self.refused("'batchSize' is 0; it must be above 0", simulator="suite/walker-walk", batchSize=0)
        self.refused("'batchSize' is 4000; it must be at most 1024", simulator="suite/walker-walk", batchSize=4000)
        self.refused("'batchSize' is 'x'; it must be a whole number", simulator="suite/walker-walk", batchSize="x")
        self.refused("Did you mean 'batchSize'", simulator="suite/walker-walk", batchsize=2)
        self.refused("the setting 'seed' is -1", simulator="suite/walker-walk", batchSize=2, seed=-1)
        self.refused("simulator 1 differs from simulator 0", simulator="catch_world:growing", batchSize=2)


class EpisodesTest(Connected):
    def assert_like_alone(self, commands, action, **settings):
        """Asserts that each of three simulators is, at each step, what it is alone: seeds are 10 i + the step's number."""
        batch = Agent(self.connection, batchSize=3, **settings)
        alone = [Alone(self.connect(), **settings) for _ in range(3)]
        ends = 0
        for t, row in enumerate(commands):
            chosen = [action(i, t) for i in range(3)]
            seed = [10 * i + t if what == RESET else -1 for i, what in enumerate(row)]
            state, values = batch.step(**command(*row, **seeds(*seed), action=np.stack(chosen)))
            self.assertEqual(state, RUNNING)
            for i, one in enumerate(alone):
                one.act(row[i], seed[i], action=chosen[i])
                self.assertEqual(values["batch/state"][i], one.state)
                for name, value in (one.values or {}).items():
                    np.testing.assert_array_equal(values[name][i], value)
                ends += row[i] != WAIT and one.state in (TERMINATED, INTERRUPTED)
        return ends

    def test_a_task_of_the_control_suite(self):
        random = np.random.RandomState(0)
        rows = [[RESET] * 3, *random.choice([STEP, STEP, STEP, WAIT, RESET], (60, 3)).tolist()]

        def action(i, t):
            return np.cos(np.arange(6) * t + i)

        ends = self.assert_like_alone(rows, action, simulator="suite/walker-walk", timeLimit=0.2)
        self.assertGreater(ends, 0)

    def test_a_task_that_terminates_at_different_times(self):
        rows = [[RESET, WAIT, WAIT], [STEP, RESET, WAIT], *[[STEP, STEP, RESET if t == 0 else STEP] for t in range(60)]]

        def action(i, t):
            return np.int64((t + i) % 2 if i else 1)

        self.assertGreater(self.assert_like_alone(rows, action, simulator="gymnasium/CartPole-v1"), 4)

    def test_seeds_at_the_start_count_up(self):
        def first(agent):
            return agent.step(["observation"])[1]["observation"]

        settings = {"simulator": "gymnasium/Pendulum-v1"}
        batch = Agent(self.connection, batchSize=2, seed=5, **settings)
        begun = first(batch)
        batch.reset(6)
        again = first(batch)
        for i in range(2):
            np.testing.assert_array_equal(begun[i], first(Agent(self.connect(), seed=5 + i, **settings)))
            np.testing.assert_array_equal(again[i], first(Agent(self.connect(), seed=6 + i, **settings)))

    def test_a_reset_of_the_world_ends_all_episodes(self):
        agent = Agent(self.connection, simulator="gymnasium/CartPole-v1", batchSize=2)
        agent.step()
        agent.reset(1)
        _, values = agent.step(**command(WAIT, STEP))
        np.testing.assert_array_equal(values["batch/state"], [NO_EPISODE, RUNNING])

    def test_episodes_that_somebody_else_cuts(self):
        agent = Agent(self.connection, simulator="gymnasium/Pendulum-v1", batchSize=4)
        agent.step(**command(RESET, RESET, RESET, WAIT))
        _, before = agent.step(**command(STEP, STEP, STEP, WAIT))
        agent.reset_world(self.connect(), 5)
        # The second waits, the third starts an episode itself, the fourth has none that could be cut.
        _, values = agent.step(**command(STEP, WAIT, RESET, STEP))
        np.testing.assert_array_equal(values["batch/state"], [INTERRUPTED, RUNNING, RUNNING, RUNNING])
        self.assertEqual((values["reward"][0], values["discount"][0]), (0.0, 1.0))
        np.testing.assert_array_equal(values["observation"][:2], before["observation"][:2])
        _, values = agent.step(**command(STEP, STEP, WAIT, WAIT))
        np.testing.assert_array_equal(values["batch/state"], [RUNNING, INTERRUPTED, RUNNING, RUNNING])
        np.testing.assert_array_equal(values["observation"][1], before["observation"][1])
        _, values = agent.step(**command(WAIT, STEP, WAIT, WAIT))
        np.testing.assert_array_equal(values["batch/state"], [RUNNING] * 4)
        for i in range(4):
            alone = Agent(self.connect(), simulator="gymnasium/Pendulum-v1", seed=5 + i)
            np.testing.assert_array_equal(values["observation"][i], alone.step(["observation"])[1]["observation"])

    def test_sends_what_is_asked_for_and_keeps_the_rest_up_to_date(self):
        agent = Agent(self.connection, simulator="catch_world:catch", rows=6, batchSize=2)
        agent.step(["reward"])
        _, values = agent.step(["reward"], **command(STEP, WAIT, move=np.ones(2, np.int32)))
        self.assertEqual(set(values), {"reward"})
        boards = agent.step(["board"], **command(WAIT, WAIT))[1]["board"]
        # The ball of the first has fallen by one row, that of the other has not.
        self.assertEqual([int((board == 255).any(1).argmax()) for board in boards], [1, 0])

    def test_text_and_types_that_the_wire_lacks(self):
        agent = Agent(self.connection, simulator="catch_world:Nested", batchSize=2)
        agent.step()
        push = np.array([[0.5, -9], [0.25, 3]], np.float32)
        _, seen = agent.step(push=push, grip=np.array([True, False]))
        np.testing.assert_array_equal(seen["arm/half"], push)
        np.testing.assert_array_equal(seen["arm/short"], [3, -3])
        self.assertEqual((list(seen["words"]), seen["parts/1"].shape), (["closed", "open"], (2, 0)))

    def test_one_of_others_clients(self):
        environment, _ = dm_env_adaptor.create_and_join_world(
            self.connection, {"simulator": "suite/cartpole-balance", "batchSize": 2, "timeLimit": 0.03}, {}
        )
        environment.reset()
        states = []
        for _ in range(5):
            time_step = environment.step({"action": np.zeros((2, 1))})
            self.assertTrue(time_step.mid())
            states.append(time_step.observation["batch/state"].tolist())
        # By default all are stepped, and an episode follows the other.
        self.assertEqual(states, [[RUNNING] * 2, [RUNNING] * 2, [INTERRUPTED] * 2, [RUNNING] * 2, [RUNNING] * 2])


class FailuresTest(Connected):
    def test_a_wrong_action_is_of_a_simulator_and_changes_nothing(self):
        agent = Agent(self.connection, simulator="gymnasium/Pendulum-v1", batchSize=2, seed=1)
        before = agent.step(["observation"])[1]["observation"]
        for wrong, said in (
            ([[0], [9]], "simulator 1: element 0 of the action 'action' is 9.0; .* from -2 to 2"),
            ([[np.nan], [0]], "simulator 0: element 0 .* is nan"),
        ):
            action = np.array(wrong, np.float32)
            self.refused(said, lambda action=action: agent.step(action=action))
        self.refused("simulator 0: the action 'batch/command' is 3;", lambda: agent.step(**command(3, 0)))
        self.refused("simulator 1: the action 'batch/seed' is -2;", lambda: agent.step(**seeds(0, -2)))
        np.testing.assert_array_equal(agent.step(["observation"], **command(WAIT, WAIT))[1]["observation"], before)

    def test_wrong_actions_of_many_simulators(self):
        agent = Agent(self.connection, simulator="suite/walker-walk", batchSize=20)
        agent.step()
        action = np.zeros((20, 6))
        action[17, 2] = np.nan
        self.refused("simulator 17: element 2 .* is nan", lambda: agent.step(action=action))
        action[17, 2] = 1
        self.assertEqual(agent.step(action=action)[0], RUNNING)

    def test_a_simulator_that_fails_fails_alone(self):
        agent = Agent(self.connection, simulator="catch_world:breaking_leftwards", batchSize=3)
        agent.step(**command(RESET, RESET, RESET, **seeds(1, 2, 3)))
        state, values = agent.step(move=np.array([1, 0, 2], np.int32))
        self.assertEqual(state, RUNNING)
        np.testing.assert_array_equal(values["batch/state"], [RUNNING, NO_EPISODE, RUNNING])
        np.testing.assert_array_equal(values["batch/errorCode"], [0, 13, 0])
        said = "simulator 1: ArithmeticError: the simulation became unstable"
        self.assertEqual(list(values["batch/error"]), ["", said, ""])
        for i, place in ((0, 1), (2, 2)):
            self.assertEqual(int((values["board"][i][-1] == 128).argmax()), place)
        # It is told until something is done; what comes next starts an episode.
        _, values = agent.step(**command(WAIT, WAIT, WAIT))
        self.assertEqual(values["batch/error"][1], said)
        _, values = agent.step(**command(WAIT, STEP, WAIT))
        np.testing.assert_array_equal(values["batch/state"], [RUNNING] * 3)
        self.assertEqual(list(values["batch/error"]), [""] * 3)

    def test_simulators_that_take_no_seeds_go_on_without(self):
        agent = Agent(self.connection, simulator="catch_world:seeded_once", batchSize=2, seed=6)
        _, values = agent.step(**command(RESET, STEP, **seeds(4, -1)))
        np.testing.assert_array_equal(values["batch/state"], [RUNNING] * 2)
        # The seed that their maker was given holds.
        balls = values["board"][:, 0].argmax(-1)
        self.assertEqual(balls.tolist(), [np.random.RandomState(6 + i).randint(50) for i in range(2)])
        agent.reset(9)
        np.testing.assert_array_equal(agent.step()[1]["batch/state"], [RUNNING] * 2)

    def test_an_observation_of_another_shape_than_its_spec_says(self):
        agent = Agent(self.connection, simulator="catch_world:shrinking", batchSize=2)
        _, values = agent.step()
        np.testing.assert_array_equal(values["batch/errorCode"], [13, 13])
        self.assertRegex(values["batch/error"][1], r"simulator 1: .*'board' has the shape \[4, 3\]; its spec says \[5, 3\]")


class PixelsTest(Connected):
    def test_are_those_of_each_simulator(self):
        settings = {"simulator": "suite/cartpole-balance", "pixels": True, "width": 32, "height": 24}
        try:
            batch = Agent(self.connection, batchSize=2, **settings)
        except dm_env_rpc.v1.error.DmEnvRpcError as error:
            self.skipTest(str(error))
        _, values = batch.step(["pixels"], **command(RESET, RESET, **seeds(1, 2)))
        self.assertEqual(values["pixels"].shape, (2, 24, 32, 3))
        for i in range(2):
            alone = Agent(self.connect(), seed=1 + i, **settings)
            np.testing.assert_array_equal(values["pixels"][i], alone.step(["pixels"])[1]["pixels"])
