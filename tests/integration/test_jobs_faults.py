"""Whatever goes wrong on the way, a deployment gets exactly one job, or an answer that says why not (P3)."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deployment_service.actions.create_deployment import CreateDeployment
from deployment_service.cicd.errors import ProviderUnreachable
from deployment_service.cicd.port import JobView
from deployment_service.domain.jobs import JobFailure, JobFault
from deployment_service.storage.database.pool import API_ROLE, WORKER_ROLE, Database
from deployment_service.storage.jobs import jobs as store
from deployment_service.storage.schema.migrate import migrate
from deployment_service.workers.job_provisioner import attempt
from deployment_service.workers.job_provisioner.job_endpoint import RetryLater
from deployment_service.workers.job_provisioner.provisioner import JobProvisionerSettings
from devstack.postgres import EmbeddedPostgres
from jenkins_simulator import JenkinsSimulator, RequestFault
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import (
    SOON,
    FakeJenkins,
    Jobs,
    eventually,
    jobs_of,
    shell,
)
from tests.support.waiting import until


@pytest_asyncio.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator() as simulator:
        yield simulator


@pytest_asyncio.fixture
async def jobs(databases: Databases, jenkins: JenkinsSimulator) -> AsyncIterator[Jobs]:
    async with jobs_of(databases, jenkins.url) as process:
        yield process


@pytest.mark.parametrize(
    "fault",
    [
        RequestFault(method="POST", path="createItem", count=1, do_work=True, reset=True),
        RequestFault(method="POST", path="createItem", count=1, do_work=True, status=502),
        RequestFault(method="POST", path="createItem", count=1, reset=True),
        RequestFault(method="GET", path="job/demo.web", count=2, status=502),
        RequestFault(count=1, login_page=True),
    ],
    ids=["answer lost", "proxy failed after it", "never arrived", "reads fail", "login page"],
)
async def test_a_lost_answer_ends_with_one_ready_job(
    jobs: Jobs, jenkins: JenkinsSimulator, fault: RequestFault
) -> None:
    jenkins.faults.add(fault)
    created = await jobs.create()
    row = await jobs.row()
    assert (row["state"], row["correlation"]) == ("READY", "RUN_ID")
    assert row["attempt"] > 1
    assert [job.full_name for job in jenkins.controller.root.jobs()] == ["demo.web"]
    assert str(created.deployment_uid) in (jenkins.job("demo.web").config.description or "")
    assert await jobs.events() == [("web", "CREATED", 1), ("web", "JOB_UPDATE", 2)]


async def test_with_jenkins_down_it_waits_says_so_and_goes_on_by_itself(
    databases: Databases, jenkins: JenkinsSimulator
) -> None:
    await jenkins.stop()
    async with jobs_of(databases, jenkins.url, wait_s=0.2) as jobs:
        await jobs.create()
        await jobs.until_row(lambda row: row["state_message"], "a reason is given")
        row = await jobs.row()
        assert row["state"] == "CREATING"
        assert "can't be reached" in row["state_message"]
        assert "; next try in " in row["state_message"]
        await jenkins.start()
        await jobs.until_row(lambda row: row["state"] == "READY", "Jenkins is back")
        assert (await jobs.row())["state_message"] == ""
        assert await jobs.events() == [("web", "CREATED", 1), ("web", "JOB_UPDATE", 2)]


async def test_the_callers_deadline_bounds_the_wait_but_not_the_work(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    jenkins.create_job("demo.web", "<project/>")
    await jobs.create(remaining_s=0)
    # Refused when nobody waits any more: the state says so, and an event.
    await jobs.until_row(lambda row: row["state"] == "FAILED", "it is refused")
    row = await jobs.row()
    assert row["state_fault"] == JobFault.JOB_EXISTS
    assert row["state_message"].startswith("Jenkins has a job")
    assert await jobs.events() == [("web", "CREATED", 1), ("web", "JOB_UPDATE", 2)]
    await jobs.delete()
    assert await jobs.rows() == [], "nothing of it is in Jenkins: the name is free at once"


async def test_two_replicas_never_create_twice(
    databases: Databases, jenkins: JenkinsSimulator
) -> None:
    count = 30
    async with jobs_of(databases, jenkins.url) as one, jobs_of(databases, "", like=one) as two:
        await asyncio.gather(
            *((one, two)[n % 2].create(f"web-{n}", remaining_s=20) for n in range(count))
        )
        assert jenkins.requests.count("POST", "createItem") == count
        assert len(list(jenkins.controller.root.jobs())) == count
        assert {(row["state"], row["attempt"]) for row in await one.rows()} == {("READY", 1)}
        assert len(await one.events()) == 2 * count


async def test_a_keeper_that_was_stalled_past_its_lease_cant_write(databases: Databases) -> None:
    fake = FakeJenkins()
    stalled, go_on = asyncio.Event(), asyncio.Event()

    async def stall_first(call: str, _: str) -> None:
        if call == "read_job" and fake.count("read_job") == 1:
            stalled.set()
            await asyncio.shield(go_on.wait())

    fake.before = stall_first
    async with jobs_of(databases, "http://j.invalid", make_client=fake.client, keep=False) as jobs:
        first = await _claim(jobs, lease_s=0.0)
        stalled_work = asyncio.create_task(_work(jobs, fake, first))
        # The second keeper finds the lease ended and does the work.
        async with jobs_of(databases, "", like=jobs, make_client=fake.client):
            await stalled.wait()
            await jobs.until_row(lambda row: row["state"] == "READY", "the other one did it")
            before = dict(await jobs.row())
            go_on.set()
            assert await stalled_work is False
            assert dict(await jobs.row()) == before
    assert fake.count("create_job") == 1
    assert len(await jobs.events()) == 2


async def test_an_overtaken_attempt_cant_write_while_the_next_one_works(
    databases: Databases,
) -> None:
    fake = FakeJenkins()
    async with jobs_of(databases, "http://j.invalid", make_client=fake.client, keep=False) as jobs:
        first = await _claim(jobs, lease_s=0.0)
        async with databases.worker.acquire() as connection:
            task = await store.task(connection, first)
            (second,) = await store.claim(connection, owner=uuid.uuid4(), limit=1, lease_s=60)
            assert await store.task(connection, first) is None
        assert task is not None
        assert second.attempt == first.attempt + 1
        before = dict(await jobs.row())
        failure = JobFailure(JobFault.JOB_EXISTS, "too late")
        for outcome in (
            attempt.Failed(failure),
            RetryLater("too late", 0),
            attempt.Deleted(),
        ):
            assert await attempt.record(databases.worker, task, outcome) is False
        assert dict(await jobs.row()) == before
        assert await jobs.events() == [("web", "CREATED", 1)]


async def test_what_is_created_too_late_for_its_deployment_is_deleted_again(
    databases: Databases,
) -> None:
    fake = FakeJenkins()
    sending, go_on = asyncio.Event(), asyncio.Event()

    async def stall(call: str, _: str) -> None:
        if call == "create_job":
            sending.set()
            await go_on.wait()

    fake.before = stall
    impatient = dataclasses.replace(SOON, quarantine_s=0.0)
    async with jobs_of(
        databases, "http://j.invalid", make_client=fake.client, settings=impatient
    ) as jobs:
        await jobs.create(remaining_s=0)
        await sending.wait()
        await jobs.delete()
        await jobs.until_no_rows()
        go_on.set()
        await until(lambda: fake.count("delete_job"), what="the orphan is deleted")
        await until(lambda: not fake.descriptions)


async def test_a_deletion_waits_for_what_may_still_be_under_way(databases: Databases) -> None:
    fake = FakeJenkins()

    async def lose_answer(call: str, _: str) -> None:
        if call == "create_job" and fake.count("create_job") == 1:
            raise ProviderUnreachable("Jenkins can't be reached (no answer in time).")

    fake.before = lose_answer
    async with jobs_of(databases, "http://j.invalid", make_client=fake.client, keep=False) as jobs:
        claimed = await _claim(jobs, lease_s=0.0)
        with pytest.raises(ProviderUnreachable):
            await _work(jobs, fake, claimed)
        await jobs.delete()
        await jobs.keeper.start()
        await jobs.until_row(lambda row: "under way" in row["state_message"], "it waits")
        # The request arrives at last; then the quarantine ends.
        row = await jobs.row()
        fake.descriptions["demo.web"] = (
            "DEPLOYMENT_RUN_ID: Managed by the deployment service; do not edit. owner="
            + str(row["owner_deployment_id"])
        )
        await jobs.sql(
            "UPDATE cicd_jobs SET update_time = update_time - interval '1 hour', next_try_time = now()"
        )
        await jobs.until_no_rows()
        assert fake.descriptions == {}


async def test_a_job_that_appears_between_look_and_creation_is_told_by_its_mark(
    databases: Databases,
) -> None:
    fake = FakeJenkins()

    async def late_request(call: str, full_name: str) -> None:
        if call == "create_job":
            (row,) = await process.rows()
            owner = row["owner_deployment_id"] if full_name == "demo.ours" else uuid.uuid4()
            fake.descriptions[full_name] = (
                f"DEPLOYMENT_RUN_ID: Managed by the deployment service; do not edit. owner={owner}"
            )

    fake.before = late_request
    async with jobs_of(databases, "http://j.invalid", make_client=fake.client) as process:
        await process.create("ours")
        assert (await process.row())["state"] == "READY"
        await process.delete("ours")
        await process.until_no_rows()
        with pytest.raises(Exception, match="mark of another deployment"):
            await process.create("theirs")


async def test_the_row_bears_the_name_that_jenkins_gives_the_job(databases: Databases) -> None:
    fake = FakeJenkins()
    read = fake.read_job

    async def spelled(full_name: str) -> JobView | None:
        view = await read(full_name)
        return view and dataclasses.replace(view, full_name=full_name.replace("shop/", "Shop/"))

    fake.read_job = spelled  # type: ignore[method-assign]
    async with jobs_of(databases, "http://j.invalid", make_client=fake.client) as jobs:
        await jobs.create("web", shell("shop/web"))
        assert (await jobs.row())["full_name"] == "Shop/web"
        # Unless another row has it: then it stays as asked for, rather than being lost in Jenkins.
        await jobs.sql("UPDATE cicd_jobs SET full_name = 'Shop/api'")
        await jobs.create("api", shell("shop/api"))
        assert [row["full_name"] for row in await jobs.rows()] == ["Shop/api", "shop/api"]
        assert {row["state"] for row in await jobs.rows()} == {"READY"}


async def test_a_failure_of_our_own_is_tried_again_and_hides_its_words(
    databases: Databases,
) -> None:
    fake = FakeJenkins()

    async def fail_once(call: str, _: str) -> None:
        if fake.count("read_job") == 1:
            raise KeyError("internals")

    fake.before = fail_once
    async with jobs_of(databases, "http://j.invalid", make_client=fake.client) as jobs:
        await jobs.create(remaining_s=0)
        await jobs.until_row(lambda row: "next try" in row["state_message"], "it is noted")
        assert "internals" not in (await jobs.row())["state_message"]
        await jobs.until_row(lambda row: row["state"] == "READY", "the second try")


async def test_one_dead_jenkins_doesnt_hold_up_another(databases: Databases) -> None:
    """P6: the dead one's calls never end; its provider has more jobs than attempts are made at once."""
    fake = FakeJenkins()

    async def dead(_: str, full_name: str) -> None:
        if "dead" in full_name:
            await asyncio.Event().wait()

    fake.before = dead
    settings = JobProvisionerSettings(poll_s=0.02, concurrency=6, per_provider=2, stop_grace_s=0.1)
    async with jobs_of(
        databases, "http://j.invalid", make_client=fake.client, settings=settings
    ) as jobs:
        await jobs.sql(
            "INSERT INTO cicd_providers (tenant_id, slug, base_url) SELECT tenant_id, 'other', 'http://o.invalid'"
            " FROM tenants"
        )
        await asyncio.gather(*(jobs.create(f"dead-{n}", remaining_s=0) for n in range(10)))
        await until(lambda: fake.count("read_job") >= 2, what="the dead one is called")
        other = await jobs.creator.create(
            dataclasses.replace(_command(jobs, "alive"), provider_id="other")
        )
        (row,) = await jobs.sql(
            "SELECT state FROM cicd_jobs WHERE owner_deployment_id = $1", other.deployment_uid
        )
        assert row["state"] == "READY"


async def test_it_recovers_when_the_database_comes_back(jenkins: JenkinsSimulator) -> None:
    async with EmbeddedPostgres(durable=False) as server:
        await migrate(server.url())
        api = await Database.open(server.url(), role=API_ROLE, max_connections=5)
        worker = await Database.open(server.url(), role=WORKER_ROLE, max_connections=5)
        databases = Databases(server.url(), api, worker)
        try:
            async with jobs_of(databases, jenkins.url) as jobs:
                await jobs.create("before")
                jenkins.faults.add(RequestFault(method="POST", path="createItem", delay_after_s=1))
                await jobs.create("during", remaining_s=0)

                async def created() -> bool:
                    return jenkins.controller.find("demo.during") is not None

                await eventually(created, "Jenkins has made it")
                await server.kill()
                await server.start()

                async def ready() -> bool:
                    return all(row["state"] == "READY" for row in await jobs.rows())

                await eventually(ready, "the outcome is written down")
                await jobs.create("after")
                assert jenkins.requests.count("POST", "createItem") == 3
        finally:
            await api.close()
            await worker.close()


def _command(jobs: Jobs, name: str) -> CreateDeployment:
    return CreateDeployment(jobs.tenant, name, "main", shell())


async def _claim(jobs: Jobs, *, lease_s: float) -> store.Claimed:
    """Create a deployment that nobody waits for, and claim its job as a keeper would."""
    await jobs.create(remaining_s=0)
    async with jobs.databases.worker.acquire() as connection:
        (claimed,) = await store.claim(connection, owner=uuid.uuid4(), limit=1, lease_s=lease_s)
    return claimed


async def _work(jobs: Jobs, fake: FakeJenkins, claimed: store.Claimed) -> bool:
    """Do what a keeper does with a claim."""
    async with jobs.databases.worker.acquire() as connection:
        task = await store.task(connection, claimed)
    assert task is not None
    limits = attempt.AttemptLimits(asyncio.get_running_loop().time() + 60)
    outcome = await attempt.work_on(task, fake.client(None), None, limits)  # type: ignore[arg-type]
    return await attempt.record(jobs.databases.worker, task, outcome)
