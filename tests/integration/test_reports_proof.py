"""What a report's proof is worth: replays, tokens that Jenkins prints, keys in use, reports that only try the way."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from deployment_service.domain.attribution import Verdict
from deployment_service.domain.reports import Proof
from deployment_service.workers.reconciler.settings import ReconcilerSettings
from jenkins_simulator import JenkinsSimulator, SimulatorConfig
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import jobs_of, shell
from tests.integration.runs_harness import Runs, guide, plugin, runs_of

TABLES = ("cicd_jobs", "deployments", "deployment_runs", "deployment_events", "webhook_deliveries")


@pytest_asyncio.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator(SimulatorConfig(quiet_period_s=0.0)) as simulator:
        yield simulator


@pytest_asyncio.fixture
async def runs(databases: Databases, jenkins: JenkinsSimulator) -> AsyncIterator[Runs]:
    """A deployment `web` whose job is there; nothing triggers or reads."""
    async with (
        jobs_of(databases, jenkins.url) as jobs,
        runs_of(jobs, dispatch=False, reconcile=False) as process,
    ):
        await jobs.create("web", shell())
        yield process


async def job_of(runs: Runs) -> uuid.UUID:
    row = await runs.jobs.row()
    job: uuid.UUID = row["job_id"]
    return job


async def contents(runs: Runs) -> dict[str, list[Any]]:
    return {
        table: [dict(row) for row in await runs.jobs.sql(f"SELECT * FROM {table} ORDER BY 1, 2")]
        for table in TABLES
    }


async def set_exposed(runs: Runs, exposed: bool) -> None:
    await runs.jobs.sql("UPDATE cicd_jobs SET token_exposed = $1", exposed)


async def test_a_replayed_delivery_is_a_duplicate_and_changes_nothing(runs: Runs) -> None:
    """P7: also in the same call, and after other reports have come in between."""
    job = await job_of(runs)
    await runs.show(job, 1)
    first = guide(job, 1, "running", proof=Proof.SIGNATURE, delivery_id="a")
    results = await runs.tell(first, first)
    assert [r.verdict for r in results] == [Verdict.DUPLICATE, Verdict.DUPLICATE]
    await runs.tell(guide(job, 1, "success", proof=Proof.SIGNATURE, delivery_id="b"))
    before = await contents(runs)
    assert len(before["webhook_deliveries"]) == 2
    results = await runs.tell(first, first)
    assert [r.verdict for r in results] == [Verdict.DUPLICATE, Verdict.DUPLICATE]
    # The same name with another claim is no way in either.
    (result,) = await runs.tell(
        guide(job, 2, "failure", proof=Proof.SIGNATURE, delivery_id="a"),
    )
    assert result.verdict is Verdict.DUPLICATE
    assert await contents(runs) == before


async def test_a_name_belongs_to_one_job(runs: Runs) -> None:
    """P6, P7: one job's deliveries don't hide another's."""
    await runs.jobs.create("api", shell())
    jobs = [row["job_id"] for row in await runs.jobs.rows()]
    results = await runs.tell(
        *(guide(job, 1, "running", proof=Proof.SIGNATURE, delivery_id="a") for job in jobs)
    )
    assert [r.verdict for r in results] == [Verdict.PENDING_ATTRIBUTION] * 2


@pytest.mark.parametrize("status_text", ["SUCCESS", "FAILURE", "UNSTABLE", "ABORTED", "NOT_BUILT"])
async def test_an_end_from_an_exposed_token_only_has_the_job_read(
    runs: Runs, status_text: str
) -> None:
    """P7: whoever reads Jenkins' console can't end a deployment."""
    job = await job_of(runs)
    await set_exposed(runs, True)
    await runs.show(job, 1)
    (result,) = await runs.tell(plugin(job, 1, "STARTED"))
    assert result.verdict is Verdict.DUPLICATE
    history = await runs.history()
    for report in (
        plugin(job, 1, "COMPLETED", status_text, proof=Proof.TOKEN),
        plugin(job, 1, "FINALIZED", status_text, proof=Proof.TOKEN),
        guide(job, 1, status_text, proof=Proof.TOKEN),
    ):
        await runs.jobs.sql("UPDATE cicd_jobs SET refresh_request_time = NULL")
        (result,) = await runs.tell(report)
        assert result.verdict is Verdict.DEFERRED
        row = await runs.jobs.row()
        assert row["refresh_request_time"] is not None
        assert row["status"] == "STARTED"
    assert await runs.history() == history
    assert (await runs.deployment())["status"] == "RUNNING"


async def test_who_knows_an_exposed_token_cant_have_jenkins_read_without_end(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """P6"""
    job = await job_of(runs)
    await set_exposed(runs, True)
    seldom = ReconcilerSettings(read_interval_s=60.0, polling_interval_s=60.0)
    forged = plugin(job, 1, "FINALIZED", "SUCCESS", proof=Proof.TOKEN)
    loop, before = asyncio.get_running_loop(), len(jenkins.requests.entries)
    async with runs_of(runs.jobs, dispatch=False, reconciler_settings=seldom) as reading:
        begun, told = loop.time(), 0
        while loop.time() < begun + 2.2:
            await reading.tell(forged)
            told += 1
    asked = [e.path for e in jenkins.requests.entries[before:] if e.path.startswith("/job/")]
    assert told > 20
    # Once at the start, and then once each half second.
    assert 2 <= len(asked) <= 6, asked


@pytest.mark.parametrize("status_text", ["running", "no such status"])
async def test_an_exposed_token_makes_no_run_of_a_build_that_nobody_knows(
    runs: Runs, status_text: str
) -> None:
    """P4, P6: whoever reads the console could fill the tenant with runs, and have Jenkins asked about each."""
    job_id = await job_of(runs)
    await set_exposed(runs, True)
    for number in (1, 2**31 - 1):
        (told,) = await runs.tell(guide(job_id, number, status_text, proof=Proof.TOKEN))
        assert told.verdict is Verdict.PENDING_ATTRIBUTION
    assert await runs.runs() == []
    assert (await runs.jobs.row())["status"] == ""


async def test_an_end_from_an_exposed_token_is_not_kept_for_later(runs: Runs) -> None:
    """P7: not even while it can't be told whose build it is."""
    started = await runs.start("web", remaining_s=0.0)
    await runs.jobs.sql(
        "UPDATE deployment_runs SET trigger_state = 'ACCEPTED', first_build_number = 1"
    )
    await set_exposed(runs, True)
    job = await job_of(runs)
    (result,) = await runs.tell(plugin(job, 1, "FINALIZED", "SUCCESS", proof=Proof.TOKEN))
    assert result.verdict is Verdict.DEFERRED
    await runs.tell(plugin(job, 1, "STARTED", run_id=str(started.run_id), parameters_known=True))
    assert (await runs.run(started.run_id))["status"] == "RUNNING"


@pytest.mark.parametrize(
    ("exposed", "proof"),
    [(False, Proof.TOKEN), (False, Proof.SIGNATURE), (True, Proof.SIGNATURE)],
)
async def test_an_end_that_is_proven_is_taken(runs: Runs, exposed: bool, proof: Proof) -> None:
    """P1, P7: a token that nobody can read, and a signature, are the job's word."""
    await set_exposed(runs, exposed)
    await runs.show(await job_of(runs), 1)
    (result,) = await runs.tell(plugin(await job_of(runs), 1, "FINALIZED", "SUCCESS", proof=proof))
    assert (result.verdict, result.status) == (Verdict.APPLIED, "COMPLETED")


async def test_each_key_that_a_job_reports_with_is_written_down_and_not_for_each_report(
    runs: Runs,
) -> None:
    """P7: a key in use can be seen, at the price of one write an hour."""
    job = await job_of(runs)

    async def uses() -> dict[tuple[str, bool], Any]:
        rows = await runs.jobs.sql("SELECT * FROM webhook_key_uses WHERE job_id = $1", job)
        return {(row["key_id"], row["signed"]): row["last_seen_time"] for row in rows}

    await runs.tell(plugin(job, 1, "STARTED", key_id="k1"))
    first = await uses()
    assert first.keys() == {("k1", True)}
    await runs.tell(
        plugin(job, 1, "STARTED", key_id="k1"),
        plugin(job, 1, "STARTED", key_id="k1"),
        plugin(job, 1, "STARTED", key_id="k2", proof=Proof.TOKEN),
        plugin(job, 1, "STARTED", job_path="job/other/", key_id="k9"),
    )
    second = await uses()
    assert second.keys() == {("k1", True), ("k2", False)}
    assert second["k1", True] == first["k1", True]
    await runs.jobs.sql("UPDATE webhook_key_uses SET last_seen_time = now() - interval '2 hours'")
    await runs.tell(plugin(job, 1, "STARTED", key_id="k1"))
    assert (await uses())["k1", True] > first["k1", True]


async def test_a_test_report_goes_all_the_way_and_changes_nothing(runs: Runs) -> None:
    """P7: it says whether a real one would be taken."""
    job = await job_of(runs)
    before = await contents(runs)
    results = await runs.tell(
        guide(job, 0, "success", test=True, delivery_id="t", key_id="k1"),
        guide(job, 7, "success", test=True, job_path="job/other/"),
        guide(uuid.uuid4(), 7, "success", test=True),
    )
    assert [r.verdict for r in results] == [
        Verdict.TESTED,
        Verdict.WRONG_JOB,
        Verdict.NO_MAPPING,
    ]
    assert results[0].deployment == "tenants/demo/deployments/web"
    assert await contents(runs) == before


async def test_a_name_that_is_too_long_is_senseless(runs: Runs) -> None:
    """P7: what the index can't hold never reaches it."""
    (result,) = await runs.tell(guide(await job_of(runs), 1, "running", delivery_id="x" * 65))
    assert result.verdict is Verdict.INVALID
