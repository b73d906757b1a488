"""While replicas are exchanged for newer ones, old ones read words that only the new ones know (P5, P6)."""

from __future__ import annotations

import asyncpg
import pytest

from deployment_service.api.event_messages import to_bytes
from deployment_service.domain.access import TenantRef
from deployment_service.domain.events import Event
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.integration.watch_harness import (
    Watcher,
    Writer,
    following,
    history,
    new_tenant,
    replica,
    wait_for,
)
from tests.support.api import running_api, seed_deployment

# What a newer version's migration does first.
WIDEN = """
    ALTER TABLE deployment_events DROP CONSTRAINT deployment_events_type_check,
        DROP CONSTRAINT deployment_events_source_check, DROP CONSTRAINT deployment_events_old_status_check,
        DROP CONSTRAINT deployment_events_status_check, DROP CONSTRAINT deployment_events_deployment_status_check
"""
NEWER = """
    INSERT INTO deployment_events (tenant_id, sequence, deployment_id, deployment_slug, revision, type, run_number,
        old_status, status, deployment_status, source, failure_cause)
    SELECT $1, coalesce(max(sequence), 0) + 1, $2, 'web', coalesce(max(revision), 0) + 1, 'DEPLOYMENT_PAUSED', 1,
        'RESTING', 'PAUSED', 'PAUSED', 'ORACLE', 'ECLIPSE'
    FROM deployment_events WHERE tenant_id = $1
"""


async def write_newer(url: str, tenant: TenantRef, deployment_id: object) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(WIDEN)
        await connection.execute(NEWER, tenant.tenant_id, deployment_id)
    finally:
        await connection.close()


def is_unspecified(event: pb.DeploymentEvent) -> bool:
    words = (
        event.type,
        event.source,
        event.old_run_status,
        event.run_status,
        event.deployment_status,
    )
    return not any((*words, event.failure_cause))


async def test_a_word_that_only_newer_replicas_know_stops_no_watch(databases):
    """P5, P6: neither that tenant's, live or from history, nor another's."""
    tenant, other = await new_tenant(databases.api), await new_tenant(databases.api, "other")
    writer, neighbour = Writer(databases.api, tenant), Writer(databases.api, other)
    await writer.commit(2)
    async with replica(databases.worker) as one:
        token = one.hub.tokens.position(tenant.tenant_id, await one.hub.epoch.current(), 0)
        watchers = [Watcher(tenant), Watcher(other)]
        async with following(watchers, one, lambda w: w.events and w.accounted >= 1):
            await wait_for(lambda: all(w.snapshots for w in watchers))
            found = (await history(databases.api, tenant))[-1]
            await write_newer(databases.url, tenant, found.deployment_id)
            await neighbour.commit()
        assert [event.sequence for event in watchers[0].events] == [3]
        assert is_unspecified(watchers[0].events[0])
        later = Watcher(tenant, token=token)
        await later.follow_to(one, 3)
        later.check(await history(databases.api, tenant))
    assert watchers[0].resets == watchers[1].resets == []


@pytest.mark.expects_logged_errors
async def test_an_event_that_cannot_be_told_costs_its_own_tenant_a_reset(databases):
    """P6: whatever the defect is, the others' watches go on; its own go on behind it, and are told so."""
    tenant, other = await new_tenant(databases.api), await new_tenant(databases.api, "other")
    writer, neighbour = Writer(databases.api, tenant), Writer(databases.api, other)

    def serialize(tenant_slug: str, event: Event) -> bytes:
        if event.message == "poison":
            raise ValueError("can't be told")
        return to_bytes(tenant_slug, event)

    async with replica(databases.worker, serialize=serialize) as one:
        watcher, beside = Watcher(tenant), Watcher(other)
        async with (
            following([beside], one, lambda w: w.events),
            following([watcher], one, lambda w: w.events),
        ):
            await wait_for(lambda: watcher.snapshots and beside.snapshots)
            await writer.commit(message="poison")
            await neighbour.commit()
            await wait_for(lambda: watcher.snapshots == 2)
            await writer.commit()
    assert (watcher.resets, [event.sequence for event in watcher.events]) == (
        [pb.Reset.REASON_HISTORY_TRIMMED],
        [2],
    )
    assert beside.resets == []


async def test_lists_and_explanations_are_answered_all_the_same(database_url):
    async with running_api(database_url) as api:
        request = admin.CreateTenantRequest(tenant_id="demo")
        await api.admin.CreateTenant(request, metadata=api.as_admin)
        deployment_id = await seed_deployment(api, "demo")
        await write_newer(database_url, await api.tenant("demo"), deployment_id)
        async with api.database.acquire() as connection:
            await connection.execute(
                "UPDATE deployment_runs SET status = 'FAILED', failure_cause = 'ECLIPSE', rank = 353"
            )
        name = "tenants/demo/deployments/web"
        listed = await api.deployments.ListEvents(
            pb.ListEventsRequest(parent=name), metadata=api.as_admin
        )
        assert [is_unspecified(event) for event in listed.events] == [True]
        trail = await api.deployments.ExplainRun(
            pb.ExplainRunRequest(name=f"{name}/runs/1"), metadata=api.as_admin
        )
        assert (trail.run.status, trail.run.failure_cause) == (pb.DEPLOYMENT_STATUS_FAILED, 0)
        assert list(trail.events) == list(listed.events)
        assert listed.events[0].run == trail.run.name
