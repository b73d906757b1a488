"""Reason, annotations and requester of a run over gRPC: in answers, lists and events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from deployment_service.domain.access import Role
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.api import Api, refused, request_id, running_api, seed_deployment

WEB = "tenants/demo/deployments/web"


@pytest_asyncio.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url) as running:
        async with running.database.acquire() as connection:
            await connection.execute("INSERT INTO tenants (slug) VALUES ('demo')")
        await seed_deployment(running, "demo")
        yield running


def run(**fields: Any) -> pb.RunDeploymentRequest:
    return pb.RunDeploymentRequest(**{"name": WEB, "request_id": request_id()} | fields)


async def test_what_the_caller_says_is_shown_everywhere(api: Api) -> None:
    key = await api.key(Role.DEPLOYER, "demo")
    request = run(
        on_behalf_of=" alice@example.com ",
        reason=" Fixes the login page ",
        annotations={"change": "CHG-1042", "acme.com/team": "web"},
        from_run=f"{WEB}/runs/1",
    )
    answer = await api.deployments.RunDeployment(request, metadata=key)
    started = answer.run
    who = started.requested_by
    assert (who.kind, who.on_behalf_of) == (pb.Actor.KIND_KEY, "alice@example.com")
    assert who.subject.startswith("apiKeys/")
    assert started.reason == "Fixes the login page"
    assert dict(started.annotations) == {"change": "CHG-1042", "acme.com/team": "web"}
    assert started.retry_of == f"{WEB}/runs/1"
    got = await api.deployments.GetRun(pb.GetRunRequest(name=started.name), metadata=key)
    listed = await api.deployments.ListRuns(pb.ListRunsRequest(parent=WEB), metadata=key)
    for one in (got.run, listed.runs[0]):
        assert (one.requested_by, one.reason, one.annotations, one.retry_of) == (
            who,
            started.reason,
            started.annotations,
            started.retry_of,
        )
    assert not listed.runs[1].HasField("requested_by")
    history = await api.deployments.ListEvents(pb.ListEventsRequest(parent=WEB), metadata=key)
    (event,) = [one for one in history.events if one.message == "A run was requested."]
    assert event.actor == who
    assert (event.run_status, event.old_run_status) == (pb.DEPLOYMENT_STATUS_PENDING, 0)
    assert event.waiting_for == pb.WAITING_FOR_TRIGGER


async def test_the_same_id_with_another_reason_is_another_request(api: Api) -> None:
    request = run(reason="one")
    await api.deployments.RunDeployment(request, metadata=api.as_admin)
    request.reason = "two"
    async with refused() as refusals:
        await api.deployments.RunDeployment(request, metadata=api.as_admin)
    assert refusals[0].reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "a\nb"}, "reason"),
        ({"on_behalf_of": "x" * 201}, "on_behalf_of"),
        ({"on_behalf_of": "a\u202eb"}, "on_behalf_of"),
        ({"annotations": {"a": "x" * 257}}, "annotations[a]"),
        ({"annotations": {"a b": "x"}}, "annotations"),
        ({"annotations": {"a": "x\x00"}}, "annotations[a]"),
        ({"annotations": {f"k{n}": "x" for n in range(17)}}, "annotations"),
    ],
)
async def test_what_is_out_of_bounds_is_refused_before_anything_is_done(
    api: Api, fields: dict[str, Any], field: str
) -> None:
    async with refused() as refusals:
        await api.deployments.RunDeployment(run(**fields), metadata=api.as_admin)
    assert (refusals[0].reason, refusals[0].metadata["field"]) == ("INVALID_FIELD", field)
    listed = await api.deployments.ListRuns(pb.ListRunsRequest(parent=WEB), metadata=api.as_admin)
    assert len(listed.runs) == 1


async def test_each_change_names_the_key_that_made_it(api: Api) -> None:
    key = await api.key(Role.ADMIN, "demo")
    ran = await api.deployments.RunDeployment(run(), metadata=key)
    await api.deployments.CancelRun(pb.CancelRunRequest(name=ran.run.name), metadata=key)
    change = pb.Deployment(name=WEB, display_name="Web")
    await api.deployments.UpdateDeployment(
        pb.UpdateDeploymentRequest(deployment=change), metadata=key
    )
    await api.deployments.DeleteDeployment(
        pb.DeleteDeploymentRequest(name=WEB, force=True), metadata=key
    )
    listed = await api.deployments.ListEvents(
        pb.ListEventsRequest(parent="tenants/demo/deployments/-"), metadata=key
    )
    by_type = {pb.DeploymentEvent.Type.Name(one.type): one for one in listed.events}
    changed = {
        "DEPLOYMENT_STATUS_UPDATE",
        "DEPLOYMENT_RUN_FAILURE",
        "DEPLOYMENT_UPDATED",
        "DEPLOYMENT_DELETED",
    }
    assert changed <= by_type.keys()
    assert {by_type[kind].actor.subject for kind in changed} == {ran.run.requested_by.subject}
    updated, ended = by_type["DEPLOYMENT_UPDATED"], by_type["DEPLOYMENT_RUN_FAILURE"]
    assert (updated.run_status, updated.old_run_status) == (0, 0)  # it is about no run
    assert updated.old_deployment_status == updated.deployment_status
    assert (ended.old_run_status, ended.run_status) == (
        pb.DEPLOYMENT_STATUS_PENDING,
        pb.DEPLOYMENT_STATUS_CANCELLED,
    )
    assert ended.failure_message == ended.message
