"""Queue ids are opaque text, and an acceptance without one is an acceptance (promise P3)."""

from __future__ import annotations

import pytest

from jenkins_simulator import JenkinsSimulator
from tests.integration.jobs_harness import adopt, eventually, shell
from tests.integration.runs_harness import Runs, plugin
from tests.support.front_proxy import FrontProxy, Passing, with_queue_ids

LONG = 7213489120345678901


IDS = [
    pytest.param(lambda n: LONG + n, id="nineteen digits"),
    pytest.param(lambda n: 2**64 + n, id="beyond 64 bits"),
    pytest.param(lambda n: f"q-{n}", id="no number"),
    pytest.param(lambda n: f"6f1c2a7e-0000-4000-8000-{n:012d}", id="a UUID"),
]


@pytest.mark.parametrize("shown", IDS)
@pytest.mark.parametrize("named", [True, False], ids=["RUN_ID", "QUEUE_ITEM"])
async def test_a_run_is_followed_by_whatever_id_its_queue_item_has(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy, shown, named
) -> None:
    """P3, P4: the id is sent back as it came, and the run gets the end of its build."""
    with_queue_ids(proxy, shown)
    jenkins.create_job("legacy", "<project><builders/></project>")
    await behind.jobs.create("web", shell() if named else adopt("legacy"))
    jenkins.hold("demo.web" if named else "legacy")
    started = await behind.start("web")
    row = await behind.until(started.run_id, build_number=1)
    assert row["queue_id"] == str(shown(1))
    jenkins.release("demo.web" if named else "legacy")
    await behind.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert [run["source"] for run in await behind.runs()] == ["SERVICE"]


@pytest.mark.parametrize("shown", IDS)
async def test_a_queued_run_is_cancelled_by_whatever_id_its_item_has(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy, shown
) -> None:
    """P3: the cancel request names the item."""
    with_queue_ids(proxy, shown)
    await behind.jobs.create("web", shell())
    jenkins.hold("demo.web")
    first = await behind.start("web")
    await behind.until(first.run_id, build_number=1)
    second = await behind.start("web", allow_concurrent=True)
    await behind.until(second.run_id, waiting_for="QUEUE")
    await behind.cancel("web", 2)
    await behind.until(second.run_id, status="CANCELLED", certainty="CONFIRMED")
    assert len(jenkins.ledger.builds()) == 1


@pytest.mark.parametrize("shown", IDS)
async def test_a_report_is_tied_by_whatever_id_it_names(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy, shown
) -> None:
    """P2: a report of a job without our parameter belongs to the run whose queue item it names."""
    with_queue_ids(proxy, shown)
    jenkins.create_job("legacy", "<project><builders/></project>")
    await behind.jobs.create("web", adopt("legacy"))
    jenkins.hold("legacy")
    await behind.reconciler.stop()
    started = await behind.start("web")
    (job,) = await behind.jobs.rows()
    await behind.tell(
        plugin(job["job_id"], 1, "STARTED", queue_id=str(shown(1)), parameters_known=True)
    )
    assert (await behind.run(started.run_id))["build_number"] == 1
    rows = await behind.jobs.sql("SELECT queue_id FROM webhook_deliveries")
    assert [row["queue_id"] for row in rows] == [str(shown(1))]


def without_item(location: str | None):
    def change(passing: Passing) -> None:
        if passing.status == 201:
            passing.headers.pop("Location", None)
            if location is not None:
                passing.headers["Location"] = location

    return change


LOCATIONS = [
    pytest.param(None, id="no Location"),
    pytest.param("/queue/item/", id="no id"),
    pytest.param("/queue/item/-1/", id="minus one"),
    pytest.param("/queue/item/a%2Fb/", id="an id with a slash"),
    pytest.param("/job/demo.web/", id="the job's page"),
    pytest.param(f"/queue/item/{'9' * 300}/", id="an endless id"),
]


@pytest.mark.parametrize("location", LOCATIONS)
async def test_an_acceptance_without_a_usable_id_is_found_by_the_runs_id(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy, location
) -> None:
    """P3: nothing is sent again, and the run gets its build."""
    proxy.rewrite_answer.append(without_item(location))
    await behind.jobs.create("web", shell())
    started = await behind.start("web")
    await behind.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert proxy.count("POST", "/buildWithParameters") == 1
    assert len(jenkins.ledger.builds(run_id=str(started.run_id))) == 1


@pytest.mark.parametrize("location", LOCATIONS)
async def test_an_acceptance_that_nothing_ties_to_a_run_ends_unknown(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy, location
) -> None:
    """P3: the job does not define our parameter: the run says so, and its build is an external run."""
    proxy.rewrite_answer.append(without_item(location))
    jenkins.create_job("legacy", "<project><builders/></project>")
    await behind.jobs.create("web", adopt("legacy"))
    started = await behind.start("web", remaining_s=0.1)
    row = await behind.until(started.run_id, status="FAILED", certainty="UNVERIFIABLE")
    assert row["failure_cause"] == "TRIGGER_OUTCOME_UNKNOWN"
    assert "accepted" in row["failure_message"]
    assert "external run" in row["failure_message"]
    await behind.jobs.sql("UPDATE cicd_jobs SET next_sweep_time = now()")

    async def external() -> bool:
        runs = await behind.runs()
        return [(run["source"], run["status"]) for run in runs] == [
            ("SERVICE", "FAILED"),
            ("EXTERNAL", "COMPLETED"),
        ]

    await eventually(external, "the build is an external run")
    assert proxy.count("POST", "/build") == 1
