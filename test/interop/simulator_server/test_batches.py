"""Several simulators in one world of plugins/simulator-server: each behaves as it would alone."""

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
    """A world with a single simulator, which takes the commands of a batch."""

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
    def test_every_tensor_has_a_first_axis_of_simulators(self):
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

    def test_bounds_are_repeated_for_each_simulator(self):
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
        self.refused("the specs of simulator 1 differ from those of simulator 0", simulator="catch_world:growing", batchSize=2)


class EpisodesTest(Connected):
    def assert_like_alone(self, commands, action, **settings):
        """Asserts that each of three simulators returns at each step what it returns alone; returns the number of ends.

        `commands` has a row for each step t, and `action(i, t)` is the action of simulator i. RESET has the seed 10 i + t.
        """
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

    def test_the_seed_of_a_simulator_is_the_given_seed_plus_its_index(self):
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

    def test_another_connection_resets_the_world(self):
        agent = Agent(self.connection, simulator="gymnasium/Pendulum-v1", batchSize=4)
        agent.step(**command(RESET, RESET, RESET, WAIT))
        _, before = agent.step(**command(STEP, STEP, STEP, WAIT))
        agent.reset_world(self.connect(), 5)
        # The second simulator waits, the third starts an episode by command, the fourth has no episode to interrupt.
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

    def test_sends_only_requested_observations_and_keeps_the_others_current(self):
        agent = Agent(self.connection, simulator="catch_world:catch", rows=6, batchSize=2)
        agent.step(["reward"])
        _, values = agent.step(["reward"], **command(STEP, WAIT, move=np.ones(2, np.int32)))
        self.assertEqual(set(values), {"reward"})
        boards = agent.step(["board"], **command(WAIT, WAIT))[1]["board"]
        # The ball of the first simulator has fallen by one row; the other simulator waited.
        self.assertEqual([int((board == 255).any(1).argmax()) for board in boards], [1, 0])

    def test_text_and_dtypes_that_the_protocol_lacks(self):
        agent = Agent(self.connection, simulator="catch_world:Nested", batchSize=2)
        agent.step()
        push = np.array([[0.5, -9], [0.25, 3]], np.float32)
        _, seen = agent.step(push=push, grip=np.array([True, False]))
        np.testing.assert_array_equal(seen["arm/half"], push)
        np.testing.assert_array_equal(seen["arm/short"], [3, -3])
        self.assertEqual((list(seen["words"]), seen["parts/1"].shape), (["closed", "open"], (2, 0)))

    def test_dm_env_rpcs_own_client(self):
        environment, _ = dm_env_adaptor.create_and_join_world(
            self.connection, {"simulator": "suite/cartpole-balance", "batchSize": 2, "timeLimit": 0.03}, {}
        )
        environment.reset()
        states = []
        for _ in range(5):
            time_step = environment.step({"action": np.zeros((2, 1))})
            self.assertTrue(time_step.mid())
            states.append(time_step.observation["batch/state"].tolist())
        # By default every simulator is stepped, and one episode follows another.
        self.assertEqual(states, [[RUNNING] * 2, [RUNNING] * 2, [INTERRUPTED] * 2, [RUNNING] * 2, [RUNNING] * 2])


class FailuresTest(Connected):
    def test_a_wrong_action_names_its_simulator_and_changes_nothing(self):
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

    def test_a_wrong_action_in_a_large_batch(self):
        agent = Agent(self.connection, simulator="suite/walker-walk", batchSize=20)
        agent.step()
        action = np.zeros((20, 6))
        action[17, 2] = np.nan
        self.refused("simulator 17: element 2 .* is nan", lambda: agent.step(action=action))
        action[17, 2] = 1
        self.assertEqual(agent.step(action=action)[0], RUNNING)

    def test_the_failure_of_a_simulator_does_not_affect_the_others(self):
        agent = Agent(self.connection, simulator="catch_world:breaking_leftwards", batchSize=3)
        agent.step(**command(RESET, RESET, RESET, **seeds(1, 2, 3)))
        state, values = agent.step(move=np.array([1, 0, 2], np.int32))
        self.assertEqual(state, RUNNING)
        np.testing.assert_array_equal(values["batch/state"], [RUNNING, NO_EPISODE, RUNNING])
        np.testing.assert_array_equal(values["batch/errorCode"], [0, 13, 0])
        said = f"simulator 1: {agent.world}, episode 1, step 1: ArithmeticError: the simulation became unstable"
        self.assertEqual(list(values["batch/error"]), ["", said, ""])
        for i, place in ((0, 1), (2, 2)):
            self.assertEqual(int((values["board"][i][-1] == 128).argmax()), place)
        # The error is reported until the next command other than WAIT, which starts an episode.
        _, values = agent.step(**command(WAIT, WAIT, WAIT))
        self.assertEqual(values["batch/error"][1], said)
        _, values = agent.step(**command(WAIT, STEP, WAIT))
        np.testing.assert_array_equal(values["batch/state"], [RUNNING] * 3)
        self.assertEqual(list(values["batch/error"]), [""] * 3)

    def test_simulators_that_take_no_seeds_ignore_them(self):
        agent = Agent(self.connection, simulator="catch_world:seeded_once", batchSize=2, seed=6)
        _, values = agent.step(**command(RESET, STEP, **seeds(4, -1)))
        np.testing.assert_array_equal(values["batch/state"], [RUNNING] * 2)
        # The seeds given to their factory are in effect.
        balls = values["board"][:, 0].argmax(-1)
        self.assertEqual(balls.tolist(), [np.random.RandomState(6 + i).randint(50) for i in range(2)])
        agent.reset(9)
        np.testing.assert_array_equal(agent.step()[1]["batch/state"], [RUNNING] * 2)

    def test_an_observation_whose_shape_differs_from_its_spec(self):
        agent = Agent(self.connection, simulator="catch_world:shrinking", batchSize=2)
        _, values = agent.step()
        np.testing.assert_array_equal(values["batch/errorCode"], [13, 13])
        self.assertRegex(values["batch/error"][1], r"simulator 1: .*'board' has shape \[4, 3\]; its spec says \[5, 3\]")


class PixelsTest(Connected):
    def test_each_simulator_renders_its_own_image(self):
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
