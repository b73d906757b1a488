"""Further stories: ends that are read late, deletions, and what is asked of a job's configuration."""

from __future__ import annotations

import asyncio
from typing import Any

from deployment_service.client.errors import DeploymentServiceError
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1 import gateway_service_pb2 as gateway_pb
from jenkins_simulator import RequestFault, Result
from jenkins_simulator.core.model import Decision
from tests.chaos.telling import (
    JOB,
    Story,
    Told,
    build_of,
    cancel,
    configure,
    job_is_gone,
    start_by_hand,
)
from tests.chaos.world import World

_WITH_PASSWORD = (
    "<project><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>"
    "<hudson.model.PasswordParameterDefinition><name>PW</name></hudson.model.PasswordParameterDefinition>"
    "<hudson.model.StringParameterDefinition><name>DEPLOYMENT_RUN_ID</name>"
    "</hudson.model.StringParameterDefinition>"
    "</parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties></project>"
)
_FINALIZED = {
    "build_number": 1,
    "phase": gateway_pb.BUILD_PHASE_FINALIZED,
    "status": "SUCCESS",
    "parameters_known": True,
}


async def deleted_with_its_build(w: World) -> list[Told]:
    """The run ends with the deployment, and its build is stopped before the job is deleted."""
    w.jenkins.hold(JOB)
    await w.create()
    uid = await w.run()
    await w.until_run(uid, build_number=1)
    build = build_of(w, 1)
    await w.client.delete_deployment("web", force=True, cancel_builds=True)
    assert await w.jenkins.wait_for(build) is Result.ABORTED
    await w.until("the job is gone", lambda: job_is_gone(w))
    (row,) = await w.sql("SELECT * FROM deployment_runs")
    assert (row["status"], row["certainty"]) == ("CANCELLED", "UNVERIFIABLE")
    assert w.builds(uid) == 1
    return []


async def a_value_with_blanks(w: World) -> list[Told]:
    """Jenkins trims some parameters: whether it would is read from the job's configuration."""
    version = pb.ParameterDefinition(name="VERSION", default_value="1.4.1")
    await w.create()
    await w.client.update_deployment(pb.Deployment(name="web", parameter_definitions=[version]))
    uid = await w.run(parameters={"VERSION": " 1.4.2 "})
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid)]


async def the_next_run_waits_for_the_read_of_an_end(w: World) -> list[Told]:
    """Its build can't be read at once, so the reported end is not certain yet."""
    w.jenkins.hold(JOB)
    await w.create()
    first = await w.run()
    await w.until_run(first, build_number=1)
    w.jenkins.release(JOB, 1)
    w.jenkins.faults.add(RequestFault("GET", f"/job/{JOB}/1/api/json", count=1, status=502))
    await w.jenkins.wait_for(build_of(w, 1))
    await w.report({**_FINALIZED, "run_id": first})
    second = None
    while second is None:
        try:
            second = await w.run()
        except DeploymentServiceError as error:
            assert error.reason == "RUN_ACTIVE"  # noqa: PT017
            await asyncio.sleep(0.1)
    await w.until_run(second, build_number=2)
    w.jenkins.release(JOB, 2)
    await w.until_run(second, certainty="CONFIRMED")
    return [Told(first), Told(second)]


async def the_record_is_discarded_before_it_is_read(w: World) -> list[Told]:
    """What webhooks reported stays; it can't be verified any more."""
    w.jenkins.hold(JOB)
    await w.create()
    uid = await w.run()
    await w.until_run(uid, build_number=1)
    unreadable = _make_unreadable(w)
    build = build_of(w, 1)
    w.jenkins.release(JOB, 1)
    await w.jenkins.wait_for(build)
    await w.report({**_FINALIZED, "run_id": uid})
    w.jenkins.discard_build(JOB, 1)
    for fault in unreadable:
        w.jenkins.faults.requests.remove(fault)
    await w.until_run(uid, certainty="UNVERIFIABLE")
    return [Told(uid)]


async def the_read_of_a_reported_end_fails(w: World) -> list[Told]:
    """Until the service has tried; then it is read again."""
    w.jenkins.hold(JOB)
    await w.create()
    uid = await w.run()
    await w.until_run(uid, build_number=1)
    unreadable = _make_unreadable(w)
    w.jenkins.release(JOB, 1)
    await w.jenkins.wait_for(build_of(w, 1))
    await w.report({**_FINALIZED, "run_id": uid})

    async def failed() -> bool:
        return any("confirm.read_failed" in line for line in w.said)

    await w.until("a read of the reported end has failed", failed)
    for fault in unreadable:
        w.jenkins.faults.requests.remove(fault)
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid)]


def _make_unreadable(w: World) -> list[RequestFault]:
    """Neither the build nor the executors can be read; return the faults."""
    faults = [
        RequestFault("GET", f"/job/{JOB}/(1/)?api/json", status=502),
        RequestFault("GET", "^/computer/", status=502),
    ]
    for fault in faults:
        w.jenkins.faults.add(fault)
    return faults


async def a_lost_request_arrives_after_all(w: World) -> list[Told]:
    """After its quarantine, beside the build of the request that was sent again: it is stopped."""
    w.jenkins.hold(JOB)
    await w.create()
    configure(w, concurrent=True)
    w.jenkins.faults.add(RequestFault("POST", "/buildWithParameters", count=1, reset=True))
    uid = await w.run()
    await w.until_run(uid, build_number=1)
    start_by_hand(w, build_of(w, 1).parameters, user="admin")

    async def found() -> Any:
        return await w.sql("SELECT * FROM deployment_runs WHERE source = 'EXTERNAL'")

    (second,) = await w.until("the second build is a run", found)
    await w.until_run(str(second["run_id"]), status="CANCELLED", certainty="CONFIRMED")
    w.jenkins.release(JOB, 1)
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid, 2)]


async def a_password_of_an_adopted_job(w: World) -> list[Told]:
    """That the parameter is a secret is known only from the job, which was not read since an upgrade."""
    w.jenkins.create_job(JOB, _WITH_PASSWORD)
    await w.create(existing_job=pb.ExistingJob(full_name=JOB))
    await w.sql("UPDATE cicd_jobs SET secret_parameters = NULL")
    uid = await w.run(parameters={"PW": "s3cret"})
    await w.until_run(uid, certainty="CONFIRMED")
    assert "s3cret" not in str(await w.sql("SELECT r::text FROM deployment_runs AS r"))
    return [Told(uid)]


async def the_description_was_edited(w: World) -> list[Told]:
    """The job is known as ours by its other signs, and deleted."""
    await w.create()
    job = w.jenkins.job(JOB)
    description = job.xml.find("description")
    assert description is not None
    description.text = "Ask Ada."
    job.update(job.xml, job.xml_version)
    await w.client.delete_deployment("web")
    await w.until("the job is gone", lambda: job_is_gone(w))
    return []


async def an_operator_decides_how_it_ended(w: World) -> list[Told]:
    """Neither the report nor the read of another result changes that."""
    w.jenkins.hold(JOB)
    await w.create()
    uid = await w.run()
    await w.until_run(uid, build_number=1, shown=True)
    await w.client.resolve_run("web/runs/1", pb.DEPLOYMENT_STATUS_FAILED, "Seen on the servers.")
    w.jenkins.release(JOB, 1)
    await w.jenkins.wait_for(build_of(w, 1))
    await w.report({**_FINALIZED, "run_id": uid})
    assert len(await w.sql("SELECT FROM run_resolutions")) == 1
    return [Told(uid, 1, "FAILED", "RESOLVED_BY_OPERATOR")]


async def a_cancel_request_is_refused_once(w: World) -> list[Told]:
    """The account lacks Job/Cancel for a while: that is noted, and asked again."""
    w.jenkins.hold(JOB)
    await w.create()
    uid = await w.run()
    await w.until_run(uid, build_number=1, shown=True)
    w.jenkins.faults.add(RequestFault("POST", "/stop", count=1, jenkins_status=403))
    await cancel(w, 1)
    await w.until_run(uid, status="CANCELLED", certainty="CONFIRMED")
    return [Told(uid, 1, "CANCELLED", "CANCELLED_IN_JENKINS")]


async def a_person_is_asked(w: World) -> list[Told]:
    """Once the person has answered, the run waits for nothing any more: that is an event."""
    await w.create(pipeline_script="node { input 'Go?'\nsleep 600 }")
    uid = await w.run()
    await w.until_run(uid, waiting_for="INPUT")
    asked = build_of(w, 1).waiting_for_input
    assert asked is not None
    asked.decision.set_result(Decision("admin", proceeds=True))
    await w.until_run(uid, waiting_for=None)
    await cancel(w, 1)
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid, 1, "CANCELLED", "CANCELLED_IN_JENKINS")]


FURTHER: tuple[Story, ...] = (
    a_person_is_asked,
    deleted_with_its_build,
    a_value_with_blanks,
    the_next_run_waits_for_the_read_of_an_end,
    the_record_is_discarded_before_it_is_read,
    the_read_of_a_reported_end_fails,
    a_lost_request_arrives_after_all,
    a_password_of_an_adopted_job,
    the_description_was_edited,
    an_operator_decides_how_it_ended,
    a_cancel_request_is_refused_once,
)
