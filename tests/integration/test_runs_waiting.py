"""DEPLOYMENT_RUN_WAITING: watchers learn that a run is queued, builds, or waits for a person."""

from __future__ import annotations

import uuid
from itertools import pairwise

from deployment_service.domain.definition import JobDefinition, JobKind
from jenkins_simulator import JenkinsSimulator
from jenkins_simulator.core.model import Decision
from tests.integration.jobs_harness import eventually, shell
from tests.integration.runs_harness import Runs


async def waits(runs: Runs, run_id: uuid.UUID) -> list[tuple[str, str | None]]:
    """Type of each event of a run, and what the run waits for after it."""
    rows = await runs.jobs.sql(
        "SELECT e.* FROM deployment_events AS e JOIN deployment_runs AS r"
        " ON r.deployment_id = e.deployment_id AND r.number = e.run_number"
        " WHERE r.run_id = $1 ORDER BY e.sequence",
        run_id,
    )
    return [(row["type"].removeprefix("DEPLOYMENT_"), row["waiting_for"]) for row in rows]


async def test_a_run_tells_that_it_leaves_the_queue(runs: Runs, jenkins: JenkinsSimulator) -> None:
    await runs.jobs.create("web", shell())
    jenkins.hold("demo.web")
    first = await runs.start("web")
    await runs.until(first.run_id, build_number=1, waiting_for=None)
    second = await runs.start("web", allow_concurrent=True)
    row = await runs.until(second.run_id, status="RUNNING", waiting_for="QUEUE")

    async def read_again() -> bool:
        return bool(
            (await runs.run(second.run_id))["last_observed_time"] > row["last_observed_time"]
        )

    await eventually(read_again, "the queue is read again")
    queued = [("STATUS_UPDATE", "TRIGGER"), ("RUN_START", "QUEUE")]
    assert await waits(runs, second.run_id) == queued
    builds = (await waits(runs, first.run_id))[:3]
    assert builds == [*queued, ("RUN_WAITING", None)]
    (event,) = await runs.jobs.sql(
        "SELECT * FROM deployment_events WHERE type = 'DEPLOYMENT_RUN_WAITING'"
    )
    assert (event["old_status"], event["status"], event["source"]) == ("RUNNING", "RUNNING", "READ")
    assert (event["build_number"], event["message"]) == (1, "Jenkins builds the run.")
    jenkins.release("demo.web")
    await runs.until(second.run_id, build_number=2, waiting_for=None)
    assert (await waits(runs, second.run_id))[:3] == [*queued, ("RUN_WAITING", None)]


async def test_a_run_tells_that_it_waits_for_a_person_and_goes_on(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    script = "node { input 'Go?'\nsleep 600 }"
    await runs.jobs.create("ask", JobDefinition(JobKind.PIPELINE_SCRIPT, text=script))
    started = await runs.start("ask")
    row = await runs.until(started.run_id, waiting_for="INPUT")
    assert row["waiting_reason"] == "An input step of the Pipeline waits for a person."
    waiting = jenkins.job("demo.ask").builds[1].waiting_for_input
    assert waiting is not None
    waiting.decision.set_result(Decision("admin", proceeds=True))
    await runs.until(started.run_id, waiting_for=None)
    await runs.cancel("ask")
    await runs.until(started.run_id, status="CANCELLED", certainty="CONFIRMED")
    told = await waits(runs, started.run_id)
    # Whether the build is seen before it asks depends on when Jenkins is read.
    assert [one for one in told if one != ("RUN_WAITING", None)] == [
        ("STATUS_UPDATE", "TRIGGER"),
        ("RUN_START", "QUEUE"),
        ("RUN_WAITING", "INPUT"),
        ("STATUS_UPDATE", None),
    ]
    assert told[-2:] == [("RUN_WAITING", None), ("STATUS_UPDATE", None)]
    # Each differs from the one before: none tells what is known already.
    assert all(a[1] != b[1] for a, b in pairwise(told[:-1]))
