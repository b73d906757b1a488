"""deployctl says why and for whom a run is, and shows one run in full."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deployment_service.client.cli.output import actor_text
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.scripted_service import ScriptedService, run, scripted_service
from tests.unit.test_client_cli import deployctl

KEY = pb.Actor(kind=pb.Actor.KIND_KEY, subject="apiKeys/1", display_name="ci", on_behalf_of="alice")


@pytest_asyncio.fixture
async def service() -> AsyncIterator[ScriptedService]:
    async with scripted_service() as service:
        yield service


async def test_why_and_for_whom_is_sent(service):
    service.will("RunDeployment", pb.RunDeploymentResponse())
    options = ("--reason", "Login page", "--on-behalf-of", "alice", "--annotation", "change=C-1")
    ended = await deployctl(service, "run", "web", *options, "--annotation", "a/b=x=y")
    assert (ended.code, ended.err) == (0, "")
    (request,) = service.requests["RunDeployment"]
    assert (request.reason, request.on_behalf_of) == ("Login page", "alice")
    assert dict(request.annotations) == {"change": "C-1", "a/b": "x=y"}


async def test_an_annotation_needs_a_key_and_a_value(service):
    ended = await deployctl(service, "run", "web", "--annotation", "change")
    assert ended.code == 2
    assert "--annotation takes KEY=value" in ended.err


@pytest.mark.parametrize("name", ["web/7", "tenants/demo/deployments/web/runs/7"])
async def test_one_run_is_shown_in_full(service, name):
    shown = run(
        7,
        requested_by=KEY,
        reason="Login page",
        annotations={"change": "C-1"},
        retry_of="tenants/demo/deployments/web/runs/6",
        parameters={"V": "2"},
        secret_parameters=["TOKEN"],
    )
    service.will("GetRun", pb.GetRunResponse(run=shown))
    ended = await deployctl(service, "runs", name)
    assert (ended.code, ended.err) == (0, "")
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    for line in (
        "requested by ci (apiKeys/1) on behalf of alice, as claimed",
        "reason Login page",
        "annotation change C-1",
        "retry of web/runs/6",
        "parameter V 2",
        "parameter TOKEN (secret)",
    ):
        assert line in lines
    assert service.requests["GetRun"][0].name == "tenants/demo/deployments/web/runs/7"


async def test_a_list_of_runs_stays_a_list(service):
    service.will("ListRuns", pb.ListRunsResponse(runs=[run(7)]))
    ended = await deployctl(service, "runs", "tenants/demo/deployments/web")
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(
    ("actor", "text"),
    [
        (pb.Actor(), ""),
        (KEY, "ci (apiKeys/1) on behalf of alice, as claimed"),
        (pb.Actor(kind=pb.Actor.KIND_KEY, subject="apiKeys/1"), "apiKeys/1"),
        (pb.Actor(kind=pb.Actor.KIND_JENKINS), "Jenkins"),
        (
            pb.Actor(kind=pb.Actor.KIND_JENKINS, display_name="Started by timer"),
            "Started by timer",
        ),
    ],
)
def test_actors_as_text(actor, text):
    assert actor_text(actor) == text


async def test_a_deployment_says_who_runs_it_and_how_long_that_takes(service):
    shown = pb.Deployment(
        name="tenants/demo/deployments/web",
        current_run="tenants/demo/deployments/web/runs/7",
        current_run_summary=pb.RunSummary(requested_by=KEY, waiting_reason="Jenkins is down."),
    )
    shown.typical_duration.FromSeconds(183)
    service.will("GetDeployment", pb.GetDeploymentResponse(deployment=shown))
    ended = await deployctl(service, "deployments", "get", "web")
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert "requested by ci (apiKeys/1) on behalf of alice, as claimed" in lines
    assert "waits for Jenkins is down." in lines
    assert "usually takes 3:03 min" in lines
