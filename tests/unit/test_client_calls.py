"""Calls of the client: deadlines, the right retries, short names, errors that carry their reason."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from deployment_service.client import DeploymentClient
from deployment_service.client.errors import (
    AlreadyExists,
    DeadlineExceeded,
    DeploymentServiceError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    RunNotFinished,
    Unavailable,
)
from deployment_service.runtime.backoff import Backoff
from deployment_service.v1 import admin_service_pb2 as admin_pb
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.scripted_service import (
    Fail,
    Hang,
    ScriptedService,
    Stream,
    error_info,
    retry_info,
    run,
    scripted_service,
)

UNAVAILABLE_ERRORS = Fail(
    grpc.StatusCode.UNAVAILABLE, "the store is away", reason="STORE_UNAVAILABLE"
)
RUNNING, COMPLETED = pb.DEPLOYMENT_STATUS_RUNNING, pb.DEPLOYMENT_STATUS_COMPLETED


@pytest_asyncio.fixture
async def service() -> AsyncIterator[ScriptedService]:
    async with scripted_service() as service:
        yield service


@pytest_asyncio.fixture
async def client(service: ScriptedService) -> AsyncIterator[DeploymentClient]:
    backoff = Backoff(first_s=0.001, longest_s=0.01)
    async with DeploymentClient(
        service.target, api_key="key", tenant="demo", timeout_s=5, backoff=backoff
    ) as client:
        yield client


async def test_a_mutation_is_repeated_with_the_request_id_it_had(service, client):
    """P3: however often the call must be repeated, it is one intent."""
    service.will(
        "RunDeployment", UNAVAILABLE_ERRORS, UNAVAILABLE_ERRORS, pb.RunDeploymentResponse(run=run())
    )
    answer = await client.run_deployment("web", parameters={"VERSION": "1"})
    requests = service.requests["RunDeployment"]
    assert answer.run.name == "tenants/demo/deployments/web/runs/1"
    assert len(requests) == 3
    assert len({request.request_id for request in requests}) == 1
    assert uuid.UUID(requests[0].request_id)
    assert requests[0].name == "tenants/demo/deployments/web"
    await client.run_deployment("web")
    assert requests[3].request_id != requests[0].request_id


@pytest.mark.parametrize(
    "code", ["INTERNAL", "UNKNOWN", "RESOURCE_EXHAUSTED", "ABORTED", "NOT_FOUND"]
)
async def test_only_unavailable_is_repeated(service, client, code):
    service.will("GetDeployment", Fail(grpc.StatusCode[code]))
    with pytest.raises(DeploymentServiceError) as caught:
        await client.get_deployment("web")
    assert caught.value.code is grpc.StatusCode[code]
    assert len(service.requests["GetDeployment"]) == 1


async def test_the_creation_of_a_key_is_repeated_and_may_have_lost_the_secret(service, client):
    lost = admin_pb.CreateApiKeyResponse(api_key=admin_pb.ApiKey(name="apiKeys/1"))
    service.will("CreateApiKey", UNAVAILABLE_ERRORS, lost)
    answer = await client.admin.create_api_key(admin_pb.ROLE_VIEWER, tenant="demo")
    requests = service.requests["CreateApiKey"]
    assert (answer.api_key.name, answer.secret) == ("apiKeys/1", "")
    assert len(requests) == 2
    assert requests[0].request_id == requests[1].request_id


async def test_the_deadline_bounds_all_tries_together_and_the_last_failure_is_told(service):
    service.will("GetDeployment", UNAVAILABLE_ERRORS)
    async with DeploymentClient(
        service.target, api_key="k", tenant="demo", timeout_s=0.3
    ) as client:
        with pytest.raises(Unavailable, match="the store is away") as caught:
            await client.get_deployment("web")
    assert caught.value.reason == "STORE_UNAVAILABLE"


async def test_a_pause_that_the_service_asks_for_is_kept(service, client):
    asked = Fail(grpc.StatusCode.UNAVAILABLE, details=(retry_info(0.2),))
    service.will("GetRun", asked, pb.GetRunResponse(run=run()))
    before = asyncio.get_running_loop().time()
    await client.get_run("web/1")
    assert asyncio.get_running_loop().time() - before >= 0.2


async def test_no_answer_in_time(service):
    service.will("GetDeployment", Hang)
    async with DeploymentClient(
        service.target, api_key="k", tenant="demo", timeout_s=0.1
    ) as client:
        with pytest.raises(DeadlineExceeded):
            await client.get_deployment("web")


async def test_an_error_carries_reason_metadata_and_message(service, client):
    info = error_info("RUN_ACTIVE", run="tenants/demo/deployments/web/runs/6")
    rich = Fail(grpc.StatusCode.FAILED_PRECONDITION, "Run 6 is active.", details=(info,))
    service.will("RunDeployment", rich)
    with pytest.raises(FailedPrecondition, match=r"Run 6 is active\.") as caught:
        await client.run_deployment("web")
    assert caught.value.reason == "RUN_ACTIVE"
    assert caught.value.metadata == {"run": "tenants/demo/deployments/web/runs/6"}


async def test_the_reason_in_the_metadata_is_enough(service, client):
    service.will(
        "CreateDeployment", Fail(grpc.StatusCode.ALREADY_EXISTS, reason="DEPLOYMENT_EXISTS")
    )
    with pytest.raises(AlreadyExists) as caught:
        await client.create_deployment("web", pb.Deployment(provider="main"))
    assert caught.value.reason == "DEPLOYMENT_EXISTS"
    (request,) = service.requests["CreateDeployment"]
    assert request.deployment.provider == "tenants/demo/providers/main"


async def test_details_of_somebody_else_do_no_harm(service, client):
    broken = Fail(grpc.StatusCode.NOT_FOUND, "not here", details=(pb.Run(name="x"),))
    service.will("GetDeployment", broken)
    with pytest.raises(NotFound, match="not here") as caught:
        await client.get_deployment("web")
    assert caught.value.reason == ""


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("web/runs/7", "tenants/demo/deployments/web/runs/7"),
        ("web/7", "tenants/demo/deployments/web/runs/7"),
        ("tenants/o/deployments/web/runs/7", "tenants/o/deployments/web/runs/7"),
    ],
)
async def test_short_names_mean_the_default_tenants(service, client, short, full):
    service.will("GetRun", pb.GetRunResponse(run=run()))
    await client.get_run(short)
    assert service.requests["GetRun"][0].name == full


async def test_without_a_tenant_only_full_names_are_taken(service):
    service.will("GetDeployment", pb.GetDeploymentResponse())
    async with DeploymentClient(service.target, api_key="k") as client:
        await client.get_deployment("tenants/demo/deployments/web")
        with pytest.raises(InvalidArgument, match="No tenant"):
            await client.get_deployment("web")


@pytest.mark.parametrize("default", [None, "demo"])
async def test_a_short_provider_is_one_of_the_tenant_that_is_given(service, default):
    service.will("CreateDeployment", pb.CreateDeploymentResponse())
    async with DeploymentClient(service.target, api_key="k", tenant=default) as client:
        await client.create_deployment("web", pb.Deployment(provider="main"), tenant="other")
    (request,) = service.requests["CreateDeployment"]
    assert request.parent == "tenants/other"
    assert request.deployment.provider == "tenants/other/providers/main"


async def test_all_pages_are_gone_through(service, client):
    pages = [["a", "b"], ["c"], ["d"]]
    service.will(
        "ListDeployments",
        *(
            pb.ListDeploymentsResponse(
                deployments=[pb.Deployment(name=name) for name in names],
                next_page_token=f"page-{number}" if number < len(pages) else "",
            )
            for number, names in enumerate(pages, 1)
        ),
    )
    names = [one.name async for one in client.deployments(statuses=iter([RUNNING]))]
    assert names == ["a", "b", "c", "d"]
    requests = service.requests["ListDeployments"]
    assert [request.page_token for request in requests] == ["", "page-1", "page-2"]
    assert all(list(request.statuses) == [RUNNING] for request in requests)


def answers(service: ScriptedService, *runs: pb.Run) -> None:
    service.will("RunDeployment", pb.RunDeploymentResponse(run=run(), resume_token="at-4"))
    service.will("GetRun", *(pb.GetRunResponse(run=one) for one in runs))


async def test_run_and_wait_returns_the_run_once_it_is_settled(service, client):
    early = run(status=COMPLETED, certainty=pb.CERTAINTY_REPORTED)
    answers(
        service, run(status=RUNNING), early, run(status=COMPLETED, certainty=pb.CERTAINTY_CONFIRMED)
    )
    stream = Stream(position=4)
    name = "tenants/demo/deployments/web/runs/1"
    service.will(
        "WatchDeployments",
        [stream.start(), stream.event(run=name), stream.event(run=name), Hang],
    )
    done = await client.run_and_wait("web", timeout_s=20)
    assert (done.status, done.certainty) == (COMPLETED, pb.CERTAINTY_CONFIRMED)
    (watch,) = service.requests["WatchDeployments"]
    assert watch.resume_token == "at-4", "the watch begins at our own write: no event is missed"


async def test_run_and_wait_waits_no_longer_for_what_can_not_be_settled(
    service, client, monkeypatch
):
    """P4: Jenkins has lost the build; nothing better will ever be known."""
    monkeypatch.setattr("deployment_service.client.waiting._SETTLED_WITHIN_S", 0.5)
    answers(
        service,
        run(status=RUNNING),
        *[run(status=pb.DEPLOYMENT_STATUS_FAILED, certainty=pb.CERTAINTY_REPORTED)] * 10,
    )
    service.will("WatchDeployments", [Stream(position=4).start(), Hang])
    monkeypatch.setattr("deployment_service.client.waiting._POLL_WATCHED_S", 0.1)
    done = await client.run_and_wait("web", timeout_s=20)
    assert (done.status, done.certainty) == (pb.DEPLOYMENT_STATUS_FAILED, pb.CERTAINTY_REPORTED)


@pytest.mark.parametrize("default", [None, "demo", "other"])
async def test_run_and_wait_takes_a_full_name_of_any_tenant(service, default):
    """The watch is of the run's tenant: it would be refused once the run was started."""
    answers(service, run(status=RUNNING), run(status=COMPLETED, certainty=pb.CERTAINTY_CONFIRMED))
    stream = Stream(position=4)
    service.will("WatchDeployments", [stream.start(), stream.event(run=run().name), Hang])
    async with DeploymentClient(service.target, api_key="k", tenant=default) as client:
        done = await client.run_and_wait("tenants/demo/deployments/web", timeout_s=20)
    assert done.certainty == pb.CERTAINTY_CONFIRMED
    (watch,) = service.requests["WatchDeployments"]
    assert watch.parent == "tenants/demo"
    assert list(watch.names) == ["tenants/demo/deployments/web"]


async def test_run_and_wait_outlives_an_outage_that_is_longer_than_a_call_may_take(service):
    """P4: the run goes on without us, and its end is known when the service is back."""
    away = [UNAVAILABLE_ERRORS] * 12
    service.will("RunDeployment", pb.RunDeploymentResponse(run=run(), resume_token="at-4"))
    end = pb.GetRunResponse(run=run(status=COMPLETED, certainty=pb.CERTAINTY_CONFIRMED))
    service.will("GetRun", pb.GetRunResponse(run=run(status=RUNNING)), *away, end)
    stream = Stream(position=4)
    ended = [stream.start(), stream.event(run=run().name), Hang]
    service.will("WatchDeployments", UNAVAILABLE_ERRORS, UNAVAILABLE_ERRORS, ended)
    backoff = Backoff(first_s=0.02, longest_s=0.04)
    async with DeploymentClient(
        service.target, api_key="key", tenant="demo", timeout_s=0.2, backoff=backoff
    ) as impatient:
        done = await impatient.run_and_wait("web", timeout_s=50)
    assert (done.status, done.certainty) == (COMPLETED, pb.CERTAINTY_CONFIRMED)
    assert len(service.requests["RunDeployment"]) == 1


async def test_run_and_wait_gives_up_when_told(service, client):
    answers(service, run(status=RUNNING))
    service.will("WatchDeployments", [Stream().start(), Hang])
    with pytest.raises(RunNotFinished, match="has not ended within") as caught:
        await client.run_and_wait("web", timeout_s=0.1)
    assert caught.value.run_name == "tenants/demo/deployments/web/runs/1"


async def test_run_and_wait_tells_what_ends_its_watch(service, client):
    answers(service, run(status=RUNNING))
    service.will("WatchDeployments", Fail(grpc.StatusCode.PERMISSION_DENIED, "no viewer"))
    with pytest.raises(DeploymentServiceError, match="no viewer") as caught:
        await client.run_and_wait("web", timeout_s=20)
    assert caught.value.run_name == run().name, (
        "it was started: whoever started it can go on waiting"
    )


async def test_what_fails_before_a_run_is_started_names_none(service, client):
    service.will("RunDeployment", Fail(grpc.StatusCode.FAILED_PRECONDITION, reason="RUN_ACTIVE"))
    with pytest.raises(FailedPrecondition) as caught:
        await client.run_and_wait("web")
    assert caught.value.run_name == ""


async def test_run_and_wait_needs_no_watch(service, client):
    """P4: where a tenant has all the watches it may have, the run is asked for."""
    answers(service, run(status=RUNNING), run(status=COMPLETED, certainty=pb.CERTAINTY_CONFIRMED))
    limit = Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="TOO_MANY_WATCHES")
    service.will("WatchDeployments", limit)
    done = await client.run_and_wait("web", timeout_s=10)
    assert (done.status, done.certainty) == (COMPLETED, pb.CERTAINTY_CONFIRMED)
    assert len(service.requests["WatchDeployments"]) == 1
