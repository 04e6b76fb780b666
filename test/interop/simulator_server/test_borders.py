"""What is odd or hostile at the borders of plugins/simulator-server: understood as it is meant, or refused in one line."""

import gzip
import queue
import re
import time

import dm_env_rpc.v1.error
import grpc
import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2, tensor_spec_utils, tensor_utils
from google.rpc import code_pb2

import server
from server import Agent, Connected

RUNNING = dm_env_rpc_pb2.EnvironmentStateType.RUNNING
TERMINATED = dm_env_rpc_pb2.EnvironmentStateType.TERMINATED
INTERRUPTED = dm_env_rpc_pb2.EnvironmentStateType.INTERRUPTED
PATH = "/dm_env_rpc.v1.Environment/Process"


def setUpModule():
    server.Connected.server = server.Server("any", "--allow-import", "odd_worlds", processes=2)


def tearDownModule():
    with server.Connected.server:
        pass


def gym(name):
    return f"gymnasium/odd_worlds:{name}"


def dm(name):
    return f"odd_worlds:{name}"


ONE = np.zeros(1, np.float32)


class NamesTest(Connected):
    def test_names_that_collide_are_refused_and_both_are_named(self):
        said = r"\['a'\]\['b'\] and the {0} \['a/b'\] would both be named 'a/b'"
        self.refused(said.format("observation"), simulator=gym("Collide"))
        self.refused(said.format("action"), simulator=gym("CollideActions"))
        self.refused(said.format("observation"), simulator=dm("dm_collide"))
        self.refused(r"\['a'\]\[1\] and the observation \['a/1'\] would both", simulator=gym("CollideInTuple"))
        self.refused(r"\['a'\]\[1\] and the observation \['a'\]\['1'\] would both", simulator=dm("dm_collide_keys"))
        self.refused(r"\['a'\]\[0\] and the action \['a/0'\] would both", simulator=dm("dm_collide_actions"))
        self.refused("would both be named 'a/b'", simulator=gym("Collide"), batchSize=2)

    def test_an_observation_named_reward_or_discount_is_refused(self):
        said = "observation '{0}' and the {0} of each step would both be named '{0}'"
        self.refused(said.format("reward"), simulator=gym("HasReward"))
        self.refused(said.format("discount"), simulator=gym("HasDiscount"))
        self.refused(said.format("reward"), simulator=dm("dm_has_reward"))
        self.refused(said.format("reward"), simulator=gym("HasReward"), batchSize=2)

    def test_names_of_worlds_cannot_be_guessed(self):
        names = {server.create(self.connection, simulator="gymnasium/CartPole-v1") for _ in range(3)}
        self.assertEqual(len(names), 3)
        for name in names:
            self.assertRegex(name, r"^w\d+-[0-9a-f]{16}$")


class NumbersTest(Connected):
    def test_a_reward_that_is_no_single_number_is_refused(self):
        vector = r"reward is of the shape \[2\]; it must be a single number"
        for simulator in (gym("VectorReward"), dm("dm_lying_reward")):
            agent = Agent(self.connect(), simulator=simulator)
            agent.step()
            self.refused(vector, lambda agent=agent: agent.step())
        agent = Agent(self.connection, simulator=gym("VectorReward"), batchSize=2)
        agent.step()
        self.assertRegex(agent.step()[1]["batch/error"][0], f"^simulator 0: the simulator's {vector}")
        self.refused(r"reward has the shape \[2\]; it must", simulator=dm("dm_vector_reward"))
        self.refused("reward is a dict; it must be a single number", simulator=dm("dm_rewards"))

    def test_a_reward_of_shape_one_is_a_number(self):
        agent = Agent(self.connection, simulator=gym("RewardOfShapeOne"))
        agent.step()
        self.assertEqual(agent.step()[1]["reward"], 1.0)

    def test_an_end_that_is_neither_true_nor_false_is_refused(self):
        found = {"text": "a str", "none": "a NoneType", "nan": r"\[nan\]", "agents": r"\[False, True\]"}
        for kind, shown in found.items():
            agent = Agent(self.connect(), simulator=gym("Flags"), kind=kind)
            agent.step()
            self.refused(f"terminated is {shown}; it must be true or false", lambda agent=agent: agent.step())
        agent = Agent(self.connection, simulator=gym("Flags"), kind="number")
        self.assertEqual([agent.step()[0] for _ in range(3)], [RUNNING, TERMINATED, RUNNING])

    def test_the_discounts_of_a_dm_env_environment_are_sent_as_they_are(self):
        agent = Agent(self.connection, simulator=dm("dm_discounts"))
        steps = [agent.step() for _ in range(4)]
        self.assertEqual(
            [(state, float(values["discount"])) for state, values in steps],
            [(RUNNING, 1.0), (RUNNING, 0.5), (RUNNING, 0.0), (INTERRUPTED, 0.1)],
        )

    def test_a_dm_env_environment_without_discounts(self):
        agent = Agent(self.connection, simulator=dm("dm_terminates"))
        steps = [agent.step() for _ in range(3)]
        self.assertEqual(
            [(state, float(values["discount"])) for state, values in steps],
            [(RUNNING, 1.0), (RUNNING, 1.0), (TERMINATED, 0.0)],
        )
        agent = Agent(self.connect(), simulator=dm("dm_no_last_discount"))
        agent.step()
        agent.step()
        self.refused("discount is a NoneType; it must be a single number", lambda: agent.step())
        agent = Agent(self.connect(), simulator=dm("dm_large_discount"))
        agent.step()
        self.refused("episode 1, step 1: ValueError: the discount is 5.0; it must be from 0 to 1", lambda: agent.step())

    def test_the_discount_of_gymnasium_is_0_at_a_termination_and_1_otherwise(self):
        agent = Agent(self.connection, simulator=gym("Odd"), length=2)
        steps = [agent.step() for _ in range(3)]
        self.assertEqual([float(values["discount"]) for _, values in steps], [1, 1, 0])
        limited = Agent(self.connect(), simulator=gym("Odd"), length=9, maxEpisodeSteps=2)
        steps = [limited.step() for _ in range(3)]
        self.assertEqual((steps[2][0], float(steps[2][1]["discount"])), (INTERRUPTED, 1.0))

    def test_categories_are_bounded_integers(self):
        agent = Agent(self.connection, simulator=gym("Categories"))
        bounds = {}
        for name in ("tile", "many", "flags"):
            spec = agent.observations.name_to_spec(name)
            self.assertIn(spec.dtype, (dm_env_rpc_pb2.INT32, dm_env_rpc_pb2.INT64))
            found = tensor_spec_utils.bounds(spec)
            bounds[name] = (np.asarray(found.min).tolist(), np.asarray(found.max).tolist())
        self.assertEqual(bounds, {"tile": (0, 15), "many": (0, [1, 4]), "flags": (0, 1)})

    def test_a_fraction_does_not_become_a_whole_number(self):
        agent = Agent(self.connection, simulator=gym("Fraction"))
        self.refused(r"'observation' is \[0.5\], which its type int64 cannot hold", lambda: agent.step())
        batch = Agent(self.connect(), simulator=gym("Fraction"), batchSize=1)
        self.assertRegex(batch.step()[1]["batch/error"][0], "which its type int64 cannot hold")


class FailuresTest(Connected):
    def test_an_error_of_a_simulator_tells_world_episode_and_step_and_the_next_step_starts_an_episode(self):
        agent = Agent(self.connection, simulator=gym("FailsOnce"))
        agent.step()
        agent.step()
        with self.assertRaises(dm_env_rpc.v1.error.DmEnvRpcError) as raised:
            agent.step()
        self.assertEqual(raised.exception.code, code_pb2.INTERNAL)
        self.assertIn(f"{agent.world}, episode 1, step 2: RuntimeError: physics exploded", str(raised.exception))
        self.assertEqual([agent.step()[0] for _ in range(5)], [RUNNING] * 4 + [TERMINATED])

    def test_a_simulator_that_ends_its_process_or_interrupts_it_fails_like_any_other(self):
        for name, said in (("Exits", "SystemExit: 3"), ("Interrupted", "KeyboardInterrupt")):
            agent = Agent(self.connect(), simulator=gym(name))
            agent.step()
            self.refused(f"episode 1, step 1: {said}", lambda agent=agent: agent.step())
            self.assertEqual([agent.step()[0] for _ in range(5)], [RUNNING] * 4 + [TERMINATED])
            batch = Agent(self.connect(), simulator=gym(name), batchSize=1)
            batch.step()
            self.assertRegex(batch.step()[1]["batch/error"][0], said)

    def test_an_environment_of_gyms_old_api_is_refused_in_words_that_name_it(self):
        def refused_at(steps, what, **settings):
            agent = Agent(self.connect(), **settings)
            for _ in range(steps - 1):
                agent.step()
            pattern = f"Gym's old one: {what}.*step returns \\(observation, reward, terminated.*GymV21Environment-v0"
            self.refused(pattern, lambda: agent.step())

        refused_at(2, "its step returns 4 values, not 5", simulator=gym("OldStep"))
        # Gymnasium's TimeLimit unpacks the values.
        refused_at(2, "its step does not return 5 values", simulator=gym("OldStep"), maxEpisodeSteps=3)
        refused_at(1, "its reset returns no pair of observation and info", simulator=gym("OldReset"))
        refused_at(1, "its reset returns no pair", simulator=gym("OldResetOfPairs"))
        refused_at(1, "its reset takes no seed or no options", simulator=gym("OldResetWithoutSeed"))
        batch = Agent(self.connect(), simulator=gym("OldStep"), batchSize=1)
        batch.step()
        self.assertRegex(batch.step()[1]["batch/error"][0], "Gym's old one: its step returns 4 values")
        # What is wrong inside of an environment is said as it is.
        agent = Agent(self.connect(), simulator=gym("Unpacks"))
        agent.step()
        self.refused("step 1: ValueError: not enough values to unpack", lambda: agent.step())
        # A wrapper may convert it.
        agent = Agent(self.connect(), simulator=gym("OldStep"), wrappers="odd_worlds:NewStep")
        self.assertEqual([agent.step()[0] for _ in range(5)], [RUNNING] * 4 + [TERMINATED])


class ImportsTest(Connected):
    def test_a_class_by_import_path_with_gymnasium_settings(self):
        agent = Agent(self.connection, simulator=gym("Odd"), length=9, maxEpisodeSteps=2, seed=3)
        self.assertEqual([agent.step()[0] for _ in range(3)], [RUNNING, RUNNING, INTERRUPTED])
        self.refused("unknown setting 'lengt'. Did you mean 'length'", simulator=gym("Odd"), lengt=3)
        self.refused("'odd_worlds' neither registers nor defines 'Missing'", simulator=gym("Missing"))
        agent = Agent(self.connect(), simulator=dm("Odd"), length=1)
        agent.step()
        self.assertEqual(agent.step()[0], TERMINATED)

    def test_wrappers(self):
        paths = "odd_worlds:Doubled, gymnasium.wrappers:FlattenObservation,odd_worlds:Doubled"
        agent = Agent(self.connection, simulator=gym("Categories"), wrappers=paths)
        self.assertEqual(set(agent.observations.names()), {"observation", "reward", "discount"})
        agent.step()
        self.assertEqual(agent.step()[1]["reward"], 4.0)
        doubled = Agent(self.connect(), simulator="suite/cartpole-balance", seed=1, wrappers="odd_worlds:DoubledDm")
        plain = Agent(self.connect(), simulator="suite/cartpole-balance", seed=1)
        doubled.step(), plain.step()
        push = np.full(1, 0.3)
        self.assertEqual(doubled.step(action=push)[1]["reward"], 2 * plain.step(action=push)[1]["reward"])

    def test_wrappers_that_are_wrong(self):
        for wrappers, said in (
            ("os:system", "may not import 'os'"),
            ("Doubled", "must be an import path"),
            ("odd_worlds:Nothing", "has no wrapper 'Nothing'"),
            ("odd_worlds:one", "failed: TypeError"),
            ("odd_worlds:Doubled,gymnasium.wrappers:TimeLimit", "TimeLimit' failed: TypeError"),
        ):
            self.refused(said, simulator=gym("Odd"), wrappers=wrappers)
        self.refused("made a .*must make a gymnasium.core.Env", simulator=gym("Odd"), wrappers="odd_worlds:DoubledDm")


def huge(shape):
    return dm_env_rpc_pb2.Tensor(strings=dm_env_rpc_pb2.Tensor.StringArray(array=["a"]), shape=shape)


class LimitsTest(Connected):
    def test_a_broadcast_is_refused_before_it_is_made(self):
        begun = time.monotonic()
        for shape, held in (([2**31 - 1], "2147483647"), ([2**31 - 1] * 3, f"{(2**31 - 1) ** 3}"), ([-1, 2**31 - 1], "2147")):
            request = dm_env_rpc_pb2.CreateWorldRequest(settings={"z": huge(shape)})
            self.refused(f"the setting 'z' holds {held}", lambda request=request: self.connection.send(request))
        agent = Agent(self.connection, simulator="gymnasium/Pendulum-v1")
        agent.step()
        uid = agent.actions.name_to_uid("action")
        floats = dm_env_rpc_pb2.Tensor.FloatArray(array=[1])
        for tensor, said in (
            (huge([2**31 - 1]), r"is text \[2147483647\]; its spec says float32 \[1\]"),
            (dm_env_rpc_pb2.Tensor(floats=floats, shape=[2**31 - 1]), r"is float32 \[2147483647\]; its"),
            (dm_env_rpc_pb2.Tensor(floats=floats, shape=[1] * 100_000), "is float32 of 100,000 axes; its"),
            (dm_env_rpc_pb2.Tensor(floats=floats), r"is float32 \[\]; its"),
            (dm_env_rpc_pb2.Tensor(shape=[1]), "has no payload"),
        ):
            request = dm_env_rpc_pb2.StepRequest(actions={uid: tensor})
            self.refused(said, lambda request=request: self.connection.send(request))
        self.assertLess(time.monotonic() - begun, 5)

    def test_long_names_are_refused_at_once_and_not_echoed_whole(self):
        begun = time.monotonic()
        long = "x" * 4_000_000
        reset = dm_env_rpc_pb2.ResetWorldRequest(world_name=long)
        for act in (
            lambda: server.create(self.connection, simulator=f"gymnasium/{long}"),
            lambda: server.create(self.connection, simulator=f"{long}:catch"),
            lambda: server.create(self.connection, simulator=gym("Odd"), length=long),
            lambda: server.create(self.connection, simulator=gym("Odd"), wrappers=f"{long}:x"),
            lambda: server.create(self.connection, simulator="gymnasium/CartPole-v1", **{long: 1}),
            lambda: self.connection.send(reset),
        ):
            with self.assertRaises(dm_env_rpc.v1.error.DmEnvRpcError) as raised:
                act()
            self.assertLess(len(str(raised.exception)), 3000)
        self.assertLess(time.monotonic() - begun, 5)

    def test_the_simulators_of_a_stream_are_limited(self):
        server.create(self.connection, simulator="gymnasium/CartPole-v1", batchSize=1000)
        server.create(self.connection, simulator="gymnasium/CartPole-v1", batchSize=24)
        self.refused("1,024 simulators; 1 more would exceed the limit", simulator="gymnasium/CartPole-v1")
        # Other streams have their own limit.
        server.create(self.connect(), simulator="gymnasium/CartPole-v1")

    def test_messages_are_limited_in_size_even_if_they_are_small_when_compressed(self):
        bomb = dm_env_rpc_pb2.EnvironmentRequest()
        bomb.create_world.settings["z"].strings.array.append("a" * 200 * 2**20)
        data = bomb.SerializeToString()
        self.assertLess(len(gzip.compress(data, 1)), 2**20)
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(self.server.address, options=options, compression=compression) as channel:
                with self.assertRaises(grpc.RpcError) as raised:
                    next(channel.stream_stream(PATH)(iter([data])))
                self.assertEqual(raised.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(Agent(self.connection, simulator="gymnasium/CartPole-v1").step()[0], RUNNING)


class MalformedTest(Connected):
    def test_requests_ahead_of_a_malformed_message_are_answered_and_then_the_stream_ends_with_a_reason(self):
        create = dm_env_rpc_pb2.EnvironmentRequest()
        create.create_world.settings["simulator"].CopyFrom(tensor_utils.pack_tensor("gymnasium/CartPole-v1"))
        step = dm_env_rpc_pb2.EnvironmentRequest(step=dm_env_rpc_pb2.StepRequest()).SerializeToString()
        with grpc.insecure_channel(self.server.address) as channel:
            for i in range(200):
                ahead = [create.SerializeToString()] * (i % 2) + [step] * (i % 5)
                answers = channel.stream_stream(PATH)(iter([*ahead, b"\xff\xff\xff", step]), timeout=20)
                received = []
                with self.assertRaises(grpc.RpcError) as raised:
                    for answer in answers:
                        received.append(answer)
                self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
                self.assertIn("not an EnvironmentRequest", raised.exception.details())
                self.assertEqual(len(received), len(ahead))

    def test_many_errors_write_few_lines(self):
        with server.Server("any", "--allow-import", "odd_worlds", processes=1) as own:
            with grpc.insecure_channel(own.address) as channel:
                for _ in range(300):
                    with self.assertRaises(grpc.RpcError):
                        next(channel.stream_stream(PATH)(iter([b"\xff"])))
            with server.connect(own.address) as connection:
                for _ in range(300):
                    agent = Agent(connection, simulator=gym("FailsOnce"))
                    agent.step(), agent.step()
                    self.refused("physics exploded", lambda agent=agent: agent.step())
                    connection.send(dm_env_rpc_pb2.LeaveWorldRequest())
                    connection.send(dm_env_rpc_pb2.DestroyWorldRequest(world_name=agent.world))
            self.assertEqual(own.stop(), 0)
            written = own.errors()
        failures = [line for line in written.split("\n") if "physics exploded" in line]
        self.assertTrue(0 < len(failures) < 40, written)
        self.assertRegex(failures[0], r"a simulator failed: w1-\w+, episode 1, step 2: RuntimeError: .*odd_worlds.py:\d+\)$")
        self.assertNotIn("\x1b", written)
        self.assertNotIn("Traceback", written)


class StreamsTest(Connected):
    def test_a_stream_too_many_is_refused_at_once_and_the_others_are_served(self):
        with server.Server("gymnasium", processes=1) as own, grpc.insecure_channel(own.address) as channel:
            step = dm_env_rpc_pb2.EnvironmentRequest(step=dm_env_rpc_pb2.StepRequest()).SerializeToString()
            queues, streams = [], []
            for _ in range(1024):
                queues.append(queue.SimpleQueue())
                queues[-1].put(step)
                streams.append(channel.stream_stream(PATH)(iter(queues[-1].get, None)))
            for stream in streams:
                next(stream)
            with self.assertRaises(grpc.RpcError) as raised:
                next(channel.stream_stream(PATH)(iter([step]), timeout=10))
            self.assertEqual(raised.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertIn("has 1,024 streams, the most it takes", raised.exception.details())
            queues[0].put(step)
            next(streams[0])
            for one in queues:
                one.put(None)
