"""A service on real gRPC whose answers a test scripts."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from deployment_service.v1 import admin_service_pb2 as admin_pb
from deployment_service.v1 import deployment_service_pb2 as pb

STUBS = {
    "deployment_service.v1.DeploymentService": pb.DESCRIPTOR.services_by_name["DeploymentService"],
    "deployment_service.v1.AdminService": admin_pb.DESCRIPTOR.services_by_name["AdminService"],
}

# What a test says instead of an answer.
Step = Any
Context = grpc.aio.ServicerContext[Any, Any]


class Fail(Exception):
    """Answer with an error."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str = "told to fail",
        *,
        reason: str = "",
        details: tuple[Message, ...] = (),
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.reason, self.details = code, message, reason, details


class Hang:
    """Say nothing more."""


class ScriptedService:
    """``script[method]`` holds what the next calls get: a message, a ``Fail``, a function of the
    request, or (for a stream) a list of messages, ``Fail`` and ``Hang``. The last one repeats."""

    def __init__(self) -> None:
        self.script: dict[str, deque[Step]] = defaultdict(deque)
        self.requests: dict[str, list[Any]] = defaultdict(list)
        self.metadata: list[dict[str, str | bytes]] = []
        self.target = ""

    def will(self, method: str, *steps: Step) -> None:
        self.script[method] = deque(steps)

    def _next(self, method: str, request: Any, context: Context) -> Step:
        self.requests[method].append(request)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        steps = self.script[method]
        if not steps:
            return Fail(grpc.StatusCode.UNIMPLEMENTED, f"{method} isn't scripted")
        return steps.popleft() if len(steps) > 1 else steps[0]

    def unary(self, method: str) -> Callable[[Any, Any], Awaitable[Any]]:
        async def handle(request: Any, context: Context) -> Any:
            step = self._next(method, request, context)
            if callable(step) and step is not Hang:
                step = step(request)
            if isinstance(step, Fail):
                await fail(context, step)
            if step is Hang:
                await never()
            return step

        return handle

    def stream(self, method: str) -> Callable[[Any, Any], AsyncIterator[Any]]:
        async def handle(request: Any, context: Context) -> AsyncIterator[Any]:
            steps = self._next(method, request, context)
            for step in steps if isinstance(steps, list) else [steps]:
                if isinstance(step, Fail):
                    await fail(context, step)
                elif step is Hang:
                    await never()
                else:
                    yield step

        return handle


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def fail(context: Context, step: Fail) -> None:
    trailing: list[tuple[str, str | bytes]] = []
    if step.reason:
        trailing.append(("error-reason", step.reason))
    if step.details:
        status = status_pb2.Status(code=step.code.value[0], message=step.message)
        for detail in step.details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        trailing.append(("grpc-status-details-bin", status.SerializeToString()))
    await context.abort(step.code, step.message, tuple(trailing))


def error_info(reason: str, **metadata: str) -> Any:
    return error_details_pb2.ErrorInfo(
        reason=reason, domain="deployment-service", metadata=metadata
    )


def retry_info(seconds: float) -> Any:
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


@asynccontextmanager
async def scripted_service(port: int = 0) -> AsyncIterator[ScriptedService]:
    service = ScriptedService()
    server = grpc.aio.server()
    for name, descriptor in STUBS.items():
        handlers = {}
        for method in descriptor.methods:
            kind = (
                grpc.unary_stream_rpc_method_handler
                if method.server_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            behaviour = service.stream if method.server_streaming else service.unary
            handlers[method.name] = kind(
                behaviour(method.name),
                request_deserializer=GetMessageClass(method.input_type).FromString,
                response_serializer=GetMessageClass(method.output_type).SerializeToString,
            )
        server.add_registered_method_handlers(name, handlers)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, handlers)])
    service.target = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield service
    finally:
        await server.stop(None)


class Stream:
    """Makes the messages of a watch, as a service that is right would."""

    def __init__(self, position: int = 0, max_silence_s: float = 10.0) -> None:
        self.position = position
        self._max_silence_s = max_silence_s

    def start(self) -> pb.WatchDeploymentsResponse:
        silence = Duration()
        silence.FromNanoseconds(int(self._max_silence_s * 1e9))
        return pb.WatchDeploymentsResponse(start=pb.WatchStart(max_silence=silence))

    def item(self, slug: str, revision: int = 1) -> pb.WatchDeploymentsResponse:
        name = f"tenants/demo/deployments/{slug}"
        return pb.WatchDeploymentsResponse(
            deployment=pb.Deployment(name=name, revision=revision), resume_token="snapshot"
        )

    def complete(self, sequence: int) -> pb.WatchDeploymentsResponse:
        self.position = sequence
        return pb.WatchDeploymentsResponse(
            snapshot_complete=pb.SnapshotComplete(sequence=sequence), resume_token=f"at-{sequence}"
        )

    def event(self, sequence: int | None = None, **fields: Any) -> pb.WatchDeploymentsResponse:
        previous, self.position = self.position, sequence or self.position + 1
        return pb.WatchDeploymentsResponse(
            event=pb.DeploymentEvent(sequence=self.position, **fields),
            prev_sequence=previous,
            resume_token=f"at-{self.position}",
        )

    def bookmark(self, sequence: int | None = None) -> pb.WatchDeploymentsResponse:
        previous, self.position = self.position, sequence or self.position
        return pb.WatchDeploymentsResponse(
            bookmark=pb.Bookmark(sequence=self.position),
            prev_sequence=previous,
            resume_token=f"at-{self.position}",
        )

    def reset(self) -> pb.WatchDeploymentsResponse:
        return pb.WatchDeploymentsResponse(
            reset=pb.Reset(reason=pb.Reset.REASON_HISTORY_TRIMMED), resume_token="snapshot"
        )


def run(number: int = 1, status: pb.DeploymentStatus = pb.DEPLOYMENT_STATUS_PENDING, **fields: Any):
    name = f"tenants/demo/deployments/web/runs/{number}"
    return pb.Run(name=name, status=status, uid=str(uuid.UUID(int=number)), **fields)
