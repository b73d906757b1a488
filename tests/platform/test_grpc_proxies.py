"""P5, P10: calls, errors and watches through Debian's HAProxy and nginx."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deployment_service.client import DeploymentClient
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from tests.platform.components import free_port
from tests.platform.grpc_proxies import grpc_proxy
from tests.support.api import refusal, running_api, seed_deployment

PROXIES = ["haproxy", "nginx"]


@pytest.mark.parametrize("name", PROXIES)
async def test_calls_errors_and_watches_pass(database_url: str, name: str) -> None:
    async with running_api(database_url) as api:
        await api.admin.CreateTenant(
            admin.CreateTenantRequest(tenant_id="demo"), metadata=api.as_admin
        )
        await seed_deployment(api, "demo")
        async with grpc_proxy(name, int(api.service.target.rpartition(":")[2])) as port:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                health = health_pb2_grpc.HealthStub(channel)
                answer = await health.Check(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
                stub = DeploymentServiceStub(channel)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.GetDeployment(
                        pb.GetDeploymentRequest(name="tenants/demo/deployments/missing"),
                        metadata=api.as_admin,
                    )
                refused = refusal(caught.value)
                assert (refused.code, refused.reason) == (
                    grpc.StatusCode.NOT_FOUND,
                    "DEPLOYMENT_NOT_FOUND",
                )
            await follow(f"127.0.0.1:{port}", api.admin_secret)


async def follow(target: str, key: str) -> None:
    """Twenty changes arrive, each once and in order, while they are made through the same proxy."""
    async with DeploymentClient(target, api_key=key, tenant="demo") as client:
        sequences: list[int] = []
        started = asyncio.Event()

        async def read() -> None:
            async for message in client.watch_messages():
                match message.WhichOneof("response"):
                    case "snapshot_complete":
                        started.set()
                    case "event":
                        sequences.append(message.event.sequence)
                if len(sequences) == 20:
                    return

        async with asyncio.timeout(30):
            reader = asyncio.create_task(read())
            await started.wait()
            for number in range(20):
                deployment = pb.Deployment(
                    name="tenants/demo/deployments/web", display_name=f"number {number}"
                )
                await client.update_deployment(deployment, fields=["display_name"])
            await reader
        assert sequences == list(range(sequences[0], sequences[0] + 20))


@pytest.mark.parametrize("name", PROXIES)
async def test_a_service_that_is_away_behind_it_is_waited_out(database_url: str, name: str) -> None:
    """The proxy answers 502 or 503 meanwhile, which is no gRPC answer; the client tries again."""
    port = free_port()
    async with AsyncExitStack() as stack:
        proxy_port = await stack.enter_async_context(grpc_proxy(name, port))
        async with running_api(database_url, listen=f"127.0.0.1:{port}") as api:
            await api.admin.CreateTenant(
                admin.CreateTenantRequest(tenant_id="demo"), metadata=api.as_admin
            )
            await seed_deployment(api, "demo")
            client = await stack.enter_async_context(
                DeploymentClient(f"127.0.0.1:{proxy_port}", api_key=api.admin_secret, tenant="demo")
            )
            await client.get_deployment("web")
        waiting = asyncio.create_task(client.get_deployment("web"))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        async with running_api(database_url, listen=f"127.0.0.1:{port}"):
            async with asyncio.timeout(25):
                assert (await waiting).name.endswith("/web")
