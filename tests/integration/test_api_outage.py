"""What callers get when something is away, slow or broken, and that it mends by itself."""

import asyncio
import urllib.request
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deployment_service.api.setup import LIVENESS
from deployment_service.storage.schema.migrate import migrate
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from devstack.postgres import EmbeddedPostgres
from tests.support.api import refused, running_api, seed_deployment
from tests.support.waiting import until

WEB = "tenants/demo/deployments/web"
GET = pb.GetDeploymentRequest(name=WEB)
RENAME = pb.UpdateDeploymentRequest(deployment=pb.Deployment(name=WEB, display_name="new"))
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@asynccontextmanager
async def seeded(database_url, **settings):
    async with running_api(database_url, **settings) as api:
        await api.admin.CreateTenant(
            admin.CreateTenantRequest(tenant_id="demo"), metadata=api.as_admin
        )
        await seed_deployment(api, "demo")
        yield api


@pytest_asyncio.fixture
async def api(database_url):
    async with seeded(database_url, call_timeout_s=0.5) as running:
        yield running


@asynccontextmanager
async def somebody_holds_the_deployment(database_url):
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM deployments FOR UPDATE")
            yield connection
    finally:
        await connection.close()


async def waiting_statements(connection):
    return await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )


@pytest.mark.timeout(120)
async def test_a_database_that_is_away_is_told_and_survived():
    async with EmbeddedPostgres(durable=False) as server:
        await migrate(server.url())
        async with seeded(server.url()) as api:
            health: Any = health_pb2_grpc.HealthStub(api.channel)
            seen = [await health.Check(health_pb2.HealthCheckRequest())]
            assert seen[0].status == SERVING

            async def follow():
                async for answer in health.Watch(health_pb2.HealthCheckRequest()):
                    seen.append(answer)  # noqa: PERF401 - one by one is what matters

            follower = asyncio.create_task(follow())
            await server.stop()
            for call in (
                api.deployments.GetDeployment(GET, metadata=api.as_admin),
                api.deployments.UpdateDeployment(RENAME, metadata=api.as_admin),
            ):
                async with refused() as refusals:
                    await call
                assert (refusals[0].code, refusals[0].reason) == (
                    grpc.StatusCode.UNAVAILABLE,
                    "DATABASE_UNAVAILABLE",
                )
                assert refusals[0].details["RetryInfo"].retry_delay.seconds == 1
            await until(lambda: seen[-1].status == NOT_SERVING)
            alive = await health.Check(health_pb2.HealthCheckRequest(service=LIVENESS))
            assert alive.status == SERVING
            await server.start()
            await until(lambda: seen[-1].status == SERVING)
            got = await api.deployments.GetDeployment(GET, metadata=api.as_admin)
            assert got.deployment.display_name == ""
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)


async def test_a_call_without_a_deadline_gets_one_and_leaves_nothing_behind(api, database_url):
    async with somebody_holds_the_deployment(database_url) as connection:
        async with refused() as refusals:
            await api.deployments.UpdateDeployment(RENAME, metadata=api.as_admin)
        assert (refusals[0].code, refusals[0].reason) == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "CALL_TIMEOUT",
        )
        async with asyncio.timeout(10):
            while await waiting_statements(connection):
                pass
    got = await api.deployments.GetDeployment(GET, metadata=api.as_admin)
    assert got.deployment.display_name == ""


async def test_a_call_that_its_client_gives_up_ends_in_the_database_too(database_url):
    async with seeded(database_url) as api:
        async with somebody_holds_the_deployment(database_url) as connection:
            call = api.deployments.UpdateDeployment(RENAME, metadata=api.as_admin)
            async with asyncio.timeout(10):
                while not await waiting_statements(connection):
                    pass
                call.cancel()
                while await waiting_statements(connection):
                    pass
        got = await api.deployments.GetDeployment(GET, metadata=api.as_admin)
        assert got.deployment.display_name == ""


async def test_a_defect_is_answered_with_an_id_and_nothing_else(api, monkeypatch, capsys):
    async def broken(*_):
        raise KeyError("secret internals")

    monkeypatch.setattr("deployment_service.storage.deployments.deployments.by_resource_id", broken)
    async with refused() as refusals:
        await api.deployments.GetDeployment(GET, metadata=api.as_admin)
    assert (refusals[0].code, refusals[0].reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    error_id = refusals[0].metadata["error_id"]
    assert error_id in refusals[0].message
    assert "secret" not in str(refusals[0])
    logged = capsys.readouterr().out
    assert error_id in logged
    assert "secret internals" in logged


async def test_clients_may_ping_every_ten_seconds_without_a_call():
    """Kept by the server's options; with the default they would be cut off."""
    from deployment_service.api.setup import _OPTIONS

    options = dict(_OPTIONS)
    assert options["grpc.http2.min_ping_interval_without_data_ms"] <= 10_000
    assert options["grpc.keepalive_permit_without_calls"] == 1


async def test_metrics_count_calls_by_method_and_code(database_url, unused_tcp_port):
    address = f"127.0.0.1:{unused_tcp_port}"
    async with seeded(database_url, metrics_listen=address) as api:
        await api.deployments.GetDeployment(GET, metadata=api.as_admin)
        async with refused():
            await api.deployments.GetDeployment(pb.GetDeploymentRequest(), metadata=api.as_admin)
        text = await asyncio.to_thread(
            lambda: urllib.request.urlopen(f"http://{address}/metrics").read().decode()
        )
    name = 'method="DeploymentService/GetDeployment"'
    assert f'rpc_seconds_count{{code="OK",{name}}} 1.0' in text
    assert f'rpc_seconds_count{{code="INVALID_ARGUMENT",{name}}} 1.0' in text
    for pool in ("api", "worker", "watch"):
        assert f'database_pool_usable{{pool="{pool}"}} 1.0' in text
