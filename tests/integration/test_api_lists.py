"""What lists can be asked for: filters, orders, views, and names in one call. Over gRPC and a real database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.api import refused, running_api, seed_deployment

DEMO = "tenants/demo"
ALL = f"{DEMO}/deployments/-"
START = datetime(2026, 3, 1, tzinfo=UTC)
FILL = """
    INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status,
        rank, certainty, settle_time, shown, generation, build_number, end_time, create_time)
    SELECT r.tenant_id, r.deployment_id, n, r.job_id, 'EXTERNAL', 'ENDED', 'COMPLETED', 351, 'CONFIRMED', now(), true,
        1, n + 100, now(), $2::timestamptz + n * interval '1 hour'
    FROM deployment_runs AS r, generate_series($3::int, $4::int) AS n WHERE r.deployment_id = $1 AND r.number = 1
"""


@pytest_asyncio.fixture
async def api(database_url):
    async with running_api(database_url, trigger_wait_s=5) as running:
        await running.admin.CreateTenant(
            admin.CreateTenantRequest(tenant_id="demo"), metadata=running.as_admin
        )
        yield running


@pytest_asyncio.fixture
async def web(api):
    """A deployment with a running intended run 1 and ended external runs 2 to 9, one each hour from START on."""
    uid = await seed_deployment(api, "demo", "web")
    await seed_deployment(api, "demo", "other")
    await fill(api, uid, 2, 9)
    async with api.database.acquire() as connection:
        await connection.execute(
            """
            UPDATE deployment_runs SET status = 'RUNNING', rank = 200, certainty = NULL, settle_time = NULL,
                end_time = NULL, create_time = $1 WHERE number = 1
            """,
            START + timedelta(hours=1),
        )
    return uid


async def fill(api, uid, first, last):
    async with api.database.acquire() as connection:
        await connection.execute(FILL, uid, START, first, last)


def at(hours, **more):
    stamp = Timestamp()
    stamp.FromDatetime(START + timedelta(hours=hours, **more))
    return stamp


async def page_of(api, parent, **fields):
    request = pb.ListRunsRequest(parent=parent, **fields)
    return await api.deployments.ListRuns(request, metadata=api.as_admin)


async def runs_of(api, parent, **fields):
    """Short names of all pages, two a page."""
    names, token = [], ""
    while True:
        page = await page_of(api, parent, page_size=2, page_token=token, **fields)
        names += [run.name.removeprefix(f"{DEMO}/deployments/") for run in page.runs]
        token = page.next_page_token
        if not token:
            return names


def web_runs(*numbers):
    return [f"web/runs/{number}" for number in numbers]


@pytest.mark.parametrize("parent", [f"{DEMO}/deployments/web", ALL])
async def test_runs_are_listed_in_either_order_within_times_and_by_source(api, web, parent):
    async def listed(**fields):
        return await runs_of(api, parent, sources=[pb.RUN_SOURCE_EXTERNAL], **fields)

    assert await listed() == web_runs(9, 8, 7, 6, 5, 4, 3, 2)
    assert await listed(order_by="create_time desc") == await listed()
    assert await listed(order_by=" create_time  asc ") == web_runs(2, 3, 4, 5, 6, 7, 8, 9)
    between = {"create_time_from": at(3), "create_time_until": at(6)}
    assert await listed(**between) == web_runs(5, 4, 3)
    assert await listed(order_by="create_time", **between) == web_runs(3, 4, 5)
    assert await listed(create_time_from=at(8)) == web_runs(9, 8)
    assert await listed(create_time_until=at(3)) == web_runs(2)
    assert await listed(create_time_from=at(3), create_time_until=at(3)) == []
    # A nanosecond after a run it is past; a nanosecond before the next one is not yet there.
    assert await listed(create_time_from=nanos_after(at(8))) == web_runs(9)
    assert await listed(create_time_until=nanos_after(at(3))) == web_runs(3, 2)
    assert await listed(create_time_from=at(24 * 365 * 100)) == []
    far = Timestamp(seconds=253402300799, nanos=999999999)
    assert (
        await listed(create_time_from=Timestamp(seconds=-62135596800), create_time_until=far)
        == await listed()
    )
    assert await listed(create_time_from=far) == []


def nanos_after(stamp):
    return Timestamp(seconds=stamp.seconds, nanos=stamp.nanos + 1)


async def test_active_runs_are_found_by_status_and_source(api, web):
    active = [pb.DEPLOYMENT_STATUS_PENDING, pb.DEPLOYMENT_STATUS_RUNNING]
    names = await runs_of(api, ALL, statuses=active)
    assert sorted(names) == ["other/runs/1", "web/runs/1"]
    parent = f"{DEMO}/deployments/web"
    assert await runs_of(api, parent, statuses=active) == ["web/runs/1"]
    assert await runs_of(api, parent, statuses=active, sources=[pb.RUN_SOURCE_EXTERNAL]) == []
    mixed = [pb.DEPLOYMENT_STATUS_RUNNING, pb.DEPLOYMENT_STATUS_COMPLETED]
    assert len(await runs_of(api, parent, statuses=[*mixed, pb.DEPLOYMENT_STATUS_PENDING])) == 9
    assert await runs_of(api, parent, sources=[pb.RUN_SOURCE_SERVICE]) == ["web/runs/1"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order_by", "create_time desc, name"),
        ("order_by", "CREATE_TIME DESC"),
        ("order_by", "end_time"),
        ("order_by", "create_time; DROP TABLE deployment_runs"),
        ("create_time_until", Timestamp(seconds=1)),
        ("create_time_from", Timestamp(seconds=2**62)),
    ],
)
async def test_an_unknown_order_or_an_impossible_time_is_refused(api, web, field, value):
    fields = {"create_time_from": at(0)} if field == "create_time_until" else {}
    async with refused() as refusals:
        await page_of(api, ALL, **fields, **{field: value})
    violation = refusals[0].details["BadRequest"].field_violations[0]
    assert (refusals[0].reason, violation.field) == ("INVALID_FIELD", field)


@pytest.mark.parametrize("parent", [f"{DEMO}/deployments/web", ALL])
async def test_a_page_token_belongs_to_its_filter_and_order(api, web, parent):
    fields = {
        "create_time_from": at(2),
        "create_time_until": at(9),
        "sources": [pb.RUN_SOURCE_EXTERNAL],
        "statuses": [pb.DEPLOYMENT_STATUS_COMPLETED],
    }
    first = await page_of(api, parent, page_size=2, **fields)
    assert first.next_page_token
    same = await page_of(api, parent, page_token=first.next_page_token, page_size=9, **fields)
    assert len(same.runs) == 5
    changes: tuple[dict[str, Any], ...] = (
        {"order_by": "create_time"},
        {"create_time_from": at(3)},
        {"create_time_until": at(8)},
        {"sources": []},
        {"statuses": []},
        {"show_deleted": True},
    )
    for change in changes:
        async with refused() as refusals:
            await page_of(api, parent, page_token=first.next_page_token, **(fields | change))
        assert refusals[0].reason == "PAGE_TOKEN_INVALID", change


@pytest.mark.parametrize("parent", [f"{DEMO}/deployments/web", ALL])
@pytest.mark.parametrize("order_by", ["create_time desc", "create_time"])
async def test_paging_shows_each_run_once_while_runs_come_and_end(api, web, parent, order_by):
    names, token, added = [], "", 9
    while True:
        page = await page_of(api, parent, page_size=2, page_token=token, order_by=order_by)
        names += [run.name for run in page.runs]
        token = page.next_page_token
        if not token:
            break
        if added < 12:
            added += 1
            await fill(api, web, added, added)
    before = {f"{DEMO}/deployments/web/runs/{number}" for number in range(1, 10)}
    assert before <= set(names)
    assert len(set(names)) == len(names)
