"""Wrong numbers, jobs made again, failing providers: no run waits for ever or takes another's build (P2-P4, P6)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from xml.etree.ElementTree import tostring

import pytest
import pytest_asyncio

from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.domain.attribution import Verdict
from deployment_service.domain.events import EventSource
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.runs import reconcile
from deployment_service.unit_of_work.run_unit_of_work import RunUnitOfWork
from jenkins_simulator import READ_ONLY, JenkinsSimulator, Permission, RequestFault, Result
from tests.integration.jobs_harness import Jobs, adopt, eventually, shell
from tests.integration.runs_harness import Runs, guide, plugin, runs_of
from tests.support.waiting import until

TRIGGER = "/buildWithParameters"
HUGE = 2**31 - 1


@pytest_asyncio.fixture(autouse=True)
async def web(jobs: Jobs) -> None:
    """The deployment that most tests run."""
    await jobs.create("web", shell())


async def make_again(jenkins: JenkinsSimulator, client: JenkinsProvider) -> None:
    xml = tostring(jenkins.job("demo.web").xml, encoding="unicode")
    await client.delete_job("demo.web")
    jenkins.create_job("demo.web", xml)


@pytest.mark.parametrize("said", ["running", "success", "no such status"])
@pytest.mark.parametrize("number", [1, 2, HUGE])
async def test_a_number_that_was_only_said_doesnt_keep_a_run_from_its_build(
    runs: Runs, said: str, number: int
) -> None:
    """P3: Jenkins gives the number to our build; no run is made of what was only reported."""
    job_id = (await runs.jobs.row())["job_id"]
    (told,) = await runs.tell(guide(job_id, number, said))
    assert told.verdict is Verdict.PENDING_ATTRIBUTION
    for build_number in (1, 2):
        started = await runs.start("web")
        row = await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
        assert (row["build_number"], row["generation"]) == (build_number, 1)
        assert (await runs.deployment())["current_run_id"] == started.run_id
    assert {row["source"] for row in await runs.runs()} == {"SERVICE"}


async def test_a_build_keeps_its_run_when_a_generation_begins_by_mistake(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """P4: it carries the run's id, whatever is believed of the job."""
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    await runs.jobs.sql("UPDATE cicd_jobs SET generation = generation + 1")
    jenkins.release("demo.web", 1)
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED", build_number=1)
    assert len(await runs.runs()) == 1


async def test_a_lost_run_whose_number_is_used_again_begins_one_generation(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider
) -> None:
    """P4: it is asked about for a day; the new job's own builds keep their runs meanwhile."""
    jenkins.hold("demo.web")
    first = await runs.start("web")
    await runs.until(first.run_id, build_number=1)
    await jenkins.restart(hard=True)
    await runs.until(first.run_id, status="FAILED", certainty="UNVERIFIABLE")
    await make_again(jenkins, client)
    jenkins.hold("demo.web")
    second = await runs.start("web")
    await runs.until(second.run_id, build_number=1, generation=2)
    for _ in range(3):  # as if it were due in each cycle
        await runs.jobs.sql(
            "UPDATE deployment_runs SET probe_time = NULL WHERE run_id = $1", first.run_id
        )

        async def asked() -> bool:
            return (await runs.run(first.run_id))["probe_time"] is not None

        await eventually(asked, "the lost run was asked about")
    jenkins.release("demo.web", 1)
    await runs.until(second.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert (await runs.jobs.row())["generation"] == 2
    assert len(await runs.runs()) == 2


async def test_a_number_that_was_read_before_others_were_issued_begins_no_generation(
    runs: Runs,
) -> None:
    """P4: a replica that was stopped while it read wakes up with a number that is out of date."""
    job = await runs.jobs.row()
    (asked,) = await runs.jobs.sql("SELECT now() AS time")
    for _ in range(2):
        started = await runs.start("web")
        await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    key = (job["tenant_id"], job["job_id"], 1)
    async with runs.jobs.databases.worker.acquire() as connection:
        await reconcile.note_number(connection, *key, generation=1, asked_time=asked["time"])
        assert (await runs.jobs.row())["generation"] == 1
        later = (await runs.jobs.sql("SELECT now() AS time"))[0]["time"] + timedelta(seconds=1)
        await reconcile.note_number(connection, *key, generation=1, asked_time=later)
        assert (await runs.jobs.row())["generation"] == 2


@pytest.mark.parametrize("made_anew", [False, True])
async def test_a_search_ends_though_the_job_is_gone(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider, made_anew: bool
) -> None:
    """P3: a request was lost on its way to a job that no longer exists; and it isn't sent to another one."""
    for _ in range(2):
        started = await runs.start("web")
        await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    jenkins.faults.add(RequestFault("POST", TRIGGER, reset=True))
    started = await runs.start("web", remaining_s=0.1)
    await runs.until_announced(started.run_id)
    if made_anew:
        await make_again(jenkins, client)
    else:
        await client.delete_job("demo.web")
    row = await runs.until(started.run_id, status="FAILED")
    assert (row["failure_cause"], row["certainty"]) == ("TRIGGER_OUTCOME_UNKNOWN", "UNVERIFIABLE")


async def test_a_wish_to_cancel_holds_back_a_request_that_would_be_repeated(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P3: it was noted while the first request was under way; that one was never sent."""
    async with runs_of(jobs, dispatch=False) as runs:
        started = await runs.start("web", remaining_s=0.0)
        await jobs.sql("UPDATE deployment_runs SET cancel_request_time = now()")
    async with runs_of(jobs) as runs:
        row = await runs.until(started.run_id, status="CANCELLED")
        assert row["failure_cause"] == "CANCELLED"
    assert jenkins.ledger.builds() == []


async def test_a_build_that_appears_for_a_cancelled_run_is_stopped(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider
) -> None:
    """P3: its request came later than its quarantine allows for."""
    jenkins.faults.add(RequestFault("POST", TRIGGER, count=1, reset=True))
    started = await runs.start("web", remaining_s=0.1)
    await runs.until_announced(started.run_id)
    await runs.cancel(remaining_s=0.0)
    await runs.until(started.run_id, status="CANCELLED", build_number=None)
    jenkins.hold("demo.web")
    await client.trigger(
        "demo.web", {"DEPLOYMENT_RUN_ID": str(started.run_id)}, parameterised=True, timeout_s=5
    )
    await runs.tell(plugin((await runs.jobs.row())["job_id"], 9, "STARTED", job_path="job/wrong/"))
    await runs.until(started.run_id, status="CANCELLED", build_number=1, result="ABORTED")


async def test_a_provider_with_outdated_credentials_is_nobody_elses_trouble(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """P6: two providers name one Jenkins and account, and the token of one is outdated."""
    (tenant,) = await runs.jobs.sql(
        "INSERT INTO tenants (slug) VALUES ('other') RETURNING tenant_id"
    )
    await runs.jobs.sql(
        "INSERT INTO cicd_providers (tenant_id, slug, base_url, username, api_token_encrypted)"
        " SELECT $1, 'old', base_url, username, $2 FROM cicd_providers",
        tenant["tenant_id"],
        runs.jobs.box.encrypt(b"outdated"),
    )
    await runs.jobs.sql(
        "INSERT INTO deployments (tenant_id, slug, provider_id, job_kind, job_spec)"
        " SELECT tenant_id, 'theirs', provider_id, 'EXISTING', '{}' FROM cicd_providers WHERE slug = 'old'"
    )
    await runs.jobs.sql(
        "INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin, state)"
        " SELECT tenant_id, provider_id, 'theirs', 'ADOPTED', 'READY' FROM cicd_providers WHERE slug = 'old'"
    )
    await runs.jobs.sql(
        "INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state)"
        " SELECT d.tenant_id, d.deployment_id, 1, j.job_id, 'SERVICE', 'ACCEPTED'"
        " FROM deployments d JOIN cicd_jobs j USING (tenant_id) WHERE d.slug = 'theirs'"
    )
    started = await runs.start("web")
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")


async def test_jobs_that_can_not_be_read_do_not_keep_others_waiting(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider
) -> None:
    """P4: a poke is followed or put off, but never for ever first in line."""
    await runs.jobs.create("bad", shell())
    jenkins.faults.add(RequestFault("GET", "/job/demo.bad/", status=403))
    await runs.jobs.sql("UPDATE cicd_jobs SET refresh_request_time = now()")

    async def none_poked() -> bool:
        return not any(row["refresh_request_time"] for row in await runs.jobs.rows())

    await eventually(none_poked, "both pokes were followed or put off")


async def test_an_unexpected_failure_in_one_step_ends_neither_the_loop_nor_its_neighbours(
    runs: Runs, jenkins: JenkinsSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P4"""
    await runs.jobs.create("bad", shell())
    observe, broken = runs.reconciler._cycle._steps.observe, asyncio.Event()

    async def fail_for_bad(tenant_id, seen):
        if any(one.job_id == bad["job_id"] and one.state.final for one in seen):
            broken.set()
            raise RuntimeError("a defect")
        return await observe(tenant_id, seen)

    bad = next(row for row in await runs.jobs.rows() if row["full_name"] == "demo.bad")
    monkeypatch.setattr(runs.reconciler._cycle._steps, "observe", fail_for_bad)
    jenkins.hold("demo.bad")
    jenkins.hold("demo.web")
    ill, well = await runs.start("bad"), await runs.start("web")
    for started in (ill, well):
        await runs.until(started.run_id, build_number=1)
    jenkins.release("demo.bad", 1, Result.FAILURE)
    jenkins.release("demo.web", 1)
    await runs.until(well.run_id, status="COMPLETED", certainty="CONFIRMED")
    await broken.wait()


async def test_a_job_that_is_hidden_for_a_while_fails_no_run(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """P4: our account lost its permission while the build went on; then the job is shown again."""
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    jenkins.set_permissions("admin", READ_ONLY - {Permission.ITEM_READ})
    jenkins.release("demo.web", 1)

    async def missed_often() -> bool:
        return bool((await runs.run(started.run_id))["probe_count"] >= 8)

    await eventually(missed_often, "it was looked for in vain")
    jenkins.set_permissions("admin", READ_ONLY)
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert "FAILED" not in [status for _, _, status in await runs.history()]


@pytest.mark.parametrize("number", [1, 2, HUGE])
async def test_a_wrong_number_that_names_our_run_is_corrected_by_jenkins(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider, number: int
) -> None:
    """P2, P3: a script reports the right run with another build's number before its own is known."""
    jenkins.hold("demo.web")
    await client.trigger("demo.web", {}, parameterised=True, timeout_s=5)  # 1, somebody else's
    started = await runs.start("web")
    row = await runs.until(started.run_id, waiting_for="QUEUE")
    told = plugin(
        row["job_id"], number, "STARTED", run_id=str(started.run_id), parameters_known=True
    )
    await runs.tell(told)
    jenkins.release("demo.web", 1, Result.FAILURE)
    # A report alone may have made the number up: Jenkins may not have started the build yet.
    await until(lambda: 2 in jenkins.job("demo.web").builds, what="build 2 has started")
    await runs.until(started.run_id, build_number=2)
    jenkins.release("demo.web", 2)
    row = await runs.until(
        started.run_id, status="COMPLETED", certainty="CONFIRMED", build_number=2
    )
    (stranger,) = [
        row for row in await runs.runs() if row["source"] == "EXTERNAL" and row["build_number"]
    ]
    await runs.until(stranger["run_id"], status="FAILED", build_number=1)
    assert (await runs.deployment())["status"] == "COMPLETED"
    assert (await runs.jobs.row())["generation"] == 1


async def test_a_run_that_was_folded_into_another_ones_item_ends(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """P3: the item has become a build, which Jenkins can't have told apart, before the answer is written down."""
    jenkins.create_job("plain", "<project><builders/></project>")
    await runs.jobs.create("plain", adopt("plain"))
    jenkins.hold("plain")
    first = await runs.start("plain")
    row = await runs.until(first.run_id, build_number=1)
    await runs.jobs.sql(
        "INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status, rank,"
        " queue_id, first_build_number, start_time) SELECT tenant_id, deployment_id, 2, job_id, 'SERVICE', 'ACCEPTED',"
        " 'RUNNING', 100, queue_id, 1, now() FROM deployment_runs WHERE run_id = $1",
        row["run_id"],
    )
    (_, folded) = await runs.runs()
    await runs.until(folded["run_id"], status="FAILED", failure_cause="BUILD_LOST")
    jenkins.release("plain", 1)
    await runs.until(first.run_id, status="COMPLETED", certainty="CONFIRMED")


async def test_another_current_run_is_told_even_if_it_is_no_transition(runs: Runs) -> None:
    """P8: how the deployment stands follows from its events."""
    job_id = (await runs.jobs.row())["job_id"]
    first = await runs.start("web")
    await runs.until(first.run_id, status="COMPLETED", certainty="CONFIRMED")
    await runs.show(job_id, HUGE)
    await runs.tell(guide(job_id, HUGE, "failure"))
    assert (await runs.deployment())["status"] == "FAILED"
    (external,) = [row for row in await runs.runs() if row["source"] == "EXTERNAL"]

    async def give_up(connection: Connection) -> int | None:
        unit = await RunUnitOfWork.open(
            connection,
            external["tenant_id"],
            [job_id],
            source=EventSource.READ,
            run_ids=[external["run_id"]],
        )
        run = unit.run(external["run_id"])
        assert run is not None
        unit.detach_external_build(run)
        return await unit.write()

    assert await runs.jobs.databases.worker.transaction(give_up) is not None
    assert (await runs.deployment())["status"] == "COMPLETED"
    (last,) = await runs.jobs.sql("SELECT * FROM deployment_events ORDER BY sequence DESC LIMIT 1")
    assert last["deployment_status"] == "COMPLETED"
    assert last["revision"] == (await runs.deployment())["revision"]


async def test_a_request_without_the_runs_id_is_never_repeated_though_the_job_defines_it_by_then(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """P3: its build couldn't be recognised."""
    jenkins.create_job("plain", "<project><builders/></project>")
    await runs.jobs.create("plain", adopt("plain"))
    jenkins.faults.add(RequestFault("POST", "/job/plain/build", count=1, reset=True))
    started = await runs.start("plain", remaining_s=0.1)
    await runs.until_announced(started.run_id)
    await runs.jobs.sql("UPDATE cicd_jobs SET correlation = 'RUN_ID' WHERE full_name = 'plain'")
    row = await runs.until(started.run_id, status="FAILED")
    assert row["failure_cause"] == "TRIGGER_OUTCOME_UNKNOWN"
    assert jenkins.ledger.builds(job="plain") == []
