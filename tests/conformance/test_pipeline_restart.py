"""Conformance of folders 08 (Pipelines) and 09 (restarts)."""

from __future__ import annotations

import asyncio
import json

import pytest

from jenkins_simulator import (
    JenkinsSimulator,
    Result,
    SimulatorConfig,
)
from tests.conformance.receiver import Receiver
from tests.conformance.story import Story, freestyle, item_id, pipeline, recording, until
from tests.conformance.test_notifications import (
    comparable,
    endpoint_xml,
    property_xml,
    recorded_requests,
)

PIPELINE = "08-pipeline"
RESTART = "09-restart"
SLOW = freestyle("sleep 60")


async def test_08_pipeline(receiver: Receiver):
    async with JenkinsSimulator(
        SimulatorConfig(notification_plugin="1.15", finalize_delay_s=0.2)
    ) as jenkins:
        story = Story(jenkins, PIPELINE)
        await story.replay("create-pipeline")
        endpoint = endpoint_xml(f"http://127.0.0.1:{receiver.port}/ok")
        properties = property_xml(endpoint)
        script = "node { stage('a') { sh 'echo pipeline hi; sleep 1' } }"
        await story.post("/job/pipe/config.xml", pipeline(script, properties=properties))
        jenkins.create_job("pipeslow", pipeline("node { sh 'sleep 60' }", properties=properties))
        jenkins.create_job("pipebad", pipeline("node { error 'no' }", properties=properties))

        await story.trigger("/job/pipe/build?delay=0sec")
        build = await story.build("pipe", 1)
        await until(lambda: "sleep 1" in build.console.raw)
        await story.replay("running")
        await story.replay("queue-list-with-node-block")
        await jenkins.wait_for(build)

        await story.trigger("/job/pipeslow/build?delay=0sec")
        slow = await story.build("pipeslow", 1)
        await until(lambda: "sleep 60" in slow.console.raw)
        await story.post("/job/pipeslow/1/stop")
        await jenkins.wait_for(slow)
        await story.replay("aborted-console")

        await story.trigger("/job/pipebad/build?delay=0sec")
        bad = await story.build("pipebad", 1)
        await until(lambda: not bad.building)
        await story.replay("failure")
        await jenkins.wait_for(bad)
        story.check()
    assert comparable(receiver.requests) == recorded_requests(
        recording(PIPELINE, "notifications")["requests"]
    )


async def test_09_graceful_restart(receiver: Receiver):
    async with JenkinsSimulator() as jenkins:
        story = Story(jenkins, RESTART)
        jenkins.create_job("rdone", freestyle("true"))
        jenkins.create_job("rslow", SLOW)
        jenkins.create_job("rq", freestyle("true"))
        ticks = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo tick; sleep 0.1; done"
        jenkins.create_job("rpipe", pipeline(f"node {{ sh '{ticks}' }}"))
        done = await story.trigger("/job/rdone/build?delay=0sec")
        await story.finished("rdone", 1)
        running = await story.trigger("/job/rslow/build?delay=0sec")
        rslow = await story.build("rslow", 1)
        await story.trigger("/job/rpipe/build?delay=0sec")
        rpipe = await story.build("rpipe", 1)
        await until(lambda: rpipe.console.raw.count("\ntick") == 2)
        await story.replay("before-running")
        queued = await story.trigger("/job/rq/build?delay=45sec")
        await story.replay("before-queue")

        await jenkins.restart()
        await story.replay("after-item-of-finished", item=done)
        await story.replay("after-item-of-running-freestyle", item=running)
        await story.replay("after-pipeline")
        jenkins.clock.advance(12)
        await story.replay("after-queue")
        await story.replay("after-queued-item", item=queued)
        jenkins.clock.advance(45)
        await story.finished("rq", 1)
        await story.replay("restored-queue-item-builds")
        await story.replay("token-still-valid")
        await jenkins.wait_for(rpipe)
        await story.replay("after-pipeline-console")
        story.check()
        assert (rslow.result, rslow.building) == (Result.ABORTED, False)


async def test_09_starting():
    async with JenkinsSimulator(SimulatorConfig(start_up_s=60)) as jenkins:
        story = Story(jenkins, RESTART)
        session = jenkins.controller.session
        restarting = asyncio.create_task(jenkins.restart())
        await until(lambda: jenkins.controller.session != session and jenkins.is_listening)
        await story.replay("while-starting-503")
        await story.replay("while-starting-anonymous")
        jenkins.clock.advance(60)
        await restarting
        assert (await story.get("/api/json")).status == 200
        story.check()


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
async def test_09_killed_builds_are_never_completed(receiver: Receiver, signal: str):
    async with JenkinsSimulator() as jenkins:
        story = Story(jenkins, RESTART)
        job = f"nk-{signal.lower()}"
        endpoint = endpoint_xml(f"http://127.0.0.1:{receiver.port}/ok?{signal}", branch=".*")
        jenkins.create_job(job, freestyle("sleep 60", properties=property_xml(endpoint)))
        await story.trigger(f"/job/{job}/build?delay=0sec")
        build = await story.build(job, 1)
        await until(lambda: "sleep 60" in build.console.raw)
        await jenkins.restart(hard=signal == "SIGKILL")
        recorded = recording(RESTART, "notifications-of-killed-builds")[signal]
        assert comparable(receiver.requests) == recorded_requests(recorded)
        if signal == "SIGKILL":
            await story.replay("running-freestyle-after-SIGKILL")
            await story.replay("job-after-SIGKILL")
        story.check()


async def test_09_queue_after_a_hard_kill():
    async with JenkinsSimulator() as jenkins:
        story = Story(jenkins, RESTART)
        jenkins.create_job("rq", freestyle("true"))
        await story.trigger("/job/rq/build?delay=0sec")
        await story.finished("rq", 1)
        old = await story.trigger("/job/rq/build?delay=150sec")
        jenkins.clock.advance(75)
        jenkins.create_job("young", freestyle("true"))
        young = await story.trigger("/job/young/build?delay=150sec")
        await jenkins.restart(hard=True)
        await story.replay("queued-item-after-SIGKILL-75s", item=old)
        await story.replay("queued-item-after-SIGKILL-4s", item=young)
        story.check()


async def test_09_queue_ids_start_again():
    async with JenkinsSimulator() as jenkins:
        story = Story(jenkins, RESTART)
        jenkins.create_job("j", freestyle("true"))
        assert item_id(await story.post("/job/j/build")) == 1
        await jenkins.restart(hard=True)
        assert json.loads((await story.get("/queue/api/json")).body)["items"] == []
        assert item_id(await story.post("/job/j/build")) == 1
