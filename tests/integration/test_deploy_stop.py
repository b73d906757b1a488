"""Both processes end with 0 within the time that the manifests and units give them, whatever they wait for."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc.aio
import pytest

from deployment_service.actions.api_keys import create_api_key
from deployment_service.domain.access import Role
from deployment_service.storage import egress
from deployment_service.storage.database.pool import API_ROLE, Database
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.api import SECRET_KEY, Api, seed_deployment
from tests.support.kubernetes_wiring import stop_bound_s
from tests.support.processes import Running, running
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.waiting import until

pytestmark = [pytest.mark.alone, pytest.mark.timeout(180)]
WEB = "tenants/demo/deployments/web"


def logged(process: Running, event: str) -> dict[str, Any]:
    """Return the first line of the log with this event."""
    lines = [json.loads(line) for line in process.lines if line.startswith("{")]
    return next((line for line in lines if line["event"] == event), {})


async def stopped(process: Running, values: dict[str, str]) -> None:
    """Send SIGTERM and expect the end within the bound."""
    process.process.send_signal(signal.SIGTERM)
    assert await process.ends(timeout_s=stop_bound_s(values)) == 0
    assert logged(process, "stopped")


@asynccontextmanager
async def clients(process: Running, database_url: str, jenkins: TcpProxy) -> AsyncIterator[None]:
    """Keep a watch and calls open, and runs that wait for a Jenkins that does not answer."""
    database = await Database.open(database_url, role=API_ROLE, max_connections=2)
    _, secret = await create_api_key(database, role=Role.ADMIN, tenant=None, display_name="test")
    async with grpc.aio.insecure_channel(logged(process, "listening")["target"]) as channel:
        api = Api(channel, database, cast("Any", None), admin_secret=secret)
        await api.admin.CreateTenant(
            admin.CreateTenantRequest(tenant_id="demo"), metadata=api.as_admin
        )
        await seed_deployment(api, "demo")
        async with database.acquire() as connection:
            address = f"http://127.0.0.1:{jenkins.port}"
            await egress.add(connection, address)
            await connection.execute("UPDATE cicd_providers SET base_url = $1", address + "/")
        await database.close()
        seen: list[str] = []
        tasks = [asyncio.create_task(watch(api, seen))]
        tasks += [asyncio.create_task(run(api)) for _ in range(4)]
        try:
            await until(lambda: "snapshot_complete" in seen)
            await until(lambda: jenkins.connections >= 2, what="requests to Jenkins")
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def watch(api: Api, seen: list[str]) -> None:
    request = pb.WatchDeploymentsRequest(parent="tenants/demo")
    async for message in api.deployments.WatchDeployments(request, metadata=api.as_admin):
        seen.append(message.WhichOneof("response"))  # noqa: PERF401 - one by one


async def run(api: Api) -> None:
    await api.deployments.RunDeployment(
        pb.RunDeploymentRequest(name=WEB, request_id=str(uuid.uuid4()), allow_concurrent=True),
        metadata=api.as_admin,
    )


@pytest.mark.parametrize("outage", ["none", "refuses", "silent"])
async def test_the_service_stops_within_its_bound(database_url: str, outage: str):
    """With calls, a watch and requests to a Jenkins that never answers, and its database in each state."""
    port = int(database_url.rpartition(":")[2].partition("/")[0])
    async with tcp_proxy(port) as postgres, tcp_proxy(None) as jenkins:
        jenkins.silent_from_start = True
        values = {
            "DEPLOYMENT_SERVICE_DATABASE_URL": postgres.url(database_url),
            "DEPLOYMENT_SERVICE_SECRET_KEYS": SECRET_KEY,
            "DEPLOYMENT_SERVICE_LISTEN": "127.0.0.1:0",
        }
        async with running("-m", "deployment_service", "serve", env=values) as process:
            await process.says("listening")
            async with clients(process, database_url, jenkins):
                if outage == "refuses":
                    postgres.target = None
                    postgres.cut()
                elif outage == "silent":
                    postgres.silence()
                    postgres.silent_from_start = True
                await stopped(process, values)


async def test_a_service_that_waits_for_its_database_stops_at_once():
    """Its port is not open yet: the startup probe has not succeeded."""
    async with tcp_proxy(None) as postgres:
        values = {
            "DEPLOYMENT_SERVICE_DATABASE_URL": f"postgresql://u:p@127.0.0.1:{postgres.port}/d",
            "DEPLOYMENT_SERVICE_SECRET_KEYS": SECRET_KEY,
            "DEPLOYMENT_SERVICE_LISTEN": "127.0.0.1:0",
        }
        async with running("-m", "deployment_service", "serve", env=values) as process:
            await process.says("database.unavailable")
            process.process.send_signal(signal.SIGTERM)
            assert await process.ends(timeout_s=10) == 0


async def test_the_gateway_stops_within_its_bound():
    """With a service that never answers, a request that waits for it and another whose body does not come."""
    async with tcp_proxy(None) as service:
        service.silent_from_start = True
        values = {
            "WEBHOOK_GATEWAY_API_KEY": "dsk_1",
            "WEBHOOK_GATEWAY_SERVICE_TARGET": f"127.0.0.1:{service.port}",
            "WEBHOOK_GATEWAY_PORT": "0",
        }
        async with running("-m", "webhook_gateway", env=values) as process:
            await process.says("listening")
            port = int(logged(process, "listening")["url"].rpartition(":")[2])
            path = "/en/demo/deployment/webhooks/jenkins?token=x"
            heads = [
                b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
                f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode(),
            ]
            writers = []
            for head in heads:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head)
                await writer.drain()
                writers.append(writer)
            await stopped(process, values)
            for writer in writers:
                writer.transport.abort()
