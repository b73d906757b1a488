"""deployctl reports: what was reported and belongs to no run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.scripted_service import ScriptedService, scripted_service
from tests.unit.test_client_cli import deployctl

JOB = "5b1c7c0e-2f43-4f0c-9d5e-0d4a8f7b6a11"


@pytest_asyncio.fixture
async def service() -> AsyncIterator[ScriptedService]:
    async with scripted_service() as service:
        yield service


@pytest.mark.parametrize(
    ("arguments", "parent", "job"),
    [(("web",), "web", ""), (("--job", JOB), "-", JOB)],
)
async def test_the_reports_of_a_job_are_listed(service, arguments, parent, job):
    report = pb.RunReport(
        phase="FINALIZED",
        status="SUCCESS\x1b[31m",
        build_number=200,
        verdict="NO_SUCH_BUILD",
        message="Jenkins has no such build.",
    )
    service.will("ListReports", pb.ListReportsResponse(reports=[report]))
    ended = await deployctl(service, "reports", *arguments, "--limit", "7")
    assert (ended.code, ended.err) == (0, "")
    (request,) = service.requests["ListReports"]
    assert request == pb.ListReportsRequest(
        parent=f"tenants/demo/deployments/{parent}", cicd_job_id=job, page_size=7
    )
    shown = " ".join(ended.out.split())
    for word in ("200", "FINALIZED", "SUCCESS", "NO_SUCH_BUILD", "no such build"):
        assert word in shown
    assert "\x1b" not in ended.out


async def test_json_and_nothing_to_show(service):
    service.will("ListReports", pb.ListReportsResponse(reports=[pb.RunReport(build_number=3)]))
    ended = await deployctl(service, "--json", "reports", "web")
    assert '"build_number"' in ended.out or '"buildNumber"' in ended.out
    service.will("ListReports", pb.ListReportsResponse())
    assert "No report is without a run." in (await deployctl(service, "reports", "web")).out


@pytest.mark.parametrize("arguments", [(), ("web", "--job", JOB)])
async def test_either_a_deployment_or_a_job(service, arguments):
    ended = await deployctl(service, "reports", *arguments)
    assert ended.code == 2
    assert "--job" in ended.err
    assert not service.requests
