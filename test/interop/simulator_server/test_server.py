"""What plugins/simulator-server promises beside the protocol: simulators, settings, processes, security, its end."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import dm_env_rpc.v1.error
import grpc
import numpy as np
from dm_control import suite
from dm_env_rpc.v1 import dm_env_rpc_pb2, spec_manager, tensor_utils
from grpc_health.v1 import health_pb2, health_pb2_grpc

import server

RUNNING = dm_env_rpc_pb2.EnvironmentStateType.RUNNING
TERMINATED = dm_env_rpc_pb2.EnvironmentStateType.TERMINATED
INTERRUPTED = dm_env_rpc_pb2.EnvironmentStateType.INTERRUPTED

_server = None


def setUpModule():
    global _server
    _server = server.Server("any", "--allow-import", "catch_world", processes=3)


def tearDownModule():
    with _server:
        pass


class Agent:
    """A client in a world, by names."""

    def __init__(self, connection, world=None, **settings):
        self.connection = connection
        self.world = world or server.create(connection, **settings)
        specs = server.join(connection, self.world)
        self.actions = spec_manager.SpecManager(specs.actions)
        self.observations = spec_manager.SpecManager(specs.observations)

    def step(self, names=None, **actions):
        wanted = self.observations.names() if names is None else names
        packed = self.actions.pack({k: np.asarray(v) for k, v in actions.items()})
        request = dm_env_rpc_pb2.StepRequest(
            actions=packed, requested_observations=[self.observations.name_to_uid(name) for name in wanted]
        )
        response = self.connection.send(request)
        return response.state, self.observations.unpack(response.observations)

    def reset(self, seed):
        self.connection.send(dm_env_rpc_pb2.ResetRequest(settings={"seed": tensor_utils.pack_tensor(seed)}))


class Connected(unittest.TestCase):
    def setUp(self):
        manager = server.connect(_server.address)
        self.connection = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)

    def refused(self, pattern, **settings):
        with self.assertRaisesRegex(dm_env_rpc.v1.error.DmEnvRpcError, pattern.replace("'", r"\\?'")):
            server.create(self.connection, **settings)


class DmControlTest(Connected):
    def test_is_the_very_simulator(self):
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

    def test_sends_what_is_asked_for_and_no_more(self):
        agent = Agent(self.connection, simulator="suite/walker-walk")
        self.assertEqual(set(agent.step(["height"])[1]), {"height"})

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

    def test_pixels_or_a_clear_refusal(self):
        try:
            agent = Agent(self.connection, simulator="suite/cartpole-balance", pixels=True, width=32, height=24)
        except dm_env_rpc.v1.error.DmEnvRpcError as error:
            self.assertRegex(str(error), "cannot draw pixels.*MUJOCO_GL=egl")
            return
        pixels = agent.step(["pixels"])[1]["pixels"]
        self.assertEqual((pixels.shape, pixels.dtype), ((24, 32, 3), np.uint8))
        self.assertGreater(pixels.std(), 0)


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

    def test_is_the_very_simulator(self):
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
        with server.connect(_server.address) as other:
            np.testing.assert_array_equal(
                Agent(other, simulator="gymnasium/Pendulum-v1", seed=2).step()[1]["observation"], value
            )

    def test_settings_that_are_wrong(self):
        self.refused("Did you mean 'gymnasium/CartPole-v1'", simulator="gymnasium/Cartpole-v1")
        self.refused("cannot be made.*no_such", simulator="gymnasium/CartPole-v1", no_such=1)


class OwnWorldTest(Connected):
    def test_images_and_discrete_actions(self):
        agent = Agent(self.connection, simulator="catch_world:catch", rows=4)
        agent.reset(0)
        state, values = agent.step()
        self.assertEqual((values["board"].shape, values["board"].dtype), ((4, 3), np.uint8))
        for _ in range(3):
            state, values = agent.step(move=np.int32(1))
        self.assertEqual(state, TERMINATED)

    def test_a_simulator_that_fails_is_an_answer_and_the_stream_goes_on(self):
        agent = Agent(self.connection, simulator="catch_world:breaking")
        agent.step()
        with self.assertRaisesRegex(dm_env_rpc.v1.error.DmEnvRpcError, "became unstable"):
            agent.step(move=np.int32(0))
        agent.reset(1)
        self.assertEqual(agent.step()[0], RUNNING)

    def test_other_modules_are_not_imported(self):
        self.refused("may not import 'os'", simulator="os:system")
        self.refused("cannot be imported", simulator="catch_world:nothing")
        self.refused("Did you mean 'rows'", simulator="catch_world:catch", row=3)


class ProcessesTest(Connected):
    def streams(self, count):
        connections = []
        for _ in range(count):
            # Channels of one process share a TCP connection unless told otherwise.
            manager = server.connect(_server.address, options=[("grpc.use_local_subchannel_pool", 1)])
            connections.append(manager.__enter__())
            self.addCleanup(manager.__exit__, None, None, None)
        return connections

    def test_worlds_are_reached_from_any_stream(self):
        streams = self.streams(12)
        world = server.create(streams[0], simulator="gymnasium/CartPole-v1")
        homes = set()
        for stream in streams:
            agent = Agent(stream, world)
            self.assertEqual(agent.step()[0], RUNNING)
            self.assertEqual(agent.step(action=np.int64(0))[0], RUNNING)
            stream.send(dm_env_rpc_pb2.LeaveWorldRequest())
            homes.add(server.create(stream, simulator="gymnasium/CartPole-v1").split("-")[0])
        self.assertGreater(len(homes), 1, "all streams came to one process: nothing was forwarded")
        streams[5].send(dm_env_rpc_pb2.ResetWorldRequest(world_name=world))
        streams[7].send(dm_env_rpc_pb2.DestroyWorldRequest(world_name=world))
        with self.assertRaisesRegex(dm_env_rpc.v1.error.DmEnvRpcError, "there is no world"):
            server.join(streams[3], world)

    def test_the_worlds_of_a_stream_go_with_it(self):
        with server.connect(_server.address) as other:
            world = server.create(other, simulator="gymnasium/CartPole-v1")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                server.join(self.connection, world)
            except dm_env_rpc.v1.error.DmEnvRpcError as error:
                self.assertRegex(str(error), "there is no world")
                return
            self.connection.send(dm_env_rpc_pb2.LeaveWorldRequest())
            time.sleep(0.05)
        self.fail("the world is still there")


def children_of(process):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state != "Z"


def all_gone(pids):
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


class EndTest(unittest.TestCase):
    def test_signals_end_it_and_all_its_processes(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with server.Server("gymnasium", processes=2) as running:
                children = children_of(running.process.pid)
                self.assertEqual(len(children), 2)
                self.assertEqual(running.stop(number), 0)
                self.assertTrue(all_gone(children))

    def test_a_killed_parent_leaves_no_orphans(self):
        with server.Server("gymnasium", processes=2) as running:
            children = children_of(running.process.pid)
            running.process.kill()
            self.assertTrue(all_gone(children))

    def test_ends_with_its_standard_input(self):
        with server.Server("gymnasium", "--until-stdin-closes", stdin=subprocess.PIPE) as running:
            running.process.stdin.close()
            self.assertEqual(running.process.wait(timeout=15), 0)

    def test_a_killed_process_is_started_again(self):
        with server.Server("gymnasium", processes=1 + 1) as running:
            first = children_of(running.process.pid)
            os.kill(first[0], signal.SIGKILL)
            deadline = time.monotonic() + 10
            while len(set(children_of(running.process.pid)) - set(first)) == 0 and time.monotonic() < deadline:
                time.sleep(0.05)
            with server.connect(running.address) as connection:
                self.assertEqual(Agent(connection, simulator="gymnasium/CartPole-v1").step()[0], RUNNING)


class StartTest(unittest.TestCase):
    def refused(self, pattern, *arguments, code=1):
        with server.Server("gymnasium", *arguments) as started:
            self.assertIsNone(started.address)
            self.assertEqual(started.process.wait(timeout=30), code)
            errors = started.errors()
            self.assertRegex(errors, pattern)
            self.assertNotIn("Traceback", errors)

    def test_a_port_in_use(self):
        self.refused("cannot listen on .*in use", "--port", _server.address.rpartition(":")[2])

    def test_files_that_are_not_there(self):
        self.refused("--token-file: /no/such: No such file", "--token-file", "/no/such")
        self.refused(
            "--tls-certificate: /no/such.*No such file", "--tls-certificate", "/no/such", "--tls-key", "/no/such"
        )

    def test_options_that_contradict(self):
        self.refused("go together", "--tls-key", "/no/such", code=2)


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


class SecurityTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        for name in ("ca", "stranger"):
            openssl(cls.folder, "req", "-x509", *new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
        for name in ("server", "client"):
            openssl(cls.folder, "req", *new[:-2], "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
            (cls.folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
            signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
            openssl(cls.folder, "x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
        (cls.folder / "token").write_text("open sesame\n")

    def read(self, name):
        return (self.folder / name).read_bytes()

    def path(self, name):
        return str(self.folder / name)

    def works(self, address, credentials, metadata=()):
        with server.connect(address, credentials, metadata) as connection:
            agent = Agent(connection, simulator="gymnasium/CartPole-v1")
            return agent.step()[0] == RUNNING

    def test_mutual_tls_and_token(self):
        files = ["--tls-certificate", self.path("server.pem"), "--tls-key", self.path("server.key")]
        files += ["--tls-client-ca", self.path("ca.pem"), "--token-file", self.path("token")]
        with server.Server("gymnasium", *files) as running:
            ours = grpc.ssl_channel_credentials(self.read("ca.pem"), self.read("client.key"), self.read("client.pem"))
            token = (("authorization", "Bearer open sesame"),)
            self.assertTrue(self.works(running.address, ours, token))
            for wrong in ((), (("authorization", "Bearer guess"),)):
                with self.assertRaisesRegex(grpc.RpcError, "(?s)UNAUTHENTICATED.*missing or wrong"):
                    self.works(running.address, ours, wrong)
            strangers = [
                grpc.ssl_channel_credentials(self.read("stranger.pem"), self.read("client.key"), self.read("client.pem")),
                grpc.ssl_channel_credentials(self.read("ca.pem")),
                grpc.ssl_channel_credentials(
                    self.read("ca.pem"), self.read("stranger.key"), self.read("stranger.pem")
                ),
                None,
            ]
            for credentials in strangers:
                with self.assertRaisesRegex(grpc.RpcError, "UNAVAILABLE"):
                    self.works(running.address, credentials, token)
            with grpc.secure_channel(running.address, ours) as channel:
                health = health_pb2_grpc.HealthStub(channel)
                answer = health.Check(health_pb2.HealthCheckRequest(service="dm_env_rpc.v1.Environment"), timeout=10)
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
            running.stop()
            self.assertNotIn("sesame", running.errors())


class TypesTest(unittest.TestCase):
    def test_the_package_is_annotated(self):
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--cache-dir", os.devnull, "pmpo_simulator_server"],
            cwd=server.PLUGIN,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
