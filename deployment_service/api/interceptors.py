"""What surrounds every call of ours: the log, the answer to errors, deadlines. Health and reflection go past."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from deployment_service.api import calls
from deployment_service.api.errors import Answer, DeadlineExceeded, answer, explain
from deployment_service.domain.errors import ServiceError
from deployment_service.logs import log

Context = grpc.aio.ServicerContext[Any, Any]
OUR_PACKAGE = "/deployment_service.v1."
_MAX_REQUEST_ID = 64
_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class Undecodable:
    """Stands for a request whose bytes are no message of its type."""


class Around(grpc.aio.ServerInterceptor, ABC):
    """Wraps each call of our services in ``around``, whichever way its handler is written."""

    @abstractmethod
    def around(
        self, method: str, request: Any, context: Context, *, streaming: bool
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """Surround one call; an exception of the call passes through it."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Called by gRPC for each call; None is the handler of an unknown method."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(OUR_PACKAGE):
            return handler
        assert not handler.request_streaming, "no RPC of ours takes a stream"
        codec = {
            "request_deserializer": _tolerant(handler.request_deserializer),
            "response_serializer": _bytes_or(handler.response_serializer),
        }
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream), **codec
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary), **codec
        )

    def _unary(self, method: str, inner: Any) -> Any:
        async def call(request: Any, context: Context) -> Any:
            async with self.around(method, request, context, streaming=False):
                return await inner(request, context)

        return call

    def _stream(self, method: str, inner: Any) -> Any:
        # A handler is a generator, or a coroutine that writes by itself.
        if not inspect.isasyncgenfunction(inner):

            async def write(request: Any, context: Context) -> None:
                async with self.around(method, request, context, streaming=True):
                    await inner(request, context)

            return write

        async def generate(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self.around(method, request, context, streaming=True):
                # Closed with the call, not whenever the collector finds it.
                async with contextlib.aclosing(inner(request, context)) as responses:
                    async for response in responses:
                        yield response

        return generate


def _tolerant(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Let nonsense reach the interceptors, which answer it; gRPC would call it INTERNAL."""

    def tolerant(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return Undecodable()

    return tolerant


def _bytes_or(serialize: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Let bytes through that are serialised already: one event's, shared by all who watch."""
    return lambda response: response if isinstance(response, bytes) else serialize(response)


class Errors(Around):
    """Answers every error in the one form, and gives calls a deadline that bring none."""

    def __init__(self, call_timeout_s: float) -> None:
        self._call_timeout_s = call_timeout_s

    @contextlib.asynccontextmanager
    async def around(
        self, method: str, request: Any, context: Context, *, streaming: bool
    ) -> AsyncIterator[None]:
        limit = None
        if not streaming:
            left = cast("float | None", context.time_remaining())
            limit = self._call_timeout_s if left is None else left
            calls.set_deadline(asyncio.get_running_loop().time() + limit)
        timeout = asyncio.timeout(limit)
        try:
            async with timeout:
                yield
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            told: ServiceError
            if isinstance(error, TimeoutError) and timeout.expired():
                told = DeadlineExceeded("CALL_TIMEOUT", "The call took longer than its deadline.")
            else:
                told = explain(error)
            await _abort(context, answer(told))


async def _abort(context: Context, reply: Answer) -> None:
    await context.abort(reply.code, reply.message, reply.trailing_metadata)


class Metrics:
    """What operators may count. Labels are few and closed: no tenant."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "rpc_seconds",
            "Time to answer unary calls.",
            ["method", "code"],
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
            registry=self.registry,
        )
        self.streams = Gauge("rpc_streams", "Open streams.", ["method"], registry=self.registry)
        self.streams_ended = Counter(
            "rpc_streams_ended", "Streams that ended.", ["method", "code"], registry=self.registry
        )


class RequestLog(Around):
    """Writes a line for each call, when it has ended, and counts it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @contextlib.asynccontextmanager
    async def around(
        self, method: str, request: Any, context: Context, *, streaming: bool
    ) -> AsyncIterator[None]:
        # Never unbound: each call has a task, and so a context, of its own.
        structlog.contextvars.bind_contextvars(request_id=_request_id(request, context))
        start = time.perf_counter()
        name = method.removeprefix(OUR_PACKAGE)
        code = "CANCELLED"
        if streaming:
            self._metrics.streams.labels(name).inc()
        try:
            yield
            code = _code_name(context)
        except grpc.aio.AbortError:
            code = _code_name(context)
            raise
        finally:
            seconds = time.perf_counter() - start
            if streaming:
                self._metrics.streams.labels(name).dec()
                self._metrics.streams_ended.labels(name, code).inc()
            else:
                self._metrics.seconds.labels(name, code).observe(seconds)
            _write_line(name, code, seconds)


def _request_id(request: Any, context: Context) -> str:
    """Return the id for log lines of this call: `x-request-id`, else the idempotency key, else a new one."""
    metadata = dict(context.invocation_metadata() or ())
    given = metadata.get("x-request-id") or getattr(request, "request_id", "")
    return str(given)[:_MAX_REQUEST_ID] if given else str(uuid.uuid4())


def _write_line(name: str, code: str, seconds: float) -> None:
    call = calls.current_or_none()
    log.info(
        "call",
        method=name,
        code=code,
        duration_ms=round(seconds * 1000, 1),
        caller=str(call.caller.key_id) if call else None,
        tenant=call.tenant_ref.slug if call and call.tenant_ref else None,
    )


def _code_name(context: Context) -> str:
    code: Any = context.code()
    return str(code.name) if isinstance(code, grpc.StatusCode) else _CODE_NAMES.get(code or 0, "OK")
