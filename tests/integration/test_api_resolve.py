"""ResolveRun over gRPC: who decided what and why stands in the answer, the event and the explanation."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from deployment_service.domain.access import Role
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.api import Api, refused, request_id, running_api, seed_deployment

RUN = "tenants/demo/deployments/web/runs/1"
FAILED, COMPLETED = pb.DEPLOYMENT_STATUS_FAILED, pb.DEPLOYMENT_STATUS_COMPLETED


@pytest_asyncio.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url) as running:
        async with running.database.acquire() as connection:
            await connection.execute("INSERT INTO tenants (slug) VALUES ('demo')")
        await seed_deployment(running, "demo")
        yield running


def resolve(status: pb.DeploymentStatus = FAILED, reason: str = "Checked.", **more: str):
    return pb.ResolveRunRequest(name=RUN, status=status, reason=reason, **more)


async def test_reason_and_actor_stand_everywhere(api: Api) -> None:
    """Over a result that was read: Jenkins said SUCCESS, and the operator knows better."""
    key = await api.key(Role.ADMIN, "demo")
    request = resolve(reason=" It never came up. ", request_id=request_id())
    answer = await api.deployments.ResolveRun(request, metadata=key)
    again = await api.deployments.ResolveRun(request, metadata=key)
    assert again == answer
    message = "An operator resolved the run: It never came up."
    run = answer.run
    assert (run.status, run.certainty) == (FAILED, pb.CERTAINTY_CONFIRMED)
    assert (run.failure_cause, run.failure_message) == (
        pb.FAILURE_CAUSE_RESOLVED_BY_OPERATOR,
        message,
    )
    listed = await api.deployments.ListEvents(
        pb.ListEventsRequest(parent="tenants/demo/deployments/web"), metadata=key
    )
    (event,) = [one for one in listed.events if one.run == RUN]
    assert (event.message, event.correction, event.certainty) == (
        message,
        True,
        pb.CERTAINTY_CONFIRMED,
    )
    assert event.actor.kind == pb.Actor.KIND_KEY
    assert event.actor.subject.startswith("apiKeys/")
    trail = await api.deployments.ExplainRun(pb.ExplainRunRequest(name=RUN), metadata=key)
    (resolution,) = trail.resolutions
    assert (resolution.reason, resolution.actor) == ("It never came up.", event.actor)
    assert (resolution.status, resolution.old_status) == (FAILED, COMPLETED)
    assert resolution.old_certainty == pb.CERTAINTY_CONFIRMED
    assert resolution.create_time == run.settle_time
    deployment = await api.deployments.GetDeployment(
        pb.GetDeploymentRequest(name="tenants/demo/deployments/web"), metadata=key
    )
    assert deployment.deployment.status == FAILED


async def test_what_jenkins_said_already_needs_no_operator(api: Api) -> None:
    async with refused() as seen:
        await api.deployments.ResolveRun(resolve(COMPLETED), metadata=api.as_admin)
    assert (seen[0].code, seen[0].reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RUN_ENDED")


@pytest.mark.parametrize(
    ("status", "reason", "field"),
    [
        (pb.DEPLOYMENT_STATUS_UNSPECIFIED, "x", "status"),
        (pb.DEPLOYMENT_STATUS_RUNNING, "x", "status"),
        (99, "x", "status"),
        (FAILED, "", "reason"),
        (FAILED, "two\nlines", "reason"),
        (FAILED, "x" * 501, "reason"),
    ],
)
async def test_a_wrong_request_names_the_field(
    api: Api, status: pb.DeploymentStatus, reason: str, field: str
) -> None:
    async with refused() as seen:
        await api.deployments.ResolveRun(resolve(status, reason), metadata=api.as_admin)
    assert seen[0].code is grpc.StatusCode.INVALID_ARGUMENT
    assert seen[0].details["BadRequest"].field_violations[0].field == field


async def test_a_definer_is_no_operator(api: Api) -> None:
    key = await api.key(Role.DEFINER, "demo")
    async with refused() as seen:
        await api.deployments.ResolveRun(resolve(), metadata=key)
    assert seen[0].reason == "ROLE_INSUFFICIENT"
