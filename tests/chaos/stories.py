"""What happens to deployments, told through the API against a service that may die at any point.

Each story says at its end which runs there are, how many builds each must have and how it must have
ended. It works the same whether or not the service died meanwhile: calls are repeated by the client.
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import tostring

from deployment_service.client.errors import AlreadyExists, DeploymentServiceError
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1 import gateway_service_pb2 as gateway_pb
from jenkins_simulator import RequestFault, Result
from tests.chaos.further_stories import FURTHER
from tests.chaos.telling import (
    JOB,
    Story,
    Told,
    build_of,
    cancel,
    check,
    configure,
    job_is_gone,
    start_by_hand,
)
from tests.chaos.world import World

TRIGGER = "/buildWithParameters"


_ASKED_AGAIN = "SELECT FROM deployment_runs WHERE probe_time > end_time"
_NOT_TO_SWEEP = "SELECT FROM cicd_jobs WHERE next_sweep_time > now()"


async def from_creation_to_deletion(w: World) -> list[Told]:
    """The main path, with a parameter that the job must learn, and a graceful stop."""
    w.jenkins.hold(JOB)
    await w.create()
    version = pb.ParameterDefinition(name="VERSION", default_value="1.4.1")
    await w.client.update_deployment(pb.Deployment(name="web", parameter_definitions=[version]))
    uid = await w.run(parameters={"VERSION": "1.4.2"})
    await w.until_run(uid, build_number=1)
    w.jenkins.release(JOB, 1)
    await w.until_run(uid, status="COMPLETED", certainty="CONFIRMED")
    await w.stop_gracefully()
    told = Told(uid)
    await check(w, told)
    await w.client.delete_deployment("web")
    await w.until("the job is gone", lambda: job_is_gone(w))
    return []


async def too_quick_to_be_seen(w: World) -> list[Told]:
    """It is built before anybody has looked."""
    await w.create()
    await w.until("the new job has been read", lambda: w.sql(_NOT_TO_SWEEP))
    w.jenkins.faults.add(RequestFault("GET", "^/computer/", count=3, status=502))
    uid = await w.run()
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid)]


async def the_answer_is_lost(w: World) -> list[Told]:
    await w.create()
    await w.until(
        "the new job has been read, and won't be soon again", lambda: w.sql(_NOT_TO_SWEEP)
    )
    w.jenkins.hold(JOB)
    w.jenkins.faults.add(RequestFault("POST", TRIGGER, count=1, reset=True, do_work=True))
    uid = await w.run()
    await w.until_run(uid, build_number=1)
    w.jenkins.release(JOB, 1, Result.UNSTABLE)
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid, 1, "FAILED", "BUILD_UNSTABLE")]


async def the_request_is_lost(w: World) -> list[Told]:
    """Looked for twice, then sent again."""
    await w.create()
    w.jenkins.faults.add(RequestFault("POST", TRIGGER, count=1, reset=True))
    uid = await w.run()
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid)]


async def jenkins_refuses(w: World) -> list[Told]:
    await w.create()
    configure(w, disabled=True)
    uid = await w.run()
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid, 0, "FAILED", "TRIGGER_REJECTED")]


async def jenkins_is_away(w: World) -> list[Told]:
    """While the job is created and while the run is triggered."""
    w.jenkins.faults.add(RequestFault("GET", f"/job/{JOB}/api/json", count=2, status=503))
    await w.create()
    w.jenkins.faults.add(RequestFault("GET", f"/job/{JOB}/api/json", count=2, status=502))
    uid = await w.run()
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid)]


async def jenkins_is_slow(w: World) -> list[Told]:
    """So slow that a cycle must renew its lease."""
    w.jenkins.hold(JOB)
    await w.create()
    w.jenkins.faults.add(RequestFault("GET", "^/(queue|computer)/", count=4, delay_after_s=1.2))
    uid = await w.run()
    await w.until_run(uid, build_number=1)
    w.jenkins.release(JOB, 1)
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid)]


async def the_store_is_restored(w: World) -> list[Told]:
    """While a run waits because Jenkins is away: it may have been sent in the store's former life."""
    w.jenkins.hold(JOB)
    await w.create()
    away = RequestFault("GET", f"/job/{JOB}/api/json", status=503)
    w.jenkins.faults.add(away)
    uid = await w.run()
    await w.sql("UPDATE store_epoch SET marker = gen_random_uuid()")
    await w.until_run(uid, trigger_state="SENDING")
    w.jenkins.faults.requests.remove(away)
    await w.until_run(uid, build_number=1)
    w.jenkins.release(JOB, 1)
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid)]


async def jenkins_is_killed(w: World) -> list[Told]:
    w.jenkins.hold(JOB)
    await w.create()
    uid = await w.run()
    await w.until_run(uid, build_number=1)
    await w.jenkins.restart(hard=True)
    await w.until_run(uid, status="FAILED")
    return [Told(uid, 1, "FAILED", "BUILD_LOST")]


async def the_build_is_deleted(w: World) -> list[Told]:
    """In Jenkins, by somebody: nothing was restarted, so it is missed twice first."""
    w.jenkins.hold(JOB)
    await w.create()
    uid = await w.run()
    await w.until_run(uid, build_number=1)
    w.jenkins.controller._lose(build_of(w, 1), hard=True)
    await w.until_run(uid, status="FAILED")
    await w.until("it is asked about again: it is but a presumption", lambda: w.sql(_ASKED_AGAIN))
    return [Told(uid, 1, "FAILED", "BUILD_LOST")]


async def the_job_is_made_again(w: World) -> list[Told]:
    """And its #1 is somebody else's build."""
    w.jenkins.hold(JOB)
    await w.create()
    uid = await w.run()
    await w.until_run(uid, build_number=1)
    job = w.jenkins.job(JOB)
    xml = tostring(job.xml, encoding="unicode")
    w.jenkins.controller.delete(job)
    w.jenkins.create_job(JOB, xml)
    start_by_hand(w)
    await w.until_run(uid, status="FAILED")
    return [Told(uid, 1, "FAILED", "BUILD_LOST")]


async def webhooks_come(w: World) -> list[Told]:
    """True ones, one with a wrong address, and a poke."""
    w.jenkins.hold(JOB)
    await w.create()
    uid = await w.run()
    row = await w.until_run(uid, build_number=1)
    w.jenkins.release(JOB, 1, Result.FAILURE)
    await w.jenkins.wait_for(build_of(w, 1))
    report = {"build_number": row["build_number"], "run_id": uid, "parameters_known": True}
    started, ended = gateway_pb.BUILD_PHASE_STARTED, gateway_pb.BUILD_PHASE_FINALIZED
    await w.report(
        {**report, "phase": ended, "status": "FAILURE"},
        {**report, "phase": started},
        {**report, "phase": started, "job_path": "job/another/"},
        request_refresh=True,
    )

    async def read() -> bool:
        return not await w.sql("SELECT FROM cicd_jobs WHERE refresh_request_time IS NOT NULL")

    await w.until_run(uid, certainty="CONFIRMED")
    await w.until("the poked job is read", read)
    return [Told(uid, 1, "FAILED", "BUILD_FAILED")]


async def a_wrong_number_is_told(w: World) -> list[Told]:
    """By a script that names the right run, while it waits in the queue behind somebody else's build."""
    w.jenkins.hold(JOB)
    await w.create()
    start_by_hand(w)
    uid = await w.run()
    await w.until_run(uid, waiting_for="QUEUE")
    started = gateway_pb.BUILD_PHASE_STARTED
    await w.report({"build_number": 7, "run_id": uid, "parameters_known": True, "phase": started})
    w.jenkins.release(JOB, 1)
    await w.until_run(uid, build_number=2)
    w.jenkins.release(JOB, 2)
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid)]


async def somebody_builds_too(w: World) -> list[Told]:
    """A build that we didn't start, beside ours."""
    w.jenkins.hold(JOB)
    await w.create()
    configure(w, concurrent=True)
    uid = await w.run()
    await w.until_run(uid, build_number=1)
    start_by_hand(w)

    async def found() -> Any:
        return await w.sql("SELECT * FROM deployment_runs WHERE source = 'EXTERNAL'")

    (stranger,) = await w.until("the stranger is a run", found)
    w.jenkins.release(JOB)
    await w.until_run(str(stranger["run_id"]), status="COMPLETED", certainty="CONFIRMED")
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid)]


async def our_account_builds_it_again(w: World) -> list[Told]:
    """As a retry plugin does, which copies causes: no request of ours is unanswered, so nothing is stopped."""
    w.jenkins.hold(JOB)
    await w.create()
    configure(w, concurrent=True)
    uid = await w.run()
    await w.until_run(uid, build_number=1)
    start_by_hand(w, build_of(w, 1).parameters, user="admin")

    async def found() -> Any:
        return await w.sql("SELECT * FROM deployment_runs WHERE source = 'EXTERNAL'")

    (second,) = await w.until("the second build is a run", found)
    w.jenkins.release(JOB)
    await w.until_run(str(second["run_id"]), status="COMPLETED", certainty="CONFIRMED")
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid, 2)]


async def cancelled_while_it_builds(w: World) -> list[Told]:
    w.jenkins.hold(JOB)
    await w.create()
    uid = await w.run()
    await w.until_run(uid, build_number=1)
    await cancel(w, 1)
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid, 1, "CANCELLED", "CANCELLED_IN_JENKINS")]


async def cancelled_in_the_queue(w: World) -> list[Told]:
    """Behind a build of the same job; only the item goes."""
    w.jenkins.hold(JOB)
    await w.create()
    first = await w.run()
    await w.until_run(first, build_number=1)
    second = await w.run(allow_concurrent=True)
    await w.until_run(second, waiting_for="QUEUE")
    await cancel(w, 2)
    await w.until_run(second, certainty="CONFIRMED")
    w.jenkins.release(JOB, 1)
    await w.until_run(first, certainty="CONFIRMED")
    return [Told(first), Told(second, 0, "CANCELLED", "CANCELLED_IN_JENKINS")]


async def the_name_is_taken(w: World) -> list[Told]:
    """By a job that isn't ours: told at once or, if the service died meanwhile, on the deployment."""
    w.jenkins.create_job(JOB, "<project><builders/></project>")
    definition = pb.Deployment(provider="main", job=pb.DeploymentJob(freestyle_shell="exit 0"))
    try:
        await w.client.create_deployment("web", definition)
    except AlreadyExists as error:
        assert error.reason == "JOB_EXISTS"  # noqa: PT017
    else:

        async def failed() -> bool:
            (row,) = await w.sql("SELECT state FROM cicd_jobs")
            return bool(row["state"] == "FAILED")

        await w.until("the job has failed", failed)
    assert w.jenkins.requests.count("POST", "createItem") == 0
    assert not w.jenkins.ledger.builds()
    return []


async def deleted_and_made_again(w: World) -> list[Told]:
    """A deployment under the name of one whose job is still being deleted."""
    await w.create()
    await w.client.delete_deployment("web")

    async def created() -> bool:
        try:
            await w.create()
        except DeploymentServiceError as error:
            assert error.reason == "JOB_BEING_DELETED"  # noqa: PT017
            return False
        return True

    await w.until("it is created again", created)
    uid = await w.run()
    await w.until_run(uid, certainty="CONFIRMED")
    return [Told(uid)]


STORIES: tuple[Story, ...] = (
    from_creation_to_deletion,
    too_quick_to_be_seen,
    the_answer_is_lost,
    the_request_is_lost,
    jenkins_refuses,
    jenkins_is_away,
    jenkins_is_slow,
    the_store_is_restored,
    jenkins_is_killed,
    the_build_is_deleted,
    the_job_is_made_again,
    webhooks_come,
    a_wrong_number_is_told,
    somebody_builds_too,
    our_account_builds_it_again,
    cancelled_while_it_builds,
    cancelled_in_the_queue,
    the_name_is_taken,
    deleted_and_made_again,
    *FURTHER,
)
