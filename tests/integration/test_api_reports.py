"""ListReports: what was reported about a job's builds and belongs to no run."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest
import pytest_asyncio

from deployment_service.domain.access import Role
from deployment_service.storage.reports.reports_without_run import PAGE
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.api import Api, refused, running_api, seed_deployment
from tests.support.nonsense import NIL as ANOTHER

WEB = "tenants/demo/deployments/web"
ALL = "tenants/demo/deployments/-"
NAMED = uuid.UUID(int=5)
_FILL = """
    INSERT INTO webhook_deliveries (tenant_id, job_id, build_number, run_id, source, phase, status, rank, queue_id,
        verdict, message, signed_id, gateway_key_id, named_run_id, receive_time)
    SELECT j.tenant_id, j.job_id, n, CASE WHEN n % 2 = 0 THEN gen_random_uuid() END, 'NOTIFICATION_PLUGIN', 'FINALIZED',
        'SUCCESS', 341, n::text, 'PENDING_ATTRIBUTION', 'Jenkins has not shown this build yet.',
        'signed-' || gen_random_uuid(),
        gen_random_uuid(), $2, now() + n * interval '1 second'
    FROM cicd_jobs AS j JOIN tenants AS t USING (tenant_id), generate_series(1, $3) AS n WHERE t.slug = $1
"""


@pytest_asyncio.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url) as running:
        async with running.database.acquire() as connection:
            await connection.execute("INSERT INTO tenants (slug) VALUES ('demo'), ('other')")
        for tenant in ("demo", "other"):
            await seed_deployment(running, tenant)
        yield running


async def fill(url: str, tenant: str, count: int) -> str:
    """Reports of builds 1 to ``count``: the odd ones without a run. Return the job's id."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_FILL, tenant, NAMED, count)
        await connection.execute("ANALYZE webhook_deliveries")
        job_id = await connection.fetchval(
            "SELECT job_id FROM cicd_jobs JOIN tenants USING (tenant_id) WHERE slug = $1", tenant
        )
    finally:
        await connection.close()
    return str(job_id)


async def all_pages(api: Api, **fields: Any) -> list[pb.RunReport]:
    key = await api.key(Role.VIEWER, "demo")
    found: list[pb.RunReport] = []
    request = pb.ListReportsRequest(**fields)
    while True:
        page = await api.deployments.ListReports(request, metadata=key)
        assert len(page.reports) <= (request.page_size or 50)
        found += page.reports
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found


@pytest.mark.parametrize("page_size", [0, 1, 3, 4, 500])
async def test_every_report_without_a_run_once_newest_first(
    api: Api, database_url: str, page_size: int
) -> None:
    job_id = await fill(database_url, "demo", 8)
    await fill(database_url, "other", 9)
    by_deployment = await all_pages(api, parent=WEB, page_size=page_size)
    assert [one.build_number for one in by_deployment] == [7, 5, 3, 1]
    by_job = await all_pages(api, parent=ALL, cicd_job_id=job_id, page_size=page_size)
    assert by_job == by_deployment


async def test_what_a_report_shows(api: Api, database_url: str) -> None:
    """When, status, build and verdict; neither what signed it nor which gateway's key brought it."""
    await fill(database_url, "demo", 1)
    (report,) = await all_pages(api, parent=WEB)
    assert (report.build_number, report.phase, report.status) == (1, "FINALIZED", "SUCCESS")
    assert (report.verdict, report.queue_id) == ("PENDING_ATTRIBUTION", "1")
    assert report.named_run_uid == str(NAMED)
    assert report.receive_time.seconds
    assert "signed" not in str(report)
    assert {field.name for field, _ in report.ListFields()} == {
        *("receive_time", "source", "phase", "status", "build_number", "queue_id"),
        *("verdict", "message", "named_run_uid"),
    }


async def test_reports_that_come_between_two_pages_shift_nothing(
    api: Api, database_url: str
) -> None:
    await fill(database_url, "demo", 6)
    key = await api.key(Role.VIEWER, "demo")
    request = pb.ListReportsRequest(parent=WEB, page_size=2)
    first = await api.deployments.ListReports(request, metadata=key)
    await fill(database_url, "demo", 6)
    request.page_token = first.next_page_token
    second = await api.deployments.ListReports(request, metadata=key)
    assert [one.build_number for one in (*first.reports, *second.reports)] == [5, 3, 1]
    assert second.next_page_token == ""


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"parent": "tenants/demo/deployments/x"}, "NOT_FOUND", "DEPLOYMENT_NOT_FOUND"),
        ({"parent": ALL, "cicd_job_id": ANOTHER}, "NOT_FOUND", "JOB_NOT_FOUND"),
        ({"parent": ALL}, "INVALID_ARGUMENT", "INVALID_FIELD"),
        ({"parent": ALL, "cicd_job_id": "7"}, "INVALID_ARGUMENT", "INVALID_FIELD"),
        ({"parent": WEB, "cicd_job_id": ANOTHER}, "INVALID_ARGUMENT", "INVALID_FIELD"),
        ({"parent": WEB, "page_token": "x"}, "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID"),
        ({"parent": WEB, "page_size": -1}, "INVALID_ARGUMENT", "INVALID_FIELD"),
    ],
)
async def test_a_wrong_request_is_refused(
    api: Api, fields: dict[str, Any], code: str, reason: str
) -> None:
    async with refused() as seen:
        await api.deployments.ListReports(pb.ListReportsRequest(**fields), metadata=api.as_admin)
    assert (seen[0].code, seen[0].reason) == (grpc.StatusCode[code], reason)


async def test_another_tenants_job_is_no_job(api: Api, database_url: str) -> None:
    """P6: by its id, which the caller has somehow learned."""
    job_id = await fill(database_url, "other", 4)
    async with refused() as seen:
        await all_pages(api, parent=ALL, cicd_job_id=job_id)
    assert seen[0].reason == "JOB_NOT_FOUND"


async def test_the_page_is_read_from_its_index(api: Api, database_url: str) -> None:
    job_id = uuid.UUID(await fill(database_url, "demo", 5000))
    tenant = await api.tenant("demo")
    async with api.database.acquire() as connection:
        plan = await connection.fetchval(
            f"EXPLAIN (FORMAT JSON) {PAGE}", tenant.tenant_id, job_id, 2**63 - 1, 51
        )
    root = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
    (scan,) = root["Plans"]
    assert root["Node Type"] == "Limit"
    assert (scan["Node Type"], scan["Index Name"]) == (
        "Index Scan",
        "webhook_deliveries_without_run",
    )
