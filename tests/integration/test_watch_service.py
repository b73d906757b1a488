"""Watching as the whole service offers it: pools, metrics, keepalive (P5, P6)."""

from __future__ import annotations

import asyncio
import urllib.request
from contextlib import AsyncExitStack
from typing import Any

from deployment_service.api import setup
from deployment_service.client import channel
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.integration.watch_harness import Watcher, Writer, history, new_tenant
from tests.support.api import Api, running_api

WATCH = pb.WatchDeploymentsRequest(parent="tenants/demo")


async def follow(api: Api, watcher: Watcher, sequence: int) -> None:
    call = api.deployments.WatchDeployments(WATCH, metadata=api.as_admin)
    async for message in call:
        watcher.take(message)
        if watcher.accounted >= sequence:
            break
    call.cancel()


async def test_a_poll_waits_for_no_connection_of_the_workers(database_url):
    """P6: however busy dispatcher and reconciler are, events reach watchers."""
    async with running_api(database_url, worker_pool_connections=2) as api:
        tenant = await new_tenant(api.database, "demo")
        watcher = Watcher(tenant)
        await follow(api, watcher, 0)
        async with AsyncExitStack() as taken:
            for _ in range(2):
                await taken.enter_async_context(api.service._worker.acquire())
            await Writer(api.database, tenant).commit(3)
            await asyncio.wait_for(follow(api, Watcher(tenant, token=watcher.token), 3), 20)


async def test_operators_see_streams_tails_hints_and_resets(database_url, unused_tcp_port):
    """P5: a replica that has become deaf, or resets clients, shows it."""
    address = f"127.0.0.1:{unused_tcp_port}"
    async with (
        running_api(database_url, metrics_listen=address) as api,
        running_api(database_url) as other,
    ):
        tenant = await new_tenant(api.database, "demo")
        await Writer(api.database, tenant).commit(3)

        def scrape() -> str:
            return str(urllib.request.urlopen(f"http://{address}/metrics").read().decode())

        watcher = Watcher(tenant)
        call = api.deployments.WatchDeployments(WATCH, metadata=api.as_admin)
        async for message in call:
            watcher.take(message)
            if watcher.snapshots:
                break

        async def until(line: str) -> str:
            async with asyncio.timeout(20):
                while line not in (text := await asyncio.to_thread(scrape)):  # noqa: ASYNC110 - nothing tells us
                    await asyncio.sleep(0.02)
            return text

        await until("watch_hears 1.0")
        other.service._hub.notify(tenant.tenant_id)
        text = await until("watch_hints_heard_total 1.0")
        call.cancel()
        assert "watch_streams 1.0" in text
        assert "watch_tails 1.0" in text
        assert 'watch_resets_total{reason="HISTORY_TRIMMED"} 0.0' in text
        assert 'watch_resets_total{reason="STORE_CHANGED"} 0.0' in text
        assert [one.sequence for one in await history(api.database, tenant)] == [1, 2, 3]


def test_both_ends_look_for_the_other_and_permit_it():
    """P5: a peer that vanished is noticed within half a minute; no client is cut off for looking after the server."""
    server: dict[str, Any] = dict(setup._OPTIONS)
    client: dict[str, Any] = dict(channel._OPTIONS)
    for options in (server, client):
        assert options["grpc.keepalive_time_ms"] + options["grpc.keepalive_timeout_ms"] <= 30_000
        assert options["grpc.http2.max_pings_without_data"] == 0, "as often as that, for ever"
    # Clients in other languages ping every 10 s at most, without a call too. The server must not count that as abuse.
    assert server["grpc.keepalive_permit_without_calls"] == 1
    assert server["grpc.http2.min_recv_ping_interval_without_data_ms"] < 10_000
    assert client["grpc.keepalive_time_ms"] >= 10_000
