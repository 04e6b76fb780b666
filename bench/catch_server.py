"""A dm_env_rpc server of the game Catch, with the rules and the specs of DeepMind's example server.

That example, examples/catch_environment.py in the repository of dm_env_rpc, is in no package, so this is the same game written again:
a ball falls on a board of 10 x 10 from a random column, and a paddle on the lowest row moves left, stays or moves right. After 9
steps the reward is 1 if the paddle is below the ball and -1 if not. As in the example, each stream has one world of its own, the
first step of an episode ignores its action, and an unknown setting is an error.

Prints `Serving catch on HOST:PORT`, and ends when its standard input is closed.
"""

import sys
from collections.abc import Iterable, Iterator
from concurrent import futures

import grpc
import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2 as rpc
from dm_env_rpc.v1 import dm_env_rpc_pb2_grpc, tensor_spec_utils, tensor_utils
from google.rpc import code_pb2, status_pb2

ROWS = COLUMNS = 10
WORLD = "catch"
PADDLE, BOARD, REWARD = 1, 1, 2
STREAMS = 64


def _specs() -> rpc.ActionObservationSpecs:
    paddle = rpc.TensorSpec(name="paddle", dtype=rpc.INT8)
    tensor_spec_utils.set_bounds(paddle, minimum=np.int8(-1), maximum=np.int8(1))
    return rpc.ActionObservationSpecs(
        actions={PADDLE: paddle},
        observations={
            BOARD: rpc.TensorSpec(name="board", shape=[ROWS, COLUMNS], dtype=rpc.FLOAT),
            REWARD: rpc.TensorSpec(name="reward", dtype=rpc.FLOAT),
        },
    )


class Catch:
    """One stream's game. Episode k of a seed has the seed + k, so that a seed determines all episodes that follow."""

    def __init__(self) -> None:
        self._next_seed = 1
        self.begin()

    def begin(self, seed: int | None = None) -> None:
        if seed is not None:
            self._next_seed = seed
        self._ball = int(np.random.RandomState(self._next_seed % 2**32).randint(COLUMNS))
        self._next_seed += 1
        self._row, self._paddle = 0, COLUMNS // 2
        self._is_first = True

    def step(self, move: int) -> None:
        if self._row == ROWS - 1:
            self.begin()
        if self._is_first:
            self._is_first = False
            return
        self._paddle = min(max(self._paddle + move, 0), COLUMNS - 1)
        self._row += 1

    def observe(self) -> tuple[dict[int, np.ndarray], bool]:
        board = np.zeros((ROWS, COLUMNS), np.float32)
        board[self._row, self._ball] = board[ROWS - 1, self._paddle] = 1
        ended = self._row == ROWS - 1
        reward = (1 if self._paddle == self._ball else -1) if ended else 0
        return {BOARD: board, REWARD: np.float32(reward)}, ended


class CatchService(dm_env_rpc_pb2_grpc.EnvironmentServicer):
    def Process(
        self, requests: Iterable[rpc.EnvironmentRequest], context: grpc.ServicerContext
    ) -> Iterator[rpc.EnvironmentResponse]:
        game: Catch | None = None
        for request in requests:
            kind = request.WhichOneof("payload")
            response = rpc.EnvironmentResponse()
            try:
                if game is None and kind not in ("create_world", "leave_world"):
                    raise ValueError(f"cannot {kind} before a world exists")
                if kind == "create_world":
                    if game is not None:
                        raise ValueError("each stream has one world")
                    game = Catch()
                    game.begin(_seed(request.create_world.settings))
                    response.create_world.world_name = WORLD
                elif kind == "join_world":
                    if request.join_world.world_name != WORLD:
                        raise ValueError(f"there is no world '{request.join_world.world_name}'")
                    response.join_world.specs.CopyFrom(_specs())
                elif kind == "step":
                    _step(game, request.step, response.step)
                elif kind == "reset":
                    game.begin(_seed(request.reset.settings))
                    response.reset.specs.CopyFrom(_specs())
                elif kind == "reset_world":
                    game.begin(_seed(request.reset_world.settings))
                    response.reset_world.SetInParent()
                elif kind == "leave_world":
                    response.leave_world.SetInParent()
                elif kind == "destroy_world":
                    game = None
                    response.destroy_world.SetInParent()
                else:
                    raise ValueError(f"{kind} is not supported")
            except ValueError as error:
                response.error.CopyFrom(status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=str(error)))
            yield response


def _seed(settings) -> int | None:
    unknown = [name for name in settings if name != "seed"]
    if unknown:
        raise ValueError(f"unknown settings: {', '.join(unknown)}")
    return int(tensor_utils.unpack_tensor(settings["seed"])) if "seed" in settings else None


def _step(game: Catch, request: rpc.StepRequest, response: rpc.StepResponse) -> None:
    move = int(tensor_utils.unpack_tensor(request.actions[PADDLE])) if PADDLE in request.actions else 0
    if move not in (-1, 0, 1):
        raise ValueError(f"the paddle cannot move by {move}")
    game.step(move)
    observations, ended = game.observe()
    for uid in request.requested_observations:
        response.observations[uid].CopyFrom(tensor_utils.pack_tensor(observations[uid]))
    response.state = rpc.TERMINATED if ended else rpc.RUNNING


def main() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(STREAMS))
    dm_env_rpc_pb2_grpc.add_EnvironmentServicer_to_server(CatchService(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"Serving catch on 127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
