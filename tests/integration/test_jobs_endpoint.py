"""The webhook endpoint of our jobs: secret where it can be, rewritten with a new key, gone with its job."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from jenkins_simulator import (
    ALL_PERMISSIONS,
    JenkinsSimulator,
    Permission,
    RequestFault,
    SimulatorConfig,
)
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import Jobs, adopt, eventually, jobs_of, shell
from tests.support.parameters import strings

NAME = "demo.web"
STORE = {
    Permission.CREDENTIALS_CREATE,
    Permission.CREDENTIALS_UPDATE,
    Permission.CREDENTIALS_DELETE,
    Permission.ADMINISTER,
}
PERMISSIONS = frozenset(ALL_PERMISSIONS - STORE)


@pytest_asyncio.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator(SimulatorConfig(quiet_period_s=0.0)) as simulator:
        yield simulator


@pytest_asyncio.fixture
async def jobs(databases: Databases, jenkins: JenkinsSimulator) -> AsyncIterator[Jobs]:
    async with jobs_of(databases, jenkins.url) as process:
        yield process


def endpoint(jenkins: JenkinsSimulator) -> tuple[str, str]:
    (only,) = jenkins.job(NAME).config.endpoints or ()
    return only.url_type, only.url_or_id


async def add_key(jobs: Jobs) -> None:
    """What a rotation leaves for the keeper."""
    encrypted = jobs.box.encrypt(b"2" * 32)
    await jobs.sql(
        "INSERT INTO webhook_keys (tenant_id, key_id, secret_encrypted) VALUES ($1, 'k2', $2)",
        jobs.tenant.tenant_id,
        encrypted,
    )
    await jobs.sql("UPDATE cicd_jobs SET next_try_time = now(), attempt = attempt + 1")


async def rewritten(jobs: Jobs) -> None:
    async def check() -> bool:
        row = await jobs.row()
        return row["endpoint_key_id"] == "k2" and row["next_try_time"] is None

    await eventually(check, "the endpoint has the new key")


async def test_the_url_is_kept_secret(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    """P7: no console and no config.xml shows the token; it is gone when the job is."""
    await jobs.create("web", shell())
    row = await jobs.row()
    secret_id = f"deployment-webhook-{row['job_id']}"
    assert endpoint(jenkins) == ("SECRET", secret_id)
    assert f"token=v1.{row['job_id']}.k1." in jenkins.controller.credentials[secret_id]
    assert (row["token_exposed"], row["endpoint_key_id"]) == (False, "k1")
    await jobs.delete("web")
    await jobs.until_no_rows()
    assert jenkins.controller.credentials == {}


async def test_an_account_that_may_not_keep_secrets(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    """P7: then the token is in the job, and what it says of an end isn't believed."""
    jenkins.set_permissions("admin", PERMISSIONS)
    await jobs.create("web", shell())
    row = await jobs.row()
    kind, url = endpoint(jenkins)
    assert (kind, row["token_exposed"], row["endpoint_key_id"]) == ("PUBLIC", True, "k1")
    assert f"token=v1.{row['job_id']}.k1." in url


async def test_a_jenkins_without_a_place_for_secrets(databases: Databases) -> None:
    """P7: likewise."""
    config = SimulatorConfig(credentials_plugin=False)
    async with JenkinsSimulator(config) as jenkins, jobs_of(databases, jenkins.url) as jobs:
        await jobs.create("web", shell())
        assert endpoint(jenkins)[0] == "PUBLIC"
        assert (await jobs.row())["token_exposed"] is True


async def test_an_adopted_jobs_token_may_be_anywhere(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    """P7: what somebody else has set up can't be seen."""
    jenkins.create_job("theirs", "<project/>")
    await jobs.create("web", adopt("theirs"))
    row = await jobs.row()
    assert (row["token_exposed"], row["endpoint_key_id"]) == (True, None)
    assert jenkins.controller.credentials == {}


async def test_a_job_that_was_made_by_a_lost_request_is_known_by_its_mark(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P7: whether its endpoint is secret, and with which key, is read from the job itself."""
    jenkins.faults.add(RequestFault("POST", "createItem", count=1, reset=True, do_work=True))
    await jobs.create("web", shell())
    await jobs.until_row(lambda row: row["state"] == "READY", "created")
    row = await jobs.row()
    assert endpoint(jenkins)[0] == "SECRET"
    assert (row["token_exposed"], row["endpoint_key_id"]) == (False, "k1")


async def test_a_new_key_reaches_a_secret_endpoint(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    """P7: rotated without touching the job."""
    await jobs.create("web", shell())
    jenkins.requests.clear()
    await add_key(jobs)
    await rewritten(jobs)
    (url,) = jenkins.controller.credentials.values()
    assert ".k2." in url
    assert jenkins.requests.count("POST", "/config.xml") == 1  # the credential's
    assert endpoint(jenkins)[0] == "SECRET"
    assert (await jobs.row())["state"] == "READY"


async def test_a_new_key_reaches_a_public_endpoint(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    """P7: in the job itself; other endpoints and parameters stay."""
    jenkins.set_permissions("admin", PERMISSIONS)
    await jobs.create("web", shell(), parameter_definitions=strings(A="1"))
    before = jenkins.job(NAME).config
    await add_key(jobs)
    await rewritten(jobs)
    kind, url = endpoint(jenkins)
    assert kind == "PUBLIC"
    assert ".k2." in url
    assert jenkins.job(NAME).config.parameters == before.parameters
    assert (await jobs.row())["token_exposed"] is True


async def test_a_rotation_mends_an_exposed_endpoint(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    """P7: once the account may keep secrets, the token leaves the console."""
    jenkins.set_permissions("admin", PERMISSIONS)
    await jobs.create("web", shell())
    jenkins.set_permissions("admin", ALL_PERMISSIONS)
    await add_key(jobs)
    await rewritten(jobs)
    assert endpoint(jenkins)[0] == "SECRET"
    assert (await jobs.row())["token_exposed"] is False


async def test_what_cant_be_rewritten_keeps_the_old_key_and_stays_ready(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P4, P7: never from secret to public, and never less than it was."""
    await jobs.create("web", shell())
    jenkins.set_permissions("admin", PERMISSIONS)
    await add_key(jobs)
    await jobs.until_row(lambda row: "credential" in row["state_message"], "refused")
    row = await jobs.row()
    assert (row["state"], row["endpoint_key_id"], row["token_exposed"]) == ("READY", "k1", False)
    assert endpoint(jenkins)[0] == "SECRET"
    jenkins.set_permissions("admin", ALL_PERMISSIONS)
    await jobs.sql("UPDATE cicd_jobs SET next_try_time = now()")
    await rewritten(jobs)
    assert (await jobs.row())["state_message"] == ""
