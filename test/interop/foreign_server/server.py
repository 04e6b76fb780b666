"""A dm_env_rpc server that is independent of pmpo: written from the protocol, with only the `dm-env-rpc` package.

It has one unnamed world, which exists from the start, and each stream that joins it plays separately. A player sees a
small picture with three patches of light and answers with three integers, of different dtypes and bounds, that locate the
lights. The server omits everything that the protocol makes optional: creating worlds, settings, seeds and properties are
all answered with errors.

Prints `Listening on PORT`, then one line for each request that it refuses.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from concurrent import futures

import grpc
import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2 as rpc
from dm_env_rpc.v1 import dm_env_rpc_pb2_grpc, tensor_utils
from google.rpc import code_pb2, status_pb2

EPISODE_STEPS = 16
# A server may choose any uids: these are neither small nor in order.
COLUMN, LAMPS = 4_000_000_007, 12
PICTURE, CAPTION, REWARD, THERMOMETER = 90, 3, 1 << 40, 17


def _spec(name: str, dtype: rpc.DataType, shape: list[int], low=None, high=None) -> rpc.TensorSpec:
    spec = rpc.TensorSpec(name=name, dtype=dtype, shape=shape)
    payload = rpc.DataType.Name(dtype).lower() + "s"
    for limit, values in ((spec.min, low), (spec.max, high)):
        if values is not None:
            getattr(limit, payload).array.extend(values)
    return spec


SPECS = rpc.ActionObservationSpecs(
    actions={
        COLUMN: _spec("column", rpc.INT32, [], [2], [6]),
        LAMPS: _spec("lamps", rpc.INT64, [2], [-1, 0], [1, 1]),
    },
    observations={
        PICTURE: rpc.TensorSpec(name="picture", dtype=rpc.UINT8, shape=[8, 8, 3]),
        CAPTION: _spec("caption", rpc.STRING, []),
        REWARD: _spec("reward", rpc.DOUBLE, []),
        THERMOMETER: _spec("thermometer", rpc.FLOAT, []),
    },
)


def _say(line: str) -> None:
    # One write per line, because the threads of several streams print at the same time.
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


class Refusal(Exception):
    """An error that is sent in the response to a request."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Player:
    """The game of one stream."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.restart()

    def restart(self) -> None:
        """Starts an episode. The next step ignores its actions and shows the first picture."""
        self._steps = -1

    def step(self, actions: Mapping[int, rpc.Tensor]) -> tuple[float, rpc.EnvironmentStateType]:
        reward = 0.0
        if self._steps >= 0:
            reward = self._reward(actions)
        self._steps += 1
        self._column = int(self._random.integers(2, 7))
        self._lamps = self._random.integers([-1, 0], [2, 2])
        if self._steps < EPISODE_STEPS:
            return reward, rpc.RUNNING
        self.restart()
        return reward, rpc.TERMINATED

    def _reward(self, actions: Mapping[int, rpc.Tensor]) -> float:
        if set(actions) != {COLUMN, LAMPS}:
            raise Refusal(code_pb2.INVALID_ARGUMENT, f"the actions are {COLUMN} and {LAMPS}, not {sorted(actions)}")
        for uid, name in ((COLUMN, "int32s"), (LAMPS, "int64s")):
            if actions[uid].WhichOneof("payload") != name:
                raise Refusal(code_pb2.INVALID_ARGUMENT, f"action {uid} must be {name}")
        column = tensor_utils.unpack_tensor(actions[COLUMN])
        lamps = tensor_utils.unpack_tensor(actions[LAMPS])
        if np.shape(column) != () or np.shape(lamps) != (2,):
            raise Refusal(code_pb2.INVALID_ARGUMENT, "the shapes of the actions are [] and [2]")
        if not 2 <= column <= 6 or not -1 <= lamps[0] <= 1 or not 0 <= lamps[1] <= 1:
            raise Refusal(code_pb2.OUT_OF_RANGE, f"out of bounds: {column}, {lamps}")
        return float(column == self._column) + float(lamps[0] == self._lamps[0]) + float(lamps[1] == self._lamps[1])

    def picture(self) -> np.ndarray:
        """Draws uint8 [8, 8, 3]: a red bar in the column, below it a green bar for the first lamp and a blue one for the second."""
        picture = np.zeros((8, 8, 3), np.uint8)
        picture[:4, self._column, 0] = 255
        picture[4:6, 3 * (self._lamps[0] + 1), 1] = 255
        picture[6:, 7 * self._lamps[1], 2] = 255
        return picture


class Stream:
    """Answers the requests of one stream."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._player: Player | None = None

    def answer(self, request: rpc.EnvironmentRequest) -> rpc.EnvironmentResponse:
        kind = request.WhichOneof("payload")
        try:
            handler = getattr(self, f"_{kind}", None)
            if handler is None:
                raise Refusal(code_pb2.UNIMPLEMENTED, f"this server does not know {kind}")
            return rpc.EnvironmentResponse(**{kind: handler(getattr(request, kind))})
        except Refusal as refusal:
            _say(f"refused {kind}: {refusal}")
            return rpc.EnvironmentResponse(error=status_pb2.Status(code=refusal.code, message=str(refusal)))

    def _join_world(self, request: rpc.JoinWorldRequest) -> rpc.JoinWorldResponse:
        if request.world_name != "":
            raise Refusal(code_pb2.NOT_FOUND, "there is one world, and it has no name")
        if self._player is not None:
            raise Refusal(code_pb2.FAILED_PRECONDITION, "joined already")
        self._no_settings(request.settings)
        self._player = Player(self._number)
        return rpc.JoinWorldResponse(specs=SPECS)

    def _leave_world(self, _: rpc.LeaveWorldRequest) -> rpc.LeaveWorldResponse:
        self._player = None
        return rpc.LeaveWorldResponse()

    def _reset(self, request: rpc.ResetRequest) -> rpc.ResetResponse:
        self._no_settings(request.settings)
        self._joined().restart()
        return rpc.ResetResponse(specs=SPECS)

    def _step(self, request: rpc.StepRequest) -> rpc.StepResponse:
        player = self._joined()
        reward, state = player.step(request.actions)
        sent = {
            PICTURE: player.picture,
            CAPTION: lambda: "three lights",
            REWARD: lambda: np.float64(reward),
            THERMOMETER: self._broken,
        }
        unknown = set(request.requested_observations) - set(sent)
        if unknown:
            raise Refusal(code_pb2.INVALID_ARGUMENT, f"unknown observations {sorted(unknown)}")
        # Only requested observations are computed: the thermometer fails when it is read.
        observations = {uid: tensor_utils.pack_tensor(sent[uid]()) for uid in request.requested_observations}
        return rpc.StepResponse(state=state, observations=observations)

    def _broken(self) -> np.ndarray:
        raise Refusal(code_pb2.INTERNAL, "the thermometer is broken")

    def _joined(self) -> Player:
        if self._player is None:
            raise Refusal(code_pb2.FAILED_PRECONDITION, "join the world first")
        return self._player

    def _no_settings(self, settings: Mapping[str, rpc.Tensor]) -> None:
        if settings:
            raise Refusal(code_pb2.INVALID_ARGUMENT, f"no settings here: {sorted(settings)}")


class Service(dm_env_rpc_pb2_grpc.EnvironmentServicer):
    """The gRPC service. Every stream has a separate player in the one world."""

    def __init__(self) -> None:
        self._streams = 0

    def Process(
        self, request_iterator: Iterator[rpc.EnvironmentRequest], context: grpc.ServicerContext
    ) -> Iterator[rpc.EnvironmentResponse]:
        self._streams += 1
        stream = Stream(self._streams)
        for request in request_iterator:
            yield stream.answer(request)


def main() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    dm_env_rpc_pb2_grpc.add_EnvironmentServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    _say(f"Listening on {port}")
    server.wait_for_termination()


if __name__ == "__main__":
    main()
