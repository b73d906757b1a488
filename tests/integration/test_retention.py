"""What is removed with age, what stays for ever, and that removing it costs little and loses nothing (P5, P8)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import asyncpg
import pytest

from deployment_service.domain.access import TenantRef
from deployment_service.storage import retention
from deployment_service.storage.retention import Retained
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.workers.retention import Retention, RetentionSettings
from tests.integration.watch_harness import (
    FAST,
    Watcher,
    Writer,
    fold,
    following,
    history,
    new_tenant,
    replica,
    wait_for,
)
from tests.support.api import running_api

DAY_S = 86_400.0
SMALL = RetentionSettings(event_age_s=10 * DAY_S, delivery_age_s=3600.0, batch=8, pause_s=0.0)


async def sql(url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(statement, *arguments)
    finally:
        await connection.close()


async def age(url: str, through: int, days: float = 11.0) -> None:
    """Let the events up to a sequence be so old."""
    await sql(
        url,
        "UPDATE deployment_events SET create_time = now() - make_interval(secs => $2) WHERE sequence <= $1",
        through,
        days * DAY_S,
    )


async def kept(databases: Any, tenant: TenantRef) -> list[int]:
    return [event.sequence for event in await history(databases.api, tenant)]


async def test_old_events_go_and_each_deployments_newest_stays(databases):
    """P8: the fold of what is left is the present, also of a deployment that was quiet for long or is gone."""
    demo, other = [await new_tenant(databases.api, slug) for slug in ("demo", "other")]
    await Writer(databases.api, demo, "quiet", "gone").commit(20)
    busy = Writer(databases.api, demo, "busy")
    await busy.commit(40)
    await Writer(databases.api, other, "only").commit(30)
    await age(databases.url, 50)
    states = [fold(await history(databases.api, tenant)) for tenant in (demo, other)]
    worker = Retention(databases.worker, SMALL)
    await worker.one_round()
    assert await kept(databases, demo) == [19, 20, *range(51, 61)]
    assert await kept(databases, other) == [30], "the tenant's newest: sequences go on from it"
    assert [fold(await history(databases.api, tenant)) for tenant in (demo, other)] == states
    assert await busy.commit() == 61
    await worker.one_round()
    assert await kept(databases, demo) == [19, 20, *range(51, 62)]


async def test_what_was_kept_as_the_newest_goes_once_it_is_not(databases):
    """P8: keeping a quiet deployment's event is no reason to keep it for ever."""
    tenant = await new_tenant(databases.api)
    writer = Writer(databases.api, tenant, "web")
    await writer.commit(3)
    await age(databases.url, 3)
    worker = Retention(databases.worker, SMALL)
    await worker.one_round()
    assert await kept(databases, tenant) == [3]
    await writer.commit()
    await worker.one_round()
    assert await kept(databases, tenant) == [4]


async def test_several_replicas_may_trim_at_once(databases):
    """P8: who finds another at it leaves it to that one; together they remove everything, and nothing else."""
    tenants = [await new_tenant(databases.api, f"t{n}") for n in range(30)]
    for tenant in tenants:
        await Writer(databases.api, tenant, "a", "b").commit(50)
    await age(databases.url, 40)
    workers = [Retention(databases.worker, SMALL) for _ in range(4)]
    await asyncio.gather(*(worker.one_round() for worker in workers))
    for tenant in tenants:
        assert await kept(databases, tenant) == [*range(41, 51)]


async def test_a_replica_that_finds_another_at_it_does_nothing(databases):
    """P6: two never wait for each other's locks."""
    tenant = await new_tenant(databases.api)
    await Writer(databases.api, tenant).commit(5)
    await age(databases.url, 5)
    worker = Retention(databases.worker, SMALL)
    async with databases.worker.acquire() as connection, connection.transaction():
        assert await retention.is_mine(connection)
        await worker.one_round()
        assert len(await kept(databases, tenant)) == 5
    await worker.one_round()
    assert await kept(databases, tenant) == [5]


async def test_a_slow_reader_that_trimming_overtakes_gets_a_reset(databases):
    """P5: never a gap, also for a stream that is in the middle of the history that goes."""
    tenant = await new_tenant(databases.api)
    await Writer(databases.api, tenant, "a", "b").commit(60)
    tiny = dataclasses.replace(FAST, ring_events=2, history_page=4, batch_events=2)
    async with replica(databases.worker, settings=tiny) as one:
        token = one.hub.tokens.position(tenant.tenant_id, await one.hub.epoch.current(), 0)
        watcher = Watcher(tenant, token=token)
        seen: list[int] = []

        def until(w: Watcher) -> object:
            if w.events and not w.resets:
                seen[:] = [event.sequence for event in w.events]
            if len(w.events) == 6:
                one.log.hold_pages = asyncio.Event()
            return w.resets and w.snapshots

        async with following([watcher], one, until):
            await wait_for(lambda: len(watcher.events) == 8)
            await age(databases.url, 50)
            await Retention(databases.worker, SMALL).one_round()
            assert one.log.hold_pages is not None
            one.log.hold_pages.set()
        assert watcher.resets == [pb.Reset.REASON_HISTORY_TRIMMED]
        assert seen == list(range(1, 9)), "whole up to the reset"
        assert watcher.state == fold(await history(databases.api, tenant))


async def test_deliveries_go_and_those_to_be_attributed_stay_for_a_day(databases):
    """P2: a report that waits for its build to become known isn't thrown away with the settled ones."""
    tenant = await new_tenant(databases.api)
    await sql(
        databases.url,
        """
        INSERT INTO webhook_deliveries (tenant_id, job_id, build_number, source, rank, verdict, receive_time,
            create_time)
        SELECT $1, gen_random_uuid(), n, 'GUIDE', 0, CASE n % 2 WHEN 0 THEN 'PENDING_ATTRIBUTION' ELSE 'APPLIED' END,
            now(),
            now() - make_interval(secs => CASE WHEN n <= 20 THEN 90000 WHEN n <= 40 THEN 7200 ELSE 60 END)
        FROM generate_series(1, 50) AS n
        """,
        tenant.tenant_id,
    )
    await Retention(databases.worker, SMALL).one_round()
    left = await sql(databases.url, "SELECT build_number FROM webhook_deliveries ORDER BY 1")
    assert [row[0] for row in left] == [*range(22, 41, 2), *range(41, 51)]


async def test_request_ids_are_forgotten_after_a_day(databases):
    """P3: no sooner than promised, or a repeated RunDeployment would start a second run."""
    await sql(
        databases.url,
        """
        INSERT INTO request_ids (tenant_id, caller, method, request_id, body_sha256, create_time)
        SELECT gen_random_uuid(), 'me', 'RunDeployment', gen_random_uuid(), '', now() - make_interval(mins => n)
        FROM generate_series(1420, 1460) AS n
        """,
    )
    await Retention(databases.worker, SMALL).one_round()
    ((count, oldest),) = await sql(
        databases.url, "SELECT count(*), now() - min(create_time) FROM request_ids"
    )
    assert count in (19, 20), "1420 to 1439 minutes; 1439 has become 1440 if this took a minute"
    assert oldest.total_seconds() < 86_400


async def test_a_replica_trims_by_its_settings(database_url):
    """P8: the service itself does it, with the rights of its role."""
    async with running_api(database_url, event_retention_days=20.0) as api:
        tenant = await new_tenant(api.database, "demo")
        await Writer(api.database, tenant).commit(5)
        await age(database_url, 5, days=19)
        await age(database_url, 3, days=21)
    async with running_api(database_url, event_retention_days=20.0) as api:
        await wait_for_kept(api.database, tenant, [4, 5])


async def kept_by(database: Any, tenant: TenantRef) -> list[int]:
    return [event.sequence for event in await history(database, tenant)]


async def wait_for_kept(database: Any, tenant: TenantRef, wanted: list[int]) -> None:
    async with asyncio.timeout(20):
        while await kept_by(database, tenant) != wanted:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("what", ["events", "deliveries", "request ids"])
async def test_trimming_reads_by_index_what_it_looks_at(databases, what):
    """P6: with a long history of many tenants, a batch touches a batch, and young rows aren't looked for."""
    connection = await asyncpg.connect(databases.url)
    try:
        await connection.execute(
            "INSERT INTO tenants (slug) SELECT 't' || n FROM generate_series(1, 8) AS n"
        )
        tenants = [row[0] for row in await connection.fetch("SELECT tenant_id FROM tenants")]
        await connection.execute(_FILL_EVENTS)
        await connection.execute(_FILL_DELIVERIES)
        await connection.execute(_FILL_REQUEST_IDS)
        await connection.execute("ANALYZE")
        statement, arguments = {
            "events": (Retained.EVENTS.value, (tenants, [0] * 8, 100, 10 * DAY_S)),
            "deliveries": (Retained.DELIVERIES.value, (tenants, [0] * 8, 100, 10 * DAY_S)),
            "request ids": (retention._REQUEST_IDS, (800,)),
        }[what]
        plan = json.loads(
            await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
        )
    finally:
        await connection.close()
    on_tables = [node for node in _nodes(plan[0]["Plan"]) if "Relation Name" in node]
    kinds = {node["Node Type"] for node in on_tables if node["Node Type"] != "ModifyTable"}
    assert kinds <= {"Index Scan", "Index Only Scan", "Tid Scan"}
    # Looked at, compared with a newer one and with the head, found again and removed.
    assert 800 <= sum(_rows(node) for node in on_tables) <= 5 * 800
    assert max(_rows(node) for node in on_tables) <= 800


_FILL_EVENTS = """
    INSERT INTO deployment_events (tenant_id, sequence, deployment_id, deployment_slug, revision, type,
        old_status, status, deployment_status, source, create_time)
    SELECT t.tenant_id, n, md5(t.slug || n % 50)::uuid, 'a' || n % 50, n / 50 + 1, 'DEPLOYMENT_STATUS_UPDATE',
        'PENDING', 'RUNNING', 'RUNNING', 'READ', now() - make_interval(hours => 5000 - n)
    FROM tenants AS t, generate_series(1, 5000) AS n
"""
_FILL_DELIVERIES = """
    INSERT INTO webhook_deliveries (tenant_id, job_id, build_number, source, rank, verdict, receive_time, create_time)
    SELECT t.tenant_id, md5(t.slug)::uuid, n, 'GUIDE', 0, 'APPLIED', now(), now() - make_interval(hours => 5000 - n)
    FROM tenants AS t, generate_series(1, 5000) AS n
"""
_FILL_REQUEST_IDS = """
    INSERT INTO request_ids (tenant_id, caller, method, request_id, body_sha256, create_time)
    SELECT gen_random_uuid(), 'me', 'RunDeployment', gen_random_uuid(), '', now() - make_interval(mins => n)
    FROM generate_series(1, 20000) AS n
"""


def _nodes(plan: dict[str, Any]) -> Any:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _rows(node: dict[str, Any]) -> float:
    return float(node["Actual Rows"]) * float(node["Actual Loops"])
