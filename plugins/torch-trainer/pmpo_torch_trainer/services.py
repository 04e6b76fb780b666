"""The services' messages and handlers, created from their .proto descriptions at run time instead of generated code.

The descriptions are in a separate pool, so that they do not clash with those of vLLM or SMG in the same process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import grpc

TRAINER = "pmpo.v1.Trainer"
ENGINE = "vllm.grpc.engine.VllmEngine"


def _load() -> descriptor_pool.DescriptorPool:
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString((resources.files(__package__) / "services.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool


_pool = _load()


class _Messages:
    """The message classes of one package, as attributes."""

    def __init__(self, package: str) -> None:
        self._package = package

    def __getattr__(self, name: str) -> Any:
        try:
            descriptor = _pool.FindMessageTypeByName(f"{self._package}.{name}")
        except KeyError as error:
            raise AttributeError(f"{self._package} has no message {name}") from error
        found = message_factory.GetMessageClass(descriptor)
        setattr(self, name, found)
        return found


trainer = _Messages("pmpo.v1")
engine = _Messages("vllm.grpc.engine")
common = _Messages("smg.grpc.common")


def handler(service: str, methods: Mapping[str, Callable[..., Any]]) -> grpc.GenericRpcHandler:
    """A handler for a service, from its methods by name.

    Raises:
      KeyError: `methods` lacks a method of the service.
    """
    handlers = {}
    for method in _pool.FindServiceByName(service).methods:
        request = message_factory.GetMessageClass(method.input_type)
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        handlers[method.name] = make(
            methods[method.name],
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
    return grpc.method_handlers_generic_handler(service, handlers)


def call(channel: grpc.Channel, service: str, name: str) -> Callable[..., Any]:
    """A client stub of one method. It takes a request and the arguments of gRPC's multicallables, such as `timeout`."""
    method = _pool.FindServiceByName(service).FindMethodByName(name)
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    response = message_factory.GetMessageClass(method.output_type)
    called: Callable[..., Any] = make(
        f"/{service}/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )
    return called
