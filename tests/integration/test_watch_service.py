"""Watching as the whole service offers it: pools, metrics, keepalive (P5, P6)."""

from __future__ import annotations

import asyncio
import importlib
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

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

        await until("watch_listener_connected 1.0")
        other.service._hub.notify(tenant.tenant_id)
        text = await until("watch_hints_received_total 1.0")
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
    library = Path(str(importlib.import_module("grpc._cython.cygrpc").__file__)).read_bytes()
    for name in {*server, *client}:
        assert name.encode() in library, "gRPC passes over options that it doesn't know"
    # Clients in other languages ping every 10 s at most, without a call too. The server must not count that as abuse.
    assert server["grpc.keepalive_permit_without_calls"] == 1
    assert server["grpc.http2.min_ping_interval_without_data_ms"] < 10_000
    assert client["grpc.keepalive_time_ms"] >= 10_000


_STATEMENTS = r"""
    SELECT coalesce(sum(calls), 0) FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND query NOT LIKE '%pg_stat_statements%' AND query LIKE $1
        -- not what the pool does to a connection that is given back
        AND query ~* '^\s*(SELECT|WITH|INSERT|UPDATE|DELETE)' AND query NOT LIKE '%pg_advisory_unlock_all%'
"""
_POLL = "%FROM store LEFT JOIN%unnest($1::uuid[]) AS asked (tenant_id)%"


async def statements_per_poll(url: str, polls: int) -> float:
    """What a whole replica asks of the database between two polls for watchers, whatever it is for."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")

        async def count(pattern: str) -> int:
            return int(await connection.fetchval(_STATEMENTS, pattern))

        first, before = await count(_POLL), await count("%")
        async with asyncio.timeout(60):
            while await count(_POLL) < first + polls:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.05)
        return (await count("%") - before) / (await count(_POLL) - first)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "many", [150, pytest.param(1000, marks=[pytest.mark.full, pytest.mark.timeout(300)])]
)
async def test_idle_streams_cost_a_whole_service_no_statements(database_url, many):
    """P6: with everything that runs in a replica, keys that are checked again included: a stream for each tenant."""
    async with running_api(database_url) as api:
        async with api.database.acquire() as connection:
            await connection.execute(
                "INSERT INTO tenants (slug) SELECT 't' || n FROM generate_series(1, $1::int) AS n",
                many,
            )
        alone = await statements_per_poll(database_url, 5)
        watches = [
            api.deployments.WatchDeployments(
                pb.WatchDeploymentsRequest(parent=f"tenants/t{n}"), metadata=api.as_admin
            )
            for n in range(1, many + 1)
        ]
        started = 0
        for watch in watches:
            while (await watch.read()).WhichOneof("response") != "snapshot_complete":
                pass
            started += 1
        assert started == api.service._hub.tails == many
        crowded = await statements_per_poll(database_url, 5)
        for watch in watches:
            watch.cancel()
        print(f"{alone:.1f} statements per poll without, {crowded:.1f} with {many} streams")
        assert crowded <= alone + 2
        async with asyncio.timeout(60):
            while api.service._hub.streams:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.02)


@pytest.mark.full
@pytest.mark.timeout(120)
async def test_pings_without_a_call_are_answered_and_not_held_against_the_client(database_url):
    """P5: an idle connection of a client in any language, which pings every ten seconds."""
    async with running_api(database_url) as api:
        host, _, port = api.service.target.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS))
        pongs: list[float] = []
        answering = asyncio.create_task(answer(reader, writer, pongs))
        for _ in range(4):
            writer.write(frame(PING, bytes(8)))
            await asyncio.sleep(10.0)  # the interval is what is tested
        assert not answering.done(), answering.exception()
        assert len(pongs) == 4
        answering.cancel()
        writer.close()


SETTINGS, PING, GOAWAY, ACK = 4, 6, 7, 1


async def answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pongs: list[float]
) -> None:
    """Be the polite end of an HTTP/2 connection; note when pings were answered."""
    while True:
        head = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        kind, flags = head[3], head[4]
        assert kind != GOAWAY, payload
        if kind == PING and flags == ACK:
            pongs.append(asyncio.get_running_loop().time())
        elif kind in (SETTINGS, PING) and not flags:
            writer.write(frame(kind, payload if kind == PING else b"", ACK))


def frame(kind: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """An HTTP/2 frame of the connection itself."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + bytes(4) + payload
