"""WatchDeployments over the wire (P5, P6)."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from deployment_service.api.intake import decode, receive
from deployment_service.api.interceptors import CallInterceptor, Errors, Metrics, RequestLog
from deployment_service.api.watch_streams import serve_watch
from deployment_service.domain.access import TenantRef
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1.deployment_service_pb2_grpc import (
    DeploymentServiceServicer,
    DeploymentServiceStub,
    add_DeploymentServiceServicer_to_server,
)
from tests.integration.watch_harness import (
    FAST,
    Replica,
    Watcher,
    Writer,
    history,
    new_tenant,
    replica,
    wait_for,
)


class Servicer(DeploymentServiceServicer):
    def __init__(self, one: Replica, tenant: TenantRef, write_timeout_s: float) -> None:
        self._serve = functools.partial(serve_watch, one.hub, tenant)
        self._write_timeout_s = write_timeout_s

    async def WatchDeployments(self, request: Any, context: Any) -> None:  # type: ignore[override]
        await self._serve(request, context, write_timeout_s=self._write_timeout_s)


class EverybodyMayCall:
    """Lets all calls through: keys are not what these tests are about."""

    @asynccontextmanager
    async def admit(
        self, method: str, parse: Any, context: Any, *, streaming: bool
    ) -> AsyncIterator[Any]:
        yield decode(await receive(context, max_bytes=2**20), parse)


@asynccontextmanager
async def serving(
    one: Replica, tenant: TenantRef, *, write_timeout_s: float = 60.0
) -> AsyncIterator[Any]:
    server = grpc.aio.server(
        interceptors=[CallInterceptor(RequestLog(Metrics()), Errors(30.0), EverybodyMayCall())]
    )
    servicer: Any = Servicer(one, tenant, write_timeout_s)  # type: ignore[abstract]
    add_DeploymentServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        # A client with a small and steady window, so that one that doesn't read is noticed after few bytes.
        options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65535)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            yield DeploymentServiceStub(channel)
    finally:
        await server.stop(0)


def reason(error: grpc.aio.AioRpcError) -> str:
    return str(dict(error.trailing_metadata())["error-reason"])


async def test_a_watch_over_the_wire_is_complete_and_ends_well_on_shutdown(databases):
    """P5: shared bytes are messages of the contract; UNAVAILABLE with a hint follows the bookmark."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a", "b")
    async with replica(databases.worker) as one, serving(one, tenant) as stub:
        watcher = Watcher(tenant)
        request = pb.WatchDeploymentsRequest(parent="tenants/demo")
        stopping: asyncio.Task[None] | None = None
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012
            async for message in stub.WatchDeployments(request):
                watcher.take(message)
                if watcher.kinds[-1] == "snapshot_complete":
                    await writer.commit(100)
                if len(watcher.events) == 100 and stopping is None:
                    stopping = asyncio.create_task(one.hub.stop(5.0))
        assert stopping is not None
        await stopping
        watcher.check(await history(databases.api, tenant))
        assert watcher.kinds[-1] == "bookmark"
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason(caught.value) == "SHUTTING_DOWN"
        status = rpc_status.from_call(cast(grpc.Call, caught.value))
        hint = error_details_pb2.RetryInfo()
        assert any(detail.Unpack(hint) for detail in status.details)
        assert hint.retry_delay.ToMilliseconds() <= 1000


async def test_filters_and_tokens_of_requests(databases):
    """P6: only names of the watched tenant; whole types; tokens are checked before anything is sent."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "a", "b")
    await writer.commit(10)
    async with replica(databases.worker) as one, serving(one, tenant) as stub:
        token = one.hub.tokens.position(tenant.tenant_id, await one.hub.epoch.current(), 0)
        watcher = Watcher(tenant, slugs=["a"], types=["DEPLOYMENT_RUN_START"])
        call = stub.WatchDeployments(
            pb.WatchDeploymentsRequest(
                parent="tenants/demo",
                names=["tenants/demo/deployments/a"],
                types=[pb.DeploymentEvent.DEPLOYMENT_RUN_START],
                resume_token=token,
            )
        )
        async for message in call:
            watcher.take(message)
            if watcher.accounted == 10:
                break
        call.cancel()
        watcher.check(await history(databases.api, tenant))
        assert watcher.events
        for request, expected in (
            (pb.WatchDeploymentsRequest(names=["a"]), "INVALID_NAME"),
            (
                pb.WatchDeploymentsRequest(names=["tenants/other/deployments/a"]),
                "SCOPE_INSUFFICIENT",
            ),
            (pb.WatchDeploymentsRequest(resume_token=token[:-1]), "RESUME_TOKEN_INVALID"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await anext(aiter(stub.WatchDeployments(request)))
            assert reason(caught.value) == expected
        await wait_for(lambda: one.hub.streams == 0)


async def test_a_client_that_does_not_read_is_cut_and_learns_why(databases):
    """P6: its cursor is let go at once; when it reads again it gets what was under way, then the reason."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant)
    async with replica(databases.worker) as one, serving(one, tenant, write_timeout_s=0.2) as stub:
        watcher = Watcher(tenant)
        call = stub.WatchDeployments(pb.WatchDeploymentsRequest(parent="tenants/demo"))
        messages = aiter(call)
        while not watcher.snapshots:
            watcher.take(await anext(messages))
        await writer.commit(200, message="x" * 8000)
        await wait_for(lambda: one.hub.streams == 0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012
            while True:
                watcher.take(await anext(messages))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason(caught.value) == "SLOW_CONSUMER"
        assert 0 < len(watcher.events) < 200
        call = stub.WatchDeployments(
            pb.WatchDeploymentsRequest(parent="tenants/demo", resume_token=watcher.token)
        )
        async for message in call:
            watcher.take(message)
            if watcher.accounted == 200:
                break
        watcher.check(await history(databases.api, tenant))
        call.cancel()
        await wait_for(lambda: one.hub.streams == 0)


async def test_watchers_that_go_leave_nothing(databases):
    """P6: cancelled streams end their cursors; the tail goes some time later."""
    settings = dataclasses.replace(FAST, linger_s=0.1)
    tenant = await new_tenant(databases.api)
    async with replica(databases.worker, settings=settings) as one, serving(one, tenant) as stub:
        watches = [
            stub.WatchDeployments(pb.WatchDeploymentsRequest(parent="tenants/demo"))
            for _ in range(50)
        ]
        await asyncio.gather(*(anext(aiter(call)) for call in watches))
        assert one.hub.streams == 50
        for call in watches:
            call.cancel()
        await wait_for(lambda: one.hub.streams == 0)
        await wait_for(lambda: one.hub.tails == 0)
