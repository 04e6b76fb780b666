"""A minimal dm_env_rpc server with features that our simulators lack: other bounds, terminal states, and errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent import futures

import grpc
import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2 as rpc
from dm_env_rpc.v1 import dm_env_rpc_pb2_grpc, tensor_utils
from google.rpc import code_pb2, status_pb2

REWARD, LAST, SCALE = 1, 2, 3


def _specs(dtype: rpc.DataType, bounded: bool) -> rpc.ActionObservationSpecs:
    action = rpc.TensorSpec(name="torque", dtype=dtype, shape=[2])
    if bounded and dtype == rpc.DOUBLE:
        action.min.doubles.array.extend([0.0, -2.0])
        action.max.doubles.array.extend([10.0, 2.0])
    elif bounded:
        action.min.int32s.array.append(0)
        action.max.int32s.array.append(3)
    return rpc.ActionObservationSpecs(
        actions={7: action},
        observations={
            REWARD: rpc.TensorSpec(name="reward", dtype=rpc.DOUBLE),
            # The order differs from that of the names, by which the client must sort them.
            LAST: rpc.TensorSpec(name="b_last_torque", dtype=rpc.DOUBLE, shape=[2]),
            SCALE: rpc.TensorSpec(name="a_count", dtype=rpc.INT64),
        },
    )


class Small(dm_env_rpc_pb2_grpc.EnvironmentServicer):
    """Has episodes of three steps, which end in the state that the setting `end` names. The reward is the first torque."""

    def __init__(self) -> None:
        self.worlds: list[str] = []

    def Process(
        self, request_iterator: Iterator[rpc.EnvironmentRequest], context: grpc.ServicerContext
    ) -> Iterator[rpc.EnvironmentResponse]:
        count, specs, end = -1, rpc.ActionObservationSpecs(), rpc.TERMINATED
        for request in request_iterator:
            kind = request.WhichOneof("payload")
            if kind == "create_world":
                settings = {k: tensor_utils.unpack_tensor(v) for k, v in request.create_world.settings.items()}
                if settings.get("refuse"):
                    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="not today")
                    yield rpc.EnvironmentResponse(error=status)
                    continue
                dtype = rpc.INT32 if settings.get("whole") else rpc.DOUBLE
                specs = _specs(dtype, not settings.get("unbounded"))
                end = rpc.INTERRUPTED if settings.get("end") == "interrupted" else rpc.TERMINATED
                self.worlds.append("small")
                yield rpc.EnvironmentResponse(create_world=rpc.CreateWorldResponse(world_name="small"))
            elif kind == "join_world":
                yield rpc.EnvironmentResponse(join_world=rpc.JoinWorldResponse(specs=specs))
            elif kind == "reset":
                count = -1
                yield rpc.EnvironmentResponse(reset=rpc.ResetResponse(specs=specs))
            elif kind == "step":
                torque = np.zeros(2)
                if count >= 0:
                    torque = tensor_utils.unpack_tensor(request.step.actions[7])
                count += 1
                values = {REWARD: torque[0], LAST: torque, SCALE: np.int64(count)}
                observations = {
                    uid: tensor_utils.pack_tensor(values[uid]) for uid in request.step.requested_observations
                }
                state = end if count == 3 else rpc.RUNNING
                yield rpc.EnvironmentResponse(step=rpc.StepResponse(state=state, observations=observations))
                count = -1 if count == 3 else count
            elif kind == "leave_world":
                yield rpc.EnvironmentResponse(leave_world=rpc.LeaveWorldResponse())
            elif kind == "destroy_world":
                self.worlds.remove(request.destroy_world.world_name)
                yield rpc.EnvironmentResponse(destroy_world=rpc.DestroyWorldResponse())


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, Small]]:
    """Runs a server; yields its address and the servicer."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    small = Small()
    dm_env_rpc_pb2_grpc.add_EnvironmentServicer_to_server(small, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", small
    finally:
        server.stop(grace=None).wait()
