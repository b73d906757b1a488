"""A deleted deployment can be read over the API until its purge time, and by nobody of another tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from deployment_service.domain.access import Role
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.api import Api, refused, request_id, running_api, seed_deployment


@pytest_asyncio.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url) as running:
        for slug in ("demo", "other"):
            await running.admin.CreateTenant(
                admin.CreateTenantRequest(tenant_id=slug), metadata=running.as_admin
            )
        yield running


@pytest_asyncio.fixture
async def deleted(api: Api) -> str:
    """The name of a deleted deployment with one run."""
    uid = await seed_deployment(api, "demo")
    await api.deployments.DeleteDeployment(
        pb.DeleteDeploymentRequest(name="tenants/demo/deployments/web", force=True),
        metadata=api.as_admin,
    )
    return f"tenants/demo/deployments/uid:{uid}"


async def test_all_that_reads_takes_the_name_of_a_deleted_deployment(
    api: Api, deleted: str
) -> None:
    viewer = await api.key(Role.VIEWER, "demo")
    calls = api.deployments
    got = await calls.GetDeployment(pb.GetDeploymentRequest(name=deleted), metadata=viewer)
    assert got.deployment.HasField("delete_time")
    runs = await calls.ListRuns(pb.ListRunsRequest(parent=deleted), metadata=viewer)
    (run,) = runs.runs
    assert run.name == f"{deleted}/runs/1"
    assert (await calls.GetRun(pb.GetRunRequest(name=run.name), metadata=viewer)).run == run
    explained = await calls.ExplainRun(pb.ExplainRunRequest(name=run.name), metadata=viewer)
    assert explained.run == run
    events = await calls.ListEvents(pb.ListEventsRequest(parent=deleted), metadata=viewer)
    assert events.events[-1].type == pb.DeploymentEvent.DEPLOYMENT_DELETED


@pytest.mark.parametrize("call", ["GetDeployment", "GetRun", "ExplainRun"])
async def test_another_tenant_may_not_read_it(api: Api, deleted: str, call: str) -> None:
    viewer = await api.key(Role.VIEWER, "other")
    name = deleted if call == "GetDeployment" else f"{deleted}/runs/1"
    async with refused() as refusals:
        await getattr(api.deployments, call)(
            getattr(pb, f"{call}Request")(name=name), metadata=viewer
        )
    assert refusals[0].code is grpc.StatusCode.PERMISSION_DENIED


async def test_what_changes_refuses_it(api: Api, deleted: str) -> None:
    for call, request in (
        ("DeleteDeployment", pb.DeleteDeploymentRequest(name=deleted)),
        ("RunDeployment", pb.RunDeploymentRequest(name=deleted, request_id=request_id())),
        ("CancelRun", pb.CancelRunRequest(name=f"{deleted}/runs/1", request_id=request_id())),
    ):
        async with refused() as refusals:
            await getattr(api.deployments, call)(request, metadata=api.as_admin)
        assert refusals[0].code is grpc.StatusCode.FAILED_PRECONDITION
