"""A database that was filled under the first schema migrates to every later revision, and nothing is lost.

``first_schema.sql`` holds its data; ``make_dump.py`` says how it was made.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest_asyncio

from deployment_service.storage.schema.migrate import migrate
from deployment_service.storage.schema.revisions import revisions, scripts
from deployment_service.v1 import admin_service_pb2 as admin_pb
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.api import Api, bearer, running_api
from tests.upgrade.catalog import catalog_of
from tests.upgrade.facts import Facts, read_facts
from tests.upgrade.known_secrets import SECRET_KEY, VIEWER_KEY

DUMP = Path(__file__).with_name("first_schema.sql")
FIRST = "0004"
# Databases exist that these revisions made: a change belongs into a new revision.
FROZEN = {
    "0001_tenants.py": "33b7240bf158f3dae276cf5ecaa2ebd5d4907db7326e347e8fec6e1c34bf5c05",
    "0002_deployments.py": "136a219d253989650cca3bf9512e2728f1787b4a9608f24b3abd3e27beae29a6",
    "0003_runs.py": "b59bef7dd96468d4dd7db2efcf1a9e487951ce792427e8de5af6bc04975e4ccb",
    "0004_roles.py": "921a10ed31256ab06a1eda472048ca149a6da6f422320a2633e6677bc938c9b5",
}
TIMES = """
    SELECT format('UPDATE %s SET %s', c.oid::regclass,
        string_agg(format('%1$I = %1$I + $1::interval', a.attname), ', '))
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
        AND a.atttypid = 'timestamptz'::regtype
    GROUP BY c.oid
"""


@pytest_asyncio.fixture
async def first_schema_url(empty_database_url: str) -> AsyncIterator[str]:
    """A database at the first schema, with its data as if it had been written just now."""
    await migrate(empty_database_url, FIRST)
    text = DUMP.read_text()
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute(text)
        # Otherwise retention would remove the data, by its age.
        taken = datetime.fromisoformat(text.splitlines()[1].removeprefix("-- taken at "))
        age = datetime.now(UTC) - taken
        for row in await connection.fetch(TIMES):
            await connection.execute(row[0], age)
    finally:
        await connection.close()
    yield empty_database_url


def test_the_first_revisions_are_unchanged() -> None:
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((scripts() / "versions").glob("000[1-4]_*.py"))
    }
    assert found == FROZEN


async def test_every_revision_keeps_what_the_first_schema_held(first_schema_url: str) -> None:
    """P8: one revision at a time, as an upgrade from each of them would go."""
    before = await read_facts(first_schema_url)
    check_kinds(before)
    for revision in revisions():
        if revision > FIRST:
            await migrate(first_schema_url, revision)
            check_kept(before, await read_facts(first_schema_url), revision)


async def test_a_migrated_schema_is_that_of_a_fresh_database(
    first_schema_url: str, database_url: str
) -> None:
    await migrate(first_schema_url)
    migrated, fresh = await catalog_of(first_schema_url), await catalog_of(database_url)
    assert sorted(set(migrated) ^ set(fresh)) == []


async def test_the_service_reads_what_was_migrated(first_schema_url: str) -> None:
    """Every deployment, run, event, explanation, provider and key, through the API of today."""
    before = await read_facts(first_schema_url)
    await migrate(first_schema_url)
    async with running_api(first_schema_url, secret_keys=SECRET_KEY) as api:
        names: dict[object, str] = {}
        for tenant in ("bank", "demo", "empty"):
            names |= await read_tenant(api, f"tenants/{tenant}", before)
        assert names.keys() == before.deployments.keys()
        for (uid, number), run in before.runs.items():
            await read_run(api, f"{names[uid]}/runs/{number}", run)
        keys = await api.admin.ListApiKeys(
            admin_pb.ListApiKeysRequest(page_size=100), metadata=api.as_admin
        )
        assert len(keys.api_keys) == before.counts["api_keys"] + 1  # ours
        web = await api.deployments.GetDeployment(
            pb.GetDeploymentRequest(name="tenants/demo/deployments/web"),
            metadata=bearer(VIEWER_KEY),
        )
        version = pb.ParameterDefinition(
            name="VERSION", kind=pb.PARAMETER_KIND_STRING, default_value="1.0"
        )
        assert list(web.deployment.parameter_definitions) == [version]


async def read_tenant(api: Api, tenant: str, before: Facts) -> dict[object, str]:
    """Check a tenant's lists; return the names of its deployments by their UUIDs."""
    listed = await api.deployments.ListDeployments(
        pb.ListDeploymentsRequest(parent=tenant, page_size=100), metadata=api.as_admin
    )
    by_uid = {str(uid): uid for uid in before.deployments}
    names: dict[object, str] = {}
    for shown in listed.deployments:
        answer = await api.deployments.GetDeployment(
            pb.GetDeploymentRequest(name=shown.name), metadata=api.as_admin
        )
        kept = before.deployments[by_uid[shown.uid]]
        assert answer.deployment.name == f"{tenant}/deployments/{kept['slug']}"
        assert answer.deployment.revision >= kept["revision"]
        names[by_uid[shown.uid]] = shown.name
    events = await all_events(api, f"{tenant}/deployments/-")
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    of_tenant = await api.tenant(tenant.removeprefix("tenants/"))
    old = [key for key in before.events if key[0] == of_tenant.tenant_id]
    assert len(events) >= len(old)
    for event in events[: len(old)]:
        kept = before.events[of_tenant.tenant_id, event.sequence]
        assert pb.DeploymentEvent.Type.Name(event.type).endswith(kept["type"])
    await api.admin.ListProviders(
        admin_pb.ListProvidersRequest(parent=tenant), metadata=api.as_admin
    )
    return names


async def all_events(api: Api, parent: str) -> list[pb.DeploymentEvent]:
    events: list[pb.DeploymentEvent] = []
    request = pb.ListEventsRequest(parent=parent)
    while True:
        page = await api.deployments.ListEvents(request, metadata=api.as_admin)
        events += page.events
        if not page.next_page_token:
            return events
        request.page_token = page.next_page_token


async def read_run(api: Api, name: str, kept: dict[str, object]) -> None:
    got = await api.deployments.GetRun(pb.GetRunRequest(name=name), metadata=api.as_admin)
    assert got.run.name == name
    if kept["ended"]:
        assert pb.DeploymentStatus.Name(got.run.status) == f"DEPLOYMENT_STATUS_{kept['status']}"
        assert got.run.build_number == (kept["build_number"] or 0)
    await api.deployments.ExplainRun(pb.ExplainRunRequest(name=name), metadata=api.as_admin)


def check_kept(before: Facts, after: Facts, revision: str) -> None:
    """All that was there is there; a migration may add rows."""
    for kind in ("runs", "deployments", "jobs", "events", "deliveries", "providers"):
        old, new = getattr(before, kind), getattr(after, kind)
        changed = {key: (old[key], new.get(key)) for key in old if new.get(key) != old[key]}
        assert not changed, f"revision {revision} changed {kind}"
    lost = {table for table, count in before.counts.items() if after.counts[table] < count}
    assert not lost, f"revision {revision} lost rows"


def check_kinds(facts: Facts) -> None:
    """The dump holds a row of every kind that a migration could treat in a way of its own."""
    runs = facts.runs.values()
    assert {run["status"] for run in runs} == {
        *("PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
    }
    assert {run["trigger_state"] for run in runs} == {"WAITING", "SENDING", "ACCEPTED", "ENDED"}
    assert {run["source"] for run in runs} == {"SERVICE", "EXTERNAL"}
    assert {(run["ended"], run["confirmed"]) for run in runs} == {
        *((True, True), (True, False), (False, False))
    }
    assert {run["failure_cause"] for run in runs} >= {
        *("BUILD_FAILED", "BUILD_UNSTABLE", "BUILD_LOST", "NOT_BUILT", "CANCELLED"),
        *("CANCELLED_IN_JENKINS", "TRIGGER_REJECTED", "TRIGGER_OUTCOME_UNKNOWN"),
    }
    assert {job["state"] for job in facts.jobs.values()} == {
        *("CREATING", "READY", "FAILED", "DELETING")
    }
    assert {job["origin"] for job in facts.jobs.values()} == {"CREATED", "ADOPTED"}
    assert set(facts.deliveries.values()) >= {"APPLIED", "DUPLICATE", "STALE", "KEPT"}
    assert all(facts.counts.values())
