"""One stream's conversation: which world it is in, and what each request does. Knows nothing of gRPC."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TypeAlias

from dm_env_rpc.v1 import dm_env_rpc_pb2, tensor_utils
from dm_env_rpc.v1.extensions import properties_pb2
from google.rpc import code_pb2, status_pb2

from pmpo_simulator_server.batch import Batch
from pmpo_simulator_server.errors import RequestError, invalid, not_found, precondition, status_of
from pmpo_simulator_server.hosted import Hosted, host
from pmpo_simulator_server.settings import Settings, seed_of
from pmpo_simulator_server.world import Setting, World

_log = logging.getLogger("pmpo_simulator_server")

Request: TypeAlias = dm_env_rpc_pb2.EnvironmentRequest
Response: TypeAlias = dm_env_rpc_pb2.EnvironmentResponse


def _plain(messages: Mapping[str, dm_env_rpc_pb2.Tensor]) -> dict[str, Setting]:
    values: dict[str, Setting] = {}
    for name, message in messages.items():
        value = tensor_utils.unpack_tensor(message)
        if getattr(value, "size", 1) != 1:
            raise invalid(f"the setting '{name}' holds {value.size} values; it must be a single one")
        values[name] = value.item() if hasattr(value, "item") else value
    return values


def _seed(messages: Mapping[str, dm_env_rpc_pb2.Tensor]) -> int | None:
    settings = Settings(_plain(messages))
    seed = seed_of(settings)
    settings.finish()
    return seed


class Worlds:
    """Every world of one process, whose name begins theirs. Streams use it from threads of their own."""

    def __init__(self, prefix: str, make: Callable[[Mapping[str, Setting]], World | Batch]) -> None:
        self.prefix = prefix
        self._make = make
        self._worlds: dict[str, Hosted] = {}
        self._made = 0
        # Who is in which world, and which there are.
        self._lock = threading.Lock()
        # Simulators are made one at a time: their packages were not written for more.
        self._making = threading.Lock()

    def create(self, maker: object, values: Mapping[str, Setting]) -> str:
        """Makes a world that belongs to a stream, and returns its name. Raises RequestError."""
        with self._making:
            made = self._make(values)
            try:
                name = f"{self.prefix}-{self._made + 1}"
                hosted = host(name, maker, made)
            except BaseException:
                made.close()
                raise
            self._made += 1
            with self._lock:
                self._worlds[name] = hosted
        _log.info("%s made (%s), %d here", name, values.get("simulator"), len(self._worlds))
        return name

    def find(self, name: str) -> Hosted:
        """The world of that name. Raises RequestError where there is none."""
        world = self._worlds.get(name)
        if world is None:
            raise not_found(f"there is no world '{name}'")
        return world

    def enter(self, name: str, occupant: object) -> Hosted:
        """Takes the one place in a world. Raises RequestError where it is taken."""
        with self._lock:
            world = self.find(name)
            if world.occupant is not None:
                raise precondition(f"somebody is in the world '{name}'; it takes one agent")
            world.occupant = occupant
            return world

    def leave(self, world: Hosted) -> None:
        """Gives the place back; a world whose maker is gone goes with its last agent."""
        with self._lock:
            world.occupant = None
        if world.maker is None:
            self.destroy(world.name)

    def destroy(self, name: str) -> None:
        """Closes a world. Raises RequestError while somebody is in it."""
        with self._lock:
            world = self.find(name)
            if world.occupant is not None:
                raise precondition(f"somebody is in the world '{name}'; it cannot be destroyed")
            # Out of the list first: nobody may join what is being closed.
            del self._worlds[name]
        world.close()
        _log.info("%s closed, %d left here", name, len(self._worlds))

    def abandon(self, maker: object) -> None:
        """Closes the worlds of a stream that has ended, each as soon as nobody is in it."""
        with self._lock:
            own = [world for world in self._worlds.values() if world.maker is maker]
            for world in own:
                world.maker = None
            empty = [world for world in own if world.occupant is None]
        for world in empty:
            try:
                self.destroy(world.name)
            except RequestError:
                _log.debug("%s is gone already, or somebody has come in", world.name)
            except Exception:
                _log.exception("%s could not be closed", world.name)


class Session:
    """What one stream has done so far. `answer` never raises: what is wrong is an error in the response."""

    def __init__(self, worlds: Worlds) -> None:
        self._worlds = worlds
        self._joined: Hosted | None = None

    @property
    def joined(self) -> Hosted | None:
        """The world that this stream is in."""
        return self._joined

    def answer(self, request: Request) -> Response:
        response = Response()
        try:
            # The hot path first: a step of the world that this stream is in.
            if request.HasField("step"):
                self._current("step").step(request.step, response.step)
            else:
                self._handle(request, response)
            return response
        except Exception as error:  # A simulator's own failure must not take the stream with it.
            return refusal(*status_of(error))

    def end(self) -> None:
        """Leaves, and closes the worlds that now belong to nobody."""
        try:
            self._leave()
        except Exception:
            _log.exception("a world could not be closed")
        self._worlds.abandon(self)

    def _handle(self, request: Request, response: Response) -> None:
        kind = request.WhichOneof("payload")
        if kind == "create_world":
            values = _plain(request.create_world.settings)
            response.create_world.world_name = self._worlds.create(self, values)
        elif kind == "join_world":
            world = self._join(request.join_world.world_name, _seed(request.join_world.settings))
            response.join_world.specs.CopyFrom(world.specs)
        elif kind == "reset":
            current = self._current("reset")
            current.reset(_seed(request.reset.settings))
            response.reset.specs.CopyFrom(current.specs)
        elif kind == "reset_world":
            seed = _seed(request.reset_world.settings)
            found = self._worlds.find(request.reset_world.world_name)
            # Who resets the world that it is in knows that its episode is over.
            if found is self._joined:
                found.reset(seed)
            else:
                found.interrupt(seed)
            response.reset_world.SetInParent()
        elif kind == "leave_world":
            self._leave()
            response.leave_world.SetInParent()
        elif kind == "destroy_world":
            self._worlds.destroy(request.destroy_world.world_name)
            response.destroy_world.SetInParent()
        elif kind == "extension":
            self._extension(request, response)
        else:
            raise invalid("the request has no payload")

    def _current(self, doing: str) -> Hosted:
        if self._joined is None:
            raise precondition(f"cannot {doing}: this stream has joined no world")
        return self._joined

    def _join(self, name: str, seed: int | None) -> Hosted:
        if self._joined is not None:
            raise precondition(f"this stream is in the world '{self._joined.name}' already; leave it first")
        world = self._worlds.enter(name, self)
        try:
            world.reset(seed)
        except BaseException:
            self._worlds.leave(world)
            raise
        self._joined = world
        return world

    def _leave(self) -> None:
        left, self._joined = self._joined, None
        if left is not None:
            self._worlds.leave(left)

    def _extension(self, request: Request, response: Response) -> None:
        asked = properties_pb2.PropertyRequest()
        if not request.extension.Unpack(asked):
            raise RequestError(code_pb2.UNIMPLEMENTED, f"the extension {request.extension.type_url} is not known here")
        # Worlds here have no properties; a list of none is an answer, a value that is not there is not.
        if asked.WhichOneof("payload") != "list_property":
            key = getattr(asked, asked.WhichOneof("payload") or "read_property").key
            raise not_found(f"there is no property '{key}'")
        answer = properties_pb2.PropertyResponse()
        answer.list_property.SetInParent()
        response.extension.Pack(answer)


def refusal(code: int, message: str) -> Response:
    """The answer to a request that cannot be carried out; `code` is one of google.rpc's."""
    return Response(error=status_pb2.Status(code=code, message=message))
