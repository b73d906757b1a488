"""RotateWebhookSecret and RetireWebhookKey: nothing stops reporting because of a new key."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deployment_service.actions import rotate_webhook_keys
from deployment_service.actions.rotate_webhook_keys import Rotation
from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.domain.errors import FailedPrecondition, NotFound
from deployment_service.domain.reports import Proof
from deployment_service.storage.webhook_keys import KeyUse
from jenkins_simulator import JenkinsSimulator, SimulatorConfig
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import Jobs, adopt, eventually, jobs_of, shell
from tests.integration.runs_harness import plugin, runs_of


@pytest_asyncio.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator(SimulatorConfig(quiet_period_s=0.0)) as simulator:
        yield simulator


@pytest_asyncio.fixture
async def jobs(databases: Databases, jenkins: JenkinsSimulator) -> AsyncIterator[Jobs]:
    """Two jobs of ours and one that was there before."""
    jenkins.create_job("theirs", "<project/>")
    async with jobs_of(databases, jenkins.url) as process:
        await process.create("a", shell())
        await process.create("b", shell())
        await process.create("c", adopt("theirs"))
        yield process


async def rotate(jobs: Jobs, key: object = None) -> Rotation:
    return await rotate_webhook_keys.rotate(
        jobs.databases.api,
        WebhookKeys(jobs.box),
        jobs.tenant,
        locale="en",
        key=key or jobs.request("RotateWebhookSecret"),  # type: ignore[arg-type]
    )


async def retire(jobs: Jobs, key_id: str, *, force: bool = False) -> KeyUse:
    return await rotate_webhook_keys.retire(jobs.databases.api, jobs.tenant, key_id, force=force)


async def test_a_new_key_is_added_ours_rewritten_the_rest_listed(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P7: and the same call again only tells how far it is."""
    request = jobs.request("RotateWebhookSecret")
    rotation = await rotate(jobs, request)
    assert rotation.key_id == "k2"
    assert [one.key_id for one in rotation.keys] == ["k2", "k1"]
    assert set(rotation.rewriting) <= {"demo.a", "demo.b"}
    ((theirs, webhook),) = rotation.others
    assert theirs.full_name == "theirs"
    assert ".k2." in webhook.url
    assert webhook.signing_secret.startswith("whsec_")

    async def done() -> bool:
        return not (await rotate(jobs, request)).rewriting

    await eventually(done, "all of ours are rewritten")
    assert all(".k2." in url for url in jenkins.controller.credentials.values())
    again = await rotate(jobs, request)
    assert (again.key_id, len(again.keys), again.keys[1].jobs_in_use) == ("k2", 2, 0)


async def test_a_key_in_use_isnt_retired_without_force(jobs: Jobs) -> None:
    """P7: in use is what an endpoint still has, and what a job was last heard with."""
    async with runs_of(jobs, dispatch=False, reconcile=False) as runs:
        rows = {row["full_name"]: row["job_id"] for row in await jobs.rows()}
        await runs.tell(plugin(rows["theirs"], 1, "STARTED", key_id="k1"))
        request = jobs.request("RotateWebhookSecret")
        await rotate(jobs, request)

        async def only_theirs() -> bool:
            return (await rotate(jobs, request)).keys[1].jobs_in_use == 1

        await eventually(only_theirs, "only the job that isn't ours has the old key")
        with pytest.raises(FailedPrecondition) as refused:
            await retire(jobs, "k1")
        assert refused.value.reason == "WEBHOOK_KEY_IN_USE"
        # Another sender of the same job may still have it.
        await runs.tell(plugin(rows["theirs"], 1, "STARTED", key_id="k2"))
        with pytest.raises(FailedPrecondition):
            await retire(jobs, "k1")
        await jobs.sql(
            "UPDATE webhook_key_uses SET last_seen_time = now() - interval '8 days'"
            " WHERE key_id = 'k1'"
        )
        assert (await retire(jobs, "k1")).retire_time is not None
        assert (await retire(jobs, "k1")).retire_time is not None
    async with jobs.databases.api.acquire() as connection:
        valid = await WebhookKeys(jobs.box).valid(connection, jobs.tenant.tenant_id)
    assert [key.key_id for key in valid] == ["k2"]


async def test_builds_that_sign_are_listed_beside_the_endpoint_that_is_rewritten(
    jobs: Jobs,
) -> None:
    """P7: the secret in their Jenkins is nothing that we could rewrite."""
    async with runs_of(jobs, dispatch=False, reconcile=False) as runs:
        rows = {row["full_name"]: row["job_id"] for row in await jobs.rows()}
        request = jobs.request("RotateWebhookSecret")
        await rotate(jobs, request)

        async def done() -> bool:
            return not (await rotate(jobs, request)).rewriting

        await eventually(done, "all of ours are rewritten")
        await runs.tell(
            plugin(rows["demo.a"], 1, "STARTED", key_id="k2", proof=Proof.TOKEN),
            plugin(rows["demo.a"], 1, "STARTED", key_id="k1", proof=Proof.SIGNATURE),
            plugin(rows["demo.b"], 1, "STARTED", key_id="k1", proof=Proof.TOKEN),
        )
        others = [other.full_name for other, _ in (await rotate(jobs, request)).others]
        assert others == ["demo.a", "theirs"]
        with pytest.raises(FailedPrecondition) as refused:
            await retire(jobs, "k1")
        assert refused.value.metadata["jobs_in_use"] == "2"


async def test_force_and_what_even_force_cant(jobs: Jobs) -> None:
    """P7: an operator may cut a key off at once, but never the last one; ids aren't used again."""
    with pytest.raises(FailedPrecondition) as refused:
        await retire(jobs, "k1", force=True)
    assert refused.value.reason == "WEBHOOK_KEY_NEWEST"
    with pytest.raises(NotFound):
        await retire(jobs, "k9", force=True)
    await rotate(jobs)
    assert (await retire(jobs, "k1", force=True)).retire_time is not None
    assert (await rotate(jobs)).key_id == "k3"
