"""Health and reflection: the methods that need no key, bounded for each address instead."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from deployment_service.api.intake import receive
from deployment_service.api.interceptors import OUR_PACKAGE, Context, Errors
from deployment_service.api.peers import PeerLimits, peer_address
from deployment_service.domain.errors import InvalidArgument

_MAX_BYTES = 1024
# A reflection client sends few requests and disconnects.
_MAX_REQUESTS = 1_000
_IDLE_S = 30.0


class OpenMethods(grpc.aio.ServerInterceptor):
    """Surrounds each call of methods that aren't ours: small messages, and few calls of one address at once."""

    def __init__(self, errors: Errors, peers: PeerLimits) -> None:
        self._errors = errors
        self._peers = peers

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Called by gRPC for each call; None is the handler of an unknown method."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(OUR_PACKAGE):
            return handler
        parse, serialize = handler.request_deserializer, handler.response_serializer
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                self._many(parse, handler.stream_stream), response_serializer=serialize
            )
        if handler.unary_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                self._one(parse, handler.unary_stream), response_serializer=serialize
            )
        return grpc.stream_unary_rpc_method_handler(
            self._one(parse, handler.unary_unary), response_serializer=serialize
        )

    def _one(self, parse: Callable[[bytes], Any], inner: Any) -> Any:
        async def call(_: Any, context: Context) -> Any:
            async with self._around(context):
                request = _parsed(await receive(context, max_bytes=_MAX_BYTES), parse)
                return await inner(request, context)

        return call

    def _many(self, parse: Callable[[bytes], Any], inner: Any) -> Any:
        async def call(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            async with self._around(context):
                requests = _bounded(messages, parse)
                async with contextlib.aclosing(inner(requests, context)) as responses:
                    async for response in responses:
                        yield response

        return call

    @contextlib.asynccontextmanager
    async def _around(self, context: Context) -> AsyncIterator[None]:
        async with self._errors.around(context, streaming=True):
            with self._peers.open_call(peer_address(context.peer())):
                yield


async def _bounded(
    messages: AsyncIterator[bytes], parse: Callable[[bytes], Any]
) -> AsyncIterator[Any]:
    """Yield the stream's requests, until it is idle for a while or the number of requests reaches the limit."""
    for _ in range(_MAX_REQUESTS):
        try:
            async with asyncio.timeout(_IDLE_S):
                data = await anext(messages)
        except (StopAsyncIteration, TimeoutError):
            return
        if len(data) > _MAX_BYTES:
            raise InvalidArgument("request", "is too large", reason="REQUEST_TOO_LARGE")
        yield _parsed(data, parse)


def _parsed(data: bytes, parse: Callable[[bytes], Any]) -> Any:
    try:
        return parse(data)
    except Exception:
        raise InvalidArgument(
            "request", "can't be decoded as the message it should be", reason="MALFORMED_REQUEST"
        ) from None
