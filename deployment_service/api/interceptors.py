"""What surrounds every call of ours: the log, the answer to errors, deadlines. Health and reflection go past."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, cast

import grpc
import grpc.aio
import structlog
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from deployment_service.api import calls
from deployment_service.api.errors import Answer, DeadlineExceeded, answer, explain
from deployment_service.domain.errors import ServiceError
from deployment_service.runtime.logs import log

Context = grpc.aio.ServicerContext[Any, Any]
Parse = Callable[[bytes], Message]
OUR_PACKAGE = "/deployment_service.v1."
_MAX_REQUEST_ID = 64
_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class Admission(Protocol):
    """Decides by a call's metadata whether its message is received at all, then hands it out decoded."""

    def admit(
        self, method: str, parse: Parse, context: Context, *, streaming: bool
    ) -> contextlib.AbstractAsyncContextManager[Message]:
        """Surround one call. Raises ``ServiceError`` for a call that is not admitted."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Surrounds each call of the services with logging, error mapping, deadline and admission.

    Every handler is registered with a stream of bytes as its request. Only then does gRPC receive the message on
    demand, after the API key was checked. On the wire a stream of one message is a unary request.
    """

    def __init__(self, log_calls: RequestLog, errors: Errors, admission: Admission) -> None:
        self._log_calls = log_calls
        self._errors = errors
        self._admission = admission
        self._handlers: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Called by gRPC for each call; None is the handler of an unknown method."""
        method = handler_call_details.method
        if method not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None or not method.startswith(OUR_PACKAGE):
                return handler
            self._handlers[method] = self._wrap(method, handler)
        return self._handlers[method]

    def _wrap(self, method: str, handler: Any) -> Any:
        assert not handler.request_streaming, "no RPC of ours takes a stream"
        parse = handler.request_deserializer
        serialize = _bytes_or(handler.response_serializer)
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, parse, handler.unary_stream), response_serializer=serialize
            )
        return grpc.stream_unary_rpc_method_handler(
            self._unary(method, parse, handler.unary_unary), response_serializer=serialize
        )

    def _unary(self, method: str, parse: Parse, inner: Any) -> Any:
        async def call(_: Any, context: Context) -> Any:
            async with self._around(method, parse, context, streaming=False) as request:
                return await inner(request, context)

        return call

    def _stream(self, method: str, parse: Parse, inner: Any) -> Any:
        # A handler is a generator, or a coroutine that writes by itself.
        if not inspect.isasyncgenfunction(inner):

            async def write(_: Any, context: Context) -> None:
                async with self._around(method, parse, context, streaming=True) as request:
                    await inner(request, context)

            return write

        async def generate(_: Any, context: Context) -> AsyncIterator[Any]:
            async with self._around(method, parse, context, streaming=True) as request:
                # Closed with the call, not whenever the collector finds it.
                async with contextlib.aclosing(inner(request, context)) as responses:
                    async for response in responses:
                        yield response

        return generate

    @contextlib.asynccontextmanager
    async def _around(
        self, method: str, parse: Parse, context: Context, *, streaming: bool
    ) -> AsyncIterator[Message]:
        async with (
            self._log_calls.around(method, context, streaming=streaming),
            self._errors.around(context, streaming=streaming),
            self._admission.admit(method, parse, context, streaming=streaming) as request,
        ):
            # The idempotency key, where the caller names no other id for the log; known only from here on.
            if own_id := getattr(request, "request_id", ""):
                structlog.contextvars.bind_contextvars(request_id=_request_id(context, own_id))
            yield request


def _bytes_or(serialize: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Return a serializer that passes bytes unchanged: events are serialized once for all watchers."""
    return lambda response: response if isinstance(response, bytes) else serialize(response)


class Errors:
    """Maps every error to its status, and sets a deadline for calls without one."""

    def __init__(self, call_timeout_s: float) -> None:
        self._call_timeout_s = call_timeout_s

    @contextlib.asynccontextmanager
    async def around(self, context: Context, *, streaming: bool) -> AsyncIterator[None]:
        """Surround one call; an exception of the call becomes its status."""
        limit = None
        if not streaming:
            remaining_s = cast("float | None", context.time_remaining())
            limit = self._call_timeout_s if remaining_s is None else remaining_s
            calls.set_deadline(asyncio.get_running_loop().time() + limit)
        timeout = asyncio.timeout(limit)
        try:
            async with timeout:
                yield
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            failure: ServiceError
            if isinstance(error, TimeoutError) and timeout.expired():
                failure = DeadlineExceeded(
                    "CALL_TIMEOUT", "The call took longer than its deadline."
                )
            else:
                failure = explain(error)
            # Cycles of exceptions and frames live until garbage collection. Without this they keep the message alive.
            traceback.clear_frames(error.__traceback__)
            await _abort(context, answer(failure))


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


class RequestLog:
    """Writes a line for each call, when it has ended, and counts it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @contextlib.asynccontextmanager
    async def around(
        self, method: str, context: Context, *, streaming: bool
    ) -> AsyncIterator[None]:
        """Surround one call."""
        # Never unbound: each call has a task, and so a context, of its own.
        structlog.contextvars.bind_contextvars(request_id=_request_id(context, str(uuid.uuid4())))
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


def _request_id(context: Context, otherwise: str) -> str:
    """Return the id for log lines of this call: `x-request-id`, or ``otherwise`` if the call has none."""
    metadata = dict(context.invocation_metadata() or ())
    return str(metadata.get("x-request-id") or otherwise)[:_MAX_REQUEST_ID]


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
