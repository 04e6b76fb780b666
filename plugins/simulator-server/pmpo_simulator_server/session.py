"""One stream's session: the world that it has joined, and the handling of its requests. Independent of gRPC."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import TypeAlias

from dm_env_rpc.v1 import dm_env_rpc_pb2
from dm_env_rpc.v1.extensions import properties_pb2
from google.rpc import code_pb2, status_pb2

from pmpo_simulator_server.batch import MAX_BATCH_SIZE, Batch
from pmpo_simulator_server.errors import (
    FAILURES,
    RequestError,
    check_length,
    exhausted,
    invalid,
    not_found,
    precondition,
    quoted,
    status_of,
)
from pmpo_simulator_server.hosted_world import HostedWorld, host
from pmpo_simulator_server.scene import part_of_key
from pmpo_simulator_server.settings import Settings, seed_of
from pmpo_simulator_server.simulator import Array, Setting, Simulator, Spec
from pmpo_simulator_server.tensors import single_value, writer

_log = logging.getLogger("pmpo_simulator_server")

Request: TypeAlias = dm_env_rpc_pb2.EnvironmentRequest
Response: TypeAlias = dm_env_rpc_pb2.EnvironmentResponse


_MAX_SETTINGS = 256
"""The most settings of one request."""

MAX_SIMULATORS = 1024
"""The most simulators in the worlds that one stream has created and that still exist."""


def _unpack_settings(messages: Mapping[str, dm_env_rpc_pb2.Tensor]) -> dict[str, Setting]:
    if len(messages) > _MAX_SETTINGS:
        raise invalid(f"the request has {len(messages):,} settings; the most are {_MAX_SETTINGS}")
    values: dict[str, Setting] = {}
    for name, message in messages.items():
        check_length("setting", name)
        values[name] = single_value(message, f"the setting {quoted(name)}")
    return values


def _seed_from(messages: Mapping[str, dm_env_rpc_pb2.Tensor]) -> int | None:
    settings = Settings(_unpack_settings(messages))
    seed = seed_of(settings)
    settings.finish()
    return seed


class Worlds:
    """All worlds of one process. Their names begin with the process's prefix. Thread-safe: each stream has a thread."""

    def __init__(self, prefix: str, make: Callable[[Mapping[str, Setting]], Simulator | Batch]) -> None:
        self.prefix = prefix
        self._make = make
        self._worlds: dict[str, HostedWorld] = {}
        # Guards the set of worlds and their occupants.
        self._lock = threading.Lock()
        # Simulators are created one at a time: their packages do not support concurrent construction.
        self._creation_lock = threading.Lock()

    def create(self, maker: object, values: Mapping[str, Setting]) -> str:
        """Creates a world that belongs to the stream `maker`, and returns its name.

        Raises:
          RequestError: a setting is unknown or has a wrong value, the simulator cannot be created, or the stream has too
            many simulators.
        """
        with self._creation_lock:
            asked = values.get("batchSize", 1)
            # A wrong batch size is refused where it is read.
            self._check_room(maker, asked if isinstance(asked, int) and asked <= MAX_BATCH_SIZE else 1)
            made = self._make(values)
            try:
                # A client that knows a world's name can join or destroy it, so names cannot be guessed.
                name = f"{self.prefix}-{secrets.token_hex(8)}"
                hosted = host(name, maker, made)
            except BaseException:
                made.close()
                raise
            with self._lock:
                self._worlds[name] = hosted
        _log.info("%s created (%s); %d in this process", name, values.get("simulator"), len(self._worlds))
        return name

    def _check_room(self, maker: object, asked: int) -> None:
        with self._lock:
            existing = sum(world.num_simulators for world in self._worlds.values() if world.maker is maker)
        if existing + asked > MAX_SIMULATORS:
            raise exhausted(
                f"this stream's worlds have {existing:,} simulators; {asked:,} more would exceed the limit of "
                f"{MAX_SIMULATORS:,} for each stream. Destroy some, or use another stream"
            )

    def find(self, name: str) -> HostedWorld:
        """Returns the world `name`.

        Raises:
          RequestError: the world does not exist.
        """
        world = self._worlds.get(name)
        if world is None:
            raise not_found(f"unknown world {quoted(name)}")
        return world

    def enter(self, name: str, occupant: object) -> HostedWorld:
        """Marks a world as joined by `occupant`, and returns it.

        Raises:
          RequestError: the world does not exist, or another connection has joined it.
        """
        with self._lock:
            world = self.find(name)
            if world.occupant is not None:
                raise precondition(f"the world '{name}' is in use by another connection; it takes one agent")
            world.occupant = occupant
            return world

    def leave(self, world: HostedWorld) -> None:
        """Marks a world as free, and destroys it if the stream that created it has ended."""
        with self._lock:
            world.occupant = None
        if world.maker is None:
            self.destroy(world.name)

    def destroy(self, name: str) -> None:
        """Closes a world.

        Raises:
          RequestError: the world does not exist, or a connection has joined it.
        """
        with self._lock:
            world = self.find(name)
            if world.occupant is not None:
                raise precondition(f"the world '{name}' is in use; it cannot be destroyed")
            # Removed before it is closed, so that no connection can join it meanwhile.
            del self._worlds[name]
        world.close()
        _log.info("%s closed; %d left in this process", name, len(self._worlds))

    def abandon(self, maker: object) -> None:
        """Closes the worlds that a stream created, after it has ended. Worlds in use are closed when they are left."""
        with self._lock:
            created = [world for world in self._worlds.values() if world.maker is maker]
            for world in created:
                world.maker = None
            empty = [world for world in created if world.occupant is None]
        for world in empty:
            try:
                self.destroy(world.name)
            except RequestError:
                _log.debug("%s was destroyed or joined in the meantime", world.name)
            except Exception:
                _log.exception("%s could not be closed", world.name)


class Session:
    """The state of one stream. `answer` never raises: errors are reported in the response."""

    def __init__(self, worlds: Worlds) -> None:
        self._worlds = worlds
        self._joined: HostedWorld | None = None

    @property
    def joined(self) -> HostedWorld | None:
        """The world that this stream has joined, or None."""
        return self._joined

    def answer(self, request: Request) -> Response:
        response = Response()
        try:
            # Steps are by far the most frequent requests, so they are handled first.
            if request.HasField("step"):
                self._current("step").step(request.step, response.step)
            else:
                self._handle(request, response)
            return response
        except FAILURES as error:  # A simulator's failure must not end the stream.
            return refusal(*status_of(error))

    def end(self) -> None:
        """Leaves the joined world, and closes the worlds that this stream created."""
        try:
            self._leave()
        except Exception:
            _log.exception("a world could not be closed")
        self._worlds.abandon(self)

    def _handle(self, request: Request, response: Response) -> None:
        kind = request.WhichOneof("payload")
        if kind == "create_world":
            values = _unpack_settings(request.create_world.settings)
            response.create_world.world_name = self._worlds.create(self, values)
        elif kind == "join_world":
            world = self._join(request.join_world.world_name, _seed_from(request.join_world.settings))
            response.join_world.specs.CopyFrom(world.specs)
        elif kind == "reset":
            current = self._current("reset")
            current.reset(_seed_from(request.reset.settings))
            response.reset.specs.CopyFrom(current.specs)
        elif kind == "reset_world":
            seed = _seed_from(request.reset_world.settings)
            found = self._worlds.find(request.reset_world.world_name)
            # A connection that resets its own world knows that the episode is over; another one must be told.
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

    def _current(self, request: str) -> HostedWorld:
        if self._joined is None:
            raise precondition(f"cannot {request}: this stream has not joined a world")
        return self._joined

    def _join(self, name: str, seed: int | None) -> HostedWorld:
        if self._joined is not None:
            raise precondition(f"this stream has already joined the world '{self._joined.name}'; leave it first")
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
            raise RequestError(code_pb2.UNIMPLEMENTED, f"unknown extension {quoted(request.extension.type_url)}")
        answer = properties_pb2.PropertyResponse()
        if asked.WhichOneof("payload") == "list_property":
            # Worlds have no properties of their own, and those of scenes are known by name only.
            answer.list_property.SetInParent()
        else:
            key = getattr(asked, asked.WhichOneof("payload") or "read_property").key
            value = self._scene_property(key) if asked.WhichOneof("payload") == "read_property" else None
            if value is None:
                raise not_found(f"unknown property {quoted(key)}")
            writer(Spec.of(key, value.shape, value.dtype))(answer.read_property.value, value)
        response.extension.Pack(answer)

    def _scene_property(self, key: str) -> Array | None:
        named = part_of_key(key)
        return None if named is None else self._current("read a scene").scene_property(*named)


def refusal(code: int, message: str) -> Response:
    """The response that reports an error; `code` is a code of google.rpc.Code."""
    return Response(error=status_pb2.Status(code=code, message=message))
