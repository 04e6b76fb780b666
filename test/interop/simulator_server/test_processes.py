"""The program of plugins/simulator-server: its processes and threads, its start and its end."""

import collections
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent import futures

import dm_env_rpc.v1.error
import grpc
import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2, dm_env_rpc_pb2_grpc

import server
from server import Agent, Connected

RUNNING = dm_env_rpc_pb2.EnvironmentStateType.RUNNING


def setUpModule():
    server.Connected.server = server.Server("any", "--allow-import", "catch_world", processes=3)


def tearDownModule():
    with server.Connected.server:
        pass


class ProcessesTest(Connected):
    def test_worlds_are_reached_from_any_stream(self):
        streams = [self.connect() for _ in range(12)]
        world = server.create(streams[0], simulator="gymnasium/CartPole-v1")
        homes = set()
        for stream in streams:
            agent = Agent(stream, world)
            self.assertEqual(agent.step()[0], RUNNING)
            self.assertEqual(agent.step(action=np.int64(0))[0], RUNNING)
            stream.send(dm_env_rpc_pb2.LeaveWorldRequest())
            homes.add(server.create(stream, simulator="gymnasium/CartPole-v1").split("-")[0])
        self.assertGreater(len(homes), 1, "all streams reached one process, so nothing was forwarded")
        streams[5].send(dm_env_rpc_pb2.ResetWorldRequest(world_name=world))
        streams[7].send(dm_env_rpc_pb2.DestroyWorldRequest(world_name=world))
        with self.assertRaisesRegex(dm_env_rpc.v1.error.DmEnvRpcError, "unknown world"):
            server.join(streams[3], world)

    def test_streams_that_agree_to_it_are_spread_evenly(self):
        def home(stream):
            return server.create(stream, simulator="gymnasium/CartPole-v1").split("-")[0]

        with server.Server("gymnasium", processes=3) as running, contextlib.ExitStack() as streams:

            def spread():
                """Connects until a process takes the stream, and returns the process."""
                for _ in range(200):
                    with contextlib.ExitStack() as opened:
                        stream = opened.enter_context(server.connect(running.address, metadata=[("pmpo-spread", "1")], options=[("grpc.use_local_subchannel_pool", 1)]))
                        try:
                            process = home(stream)
                        except grpc.RpcError as error:
                            self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
                            self.assertEqual(dict(error.trailing_metadata()).get("pmpo-spread"), "1")
                            continue
                        streams.push(opened.pop_all())
                        return process
                self.fail("no process took the stream")

            counts = collections.Counter(spread() for _ in range(6))
            self.assertEqual(sorted(counts.values()), [2, 2, 2])
            # Other clients are taken where they arrive.
            for _ in range(8):
                home(streams.enter_context(server.connect(running.address)))
            # A process that has died is replaced by one without streams, which then has the fewest.
            before = children_of(running.process.pid)
            os.kill(before[0], signal.SIGKILL)
            deadline = time.monotonic() + 30
            while set(children_of(running.process.pid)) <= set(before) and time.monotonic() < deadline:
                time.sleep(0.05)
            while (process := spread()) != "w4" and time.monotonic() < deadline:
                time.sleep(0.05)
            self.assertEqual(process, "w4")

    def test_streams_that_are_cancelled_at_once_are_not_counted_for_ever(self):
        with server.Server("gymnasium", processes=2) as running:
            for i in range(60):
                channel = grpc.insecure_channel(running.address, options=[("grpc.use_local_subchannel_pool", 1)])
                requests = dm_env_rpc_pb2_grpc.EnvironmentStub(channel).Process(iter([]))
                time.sleep(0.0005 * (i % 8))
                requests.cancel()
                channel.close()
            # Both processes have no streams again, so that each takes one of two.
            homes = set()
            deadline = time.monotonic() + 20
            while len(homes) < 2 and time.monotonic() < deadline:
                homes = self.homes_of_two(running.address)
            self.assertEqual(len(homes), 2)

    @staticmethod
    def homes_of_two(address):
        """The processes of two streams that agree to be spread; fewer if one was refused."""
        homes = set()
        with contextlib.ExitStack() as streams:
            for _ in range(2):
                options = [("grpc.use_local_subchannel_pool", 1)]
                stream = streams.enter_context(server.connect(address, metadata=[("pmpo-spread", "1")], options=options))
                with contextlib.suppress(grpc.RpcError):
                    homes.add(server.create(stream, simulator="gymnasium/CartPole-v1").split("-")[0])
        return homes

    def test_the_worlds_of_a_stream_are_closed_when_it_ends(self):
        with server.connect(self.server.address) as other:
            world = server.create(other, simulator="gymnasium/CartPole-v1")
        self.assert_is_closed(world)

    def assert_is_closed(self, world):
        """Asserts that a world is closed within 10 s: the server may learn of a stream's end a little later."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                self.connection.send(dm_env_rpc_pb2.ResetWorldRequest(world_name=world))
            except dm_env_rpc.v1.error.DmEnvRpcError as error:
                self.assertRegex(str(error), "unknown world")
                return
            time.sleep(0.05)
        self.fail("the world still exists")

    def test_a_world_stays_open_while_it_is_in_use(self):
        with server.connect(self.server.address) as maker:
            agent = Agent(self.connection, server.create(maker, simulator="gymnasium/CartPole-v1"))
            agent.step()
        self.assertEqual(agent.step(action=np.int64(1))[0], RUNNING)
        self.connection.send(dm_env_rpc_pb2.LeaveWorldRequest())
        self.assert_is_closed(agent.world)

    def test_only_one_connection_can_join_a_world(self):
        agent = Agent(self.connection, simulator="gymnasium/CartPole-v1")
        for other in [self.connect() for _ in range(6)]:
            self.refused("is in use by another connection", lambda other=other: server.join(other, agent.world))
            request = dm_env_rpc_pb2.DestroyWorldRequest(world_name=agent.world)
            self.refused("is in use", lambda other=other: other.send(request))


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


class ThreadsTest(unittest.TestCase):
    def test_a_slow_simulator_does_not_delay_others_in_its_process(self):
        with (
            tempfile.TemporaryDirectory() as folder,
            server.Server("gymnasium", "--allow-import", "catch_world", processes=1) as running,
            server.connect(running.address) as one,
            server.connect(running.address) as two,
        ):
            file = pathlib.Path(folder) / "go"
            slow = Agent(one, simulator="catch_world:waiting", file=str(file))
            quick = Agent(two, simulator="gymnasium/CartPole-v1")
            slow.step()
            quick.step()
            with futures.ThreadPoolExecutor() as pool:
                stepping = pool.submit(slow.step, move=np.int32(1))
                self.assertEqual(quick.step(action=np.int64(1))[0], RUNNING)
                file.touch()
                self.assertEqual(stepping.result()[0], RUNNING)

    def test_rejects_messages_that_are_too_large(self):
        with server.Server("gymnasium", "--max-message-megabytes", "0.001", processes=1) as running:
            with server.connect(running.address) as connection, self.assertRaisesRegex(grpc.RpcError, "RESOURCE_EXHAUSTED"):
                server.create(connection, simulator="x" * 2000)


class EndTest(unittest.TestCase):
    def test_signals_end_the_server_and_all_its_processes(self):
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

    def test_ends_when_its_standard_input_closes(self):
        with server.Server("gymnasium", "--until-stdin-closes", stdin=subprocess.PIPE) as running:
            running.process.stdin.close()
            self.assertEqual(running.process.wait(timeout=15), 0)

    def test_a_killed_process_is_replaced_and_its_worlds_are_gone(self):
        with server.Server("gymnasium", processes=2) as running, contextlib.ExitStack() as stack:
            options = [("grpc.use_local_subchannel_pool", 1)]
            first = children_of(running.process.pid)
            homes = {}
            for _ in range(50):
                if len(homes) == 2:
                    break
                maker = stack.enter_context(server.connect(running.address, options=options))
                world = server.create(maker, simulator="gymnasium/CartPole-v1")
                homes[world.split("-")[0]] = (maker, world)
            (_, lost), (visitor, _) = homes["w1"], homes["w2"]
            agent = Agent(visitor, lost)
            agent.step()
            os.kill(first[0], signal.SIGKILL)
            with self.assertRaisesRegex(grpc.RpcError, "UNAVAILABLE"):
                agent.step(action=np.int64(1))
            deadline = time.monotonic() + 10
            while len(set(children_of(running.process.pid)) - set(first)) == 0 and time.monotonic() < deadline:
                time.sleep(0.05)
            for _ in range(6):
                connection = stack.enter_context(server.connect(running.address, options=options))
                made = Agent(connection, simulator="gymnasium/CartPole-v1")
                self.assertEqual(made.step()[0], RUNNING)
                self.assertFalse(made.world.startswith("w1-"), "the number of a process was reused")
            with self.assertRaisesRegex(dm_env_rpc.v1.error.DmEnvRpcError, "unknown world"):
                connection.send(dm_env_rpc_pb2.ResetWorldRequest(world_name=lost))

    def test_is_a_single_process_if_ports_cannot_be_shared(self):
        script = (
            "import sys; from pmpo_simulator_server import __main__, processes;"
            "processes.can_share_ports = lambda: False; sys.exit(__main__.main(sys.argv[1:]))"
        )
        with server.Server("gymnasium", program=["-c", script]) as running:
            self.assertEqual(children_of(running.process.pid), [])
            with server.connect(running.address) as connection:
                self.assertEqual(Agent(connection, simulator="gymnasium/CartPole-v1").step()[0], RUNNING)
            self.assertEqual(running.stop(), 0)


class StartTest(unittest.TestCase):
    def refused(self, pattern, *arguments, code=1, **how):
        with server.Server("gymnasium", *arguments, **how) as started:
            self.assertIsNone(started.address)
            self.assertEqual(started.process.wait(timeout=30), code)
            errors = started.errors()
            self.assertRegex(errors, pattern)
            self.assertNotIn("Traceback", errors)

    def test_a_port_in_use(self):
        self.refused("cannot listen on .*in use", "--port", server.Connected.server.address.rpartition(":")[2])

    def test_missing_files(self):
        self.refused("--token-file: /no/such: No such file", "--token-file", "/no/such")
        self.refused(
            "--tls-certificate: /no/such.*No such file", "--tls-certificate", "/no/such", "--tls-key", "/no/such"
        )

    def test_options_that_contradict(self):
        self.refused("must be given together", "--tls-key", "/no/such", code=2)
        self.refused("from 0 to 65535", "--port", "70000", code=2)

    def test_files_with_invalid_content(self):
        with tempfile.NamedTemporaryFile(suffix=".pem") as empty:
            self.refused("--token-file: .*must be one line", "--token-file", empty.name)
            tls = ("--tls-certificate", empty.name, "--tls-key", empty.name)
            self.refused(f"not a matching certificate and key.*{empty.name}", *tls)

    def test_a_package_that_is_not_installed(self):
        script = (
            "import sys; from pmpo_simulator_server import __main__, catalogue;"
            "catalogue.KINDS['gymnasium'] = 'no_such_package'; sys.exit(__main__.main(sys.argv[1:]))"
        )
        said = r"gymnasium is not installed; pip install 'pmpo-simulator-server\[gymnasium\]'"
        self.refused(said, program=["-c", script])


class TypesTest(unittest.TestCase):
    def test_the_package_passes_mypy(self):
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--cache-dir", os.devnull, "pmpo_simulator_server"],
            cwd=server.PLUGIN,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
