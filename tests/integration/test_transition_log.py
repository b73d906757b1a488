"""Each committed transition is logged once, in the guide's words, whatever its source."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.integration.jobs_harness import Jobs, shell
from tests.integration.runs_harness import Runs, guide, runs_of
from tests.support.api import running_api, seed_deployment


def transitions(lines: list[Any]) -> list[dict[str, Any]]:
    return [dict(line) for line in lines if " Updating " in line["event"]]


async def test_a_run_without_webhooks_logs_the_transitions_of_each_source(runs: Runs) -> None:
    await runs.jobs.create("web", shell())
    with capture_logs() as lines:
        started = await runs.start("web")
        await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    deployment = await runs.deployment()
    uid = deployment["deployment_id"]
    logged = transitions(lines)
    assert [line["event"] for line in logged][-1] == (
        f"[@read:jenkins] Updating deployment status: {uid} -> completed"
    )
    assert f"[@dispatcher:jenkins] Updating deployment status: {uid} -> running" in [
        line["event"] for line in logged
    ]
    last = logged[-1]
    assert (last["tenant"], last["deployment"], last["run"]) == ("demo", "web", 1)
    assert (last["build"], last["source"], last["old_status"]) == (1, "READ", "running")
    assert last["job"] == str((await runs.run(started.run_id))["job_id"])


async def test_a_second_run_logs_that_the_deployment_is_pending_again(runs: Runs) -> None:
    await runs.jobs.create("web", shell())
    first = await runs.start("web")
    await runs.until(first.run_id, status="COMPLETED", certainty="CONFIRMED")
    uid = (await runs.deployment())["deployment_id"]
    with capture_logs() as lines:
        second = await runs.start("web")
        await runs.until(second.run_id, status="COMPLETED", certainty="CONFIRMED")
    events = [line["event"] for line in transitions(lines)]
    assert events[0] == f"[@api] Updating deployment status: {uid} -> pending"
    assert events[-1].endswith(f"{uid} -> completed")


async def test_a_webhook_logs_the_guides_line(jobs: Jobs) -> None:
    async with runs_of(jobs, reconcile=False) as runs:
        await runs.jobs.create("web", shell())
        started = await runs.start("web")
        row = await runs.run(started.run_id)
        report = guide(row["job_id"], 1, "success", run_id=str(started.run_id))
        with capture_logs() as lines:
            (first,) = await runs.tell(report)
            (again,) = await runs.tell(report)
    uid = row["deployment_id"]
    assert [line["event"] for line in transitions(lines)] == [
        f"[@webhook:jenkins] Updating deployment status: {uid} -> completed"
    ]
    assert (first.old_status, first.status) == ("RUNNING", "COMPLETED")
    assert (again.old_status, again.status) == ("COMPLETED", "COMPLETED")


async def test_a_transaction_that_rolls_back_logs_nothing(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runs.jobs.create("web", shell())

    async def fails(*_: object) -> None:
        raise ValueError("the last step fails")

    monkeypatch.setattr("deployment_service.actions.run_deployment.remember", fails)
    with capture_logs() as lines, pytest.raises(ValueError, match="last step"):
        await runs.start("web")
    assert transitions(lines) == []


@pytest.mark.parametrize("header", [(("x-request-id", "deploy-4711"),), ()])
async def test_a_call_leaves_its_request_id_in_its_lines(
    database_url: str, header: tuple[tuple[str, str], ...]
) -> None:
    key = str(uuid.uuid4())
    async with running_api(database_url) as api:
        await api.admin.CreateTenant(
            admin.CreateTenantRequest(tenant_id="demo"), metadata=api.as_admin
        )
        await seed_deployment(api, "demo")
        async with api.database.acquire() as connection:
            await connection.execute("UPDATE deployments SET status = 'COMPLETED'")
        request = pb.RunDeploymentRequest(name="tenants/demo/deployments/web", request_id=key)
        with capture_logs(processors=[merge_contextvars]) as lines:
            await api.deployments.RunDeployment(request, metadata=(*api.as_admin, *header))
    (line, *_) = transitions(lines)
    assert line["request_id"] == (header[0][1] if header else key)
