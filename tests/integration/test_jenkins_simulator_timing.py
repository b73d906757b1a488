"""When things happen in the simulated Jenkins: leaving the queue, stopping, finalizing, discarding."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jenkins_simulator import Result, SimulatorConfig
from tests.conformance.client import Client, endpoint, freestyle, parameters, pipeline, running
from tests.conformance.receiver import Receiver
from tests.support.waiting import until

RUN_ID = parameters(DEPLOYMENT_RUN_ID="")


def keeping(count: int) -> str:
    """A freestyle job's discarder."""
    return f"<logRotator><numToKeep>{count}</numToKeep></logRotator>"


@pytest.mark.parametrize("kind", ["freestyle", "pipeline"])
async def test_an_item_that_has_left_has_no_executable_for_a_moment(kind: str):
    async with running(SimulatorConfig(quiet_period_s=0, leave_queue_s=200)) as client:
        xml = freestyle() if kind == "freestyle" else pipeline("echo 'x'")
        client.jenkins.create_job("j", xml)
        queue_id = await client.trigger("j")
        item = await client.json(f"queue/item/{queue_id}/api/json")
        assert item["_class"].endswith("LeftItem")
        assert (item["cancelled"], item["executable"]) == (False, None)
        assert (await client.json("job/j/api/json"))["builds"] == []
        client.jenkins.clock.advance(200)
        await client.jenkins.wait_for(await client.build("j"))
        item = await client.json(f"queue/item/{queue_id}/api/json")
        assert item["executable"]["number"] == 1


async def test_builds_that_are_about_to_start_count_as_running():
    config = SimulatorConfig(quiet_period_s=0, leave_queue_s=3600, executors=2)
    async with running(config) as client:
        for name in ("a", "b", "c"):
            client.jenkins.create_job(name, freestyle(properties=RUN_ID))
        for run_id in ("1", "2"):
            await client.trigger("a", DEPLOYMENT_RUN_ID=run_id)
        await client.trigger("b")
        await client.trigger("c")
        states = {
            item.job.name: item.state.name for item in client.jenkins.controller.queue.items()
        }
        assert states == {"a": "BLOCKED", "c": "BUILDABLE"}


async def test_what_has_left_the_queue_without_a_build_is_lost_in_a_restart():
    async with running(SimulatorConfig(quiet_period_s=0, leave_queue_s=3600)) as client:
        client.jenkins.create_job("j", freestyle())
        queue_id = await client.trigger("j")
        await client.jenkins.restart()
        assert (await client.get(f"queue/item/{queue_id}/api/json")).status == 404
        client.jenkins.clock.advance(3600)
        assert client.jenkins.ledger.builds() == []


@pytest.mark.parametrize("kind", ["freestyle", "pipeline"])
async def test_a_stopped_build_ends_a_moment_later(kind: str):
    config = SimulatorConfig(quiet_period_s=0, stop_freestyle_s=3600, stop_pipeline_s=3600)
    async with running(config) as client:
        xml = freestyle() if kind == "freestyle" else pipeline("echo 'x'")
        client.jenkins.create_job("j", xml)
        client.jenkins.hold("j")
        await client.trigger("j")
        build = await client.build("j")
        assert (await client.post("job/j/1/stop")).status == 302
        assert (await client.json("job/j/1/api/json"))["building"]
        client.jenkins.clock.advance(3600)
        assert await client.jenkins.wait_for(build) is Result.ABORTED


async def test_the_first_build_of_a_job_is_finalized_later_than_others():
    config = SimulatorConfig(quiet_period_s=0, first_build_s=3600)
    async with running(config) as client:
        client.jenkins.create_job("j", freestyle())
        await client.trigger("j")
        build = await client.build("j")
        await until(lambda: not build.building)
        assert (await client.json("job/j/1/api/json"))["inProgress"]
        client.jenkins.clock.advance(3600)
        await client.jenkins.wait_for(build)
        assert (await client.run("j")).result is Result.SUCCESS


async def test_a_quiet_period_ends_with_the_round_of_the_queue():
    config = SimulatorConfig(quiet_period_s=1000, queue_round_s=5000)
    async with running(config) as client:
        client.jenkins.create_job("j", freestyle())
        response = await client.post("job/j/build")
        path = response.headers["Location"].split("/", 3)[3]
        client.jenkins.clock.advance(1001)
        assert (await client.json(path + "api/json"))["why"] == "Finished waiting"
        client.jenkins.clock.advance(5000)
        await client.jenkins.wait_for(await client.build("j"))


async def states_around_the_posts(client: Client, receiver: Receiver) -> list[Any]:
    """What the API says of the build while each of its posts waits for its answer."""
    seen = []
    for count in range(1, 5):
        await _arrived(receiver, count)
        tree = "building,inProgress,result"
        shown = await client.json("job/j/1/api/json", tree=tree)
        phase = json.loads(receiver.requests[-1][2])["build"]["phase"]
        seen.append([phase, shown["building"], shown["result"], shown["inProgress"]])
    return seen


async def _arrived(receiver: Receiver, count: int) -> None:
    await until(lambda: len(receiver.requests) == count)


async def test_a_pipeline_is_in_progress_only_while_its_script_runs():
    receiver = Receiver(slow_s=0.2)
    async with await receiver.serve(), running() as client:
        url = f"http://127.0.0.1:{receiver.port}/slow"
        client.jenkins.create_job("j", pipeline("echo 'x'", properties=endpoint(url)))
        await client.trigger("j")
        assert await states_around_the_posts(client, receiver) == [
            ["QUEUED", True, None, False],
            ["STARTED", True, None, False],
            ["COMPLETED", False, "SUCCESS", False],
            ["FINALIZED", False, "SUCCESS", False],
        ]
        await client.jenkins.wait_for(client.jenkins.job("j").builds[1])
        await receiver.finish()


async def test_an_older_build_that_ends_last_is_discarded_before_its_finalized():
    receiver = Receiver(slow_s=0.2)
    async with await receiver.serve(), running() as client:
        url = f"http://127.0.0.1:{receiver.port}/slow"
        concurrent = "<concurrentBuild>true</concurrentBuild>"
        xml = freestyle(properties=RUN_ID, extra=concurrent + keeping(1))
        client.jenkins.create_job("j", xml)
        client.jenkins.hold("j")
        for run_id in ("1", "2"):
            await client.trigger("j", DEPLOYMENT_RUN_ID=run_id)
        older, newer = await client.build("j", 1), await client.build("j", 2)
        client.jenkins.release("j", 2)
        await client.jenkins.wait_for(newer)
        assert set(client.jenkins.job("j").builds) == {1, 2}
        told = freestyle(properties=RUN_ID + endpoint(url), extra=concurrent + keeping(1))
        await client.post("job/j/config.xml", data=told, headers={"Content-Type": "text/xml"})
        client.jenkins.release("j", 1)
        statuses = []
        for count in (1, 2):
            await _arrived(receiver, count)
            statuses.append((await client.get("job/j/1/api/json")).status)
        assert statuses == [200, 404]
        await client.jenkins.wait_for(older)
        await receiver.finish()


async def test_a_newer_failure_leaves_the_older_success_alone():
    async with running() as client:
        client.jenkins.create_job("j", freestyle(extra=keeping(1)))
        client.jenkins.hold("j")
        for number, result in ((1, Result.SUCCESS), (2, Result.FAILURE)):
            await client.trigger("j")
            build = await client.build("j", number)
            client.jenkins.release("j", number, result)
            await client.jenkins.wait_for(build)
        assert set(client.jenkins.job("j").builds) == {1, 2}


@pytest.mark.parametrize(
    ("kept", "shown"), [("", []), (parameters(OTHER="x"), []), (RUN_ID, ["DEPLOYMENT_RUN_ID"])]
)
async def test_a_build_keeps_only_what_its_job_still_defines_when_it_starts(
    kept: str, shown: list[str]
):
    async with running() as client:
        client.jenkins.create_job("j", freestyle(properties=RUN_ID))
        data = {"DEPLOYMENT_RUN_ID": "r"}
        await client.post("job/j/buildWithParameters?delay=3600sec", data=data)
        overwritten = freestyle(properties=kept)
        await client.post(
            "job/j/config.xml", data=overwritten, headers={"Content-Type": "text/xml"}
        )
        client.jenkins.clock.advance(3600)
        await client.jenkins.wait_for(await client.build("j"))
        actions = (await client.json("job/j/1/api/json"))["actions"]
        assert [value["name"] for value in actions[0]["parameters"]] == shown
        assert len(client.jenkins.ledger.builds(run_id="r")) == 1
