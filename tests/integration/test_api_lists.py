"""What lists can be asked for: filters, orders, views, and names in one call. Over gRPC and a real database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from deployment_service.domain.access import Role
from deployment_service.domain.parameter_definitions import DeclaredParameter, definitions_to_json
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


async def names_of(api, **fields):
    page = await api.deployments.ListDeployments(
        pb.ListDeploymentsRequest(parent=DEMO, **fields), metadata=api.as_admin
    )
    return page.deployments


SCRIPT = "echo ${SECRET_TOKEN} && deploy"


@pytest_asyncio.fixture
async def scripted(api, web):
    """The deployment with a script and a parameter, its run 9 with a parameter."""
    async with api.database.acquire() as connection:
        await connection.execute(
            """
            UPDATE deployments SET job_kind = 'FREESTYLE_SHELL', job_spec = $2, parameter_definitions = $3
            WHERE deployment_id = $1
            """,
            web,
            {"full_name": "", "freestyle_shell": SCRIPT},
            definitions_to_json((DeclaredParameter("VERSION", default_value="hidden-default"),)),
        )
        await connection.execute(
            """
            UPDATE deployment_runs SET parameters = $2, secret_parameters = '{TOKEN}'
            WHERE deployment_id = $1 AND number = 9
            """,
            web,
            {"VERSION": "hidden-value"},
        )


async def test_lists_batches_and_snapshots_hold_no_scripts_and_no_parameters(api, scripted):
    web_name, run_name = f"{DEMO}/deployments/web", f"{DEMO}/deployments/web/runs/9"
    got = await api.deployments.GetDeployment(
        pb.GetDeploymentRequest(name=web_name), metadata=api.as_admin
    )
    ran = await api.deployments.GetRun(pb.GetRunRequest(name=run_name), metadata=api.as_admin)
    assert got.deployment.job.freestyle_shell == SCRIPT
    assert got.deployment.parameter_definitions[0].default_value == "hidden-default"
    assert dict(ran.run.parameters) == {"VERSION": "hidden-value"}

    basic = [*await names_of(api), *(await batch(api, [web_name])).deployments]
    basic += await snapshot(api)
    runs = list((await page_of(api, ALL)).runs)
    runs += (await page_of(api, web_name, view=pb.VIEW_BASIC)).runs
    runs += (await batch_runs(api, [run_name])).runs
    for message in (*basic, *runs):
        text = str(message)
        assert not [word for word in ("hidden", "TOKEN") if word in text], text
    assert all(one.etag and one.uid and one.create_time.seconds for one in basic)
    assert {one.name for one in basic} == {web_name, f"{DEMO}/deployments/other"}

    full = [one for one in await names_of(api, view=pb.VIEW_FULL) if one.name == web_name]
    full += (await batch(api, [web_name], view=pb.VIEW_FULL)).deployments
    assert [one.job for one in full] == [got.deployment.job] * 2
    assert full[0].parameter_definitions == got.deployment.parameter_definitions
    assert ran.run in (await page_of(api, ALL, view=pb.VIEW_FULL)).runs
    assert list((await batch_runs(api, [run_name], view=pb.VIEW_FULL)).runs) == [ran.run]


async def snapshot(api):
    stream = api.deployments.WatchDeployments(
        pb.WatchDeploymentsRequest(parent=DEMO), metadata=api.as_admin
    )
    found = []
    async for message in stream:
        if message.WhichOneof("response") == "deployment":
            found.append(message.deployment)
        if message.WhichOneof("response") == "snapshot_complete":
            break
    stream.cancel()
    return found


async def batch(api, names, metadata=None, **fields):
    request = pb.BatchGetDeploymentsRequest(parent=DEMO, names=names, **fields)
    return await api.deployments.BatchGetDeployments(request, metadata=metadata or api.as_admin)


async def batch_runs(api, names, metadata=None, **fields):
    request = pb.BatchGetRunsRequest(parent=DEMO, names=names, **fields)
    return await api.deployments.BatchGetRuns(request, metadata=metadata or api.as_admin)


async def test_a_batch_keeps_the_order_of_its_names(api, web):
    names = [f"{DEMO}/deployments/{one}" for one in ("web", "other", "web")]
    assert [one.name for one in (await batch(api, names)).deployments] == names
    runs = [f"{DEMO}/deployments/{one}" for one in ("web/runs/9", "other/runs/1", "web/runs/2")] * 2
    assert [one.name for one in (await batch_runs(api, runs)).runs] == runs
    uid_name = f"{DEMO}/deployments/uid:{web}"
    await api.deployments.DeleteDeployment(
        pb.DeleteDeploymentRequest(name=names[0], force=True), metadata=api.as_admin
    )
    answer = await batch(api, [uid_name, names[1]])
    assert [one.name for one in answer.deployments] == [uid_name, names[1]]
    answer = await batch_runs(api, [f"{uid_name}/runs/3", runs[1]])
    assert [one.name for one in answer.runs] == [f"{uid_name}/runs/3", runs[1]]


async def test_a_batch_names_the_first_that_is_missing(api, web):
    async with refused() as refusals:
        await batch(api, [f"{DEMO}/deployments/{one}" for one in ("web", "gone", "lost")])
    assert refusals[0].reason == "DEPLOYMENT_NOT_FOUND"
    assert "deployments/gone" in refusals[0].message
    async with refused() as refusals:
        await batch_runs(
            api, [f"{DEMO}/deployments/{one}" for one in ("web/runs/2", "web/runs/99")]
        )
    assert refusals[0].reason == "RUN_NOT_FOUND"
    assert "web/runs/99" in refusals[0].message


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "REQUIRED_FIELD"),
        (["web"] * 101, "TOO_MANY"),
        (["-"], "INVALID_NAME"),
        (["web", "tenants/other/deployments/web"], "WRONG_PARENT"),
    ],
)
async def test_a_batch_takes_100_names_of_one_tenant(api, web, names, reason):
    full = [one if "/" in one else f"{DEMO}/deployments/{one}" for one in names]
    async with refused() as refusals:
        await batch(api, full)
    assert refusals[0].reason == reason
    async with refused() as refusals:
        await batch_runs(api, [f"{one}/runs/1" for one in full])
    assert refusals[0].reason == reason
    assert len((await batch(api, [f"{DEMO}/deployments/web"] * 100)).deployments) == 100


async def test_a_key_of_one_tenant_learns_nothing_of_another_from_a_batch(api, web):
    key = await api.key(Role.VIEWER, "demo")
    for slug in ("web", "nothing"):
        async with refused() as refusals:
            await batch(api, [f"tenants/other/deployments/{slug}"], metadata=key)
        assert refusals[0].reason == "SCOPE_INSUFFICIENT"
        assert "other" not in refusals[0].message


async def test_a_batch_too_large_for_an_answer_is_refused_not_cut(api, web):
    async with api.database.acquire() as connection:
        await connection.execute(
            "UPDATE deployments SET job_kind = 'FREESTYLE_SHELL', job_spec = $1",
            {"full_name": "", "freestyle_shell": "x" * 2_000_000},
        )
    names = [f"{DEMO}/deployments/web", f"{DEMO}/deployments/other"]
    async with refused() as refusals:
        await batch(api, names, view=pb.VIEW_FULL)
    assert refusals[0].reason == "TOO_MANY"
    assert len((await batch(api, names)).deployments) == 2
    assert len((await batch(api, names[:1], view=pb.VIEW_FULL)).deployments) == 1
