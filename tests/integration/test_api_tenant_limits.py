"""What one tenant may do at once: calls, watches, active runs; and what its provider still allows (P6)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import grpc
import pytest

from deployment_service.domain.access import Role
from deployment_service.v1 import deployment_service_pb2 as pb
from jenkins_simulator import JenkinsSimulator
from tests.integration.jobs_harness import adopt, shell
from tests.integration.runs_harness import Runs
from tests.integration.test_api_admission import two_tenants
from tests.support.api import Refusal, refusal, refused, request_id, seed_deployment
from tests.support.nonsense import WEB


async def answers(calls: list[Any]) -> Counter[str]:
    """How often which answer came; each refusal names when to try again."""
    counts: Counter[str] = Counter()
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if not isinstance(result, BaseException):
            counts["OK"] += 1
            continue
        assert isinstance(result, grpc.aio.AioRpcError)
        answer: Refusal = refusal(result)
        assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert answer.details["RetryInfo"].retry_delay.ToMilliseconds() > 0
        counts[answer.reason] += 1
    return counts


@pytest.mark.parametrize("method", ["GetDeployment", "ListDeployments", "WatchDeployments"])
async def test_a_tenant_that_calls_too_often_is_refused_and_its_neighbour_is_not(
    database_url, method
):
    """Reads, lists and beginning streams alike."""
    async with two_tenants(database_url, calls_per_second_per_tenant=0.5) as api:

        async def call(tenant: str, key: Any) -> Any:
            if method == "WatchDeployments":
                stream = api.deployments.WatchDeployments(
                    pb.WatchDeploymentsRequest(parent=f"tenants/{tenant}"), metadata=key
                )
                await stream.read()
                stream.cancel()
            elif method == "GetDeployment":
                request = pb.GetDeploymentRequest(name=f"tenants/{tenant}/deployments/web")
                await api.deployments.GetDeployment(request, metadata=key)
            else:
                parent = pb.ListDeploymentsRequest(parent=f"tenants/{tenant}")
                await api.deployments.ListDeployments(parent, metadata=key)

        key, other = await api.key(Role.VIEWER, "demo"), await api.key(Role.VIEWER, "other")
        counts = await answers([call("demo", key) for _ in range(20)])
        assert counts["OK"] in (2, 3)
        assert counts["TOO_MANY_REQUESTS"] == 20 - counts["OK"]
        await call("other", other)
        # Another key of the same tenant has the same bucket, an operator's has one of its own.
        assert not (await answers([call("demo", await api.key(Role.ADMIN, "demo"))]))["OK"]
        await call("demo", api.as_admin)


async def test_a_tenant_has_so_many_active_runs_and_no_more(database_url):
    async with two_tenants(database_url, max_active_runs_per_tenant=2) as api:
        for slug in ("second", "third"):
            await seed_deployment(api, "demo", slug)
        key, other = await api.key(Role.DEPLOYER, "demo"), await api.key(Role.DEPLOYER, "other")

        async def run(name: str, metadata: Any, **fields: Any) -> Any:
            fields.setdefault("request_id", request_id())
            request = pb.RunDeploymentRequest(name=name, **fields)
            return await api.deployments.RunDeployment(request, metadata=metadata)

        again = request_id()
        await run(WEB, key, request_id=again)
        await run("tenants/demo/deployments/second", key)
        # Another deployment, and another run of the same one.
        for name in ("tenants/demo/deployments/third", WEB):
            async with refused() as refusals:
                await run(name, key, allow_concurrent=True)
            assert refusals[0].code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert refusals[0].reason == "TOO_MANY_ACTIVE_RUNS"
            assert refusals[0].details["RetryInfo"].retry_delay.seconds == 10
        await run(WEB, key, request_id=again)  # a repeated call begins nothing
        await run("tenants/other/deployments/web", other)
        await api.deployments.CancelRun(pb.CancelRunRequest(name=f"{WEB}/runs/2"), metadata=key)
        await run("tenants/demo/deployments/third", key)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("allowed_folders", ["elsewhere"]),
        ("allowed_folders", ["sho"]),
        ("allowed_job_kinds", ["PIPELINE_SCRIPT"]),
        ("allowed_job_kinds", ["EXISTING", "PIPELINE_SCM"]),
    ],
)
async def test_a_job_that_its_provider_does_not_allow_any_more_is_not_triggered(
    runs: Runs, jenkins: JenkinsSimulator, rule: str, value: list[str]
) -> None:
    await runs.jobs.create("web", shell())
    await runs.jobs.sql(f"UPDATE cicd_providers SET {rule} = $1", value)
    started = await runs.start("web")
    row = await runs.until(started.run_id, status="FAILED", certainty="CONFIRMED")
    assert row["failure_cause"] == "TRIGGER_REJECTED"
    assert "doesn't allow" in row["failure_message"]
    assert jenkins.ledger.builds() == []


async def test_an_adopted_job_in_a_folder_that_is_not_allowed_any_more_is_not_triggered(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    jenkins.create_job("plain", "<project><builders/></project>")
    await runs.jobs.create("web", adopt("plain"))
    await runs.jobs.sql("UPDATE cicd_providers SET allowed_folders = '{teams}'")
    started = await runs.start("web")
    row = await runs.until(started.run_id, status="FAILED", certainty="CONFIRMED")
    assert row["failure_cause"] == "TRIGGER_REJECTED"
    assert jenkins.ledger.builds() == []
