"""Helpers of the tests in this folder: a running plugins/simulator-server, connections to it, and agents."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import unittest

import dm_env_rpc.v1.error
import grpc
import numpy as np
from dm_env_rpc.v1 import connection as dm_env_rpc_connection
from dm_env_rpc.v1 import dm_env_rpc_pb2, spec_manager, tensor_utils

HERE = pathlib.Path(__file__).resolve().parent
PLUGIN = HERE.parents[2] / "plugins" / "simulator-server"


class Server:
    """The program, started as a user would start it, on a free port."""

    def __init__(self, kind="any", *arguments, processes=2, program=("-m", "pmpo_simulator_server"), environment=None, **popen):
        environment = {**(environment or os.environ), "PYTHONPATH": f"{PLUGIN}{os.pathsep}{HERE}", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, *program, kind, "--port", "0", "--processes", str(processes)]
        self.process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **popen
        )
        self._errors = []
        self._reader = threading.Thread(target=lambda: self._errors.extend(self.process.stderr), daemon=True)
        self._reader.start()
        line = self.process.stdout.readline()
        found = re.search(r" on (\S+:\d+) ", line)
        self.address = found.group(1) if found else None

    def errors(self):
        """Its standard error. Call this after it has ended."""
        self._reader.join(timeout=5)
        return "".join(self._errors)

    def stop(self, number=signal.SIGTERM):
        """Sends it a signal, waits until it ends, and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.process.stdout.close()
        self.process.stderr.close()


@contextlib.contextmanager
def connect(address, credentials=None, metadata=(), options=()):
    """A dm_env_rpc connection."""
    channel = (
        grpc.insecure_channel(address, options=options)
        if credentials is None
        else grpc.secure_channel(address, credentials, options=options)
    )
    with channel:
        with dm_env_rpc_connection.Connection(channel, metadata) as connection:
            yield connection


def create(connection, **settings):
    """Creates a world and returns its name."""
    packed = {key: tensor_utils.pack_tensor(value) for key, value in settings.items()}
    return connection.send(dm_env_rpc_pb2.CreateWorldRequest(settings=packed)).world_name


def join(connection, name, **settings):
    """Joins a world and returns its specs."""
    packed = {key: tensor_utils.pack_tensor(value) for key, value in settings.items()}
    return connection.send(dm_env_rpc_pb2.JoinWorldRequest(world_name=name, settings=packed)).specs


class Agent:
    """A client that has joined a world, with actions and observations by name."""

    def __init__(self, connection, world=None, **settings):
        self.connection = connection
        self.world = world or create(connection, **settings)
        specs = join(connection, self.world)
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

    def reset_world(self, connection, seed):
        """Resets the agent's world through another connection."""
        settings = {"seed": tensor_utils.pack_tensor(seed)}
        connection.send(dm_env_rpc_pb2.ResetWorldRequest(world_name=self.world, settings=settings))


class Connected(unittest.TestCase):
    """A fresh connection for each test, to the server that the module runs."""

    server = None

    def setUp(self):
        self.connection = self.connect()

    def connect(self):
        # Without this option, channels of one process share a TCP connection and so reach the same server process.
        manager = connect(self.server.address, options=[("grpc.use_local_subchannel_pool", 1)])
        connection = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return connection

    def refused(self, pattern, act=None, **settings):
        """Asserts that `act`, or creating a world with `settings`, fails with an error that matches `pattern`.

        The client library may print the message with escaped quotes.
        """
        with self.assertRaisesRegex(dm_env_rpc.v1.error.DmEnvRpcError, pattern.replace("'", r"\\?'")):
            act() if act else create(self.connection, **settings)
