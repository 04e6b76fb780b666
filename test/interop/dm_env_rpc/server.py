"""Helpers of the tests in this folder: a connection to the running simulator server, and its worlds."""

import contextlib
import os

import grpc
from dm_env_rpc.v1 import connection as dm_env_rpc_connection
from dm_env_rpc.v1 import dm_env_rpc_pb2, tensor_utils


@contextlib.contextmanager
def connect():
    """A dm_env_rpc connection to the server at PMPO_SERVER_ADDRESS."""
    with grpc.insecure_channel(os.environ["PMPO_SERVER_ADDRESS"]) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        with dm_env_rpc_connection.Connection(channel) as connection:
            yield connection


def create(connection, **settings):
    """Creates a world and returns its name."""
    packed = {key: tensor_utils.pack_tensor(value) for key, value in settings.items()}
    return connection.send(dm_env_rpc_pb2.CreateWorldRequest(settings=packed)).world_name


def destroy(connection, name):
    """Leaves the world that the connection has joined, if any, and destroys the named one."""
    connection.send(dm_env_rpc_pb2.LeaveWorldRequest())
    connection.send(dm_env_rpc_pb2.DestroyWorldRequest(world_name=name))
