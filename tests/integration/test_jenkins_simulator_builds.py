"""What the simulated Jenkins shows of builds and queue items, as the sources of 2.440 say."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from jenkins_simulator import (
    Permission,
    Result,
    SimulatorConfig,
)
from jenkins_simulator.core.console import Console
from jenkins_simulator.core.scheduler import time_span
from tests.conformance.client import Client, freestyle, pipeline, running
from tests.support.waiting import until

HELD = "# simulator: hold"
ASKING = "input id: 'Go', message: 'Deploy?'"


def classes(build: dict[str, Any]) -> list[str]:
    """The short names of a build's actions."""
    return [a.get("_class", "{}").rpartition(".")[2] for a in build["actions"]]


def _shows(console: Console, text: str) -> bool:
    return text in console.raw


async def end(client: Client, job: str, *results: Result) -> None:
    """Run held builds that end like this, one after the other."""
    for result in results:
        number = client.jenkins.job(job).next_build_number
        await client.trigger(job)
        build = await client.build(job, number)
        client.jenkins.release(job, number, result)
        await client.jenkins.wait_for(build)


async def at_input(client: Client) -> Any:
    """A Pipeline that waits for somebody."""
    client.jenkins.create_job("pipe", pipeline(ASKING))
    await client.trigger("pipe")
    build = await client.build("pipe")
    await until(lambda: build.waiting_for_input is not None)
    return build


async def test_the_actions_of_a_stopped_pipeline():
    async with running() as client:
        client.jenkins.create_job("pipe", pipeline("sleep 60"))
        await client.trigger("pipe")
        build = await client.build("pipe")
        await client.post("job/pipe/1/stop")
        await client.jenkins.wait_for(build)
        assert classes(await client.json("job/pipe/1/api/json")) == [
            "CauseAction",
            "LibrariesAction",
            "InterruptedBuildAction",
            "{}",
            "RunDisplayAction",
            "RestartDeclarativePipelineAction",
            "{}",
            "FlowGraphAction",
            *["{}"] * 3,
        ]


async def test_a_freestyle_build_shows_that_it_was_stopped_at_its_end_only():
    async with running() as client:
        stubborn = "trap 'sleep 0.3' TERM\necho ready\nsleep 60 & wait"
        client.jenkins.create_job("j", freestyle(stubborn))
        await client.trigger("j")
        build = await client.build("j")
        await until(lambda: "\nready\n" in build.console.raw)
        await client.post("job/j/1/stop")
        during = await client.json("job/j/1/api/json")
        assert during["building"] is True
        assert "InterruptedBuildAction" not in classes(during)
        await client.jenkins.wait_for(build)
        assert classes(await client.json("job/j/1/api/json"))[1] == "InterruptedBuildAction"


async def test_an_input_stays_among_the_actions_after_it_was_answered():
    async with running() as client:
        build = await at_input(client)
        assert (await client.post("job/pipe/1/input/Go/proceedEmpty")).status == 200
        await client.jenkins.wait_for(build)
        shown = classes(await client.json("job/pipe/1/api/json"))
        assert shown[1:4] == ["LibrariesAction", "InputAction", "ApproverAction"]
        tree = "actions[waitingForInput,executions[id]]"
        asked = (await client.json("job/pipe/1/api/json", tree=tree))["actions"][2]
        assert (asked["executions"], asked["waitingForInput"]) == ([], False)


async def test_a_rejected_input_is_an_interruption_by_who_rejected_it():
    async with running() as client:
        build = await at_input(client)
        assert (await client.post("job/pipe/1/input/Go/abort")).status == 200
        assert await client.jenkins.wait_for(build) is Result.ABORTED
        assert "\n[Pipeline] End of Pipeline\nRejected by admin\n" in build.console.plain
        tree = "actions[causes[*,user[fullName]]]"
        shown = await client.json("job/pipe/1/api/json", tree=tree)
        (cause,) = shown["actions"][3]["causes"]
        assert cause["_class"].endswith(".input.Rejection")
        assert list(cause) == ["_class", "shortDescription", "timestamp", "user"]
        assert cause["shortDescription"] == "Rejected by admin"


@pytest.mark.parametrize(
    ("granted", "action", "error"),
    [
        (
            None,
            "proceedEmpty",
            "You need to have Job/Build permissions to submit this.",
        ),
        (
            None,
            "abort",
            "You need to have Job/Cancel permissions to cancel this.",
        ),
        (
            Permission.ITEM_CANCEL,
            "proceedEmpty",
            "You need to have Job/Build permissions to submit this.",
        ),
        (Permission.ITEM_CANCEL, "abort", None),
        (Permission.ITEM_BUILD, "abort", None),
    ],
)
async def test_who_may_answer_an_input(granted: Permission | None, action: str, error: str | None):
    async with running() as client:
        await at_input(client)
        reading = {Permission.OVERALL_READ, Permission.ITEM_READ}
        client.jenkins.set_permissions(
            "admin", frozenset(reading | ({granted} if granted else set()))
        )
        answer = await client.post(f"job/pipe/1/input/Go/{action}")
        assert (answer.status, answer.headers.get("X-Error")) == (400 if error else 200, error)


async def test_term_and_kill_answer_with_nothing():
    async with running() as client:
        client.jenkins.create_job("pipe", pipeline("sleep 60"))
        for number, action in enumerate(("term", "kill"), 1):
            await client.trigger("pipe")
            build = await client.build("pipe", number)
            await until(partial(_shows, build.console, "Sleeping"))
            for _ in range(2):
                answer = await client.get(f"job/pipe/{number}/{action}")
                assert (answer.status, answer.headers.get("Location")) == (200, None)
                assert await client.jenkins.wait_for(build) is Result.ABORTED
            assert ("Hard kill!" in build.console.plain) is (action == "kill")
            assert "InterruptedBuildAction" not in classes(
                await client.json(f"job/pipe/{number}/api/json")
            )
        client.jenkins.set_permissions(
            "admin", frozenset({Permission.OVERALL_READ, Permission.ITEM_READ})
        )
        assert (await client.post("job/pipe/2/kill")).status == 403


@pytest.mark.parametrize(
    ("ended", "running_too", "score", "text"),
    [
        ([Result.SUCCESS], True, 100, "No recent builds failed."),
        ([Result.ABORTED], False, 100, "No recent builds failed."),
        ([Result.FAILURE], False, 0, "All recent builds failed."),
        ([Result.FAILURE], True, 50, "1 out of the last 2 builds failed."),
        ([Result.FAILURE, Result.ABORTED], False, 50, "1 out of the last 2 builds failed."),
        (
            [Result.SUCCESS, Result.NOT_BUILT, Result.FAILURE],
            False,
            50,
            "1 out of the last 2 builds failed.",
        ),
        ([Result.FAILURE, *[Result.SUCCESS] * 5], False, 100, "No recent builds failed."),
    ],
)
async def test_the_weather(ended: list[Result], running_too: bool, score: int, text: str):
    async with running() as client:
        client.jenkins.create_job("j", freestyle(HELD))
        await end(client, "j", *ended)
        if running_too:
            await client.trigger("j")
            await client.build("j", len(ended) + 1)
        (report,) = (await client.json("job/j/api/json"))["healthReport"]
        assert (report["score"], report["description"]) == (score, f"Build stability: {text}")


async def test_the_weather_changes_only_when_a_build_has_ended():
    async with running() as client:
        client.jenkins.create_job("j", freestyle(HELD))

        async def weather() -> list[int]:
            reports = (await client.json("job/j/api/json"))["healthReport"]
            return [report["score"] for report in reports]

        await client.trigger("j")
        await client.build("j")
        assert await weather() == []
        client.jenkins.release("j", 1, Result.FAILURE)
        await client.jenkins.wait_for(client.jenkins.job("j").builds[1])
        assert await weather() == [0]
        await client.trigger("j")
        second = await client.build("j", 2)
        assert await weather() == [0], "though build 2 now counts as one that did not fail"
        client.jenkins.release("j", 2, Result.ABORTED)
        await client.jenkins.wait_for(second)
        assert await weather() == [50]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.05, "50 ms"),
        (0.129, "0.12 sec"),
        (4.95, "4.9 sec"),
        (44.9, "44 sec"),
        (63, "1 min 3 sec"),
        (754, "12 min"),
        (3 * 3600 + 60, "3 hr 1 min"),
        (86_400, "1 day 0 hr"),
        (11 * 86_400, "11 days"),
    ],
)
def test_durations_in_jenkins_words(seconds: float, text: str):
    assert time_span(seconds) == text


async def test_what_is_left_of_the_build_that_blocks():
    async with running() as client:
        clock = client.jenkins.clock

        async def run_for(seconds: float, result: Result) -> None:
            number = client.jenkins.job("j").next_build_number
            await client.trigger("j")
            build = await client.build("j", number)
            clock.advance(seconds)
            client.jenkins.release("j", number, result)
            await client.jenkins.wait_for(build)

        client.jenkins.create_job("j", freestyle(HELD))
        await run_for(1000, Result.ABORTED)
        await run_for(1000, Result.NOT_BUILT)
        await run_for(300, Result.SUCCESS)
        await run_for(100, Result.FAILURE)
        await client.trigger("j")
        await client.build("j", 5)
        item = await client.trigger("j")
        await until(lambda: client.jenkins.controller.queue.items()[0].blocked_by is not None)

        async def why() -> str:
            return str((await client.json(f"queue/item/{item}/api/json"))["why"])

        assert (await why()).startswith("Build #5 is already in progress (ETA: 3 min ")
        clock.advance(150)
        assert (await why()).rpartition("(ETA: ")[2].endswith("sec)")
        clock.advance(150)
        assert await why() == "Build #5 is already in progress (ETA: N/A)"


async def test_the_xml_of_queue_items_is_named_after_their_state():
    async with running(SimulatorConfig(executors=1)) as client:
        for job in ("a", "b"):
            client.jenkins.create_job(job, freestyle(HELD))
        busy = await client.trigger("a")
        await client.build("a")
        blocked, buildable = await client.trigger("a"), await client.trigger("b")
        waiting = int((await client.post("job/b/build")).headers["Location"].split("/")[-2])
        assert waiting == buildable
        client.jenkins.create_job("c", freestyle(HELD))
        waiting = int((await client.post("job/c/build")).headers["Location"].split("/")[-2])
        queue = client.jenkins.controller.queue
        await until(
            lambda: (
                {item.id for item in queue.items() if item.why or item.blocked_by}
                == {blocked, buildable}
            )
        )
        roots = []
        for item in (waiting, blocked, buildable, busy):
            xml = await (await client.get(f"queue/item/{item}/api/xml")).text()
            roots.append(xml[1:].partition(" ")[0])
        assert roots == ["waitingItem", "blockedItem", "buildableItem", "leftItem"]


async def test_a_kept_build_is_not_deleted():
    async with running() as client:
        client.jenkins.create_job("j", freestyle())
        await client.run("j")
        await client.post("job/j/1/toggleLogKeep")
        refused = await client.post("job/j/1/doDelete")
        assert refused.status == 400
        assert refused.headers["X-Error"].startswith("Unable to delete j #1: ")
        assert 1 in client.jenkins.job("j").builds
