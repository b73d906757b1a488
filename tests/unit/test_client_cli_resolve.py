"""deployctl resolve: an operator ends a run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.scripted_service import Fail, ScriptedService, error_info, run, scripted_service
from tests.unit.test_client_cli import deployctl

ID = "5b1c7c0e-2f43-4f0c-9d5e-0d4a8f7b6a11"


@pytest_asyncio.fixture
async def service() -> AsyncIterator[ScriptedService]:
    async with scripted_service() as service:
        yield service


async def test_the_run_is_resolved_and_shown_with_the_reason(service):
    ended_run = run(
        7,
        pb.DEPLOYMENT_STATUS_COMPLETED,
        failure_message="An operator resolved the run: Seen on the servers.",
    )
    service.will("ResolveRun", pb.ResolveRunResponse(run=ended_run))
    options = ("--status", "completed", "--reason", "Seen on the servers.", "--request-id", ID)
    ended = await deployctl(service, "resolve", "web/7", *options)
    assert (ended.code, ended.err) == (0, "")
    (request,) = service.requests["ResolveRun"]
    assert request == pb.ResolveRunRequest(
        name="tenants/demo/deployments/web/runs/7",
        status=pb.DEPLOYMENT_STATUS_COMPLETED,
        reason="Seen on the servers.",
        request_id=ID,
    )
    assert "completed" in ended.out
    assert "Seen on the servers." in ended.out


async def test_the_current_run_of_a_deployment_with_an_id_made_up(service):
    current = "tenants/demo/deployments/web/runs/3"
    service.will(
        "GetDeployment", pb.GetDeploymentResponse(deployment=pb.Deployment(current_run=current))
    )
    service.will("ResolveRun", pb.ResolveRunResponse(run=run(3)))
    ended = await deployctl(service, "resolve", "web", "--status", "failed", "--reason", "x")
    assert ended.code == 0
    (request,) = service.requests["ResolveRun"]
    assert (request.name, request.status) == (current, pb.DEPLOYMENT_STATUS_FAILED)
    assert request.request_id


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--status", "broken", "--reason", "x"), "there is no such status"),
        (("--status", "failed"), "--reason"),
        (("--reason", "x"), "--status"),
    ],
)
async def test_mistakes_name_what_is_wrong(service, options, said):
    ended = await deployctl(service, "resolve", "web/7", *options)
    assert ended.code == 2
    assert said in ended.err
    assert not service.requests


async def test_an_end_that_is_certain_already_is_exit_code_4(service):
    refused = Fail(
        grpc.StatusCode.FAILED_PRECONDITION,
        "There is nothing to resolve.",
        reason="RUN_ENDED",
        details=(error_info("RUN_ENDED"),),
    )
    service.will("ResolveRun", refused)
    ended = await deployctl(service, "resolve", "web/7", "--status", "failed", "--reason", "x")
    assert ended.code == 4
    assert "nothing to resolve" in ended.err


async def test_explain_shows_who_resolved_the_run_and_why(service):
    who = pb.Actor(kind=pb.Actor.KIND_KEY, subject="apiKeys/1", display_name="on-call")
    resolution = pb.RunResolution(
        status=pb.DEPLOYMENT_STATUS_COMPLETED,
        old_status=pb.DEPLOYMENT_STATUS_RUNNING,
        reason="Seen.",
        actor=who,
    )
    service.will("ExplainRun", pb.ExplainRunResponse(run=run(7), resolutions=[resolution]))
    ended = await deployctl(service, "--json", "explain", "web/7")
    assert '"on-call"' in ended.out
    ended = await deployctl(service, "explain", "web/7")
    shown = " ".join(ended.out.split())
    for word in ("apiKeys/1", "on-call", "running", "completed", "Seen."):
        assert word in shown
