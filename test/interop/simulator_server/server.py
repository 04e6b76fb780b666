"""What the suites of this folder share: a server of plugins/simulator-server, and connections to it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

import grpc
from dm_env_rpc.v1 import connection as dm_env_rpc_connection
from dm_env_rpc.v1 import dm_env_rpc_pb2, tensor_utils

HERE = pathlib.Path(__file__).resolve().parent
PLUGIN = HERE.parents[2] / "plugins" / "simulator-server"


class Server:
    """The program as a user starts it, on a free port."""

    def __init__(self, kind="any", *arguments, processes=2, **popen):
        environment = {**os.environ, "PYTHONPATH": f"{PLUGIN}{os.pathsep}{HERE}", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pmpo_simulator_server", kind, "--port", "0", "--processes", str(processes)]
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
        """What it said on standard error; call when it has ended."""
        self._reader.join(timeout=5)
        return "".join(self._errors)

    def stop(self, number=signal.SIGTERM):
        """Asks it to end and returns its exit code."""
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
    """Makes a world and returns its name."""
    packed = {key: tensor_utils.pack_tensor(value) for key, value in settings.items()}
    return connection.send(dm_env_rpc_pb2.CreateWorldRequest(settings=packed)).world_name


def join(connection, name, **settings):
    """Joins a world and returns its specs."""
    packed = {key: tensor_utils.pack_tensor(value) for key, value in settings.items()}
    return connection.send(dm_env_rpc_pb2.JoinWorldRequest(world_name=name, settings=packed)).specs
