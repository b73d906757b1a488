"""A build that Jenkins has made without the run's id may be the run's: its request is not repeated (P3).

Jenkins drops a parameter that the job does not define when the build starts, without a word. So a job that is
overwritten between request and start makes builds that no search by id finds.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from jenkins_simulator import JenkinsSimulator, RequestFault
from tests.integration.jobs_harness import eventually, shell
from tests.integration.runs_harness import Runs

JOB = "demo.web"
TRIGGER = "/buildWithParameters"
FLAG = (
    "<hudson.model.ParametersDefinitionProperty><parameterDefinitions>"
    "<hudson.model.StringParameterDefinition><name>FLAG</name></hudson.model.StringParameterDefinition>"
    "</parameterDefinitions></hudson.model.ParametersDefinitionProperty>"
)


def overwrite(jenkins: JenkinsSimulator, parameters: str = "") -> Callable[[], None]:
    """Write the job anew, as a seed job does; return what brings its own configuration back."""
    job = jenkins.job(JOB)
    before = ElementTree.tostring(job.xml)
    xml = f"<project><properties>{parameters}</properties><builders/></project>"
    job.update(ElementTree.fromstring(xml), job.xml_version)
    return lambda: job.update(ElementTree.fromstring(before), job.xml_version)


async def until_queued(jenkins: JenkinsSimulator) -> None:
    async def queued() -> bool:
        return bool(jenkins.controller.queue.items())

    await eventually(queued, "Jenkins has queued it")


async def until_built(jenkins: JenkinsSimulator) -> None:
    async def ended() -> bool:
        return any(build.ended_at is not None for build in jenkins.ledger.builds(job=JOB))

    await eventually(ended, "the build has ended")


@pytest.mark.parametrize("restored", [True, False])
@pytest.mark.parametrize("lost", ["reset", "bad gateway"])
async def test_a_build_whose_id_was_dropped_when_it_started(
    runs: Runs, jenkins: JenkinsSimulator, restored: bool, lost: str
) -> None:
    """The queue item had the id. ``restored``: the job defines it again by the time of the search."""
    await runs.jobs.create("web", shell())
    answer = {"reset": True} if lost == "reset" else {"status": 502}
    jenkins.faults.add(RequestFault("POST", TRIGGER, count=1, do_work=True, **answer))
    jenkins.controller.quieting_down = True
    started = await runs.start("web", remaining_s=0.1)
    await until_queued(jenkins)
    restore = overwrite(jenkins)
    jenkins.controller.quieting_down = False
    jenkins.controller.queue.maintain()
    await until_built(jenkins)
    if restored:
        restore()
    row = await runs.until(started.run_id, status="FAILED")
    assert (row["failure_cause"], row["certainty"]) == ("TRIGGER_OUTCOME_UNKNOWN", "UNVERIFIABLE")
    assert len(jenkins.ledger.builds(job=JOB)) == 1


@pytest.mark.parametrize("queued", [True, False])
async def test_a_request_whose_id_was_dropped_on_arrival(
    runs: Runs, jenkins: JenkinsSimulator, queued: bool
) -> None:
    """The job was overwritten between the read and the request. ``queued``: its item still waits at the search."""
    await runs.jobs.create("web", shell())
    late = RequestFault("POST", TRIGGER, count=1, do_work=True, reset=True, delay_before_s=0.3)
    jenkins.faults.add(late)
    jenkins.controller.quieting_down = queued
    started = await runs.start("web", remaining_s=0.1)
    await runs.until_announced(started.run_id)
    restore = overwrite(jenkins, FLAG)
    await (until_queued(jenkins) if queued else until_built(jenkins))
    restore()
    row = await runs.until(started.run_id, status="FAILED")
    assert row["failure_cause"] == "TRIGGER_OUTCOME_UNKNOWN"
    jenkins.controller.quieting_down = False
    jenkins.controller.queue.maintain()
    await until_built(jenkins)
    assert len(jenkins.ledger.builds(job=JOB)) == 1


async def test_a_build_that_shows_another_id_or_none_of_its_own_proves_absence(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """Builds that others start in the job have the parameter, with the default: they are not the run's."""
    await runs.jobs.create("web", shell())
    jenkins.faults.add(RequestFault("POST", TRIGGER, count=1, reset=True))
    started = await runs.start("web", remaining_s=0.1)
    await runs.until_announced(started.run_id)
    jenkins.start_by_timer(JOB)
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert len(jenkins.ledger.builds(run_id=str(started.run_id))) == 1
