"""deployctl shows in plain words since when and why something can't be known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.scripted_service import Fail, ScriptedService, Stream, run, scripted_service
from tests.unit.test_client_cli import deployctl

REFUSED = pb.ObservationProblem(
    since=Timestamp(seconds=1795843631),
    reason=pb.OBSERVATION_PROBLEM_REASON_PERMISSION_MISSING,
    message="Jenkins refuses the account 'admin'. Grant it in Jenkins.",
)
WEB = "tenants/demo/deployments/web"


@pytest_asyncio.fixture
async def service() -> AsyncIterator[ScriptedService]:
    async with scripted_service() as service:
        yield service


def assert_shown(text: str) -> None:
    assert "problem since 2026-11-2" in text
    assert "(permission missing): Jenkins refuses the account 'admin'. Grant it in Jenkins." in text


async def test_explain_shows_the_problem_of_the_run(service):
    service.will(
        "ExplainRun",
        pb.ExplainRunResponse(run=run(7, observation_problem=REFUSED), job_problem=REFUSED),
    )
    ended = await deployctl(service, "explain", "web/7")
    assert (ended.code, ended.err) == (0, "")
    assert_shown(ended.out)
    assert ended.out.count("permission missing") == 1


async def test_explain_of_a_settled_run_shows_the_problem_of_its_job(service):
    service.will("ExplainRun", pb.ExplainRunResponse(run=run(7), job_problem=REFUSED))
    ended = await deployctl(service, "explain", "web/7")
    assert_shown(ended.out)
    assert "Its job has a problem" in ended.out


async def test_runs_show_it_where_they_say_why(service):
    listed = [run(8, observation_problem=REFUSED), run(7, failure_message="It failed.")]
    service.will("ListRuns", pb.ListRunsResponse(runs=listed))
    ended = await deployctl(service, "runs", "web")
    assert_shown(ended.out)
    assert "It failed." in ended.out


@pytest.mark.parametrize("of_job", [False, True])
async def test_a_deployment_shows_it(service, of_job):
    one = pb.Deployment(name=WEB)
    (one.cicd_job if of_job else one).observation_problem.CopyFrom(REFUSED)
    service.will("GetDeployment", pb.GetDeploymentResponse(deployment=one))
    ended = await deployctl(service, "deployments", "get", "web")
    assert_shown(ended.out)


async def test_providers_show_it(service):
    provider = admin.Provider(name="tenants/demo/providers/main", observation_problem=REFUSED)
    service.will("ListProviders", admin.ListProvidersResponse(providers=[provider]))
    ended = await deployctl(service, "providers", "list")
    assert_shown(ended.out)


async def test_events_show_its_beginning_and_its_end(service):
    common: dict[str, Any] = {
        "deployment": WEB,
        "type": pb.DeploymentEvent.DEPLOYMENT_OBSERVATION_PROBLEM,
    }
    events = [
        pb.DeploymentEvent(
            sequence=4, observation_problem=REFUSED, message=REFUSED.message, **common
        ),
        pb.DeploymentEvent(sequence=5, message="The observation problem is over.", **common),
    ]
    # Asked for newest first, shown oldest first.
    service.will("ListEvents", pb.ListEventsResponse(events=reversed(events)))
    ended = await deployctl(service, "events")
    began, over = ended.out.splitlines()
    assert "observation problem" in began
    assert "since 2026-11-2" in began
    assert REFUSED.message in began
    assert "since" not in over
    assert "The observation problem is over." in over


async def test_a_watch_begins_with_it(service):
    one = pb.Deployment(name=WEB, status=pb.DEPLOYMENT_STATUS_RUNNING, observation_problem=REFUSED)
    stream = Stream()
    item = stream.item("web")
    item.deployment.CopyFrom(one)
    over: dict[str, Any] = {
        "deployment": WEB,
        "type": pb.DeploymentEvent.DEPLOYMENT_OBSERVATION_PROBLEM,
        "message": "The observation problem is over.",
    }
    last = Fail(grpc.StatusCode.PERMISSION_DENIED, "revoked")  # ends the watch, for this test
    service.will(
        "WatchDeployments", [stream.start(), item, stream.complete(3), stream.event(**over), last]
    )
    ended = await deployctl(service, "watch")
    assert_shown(ended.out)
    assert "The observation problem is over." in ended.out
