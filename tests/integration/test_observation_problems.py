"""P4: while the end of a run can't be known, run, job and provider say since when, why and what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from deployment_service.v1 import deployment_service_pb2 as pb
from jenkins_simulator import Permission, SimulatedUser
from tests.integration.jobs_harness import eventually
from tests.integration.observation_harness import Observed, observed

JOB = "/job/demo.web/"
Break = Callable[[Observed], None]


@pytest_asyncio.fixture
async def one(database_url: str) -> AsyncIterator[Observed]:
    async with observed(database_url) as running:
        yield running


def mend(one: Observed) -> None:
    one.jenkins.faults.clear()
    one.jenkins.set_user("admin", SimulatedUser())


WHOLE: dict[str, tuple[str, Break, str]] = {
    "the token is revoked": ("REFUSED", Observed.revoke_token, "valid API token"),
    "the account is deleted": (
        "REFUSED",
        lambda one: one.jenkins.controller.users.clear(),
        "valid API token",
    ),
    "the account may not read Jenkins": (
        "PERMISSION_MISSING",
        lambda one: one.jenkins.set_permissions("admin", frozenset()),
        "Overall/Read",
    ),
    "connections break": ("UNREACHABLE", lambda one: one.fault(reset=True), "can't be reached"),
    "Jenkins is slow": ("SLOW", lambda one: one.fault(delay_before_s=3), "in time"),
    "a firewall's page": ("NOT_JENKINS", lambda one: one.fault(status=403), "in front of"),
    "a login page": ("NOT_JENKINS", lambda one: one.fault(login_page=True), "in front of"),
    "a redirect": (
        "NOT_JENKINS",
        lambda one: one.fault(status=302, location="https://sso.internal/login"),
        "in front of",
    ),
    "a proxy without a Jenkins": ("OVERLOADED", lambda one: one.fault(status=503), "overloaded"),
    "an internal error everywhere": (
        "SERVER_ERROR",
        lambda one: one.fault(jenkins_status=500),
        "internal error",
    ),
}


@pytest.mark.parametrize("kind", WHOLE)
async def test_a_problem_of_the_whole_jenkins_reaches_run_job_and_provider(
    one: Observed, kind: str
) -> None:
    reason, break_it, text = WHOLE[kind]
    name = await one.building()
    break_it(one)
    one.jenkins.release("demo.web")
    problem = await one.until_problem(name, reason)
    assert text in problem.message
    explained = await one.explain(name)
    assert explained.run.observation_problem.reason == problem.reason
    assert explained.job_problem.reason == problem.reason
    deployment = await one.deployment()
    assert deployment.cicd_job.observation_problem.reason == problem.reason
    assert deployment.observation_problem.since == problem.since
    await one.until_provider_has(reason)
    # The first failure counts, however often it fails.
    await one.cycles()
    assert (await one.run(name)).observation_problem.since == problem.since
    assert (await one.run(name)).status == pb.DEPLOYMENT_STATUS_RUNNING
    mend(one)
    run = await one.until_settled(name)
    assert run.status == pb.DEPLOYMENT_STATUS_COMPLETED
    assert not run.HasField("observation_problem")
    await one.until_no_problem()
    deployment = await one.deployment()
    assert not deployment.cicd_job.HasField("observation_problem")
    assert not deployment.HasField("observation_problem")


OF_ONE_JOB: dict[str, tuple[str, Break, str]] = {
    "a permission is missing": (
        "PERMISSION_MISSING",
        lambda one: one.fault(path=JOB, jenkins_status=403),
        "admin",
    ),
    "it is hidden": (
        "JOB_NOT_SHOWN",
        lambda one: one.fault(path=JOB, jenkins_status=404),
        "Job/Read",
    ),
    "its pages are broken": (
        "SERVER_ERROR",
        lambda one: one.fault(path=JOB, jenkins_status=500),
        "internal error",
    ),
    "a firewall blocks its pages": (
        "NOT_JENKINS",
        lambda one: one.fault(path=JOB, status=403),
        "in front of",
    ),
    "its pages are slow": ("SLOW", lambda one: one.fault(path=JOB, delay_before_s=3), "in time"),
}


@pytest.mark.parametrize("kind", OF_ONE_JOB)
async def test_a_problem_of_one_job_is_not_the_providers(one: Observed, kind: str) -> None:
    reason, break_it, text = OF_ONE_JOB[kind]
    await one.create("other")
    other = await one.building("other")
    name = await one.building()
    break_it(one)
    one.jenkins.release("demo.web")
    problem = await one.until_problem(name, reason)
    assert text in problem.message
    assert (await one.deployment()).cicd_job.observation_problem.since == problem.since
    await one.cycles()
    assert not (await one.provider()).HasField("observation_problem")
    assert not (await one.run(other)).HasField("observation_problem")
    assert not (await one.deployment("other")).cicd_job.HasField("observation_problem")
    mend(one)
    assert (await one.until_settled(name)).status == pb.DEPLOYMENT_STATUS_COMPLETED
    await one.until_no_problem()
    assert not (await one.deployment()).cicd_job.HasField("observation_problem")


@pytest.mark.parametrize("endpoint", ["executors", "queue", "build"])
@pytest.mark.parametrize("status", [500, 403])
async def test_one_failing_endpoint_is_no_problem_while_the_end_is_known_otherwise(
    one: Observed, endpoint: str, status: int
) -> None:
    name = await one.building()
    one.fault(endpoint=endpoint, jenkins_status=status)
    await one.cycles()
    assert not (await one.run(name)).HasField("observation_problem")
    one.jenkins.release("demo.web")
    run = await one.until_settled(name)
    assert run.status == pb.DEPLOYMENT_STATUS_COMPLETED
    rows = await one.sql(
        "SELECT problem_reason FROM cicd_jobs UNION ALL SELECT problem_reason FROM cicd_providers"
    )
    assert [row["problem_reason"] for row in rows] == [None, None]


@pytest.mark.parametrize(
    "fields", [{"jenkins_status": 500}, {"jenkins_status": 403}, {"status": 403}]
)
async def test_without_queue_and_executors_each_run_is_read_by_itself(
    one: Observed, fields: dict[str, int]
) -> None:
    """Two sources fail at once, as with a proxy that lets only the pages of jobs through."""
    name = await one.building()
    for endpoint in ("queue", "executors"):
        one.fault(endpoint=endpoint, **fields)
    await one.cycles()
    assert not (await one.run(name)).HasField("observation_problem")
    one.jenkins.release("demo.web")
    run = await one.until_settled(name)
    assert run.status == pb.DEPLOYMENT_STATUS_COMPLETED


async def test_a_job_that_is_hidden_while_a_report_is_pending_says_so(one: Observed) -> None:
    """The report names a build that no read can show: it stays pending, and the job carries the problem."""
    (job,) = await one.sql("SELECT * FROM cicd_jobs")
    await one.sql(
        "INSERT INTO webhook_deliveries (tenant_id, job_id, build_number, source, rank, verdict, receive_time)"
        " VALUES ($1, $2, 7, 'GUIDE', 331, 'PENDING_ATTRIBUTION', now())",
        job["tenant_id"],
        job["job_id"],
    )
    one.fault(path=JOB, jenkins_status=404)
    await one.sql("UPDATE cicd_jobs SET refresh_request_time = now()")

    async def said() -> bool:
        problem = (await one.deployment()).cicd_job.observation_problem
        return problem.reason == pb.OBSERVATION_PROBLEM_REASON_JOB_NOT_SHOWN

    await eventually(said, "the job has a problem")
    assert not (await one.deployment()).HasField("observation_problem")  # it never ran
    assert not (await one.provider()).HasField("observation_problem")
    mend(one)
    await one.sql("UPDATE cicd_jobs SET refresh_request_time = now()")

    async def over() -> bool:
        return not (await one.deployment()).cicd_job.HasField("observation_problem")

    await eventually(over, "the problem ends when Jenkins shows the job")


async def test_a_run_that_cannot_be_sent_makes_its_provider_say_why(one: Observed) -> None:
    """Nothing is read of a run that Jenkins doesn't have: the provider is probed for it."""
    one.fault(reset=True)
    name = await one.start()
    await one.until_problem(name, "UNREACHABLE")
    assert (await one.run(name)).waiting_for == pb.WAITING_FOR_TRIGGER
    mend(one)
    assert (await one.until_settled(name)).status == pb.DEPLOYMENT_STATUS_COMPLETED
    await one.until_no_problem()
    assert not (await one.provider()).HasField("observation_problem")


async def test_a_stored_token_that_cannot_be_read_is_a_problem_of_the_provider(
    one: Observed,
) -> None:
    name = await one.building()
    (row,) = await one.sql("SELECT api_token_encrypted FROM cicd_providers")
    change = "UPDATE cicd_providers SET version = version + 1, api_token_encrypted = $1"
    await one.sql(change, b"damaged")
    await one.until_problem(name, "UNREACHABLE")
    assert "stored API token" in (await one.run(name, operator=True)).observation_problem.message
    await one.sql(change, row["api_token_encrypted"])

    async def cleared() -> bool:
        return not (await one.run(name)).HasField("observation_problem")

    await eventually(cleared, "the problem ends while the build goes on")
    assert (await one.run(name)).status == pb.DEPLOYMENT_STATUS_RUNNING


async def test_tenants_see_no_details_of_the_network(one: Observed) -> None:
    """A tenant chooses the address: what answers there in our network is for operators to know."""
    name = await one.building()
    one.fault(status=403)
    problem = await one.until_problem(name, "NOT_JENKINS")
    assert "HTTP" not in problem.message
    assert "HTTP 403" in (await one.run(name, operator=True)).observation_problem.message
    await one.until_provider_has("NOT_JENKINS")
    assert "HTTP 403" in (await one.provider()).observation_problem.message
    explained = await one.explain(name)
    assert "HTTP" not in explained.run.observation_problem.message
    assert "HTTP" not in explained.job_problem.message
    assert "HTTP" not in (await one.deployment()).cicd_job.observation_problem.message
    mend(one)
    one.revoke_token()
    # What Jenkins says of the account is what the tenant has to mend.
    assert "'admin'" in (await one.until_problem(name, "REFUSED")).message


async def test_an_account_that_may_not_read_jobs_is_told_so(one: Observed) -> None:
    """Without Job/Read Jenkins answers 404: the job is hidden."""
    name = await one.building()
    one.jenkins.set_permissions("admin", frozenset({Permission.OVERALL_READ}))
    one.jenkins.release("demo.web")
    await one.until_problem(name, "JOB_NOT_SHOWN")
    mend(one)
    assert (await one.until_settled(name)).status == pb.DEPLOYMENT_STATUS_COMPLETED
