"""Steps worlds of a server with dm_env_rpc's own Python client, and prints the steps per second.

Usage: python environment_python_client.py ADDRESS SIMULATOR STREAMS STEPS
"""

import concurrent.futures
import sys
import threading
import time

import grpc
import numpy as np
from dm_env_rpc.v1 import connection as dm_env_rpc_connection
from dm_env_rpc.v1 import dm_env_adaptor, dm_env_rpc_pb2, tensor_utils


def play(address: str, simulator: str, steps: int, ready: threading.Barrier) -> None:
    """Steps one world over a separate stream and channel, with all observations requested."""
    with grpc.insecure_channel(address) as channel, dm_env_rpc_connection.Connection(channel) as connection:
        settings = {"simulator": tensor_utils.pack_tensor(simulator)}
        world = connection.send(dm_env_rpc_pb2.CreateWorldRequest(settings=settings)).world_name
        specs = connection.send(dm_env_rpc_pb2.JoinWorldRequest(world_name=world)).specs
        environment = dm_env_adaptor.DmEnvAdaptor(connection, specs)
        actions = {name: np.zeros(spec.shape, spec.dtype) for name, spec in environment.action_spec().items()}
        environment.reset()
        for _ in range(100):
            environment.step(actions)
        ready.wait()
        for _ in range(steps):
            environment.step(actions)


def main() -> None:
    address, simulator, streams, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    ready = threading.Barrier(streams + 1)
    with concurrent.futures.ThreadPoolExecutor(streams) as pool:
        players = [pool.submit(play, address, simulator, steps, ready) for _ in range(streams)]
        ready.wait()
        started = time.perf_counter()
        for player in players:
            player.result()
        print(streams * steps / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
