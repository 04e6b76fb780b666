"""The simulators that plugins/simulator-server serves: equality with the local ones, settings, spaces and specs."""

import os

import dm_env_rpc.v1.error
import numpy as np
from dm_control import suite
from dm_env_rpc.v1 import dm_env_rpc_pb2, tensor_spec_utils, tensor_utils
from google.rpc import code_pb2

import server
from server import Agent, Connected

RUNNING = dm_env_rpc_pb2.EnvironmentStateType.RUNNING
TERMINATED = dm_env_rpc_pb2.EnvironmentStateType.TERMINATED
INTERRUPTED = dm_env_rpc_pb2.EnvironmentStateType.INTERRUPTED


def setUpModule():
    server.Connected.server = server.Server("any", "--allow-import", "catch_world", processes=3)


def tearDownModule():
    with server.Connected.server:
        pass


class DmControlTest(Connected):
    def test_equals_the_local_simulator(self):
        agent = Agent(self.connection, simulator="suite/cheetah-run", seed=7)
        own = suite.load("cheetah", "run", task_kwargs={"random": 7})
        time_step = own.reset()
        state, values = agent.step()
        random = np.random.RandomState(0)
        for _ in range(50):
            self.assertEqual(state, RUNNING)
            for name, value in time_step.observation.items():
                np.testing.assert_array_equal(values[name], value)
            self.assertEqual(values["reward"], time_step.reward or 0.0)
            action = random.uniform(-1, 1, 6)
            time_step = own.step(action)
            state, values = agent.step(action=action)

    def test_the_same_seed_gives_the_same_episode(self):
        agent = Agent(self.connection, simulator="suite/walker-walk")

        def episode(seed):
            agent.reset(seed)
            agent.step()
            return [agent.step(action=np.full(6, 0.3))[1]["velocity"] for _ in range(5)]

        first, other, again = episode(3), episode(4), episode(3)
        np.testing.assert_array_equal(first, again)
        self.assertFalse(np.array_equal(first, other))

    def test_a_time_limit_interrupts_and_the_next_step_starts_an_episode(self):
        agent = Agent(self.connection, simulator="suite/cartpole-balance", timeLimit=0.03)
        states = [agent.step(action=np.zeros(1))[0] for _ in range(8)]
        self.assertEqual(states, [RUNNING, RUNNING, RUNNING, INTERRUPTED, RUNNING, RUNNING, RUNNING, INTERRUPTED])

    def test_sends_only_requested_observations(self):
        agent = Agent(self.connection, simulator="suite/walker-walk")
        self.assertEqual(set(agent.step(["height"])[1]), {"height"})

    def test_an_observation_requested_twice_is_sent_once(self):
        agent = Agent(self.connection, simulator="suite/walker-walk")
        self.assertEqual(agent.step(["velocity", "velocity"])[1]["velocity"].shape, (9,))

    def test_a_wrong_action_changes_nothing(self):
        agent = Agent(self.connection, simulator="suite/cheetah-run", seed=7)
        own = suite.load("cheetah", "run", task_kwargs={"random": 7})
        own.reset()
        agent.step()
        for wrong, said in (
            (np.full(6, 1.5), "element 0 .* is 1.5; .* from -1 to 1"),
            (np.array([0, 0, np.nan, 0, 0, 0]), "element 2 .* is nan"),
            (np.zeros(5), "its spec says float64 .6"),
        ):
            tensor = tensor_utils.pack_tensor(wrong)
            request = dm_env_rpc_pb2.StepRequest(actions={agent.actions.name_to_uid("action"): tensor})
            self.refused(said, lambda request=request: self.connection.send(request))
        expected = own.step(np.full(6, 0.5)).observation["velocity"]
        np.testing.assert_array_equal(agent.step(action=np.full(6, 0.5))[1]["velocity"], expected)

    def test_flat_observations(self):
        agent = Agent(self.connection, simulator="suite/walker-walk", flat=True)
        self.assertEqual(agent.step()[1]["observations"].shape, (24,))

    def test_settings_that_are_wrong(self):
        self.refused("Did you mean 'suite/walker-walk'", simulator="suite/walker_walk")
        self.refused("Did you mean 'suite/humanoid-stand'", simulator="suite/humanoid-stnd")
        self.refused("Did you mean 'timeLimit'", simulator="suite/walker-walk", timelimit=3)
        self.refused("above 0", simulator="suite/walker-walk", timeLimit=-3.0)
        self.refused("whole number", simulator="suite/walker-walk", seed="x")
        self.refused("'simulator' is missing")
        self.refused("names are suite/DOMAIN-TASK", simulator="walker")


class GymnasiumTest(Connected):
    def test_discrete_actions_end_in_termination(self):
        agent = Agent(self.connection, simulator="gymnasium/CartPole-v1", seed=1)
        spec = agent.actions.name_to_spec("action")
        self.assertEqual((spec.dtype, list(spec.shape)), (dm_env_rpc_pb2.INT64, []))
        state, values = agent.step()
        rewards = 0
        while state == RUNNING:
            state, values = agent.step(action=np.int64(1))
            rewards += values["reward"]
        self.assertEqual((state, values["discount"]), (TERMINATED, 0.0))
        self.assertLess(rewards, 30)

    def test_equals_the_local_simulator(self):
        import gymnasium

        own = gymnasium.make("HalfCheetah-v5")
        expected, _ = own.reset(seed=5)
        agent = Agent(self.connection, simulator="gymnasium/HalfCheetah-v5")
        agent.reset(5)
        _, values = agent.step()
        random = np.random.RandomState(0)
        for _ in range(20):
            np.testing.assert_array_equal(values["observation"], expected)
            action = random.uniform(-1, 1, 6).astype(np.float32)
            expected, reward, *_ = own.step(action)
            _, values = agent.step(action=action)
            self.assertEqual(values["reward"], reward)

    def test_a_limit_on_steps_interrupts(self):
        agent = Agent(self.connection, simulator="gymnasium/Pendulum-v1", maxEpisodeSteps=3)
        states = [agent.step(action=np.zeros(1, np.float32))[0] for _ in range(4)]
        self.assertEqual(states, [RUNNING, RUNNING, RUNNING, INTERRUPTED])

    def test_a_seed_at_the_start(self):
        first = [Agent(self.connection, simulator="gymnasium/Pendulum-v1", seed=2)]
        value = first[0].step()[1]["observation"]
        with server.connect(self.server.address) as other:
            np.testing.assert_array_equal(
                Agent(other, simulator="gymnasium/Pendulum-v1", seed=2).step()[1]["observation"], value
            )

    def test_settings_that_are_wrong(self):
        self.refused("Did you mean 'gymnasium/CartPole-v1'", simulator="gymnasium/Cartpole-v1")
        self.refused("unknown setting 'no_such'", simulator="gymnasium/CartPole-v1", no_such=1)
        self.refused("cannot be created.*no_such", simulator="gymnasium/HalfCheetah-v5", no_such=1)
        self.refused("Did you mean 'maxEpisodeSteps'", simulator="gymnasium/HalfCheetah-v5", max_episode_steps=1)
        self.refused("unknown setting 'render_mode'", simulator="gymnasium/CartPole-v1", render_mode="human")
        self.refused("'suttonBartoReward' is 7.*true or false", simulator="gymnasium/CartPole-v1", suttonBartoReward=7)

    def test_other_settings_are_passed_to_the_constructor(self):
        agent = Agent(self.connection, simulator="gymnasium/CartPole-v1", suttonBartoReward=True)
        agent.step()
        self.assertEqual(agent.step(action=np.int64(1))[1]["reward"], 0)

    def test_every_kind_of_space_survives_the_round_trip(self):
        agent = Agent(self.connection, simulator="gymnasium/catch_world:Spaces-v0")
        self.assertEqual(
            set(agent.observations.names()),
            {"position/x", "position/y", "pair/0", "pair/1", "name", "reward", "discount"},
        )
        bounds = tensor_spec_utils.bounds(agent.actions.name_to_spec("position/y"))
        self.assertEqual((bounds.min, bounds.max), (2, 6))
        np.testing.assert_array_equal(tensor_spec_utils.bounds(agent.actions.name_to_spec("pair/1")).max, [2, 3])
        agent.reset(3)
        agent.step()
        done = {
            "position/x": np.array([0.5, -1], np.float32),
            "position/y": np.int64(6),
            "pair/0": np.array([1, 0, 1], np.int32),
            "pair/1": np.array([2, 3]),
        }
        state, seen = agent.step(**done)
        self.assertEqual((state, seen["reward"], seen["name"]), (RUNNING, 1.0, "seen"))
        for name, value in done.items():
            np.testing.assert_array_equal(seen[name], value)

    def test_spaces_that_the_protocol_cannot_represent(self):
        self.refused("Sequence space, which dm_env_rpc cannot represent", simulator="gymnasium/catch_world:Listed-v0")
        self.refused("may not import 'sys'", simulator="gymnasium/sys:Listed-v0")


class UserEnvironmentTest(Connected):
    def test_image_observations_and_discrete_actions(self):
        agent = Agent(self.connection, simulator="catch_world:catch", rows=4)
        agent.reset(0)
        state, values = agent.step()
        self.assertEqual((values["board"].shape, values["board"].dtype), ((4, 3), np.uint8))
        for _ in range(3):
            state, values = agent.step(move=np.int32(1))
        self.assertEqual(state, TERMINATED)

    def test_the_failure_of_a_simulator_is_an_error_response_and_the_stream_stays_open(self):
        agent = Agent(self.connection, simulator="catch_world:breaking")
        for _ in range(2):
            # The failure ended the episode, so the next step starts one.
            self.assertEqual(agent.step()[0], RUNNING)
            self.refused("became unstable", lambda: agent.step(move=np.int32(0)))

    def test_seeds(self):
        def balls(agent, seeds):
            for seed in seeds:
                agent.reset(seed)
                yield int(agent.step(["board"])[1]["board"][0].argmax())

        agent = Agent(self.connection, simulator="catch_world:catch", columns=50)
        first, other, again = balls(agent, [3, 4, 3])
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)
        seeded = Agent(self.connect(), simulator="catch_world:catch", columns=50, seed=3)
        self.assertEqual(int(seeded.step()[1]["board"][0].argmax()), first)

    def test_an_environment_without_a_seed_method(self):
        def balls(agent):
            yield int(agent.step(["board"])[1]["board"][0].argmax())
            agent.connection.send(dm_env_rpc_pb2.ResetRequest())
            yield int(agent.step(["board"])[1]["board"][0].argmax())

        agent = Agent(self.connection, simulator="catch_world:seeded_once", seed=3)
        other = self.connect()
        # The requests fail at once and change nothing: the seed given to the factory is in effect.
        self.refused("takes no seed", lambda: agent.reset(1))
        self.refused("takes no seed", lambda: agent.reset_world(other, 1))
        random = np.random.RandomState(3)
        self.assertEqual(list(balls(agent)), [random.randint(50), random.randint(50)])
        self.refused("no seed: its environment has no method 'seed'", simulator="catch_world:Nested", seed=3)
        # A connection whose join failed because of its seed has not joined.
        world = server.create(other, simulator="catch_world:seeded_once")
        self.refused("takes no seed", lambda: server.join(other, world, seed=1))
        self.assertEqual(Agent(self.connect(), world).step()[0], RUNNING)

    def test_another_connection_resets_the_world(self):
        agent = Agent(self.connection, simulator="catch_world:catch", columns=50)
        other = self.connect()
        agent.step()
        agent.step(move=np.int32(2))
        _, last = agent.step(["board"], move=np.int32(2))
        agent.reset_world(other, 3)
        # The action is ignored, because the episode was over when it arrived.
        state, values = agent.step(move=np.int32(0))
        self.assertEqual((state, values["reward"], values["discount"]), (INTERRUPTED, 0.0, 1.0))
        np.testing.assert_array_equal(values["board"], last["board"])
        state, values = agent.step(["board"])
        self.assertEqual(state, RUNNING)
        agent.reset(3)
        np.testing.assert_array_equal(agent.step(["board"])[1]["board"], values["board"])

    def test_resets_of_the_world_that_interrupt_nothing(self):
        agent = Agent(self.connection, simulator="catch_world:catch")
        other = self.connect()
        # In turn: no episode has begun; the agent resets its own world; the agent does so after another connection.
        agent.reset_world(other, 3)
        self.assertEqual(agent.step()[0], RUNNING)
        agent.reset_world(self.connection, 3)
        self.assertEqual(agent.step()[0], RUNNING)
        agent.reset_world(other, 3)
        agent.reset(3)
        self.assertEqual(agent.step()[0], RUNNING)

    def test_nested_specs_and_dtypes_that_the_protocol_lacks(self):
        agent = Agent(self.connection, simulator="catch_world:Nested")
        types = {name: agent.observations.name_to_spec(name).dtype for name in agent.observations.names()}
        self.assertEqual(types.pop("arm/half"), dm_env_rpc_pb2.FLOAT)
        self.assertEqual(types.pop("arm/short"), dm_env_rpc_pb2.INT32)
        self.assertEqual(set(types), {"parts/0", "parts/1", "words", "reward", "discount"})
        bounds = tensor_spec_utils.bounds(agent.actions.name_to_spec("push"))
        self.assertEqual((bounds.min[0], bounds.max[0]), (-1, 1))
        self.assertGreater(bounds.max[1], 1e30)
        agent.step()
        state, seen = agent.step(push=np.array([0.5, -9], np.float32), grip=np.bool_(True))
        np.testing.assert_array_equal(seen["arm/half"], [0.5, -9])
        np.testing.assert_array_equal(seen["parts/0"], [[0, 1], [2, 3]])
        self.assertEqual((int(seen["arm/short"]), seen["parts/1"].shape, seen["words"]), (3, (0,), "closed"))

    def test_other_modules_are_not_imported(self):
        self.refused("may not import 'os'", simulator="os:system")
        self.refused("may not import 'catch_world_too'", simulator="catch_world_too:catch")
        self.refused("has no factory 'nothing'", simulator="catch_world:nothing")
        self.refused("cannot be imported.*ModuleNotFoundError", simulator="catch_world.inside:catch")
        self.refused("'rows' is 'x'; it must be a whole number", simulator="catch_world:catch", rows="x")
        self.refused("does not take these settings.*'file'", simulator="catch_world:waiting")
        self.refused("made a .*; it must make a dm_env.Environment or a gymnasium.Env", simulator="catch_world:nothing_of_use")
        self.refused("Did you mean 'rows'", simulator="catch_world:catch", row=3)


class PixelsTest(Connected):
    def pixels_or_refusal(self, simulator, shape):
        try:
            agent = Agent(self.connection, simulator=simulator, pixels=True, width=32, height=24)
        except dm_env_rpc.v1.error.DmEnvRpcError as error:
            self.assertEqual(error.code, code_pb2.FAILED_PRECONDITION)
            self.assertRegex(str(error), "cannot draw pixels.*MUJOCO_GL=egl")
            self.skipTest(str(error))
        pixels = agent.step(["pixels"])[1]["pixels"]
        self.assertEqual((pixels.shape, pixels.dtype), (shape, np.uint8))
        self.assertGreater(pixels.std(), 0)
        return agent

    def test_dm_control(self):
        self.pixels_or_refusal("suite/cartpole-balance", (24, 32, 3))

    def test_gymnasium_from_any_stream(self):
        agent = self.pixels_or_refusal("gymnasium/HalfCheetah-v5", (24, 32, 3))
        self.connection.send(dm_env_rpc_pb2.LeaveWorldRequest())
        # Another stream is another thread of the server, on which OpenGL would draw black.
        other = Agent(self.connect(), agent.world)
        self.assertGreater(other.step(["pixels"])[1]["pixels"].std(), 0)

    def test_a_simulator_that_ignores_the_image_size(self):
        self.pixels_or_refusal("gymnasium/CartPole-v1", (400, 600, 3))

    def test_settings_that_are_wrong(self):
        self.refused("set 'pixels' to true", simulator="suite/cartpole-balance", width=32)
        for simulator in ("suite/cartpole-balance", "gymnasium/HalfCheetah-v5"):
            self.refused("'cameraId' is 99; this model has", simulator=simulator, pixels=True, cameraId=99)

    def test_a_machine_that_cannot_render(self):
        environment = {**os.environ, "MUJOCO_GL": "disable"}
        with server.Server("dm-control", processes=1, environment=environment) as blind:
            with server.connect(blind.address) as connection:
                with self.assertRaisesRegex(dm_env_rpc.v1.error.DmEnvRpcError, "cannot draw pixels.*=egl") as raised:
                    server.create(connection, simulator="suite/cartpole-balance", pixels=True)
                self.assertEqual(raised.exception.code, code_pb2.FAILED_PRECONDITION)
                # Everything else still works.
                self.assertEqual(Agent(connection, simulator="suite/cartpole-balance").step()[0], RUNNING)
