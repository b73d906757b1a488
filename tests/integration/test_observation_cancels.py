"""P4: a cancel request that can't be carried out says since when, why and what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from deployment_service.v1 import deployment_service_pb2 as pb
from jenkins_simulator import ALL_PERMISSIONS, Permission, SimulatedUser
from tests.integration.jobs_harness import eventually
from tests.integration.observation_harness import DEMO, Observed, observed
from tests.support.api import request_id

NOT_YET = "The run could not be cancelled yet. "
Break = Callable[[Observed], None]


@pytest_asyncio.fixture
async def one(database_url: str) -> AsyncIterator[Observed]:
    async with observed(database_url, trigger_wait_s=0.05) as running:
        yield running


async def cancel(one: Observed, name: str) -> None:
    request = pb.CancelRunRequest(name=name, request_id=request_id())
    await one.api.deployments.CancelRun(request, metadata=one.api.as_admin)


async def mend(one: Observed) -> None:
    one.jenkins.faults.clear()
    one.jenkins.set_user("admin", SimulatedUser())
    # A refusal is asked about again after 10 s: as if they were over.
    await one.sql("UPDATE deployment_runs SET cancel_sent_time = NULL")


def without_cancel(one: Observed) -> None:
    lacks = {Permission.ITEM_CANCEL, Permission.ADMINISTER}
    one.jenkins.set_permissions("admin", ALL_PERMISSIONS - lacks)


STOPS: dict[str, tuple[str, Break, str]] = {
    "a permission is missing": ("PERMISSION_MISSING", without_cancel, "Job/Cancel"),
    "Jenkins refuses it": (
        "SERVER_ERROR",
        lambda one: one.fault(endpoint="stop", jenkins_status=500),
        "internal error",
    ),
    "the connection breaks": (
        "UNREACHABLE",
        lambda one: one.fault(endpoint="stop", reset=True),
        "can't be reached",
    ),
    "a proxy lets no POST through": (
        "NOT_JENKINS",
        lambda one: one.fault("POST", status=403),
        "in front of",
    ),
}


@pytest.mark.parametrize("kind", STOPS)
async def test_a_stop_that_is_not_carried_out_is_the_runs_own_problem(
    one: Observed, kind: str
) -> None:
    reason, break_it, text = STOPS[kind]
    name = await one.building()
    break_it(one)
    await cancel(one, name)
    problem = await one.until_problem(name, reason)
    assert problem.message.startswith(NOT_YET)
    assert text in problem.message
    explained = await one.explain(name)
    assert explained.run.observation_problem == problem
    assert not explained.HasField("job_problem")
    assert (await one.deployment()).observation_problem == problem
    assert not (await one.provider()).HasField("observation_problem")
    await one.age_problems()
    event = await until_told(one)
    assert event.message.startswith(NOT_YET)
    await mend(one)
    run = await one.until_settled(name)
    assert run.status == pb.DEPLOYMENT_STATUS_CANCELLED
    assert not run.HasField("observation_problem")


async def test_an_item_that_may_not_be_taken_out_of_the_queue(one: Observed) -> None:
    await one.building()
    second = await one.start(allow_concurrent=True)

    async def queued() -> bool:
        return (await one.run(second)).waiting_for == pb.WAITING_FOR_QUEUE

    await eventually(queued, "the run is queued")
    without_cancel(one)
    await cancel(one, second)
    problem = await one.until_problem(second, "PERMISSION_MISSING")
    assert "Job/Cancel" in problem.message
    await mend(one)
    assert (await one.until_settled(second)).status == pb.DEPLOYMENT_STATUS_CANCELLED


async def test_while_jenkins_is_away_the_run_says_that_it_could_not_be_cancelled(
    one: Observed,
) -> None:
    """The stop isn't even tried: nothing shows where the run is. The problem is the provider's."""
    name = await one.building()
    one.revoke_token()
    await cancel(one, name)
    problem = await one.until_problem(name, "REFUSED")
    assert problem.message.startswith(NOT_YET)
    assert not (await one.explain(name)).job_problem.message.startswith(NOT_YET)
    await mend(one)
    assert (await one.until_settled(name)).status == pb.DEPLOYMENT_STATUS_CANCELLED


async def test_a_refused_stop_is_not_repeated_in_each_cycle(one: Observed) -> None:
    name = await one.building()
    without_cancel(one)
    await cancel(one, name)
    await one.until_problem(name, "PERMISSION_MISSING")
    await one.cycles()
    assert one.jenkins.requests.count("POST", "/stop") == 1


async def test_a_build_that_ends_by_itself_ends_the_problem(one: Observed) -> None:
    name = await one.building()
    without_cancel(one)
    await cancel(one, name)
    await one.until_problem(name, "PERMISSION_MISSING")
    one.jenkins.release("demo.web")
    run = await one.until_settled(name)
    assert run.status == pb.DEPLOYMENT_STATUS_COMPLETED
    assert not run.HasField("observation_problem")
    (row,) = await one.sql("SELECT cancel_problem_since FROM deployment_runs")
    assert row["cancel_problem_since"] is None


async def test_a_build_of_a_deleted_deployment_that_cannot_be_stopped(one: Observed) -> None:
    """Its run is settled; that its build still runs is said all the same."""
    name = await one.building()
    uid = (await one.deployment()).uid
    without_cancel(one)
    await one.api.deployments.DeleteDeployment(
        pb.DeleteDeploymentRequest(name=f"{DEMO}/deployments/web", force=True, cancel_builds=True),
        metadata=one.api.as_admin,
    )
    deleted = name.replace("/web/", f"/uid:{uid}/")
    problem = await one.until_problem(deleted, "PERMISSION_MISSING")
    assert "Job/Cancel" in problem.message
    await mend(one)

    async def over() -> bool:
        return not (await one.run(deleted)).HasField("observation_problem")

    await eventually(over, "the build is stopped")


async def until_told(one: Observed) -> pb.DeploymentEvent:
    request = pb.ListEventsRequest(
        parent=f"{DEMO}/deployments/web",
        types=[pb.DeploymentEvent.DEPLOYMENT_OBSERVATION_PROBLEM],
    )
    events: list[pb.DeploymentEvent] = []

    async def check() -> bool:
        answer = await one.api.deployments.ListEvents(request, metadata=one.viewer)
        events[:] = answer.events
        return bool(events)

    await eventually(check, "the problem is told")
    return events[0]
