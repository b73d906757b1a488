"""Deployments are listed by name or by age, within times; pages are read through indexes."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from deployment_service.domain.lists import ALWAYS, NEVER, DeploymentOrder, EventFilter, View
from deployment_service.storage.deployments import deployments
from deployment_service.storage.deployments.deployments import DeploymentFilter
from deployment_service.storage.events import event_log
from deployment_service.storage.runs import explain
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.integration.test_api_lists import DEMO, START, api, at, nanos_after
from tests.integration.test_api_queries import HIGHEST, LOWEST, analyze, connection, nodes
from tests.support.api import refused, seed_deployment

__all__ = ["api", "connection"]  # fixtures

# By age: c, a, b and d (both at 3 hours), e.
HOURS = {"c": 1, "a": 2, "b": 3, "d": 3, "e": 4}


@pytest_asyncio.fixture
async def aged(api):
    for slug, hours in HOURS.items():
        uid = await seed_deployment(api, "demo", slug)
        async with api.database.acquire() as connection:
            await connection.execute(
                "UPDATE deployments SET create_time = $2 WHERE deployment_id = $1",
                uid,
                START + timedelta(hours=hours),
            )


async def page_of(api, **fields):
    request = pb.ListDeploymentsRequest(parent=DEMO, **fields)
    return await api.deployments.ListDeployments(request, metadata=api.as_admin)


async def slugs(api, **fields):
    """The ids of all pages, two a page; each page has the same resume token."""
    names, token, resume_tokens = [], "", set()
    while True:
        page = await page_of(api, page_size=2, page_token=token, **fields)
        names += [one.name.rpartition("/")[2] for one in page.deployments]
        resume_tokens.add(page.resume_token)
        token = page.next_page_token
        if not token:
            assert len(resume_tokens) == 1
            return "".join(names)


async def test_deployments_are_listed_by_name_or_age_within_times(api, aged):
    assert await slugs(api) == await slugs(api, order_by="name") == "abcde"
    oldest = await slugs(api, order_by=" create_time  asc ")
    assert oldest in ("cabde", "cadbe")  # of the same age: in the order of their uids
    assert await slugs(api, order_by="create_time desc") == oldest[::-1]
    between = {"create_time_from": at(2), "create_time_until": at(4)}
    assert await slugs(api, **between) == "abd"
    assert await slugs(api, order_by="create_time", **between) == oldest[1:4]
    assert await slugs(api, order_by="create_time desc", **between) == oldest[1:4][::-1]
    for order_by in ("", "create_time", "create_time desc"):
        assert await slugs(api, order_by=order_by, create_time_from=nanos_after(at(3))) == "e"
        assert await slugs(api, order_by=order_by, create_time_until=nanos_after(at(1))) == "c"
        assert await slugs(api, order_by=order_by, create_time_from=at(5)) == ""
        running = [pb.DEPLOYMENT_STATUS_RUNNING]
        assert await slugs(api, order_by=order_by, statuses=running, provider="other") == ""


async def test_a_deleted_deployment_has_its_place_by_age(api, aged):
    request = pb.DeleteDeploymentRequest(name=f"{DEMO}/deployments/a", force=True)
    await api.deployments.DeleteDeployment(request, metadata=api.as_admin)
    assert "a" not in await slugs(api, order_by="create_time")
    page = await page_of(api, order_by="create_time", show_deleted=True)
    assert [one.HasField("delete_time") for one in page.deployments] == [
        False,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order_by", "name desc"),
        ("order_by", "create_time, name"),
        ("order_by", "update_time"),
        ("create_time_until", Timestamp(seconds=1)),
        ("create_time_from", Timestamp(seconds=2**62)),
    ],
)
async def test_an_unknown_order_or_an_impossible_time_is_refused(api, aged, field, value):
    fields = {"create_time_from": at(0)} if field == "create_time_until" else {}
    async with refused() as refusals:
        await page_of(api, **fields, **{field: value})
    violation = refusals[0].details["BadRequest"].field_violations[0]
    assert (refusals[0].reason, violation.field) == ("INVALID_FIELD", field)


@pytest.mark.parametrize("order_by", ["", "create_time"])
async def test_a_page_token_belongs_to_its_times_and_order(api, aged, order_by):
    fields = {"create_time_from": at(1), "create_time_until": at(9), "order_by": order_by}
    token = (await page_of(api, page_size=2, **fields)).next_page_token
    for change in (
        {"order_by": "create_time desc"},
        {"create_time_from": at(2)},
        {"create_time_until": at(8)},
    ):
        async with refused() as refusals:
            await page_of(api, page_token=token, **(fields | change))
        assert refusals[0].reason == "PAGE_TOKEN_INVALID", change


async def plan_of(connection, query, *arguments):
    async with connection.transaction():
        rows = await connection.fetchval(f"EXPLAIN (FORMAT JSON, ANALYZE) {query}", *arguments)
    return nodes((json.loads(rows) if isinstance(rows, str) else rows)[0]["Plan"])


def read_of(plan, table):
    """How many rows of a table a plan reads, those that it drops again included."""
    found = [node for node in plan if node.get("Relation Name") == table]
    assert found
    assert "Seq Scan" not in {node["Node Type"] for node in found}
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in found
    )


async def test_a_page_by_age_reads_as_many_deployments_as_it_shows(connection, databases):
    await connection.execute(
        """
        UPDATE deployments SET create_time = now() - substr(slug, 2)::int * interval '1 hour'
        """
    )
    await analyze(databases)
    tenant_id = await connection.fetchval("SELECT tenant_id FROM tenants WHERE slug = 't0'")
    no_filters = (None, None, None, None, ALWAYS, NEVER)
    for order in (DeploymentOrder.NEWEST_FIRST, DeploymentOrder.OLDEST_FIRST):
        for show_deleted in (False, True):
            wanted = DeploymentFilter(order=order, show_deleted=show_deleted)
            query = deployments.query_of_page(wanted, View.BASIC)
            bounds = (LOWEST, NEVER, HIGHEST)
            plan = await plan_of(connection, query, tenant_id, ALWAYS, 51, *no_filters, *bounds)
            assert read_of(plan, "deployments") <= 60


async def test_the_events_of_one_run_are_read_without_those_of_others(connection, databases):
    """A deployment with 400 runs of 50 events each, and the newest run has few."""
    tenant_id = await connection.fetchval("SELECT tenant_id FROM tenants WHERE slug = 't0'")
    deployment_id = await deployments.find_id(connection, tenant_id, "d7")
    await connection.execute(
        """
        INSERT INTO deployment_events (tenant_id, sequence, deployment_id, deployment_slug, revision, type,
            run_number, old_status, status, deployment_status, source)
        SELECT $1, n, $2, 'd7', n, 'DEPLOYMENT_STATUS_UPDATE', 1 + n % 400, 'PENDING', 'RUNNING', 'RUNNING', 'READ'
        FROM generate_series(1, 20000) AS n
        """,
        tenant_id,
        deployment_id,
    )
    await analyze(databases)
    subject = event_log.Subject(deployment_id=deployment_id, run_number=7)
    for newest_first in (False, True):
        query = event_log.query_of_list(subject, EventFilter(newest_first=newest_first))
        arguments = (tenant_id, 0, 2**63 - 1, 101, ALWAYS, NEVER, None, None, *subject.arguments)
        plan = await plan_of(connection, query, *arguments)
        assert read_of(plan, "deployment_events") == 50
    run_id = await connection.fetchval(
        "SELECT run_id FROM deployment_runs WHERE deployment_id = $1 AND number = 7", deployment_id
    )
    plan = await plan_of(connection, explain.EVENTS, tenant_id, run_id)
    assert read_of(plan, "deployment_events") == 50
