"""Two real replicas behind one DNS name: clients and gateways find the second one, and leave the first."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from deployment_service.client import DeploymentClient
from deployment_service.client.channel import open_channel
from deployment_service.client.cli.watch import CONNECTION_AGE
from deployment_service.client.errors import DeploymentServiceError
from deployment_service.domain.access import Role
from deployment_service.server import Service
from deployment_service.v1 import admin_service_pb2 as admin_pb
from deployment_service.v1 import gateway_service_pb2 as pb
from deployment_service.v1.gateway_service_pb2_grpc import GatewayServiceStub
from tests.integration.watch_harness import Writer
from tests.support.api import Api, running_api, settings_for
from tests.support.dns import name_server
from webhook_gateway.channel import ServiceCalls, connect

AGE = {"max_connection_age_s": 0.4, "max_connection_age_grace_s": 0.4}


@asynccontextmanager
async def replica(url: str, listen: str) -> AsyncIterator[Service]:
    service = await Service.open(settings_for(url, listen=listen, **AGE))
    try:
        await service.start()
        yield service
    finally:
        await service.stop()


@pytest.fixture
async def first(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url, **AGE) as api:
        request = admin_pb.CreateTenantRequest(tenant_id="demo")
        await api.admin.CreateTenant(request, metadata=api.as_admin)
        yield api


def port(api: Api) -> int:
    return int(api.service.target.rpartition(":")[2])


def calls(service: Service, method: str) -> float:
    return sum(
        sample.value
        for metric in service._metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "rpc_seconds_count" and sample.labels["method"].endswith(method)
    )


def secret(metadata: tuple[tuple[str, str], ...]) -> str:
    return metadata[0][1].removeprefix("Bearer ")


@pytest.mark.parametrize("caller", ["client", "gateway"])
async def test_a_replica_that_is_added_to_the_name_gets_calls_and_one_that_leaves_gets_none(
    first: Api, database_url: str, caller: str
):
    """P10: no restart of clients or gateways, and no call fails."""
    key = await first.key(Role.GATEWAY if caller == "gateway" else Role.VIEWER, "demo")
    async with name_server("127.0.0.1") as dns:
        target = dns.target(port(first))
        async with (
            connect(target) as channel,
            DeploymentClient(target, api_key=secret(key), tenant="demo") as client,
            replica(database_url, f"127.0.0.2:{port(first)}") as second,
        ):
            gateway = ServiceCalls(GatewayServiceStub(channel), secret(key))

            async def call() -> None:
                if caller == "gateway":
                    request = pb.ListWebhookVerifiersRequest()
                    assert (await gateway.list_verifiers(request, timeout=10)).next_cursor
                else:
                    await client.list_runs("-")

            method = "ListWebhookVerifiers" if caller == "gateway" else "ListRuns"
            await call()
            assert calls(second, method) == 0
            dns.addresses.append("127.0.0.2")
            async with asyncio.timeout(30):
                while calls(second, method) < 5:
                    await call()
            dns.addresses.remove("127.0.0.1")
            async with asyncio.timeout(30):
                before = calls(first.service, method)
                for _ in range(20):  # until none of 20 calls goes to the first one
                    await call()
                while calls(first.service, method) != before:
                    before = calls(first.service, method)
                    for _ in range(20):
                        await call()


async def test_a_watch_goes_on_over_many_connections_without_a_gap(first: Api, database_url: str):
    """P5: the client raises on a lost, doubled or swapped event."""
    key = secret(await first.key(Role.VIEWER, "demo"))
    writer = Writer(first.database, await first.tenant("demo"))
    interruptions: list[DeploymentServiceError] = []
    seen: list[int] = []
    async with (
        name_server("127.0.0.1", "127.0.0.2") as dns,
        replica(database_url, f"127.0.0.2:{port(first)}"),
        DeploymentClient(dns.target(port(first)), api_key=key, tenant="demo") as client,
    ):
        token = (await client.list_runs("-")).resume_token
        stream = client.watch(
            resume_token=token,
            on_disconnect=lambda failure, _pause: interruptions.append(failure),
        )
        async with asyncio.timeout(40), stream:
            last = await writer.commit()
            async for event in stream:
                seen.append(event.sequence)
                if len(interruptions) >= 3 and event.sequence == last:
                    break
                if event.sequence == last:
                    last = await writer.commit(3)
    assert seen == list(range(1, last + 1))
    assert CONNECTION_AGE in {failure.message for failure in interruptions}


class Proxy:
    """An HTTP proxy that counts CONNECT requests, and refuses or serves them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b" ")[1].decode())
        host, _, number = self.asked[-1].rpartition(":")
        there, to_server = await asyncio.open_connection(host, int(number))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_copy(reader, to_server), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    one = Proxy()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.url = "http://{}:{}".format(*server.sockets[0].getsockname()[:2])
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    yield one
    server.close()


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
@pytest.mark.parametrize("asked_for", [False, True])
async def test_a_proxy_in_the_environment_counts_only_if_asked_for(
    first: Api, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, variable: str, asked_for: bool
):
    """P10: our channels lead to our own replicas, often on loopback."""
    monkeypatch.setenv(variable, proxy.url)
    target = first.service.target
    key = secret(await first.key(Role.GATEWAY, "demo"))
    for channel in (
        open_channel(target, use_proxy=asked_for),
        connect(target, use_proxy=asked_for),
    ):
        async with channel:
            gateway = ServiceCalls(GatewayServiceStub(channel), key)
            request = pb.ListWebhookVerifiersRequest()
            assert (await gateway.list_verifiers(request, timeout=10)).next_cursor
    assert proxy.asked == ([target, target] if asked_for else [])
