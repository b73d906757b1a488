"""What we keep in Jenkins is compared again and again; what is lost is restored where it is ours, else told (P9)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from xml.etree import ElementTree

import pytest
import pytest_asyncio

from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.cicd.jenkins.job_xml import parse_owner, secret_id_of
from deployment_service.domain.definition import JobDefinition, JobKind
from deployment_service.storage.jobs import job_drift
from deployment_service.workers.controllers.controllers import Controllers
from deployment_service.workers.job_provisioner.comparer import JobComparer, JobComparerSettings
from jenkins_simulator import ALL_PERMISSIONS, JenkinsSimulator, Permission, RequestFault, SeedJob
from tests.fixtures_stack import Databases
from tests.integration.job_edits import NAME, Edit, description, edit, endpoint, parameters
from tests.integration.jobs_harness import (
    LIMITS,
    Jobs,
    adopt,
    eventually,
    jenkins_client,
    jobs_of,
    shell,
)


@pytest_asyncio.fixture
async def jobs(databases: Databases, jenkins: JenkinsSimulator) -> AsyncIterator[Jobs]:
    async with jobs_of(databases, jenkins.url, webhook_base_url="http://hooks.invalid") as jobs:
        yield jobs


@contextlib.asynccontextmanager
async def comparing(jobs: Jobs, **settings: float) -> AsyncIterator[None]:
    controllers = Controllers(jenkins_client, jobs.box.decrypt, LIMITS)
    comparer = JobComparer(
        jobs.databases.worker,
        controllers,
        WebhookKeys(jobs.box),
        committed=lambda _: jobs.commits.append(None),
        settings=JobComparerSettings(poll_s=0.05, **settings),  # type: ignore[arg-type]
    )
    await comparer.start()
    try:
        yield
    finally:
        await comparer.stop()
        await controllers.close()


async def compared(jobs: Jobs, times: int = 1) -> None:
    """Compare the jobs, and again, as if each time were due."""
    for _ in range(times):
        await jobs.sql("UPDATE cicd_jobs SET next_compare_time = now() - interval '1 s'")
        before = len(jobs.commits)
        async with comparing(jobs, every_s=3600):

            async def done(before: int = before) -> bool:
                return len(jobs.commits) > before

            await eventually(done, "the job was compared")


def _set(root: ElementTree.Element, name: str, value: str) -> None:
    for found in root.iter(name):
        found.text = value


def only_failures(root: ElementTree.Element) -> None:
    _set(root, "event", "failed")


def as_xml(root: ElementTree.Element) -> None:
    _set(root, "format", "XML")


def without_branch(root: ElementTree.Element) -> None:
    for found in root.iter("com.tikal.hudson.plugins.notification.Endpoint"):
        branch = found.find("branch")
        assert branch is not None
        found.remove(branch)


def more_log_lines(root: ElementTree.Element) -> None:
    _set(root, "loglines", "50")


def is_whole(jenkins: JenkinsSimulator, job_id: object) -> bool:
    job = jenkins.job(NAME)
    found = job.xml.find(".//com.tikal.hudson.plugins.notification.Endpoint")
    if found is None or found.findtext("urlInfo/urlOrId") != secret_id_of(str(job_id)):
        return False
    needed = {"protocol": "HTTP", "format": "JSON", "event": "all", "branch": ".*"}
    names = [one.name for one in job.config.parameters or ()]
    return (
        all(found.findtext(name) == value for name, value in needed.items())
        and "DEPLOYMENT_RUN_ID" in names
        and parse_owner(job.xml.findtext("description")) is not None
        and secret_id_of(str(job_id)) in jenkins.controller.credentials
    )


async def told(jobs: Jobs) -> list[str]:
    rows = await jobs.sql(
        "SELECT message FROM deployment_events WHERE type = 'DEPLOYMENT_JOB_DRIFTED' ORDER BY sequence"
    )
    return [row["message"] for row in rows]


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (description, "the mark in its description"),
        (parameters, "its parameters"),
        (endpoint, "its webhook endpoint"),
        (only_failures, "its webhook endpoint"),
        (as_xml, "its webhook endpoint"),
        (without_branch, "its webhook endpoint"),
        (None, "the secret text with its webhook URL"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_what_was_lost_is_restored_and_told(
    jobs: Jobs, jenkins: JenkinsSimulator, change: Edit | None, lost: str
) -> None:
    await jobs.create("web", shell())
    before = dict(jenkins.controller.credentials)
    if change is None:
        assert jenkins.lose_secrets()
    else:
        edit(jenkins, change)
    job_id = (await jobs.row())["job_id"]
    assert not is_whole(jenkins, job_id)
    await compared(jobs, times=2)
    assert is_whole(jenkins, job_id)
    (message,) = await told(jobs)
    assert lost in message
    assert "repair 1 of at most 3" in message
    if change is description:
        assert "Ask Ada" in (jenkins.job(NAME).xml.findtext("description") or "")
    assert dict(jenkins.controller.credentials) == before


@pytest.mark.parametrize("change", [None, more_log_lines])
async def test_a_job_that_has_all_of_it_is_not_written(
    jobs: Jobs, jenkins: JenkinsSimulator, change: Edit | None
) -> None:
    """Log lines are the owner's affair."""
    await jobs.create("web", shell())
    if change is not None:
        edit(jenkins, change)
    posts = jenkins.requests.count("POST", "")
    await compared(jobs, times=2)
    assert jenkins.requests.count("POST", "") == posts
    assert await told(jobs) == []


async def test_a_seed_job_makes_no_loop_of_repairs(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    """P9: three repairs an hour, then one more event and nothing else."""
    await jobs.create("web", shell())
    edit(jenkins, parameters)
    xml = ElementTree.tostring(jenkins.job(NAME).xml, encoding="unicode")
    jenkins.set_conditions(seed_jobs=(SeedJob(NAME, xml, every_s=0.02),))
    for _ in range(6):
        await compared(jobs)
        await asyncio.sleep(0)  # the seed job writes

        async def overwritten() -> bool:
            return not jenkins.job(NAME).config.parameters

        await eventually(overwritten, "the seed job has written again")
    posts = jenkins.requests.count("POST", "/config.xml")
    assert posts == 3
    messages = await told(jobs)
    assert [("repair " in one) for one in messages] == [True, True, True, False]
    assert "find what overwrites it" in messages[-1]
    # An hour later it is tried again.
    jenkins.set_conditions(seed_jobs=())
    await jobs.sql("UPDATE cicd_jobs SET repair_times = '{}'")
    await compared(jobs, times=2)
    assert is_whole(jenkins, (await jobs.row())["job_id"])
    assert len(await told(jobs)) == 5


@pytest.mark.parametrize(
    "edits",
    [
        (description, parameters),
        (description, endpoint),
        (parameters, endpoint),
        (description, parameters, endpoint),
    ],
    ids=lambda edits: "+".join(one.__name__ for one in edits),
)
async def test_a_job_with_fewer_signs_is_told_once_and_left(
    jobs: Jobs, jenkins: JenkinsSimulator, edits: tuple[Edit, ...]
) -> None:
    """P9: it may be another's by now."""
    await jobs.create("web", shell())
    edit(jenkins, *edits)
    before = ElementTree.tostring(jenkins.job(NAME).xml)
    await compared(jobs, times=3)
    assert ElementTree.tostring(jenkins.job(NAME).xml) == before
    (message,) = await told(jobs)
    assert "Too little is left" in message


async def test_a_job_that_is_gone_is_told_once(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    await jobs.create("web", shell())
    jenkins.controller.delete(jenkins.job(NAME))
    await compared(jobs, times=2)
    (message,) = await told(jobs)
    assert "shows no such job" in message


@pytest.mark.parametrize(
    "missing",
    [{Permission.ITEM_CONFIGURE, Permission.ITEM_EXTENDED_READ}, {Permission.CREDENTIALS_VIEW}],
    ids=["configuration", "secrets"],
)
async def test_what_the_account_may_not_see_is_not_called_lost(
    jobs: Jobs, jenkins: JenkinsSimulator, missing: set[Permission]
) -> None:
    await jobs.create("web", shell())
    jenkins.set_permissions("admin", ALL_PERMISSIONS - {Permission.ADMINISTER, *missing})
    await compared(jobs, times=2)
    assert await told(jobs) == []


@pytest.mark.parametrize("status", [500, 502, 403])
async def test_a_jenkins_that_fails_proves_nothing(
    jobs: Jobs, jenkins: JenkinsSimulator, status: int
) -> None:
    await jobs.create("web", shell())
    jenkins.faults.add(RequestFault("GET", "credential", status=status))
    jenkins.faults.add(RequestFault("GET", "config.xml", status=status))
    await jobs.sql("UPDATE cicd_jobs SET next_compare_time = now() - interval '1 s'")
    asked = jenkins.requests.count("GET", "config.xml")
    async with comparing(jobs, every_s=3600):

        async def done() -> bool:
            return jenkins.requests.count("GET", "config.xml") > asked

        await eventually(done, "the job was read")
    assert await told(jobs) == []
    assert (await jobs.row())["repair_times"] == []


async def test_adopted_jobs_are_not_compared_and_few_are_taken_at_once(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """Bounded and fair: the longest due first, none twice, none that a provider is busy with."""
    jenkins.create_job("plain", "<project><builders/></project>")
    await jobs.create("plain", adopt("plain"))
    for number in range(5):
        await jobs.create(f"web{number}", shell())
    await jobs.sql(
        "UPDATE cicd_jobs SET next_compare_time = now() - right(full_name, 1)::int * interval '1 min'"
        " WHERE origin = 'CREATED'"
    )
    taken: list[str] = []
    names = {row["job_id"]: row["full_name"] for row in await jobs.rows()}
    async with jobs.databases.worker.acquire() as connection:
        busy = await job_drift.claim_comparisons(
            connection, limit=2, every_s=60, without_providers=[jobs.provider_id]
        )
        assert busy == []
        for _ in range(4):
            some = await job_drift.claim_comparisons(connection, limit=2, every_s=60)
            assert len(some) <= 2
            taken += [names[one.job_id] for one in some]
    assert sorted(taken) == [f"demo.web{number}" for number in range(5)]
    assert set(taken[:2]) == {"demo.web4", "demo.web3"}


async def test_what_a_given_config_declares_keeps_its_kind(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    await jobs.sql("UPDATE cicd_providers SET allowed_job_kinds = '{CONFIG_XML}'")
    given = JobDefinition(JobKind.CONFIG_XML, text="<project><builders/></project>")
    await jobs.create("web", given, caller_is_admin=True)
    edit(jenkins, parameters)
    await compared(jobs, times=2)
    assert is_whole(jenkins, (await jobs.row())["job_id"])


async def test_claiming_comparisons_reads_only_what_is_due(jobs: Jobs) -> None:
    await jobs.create("web", shell())
    await jobs.sql(
        """
        INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin, state, owner_deployment_id, next_try_time,
            next_compare_time)
        SELECT tenant_id, provider_id, 'job-' || n, origin, 'READY', owner_deployment_id, NULL,
            now() + (n - 100) * interval '1 s'
        FROM cicd_jobs, generate_series(1, 20000) AS n
        """
    )
    await jobs.sql("ANALYZE cicd_jobs")
    async with jobs.databases.worker.acquire() as connection, connection.transaction():
        plan = await connection.fetch(
            f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {job_drift.CLAIM_COMPARISONS}", 4, 900.0, []
        )
    text = "\n".join(row[0] for row in plan)
    assert "Index Scan using cicd_jobs_to_compare" in text
    assert "Seq Scan on cicd_jobs" not in text
