"""Conformance of folder 15: how long things take, and what the API says around each post.

Times are compared within bounds: never earlier than a real Jenkins, and later only by what a busy
machine may add.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from jenkins_simulator import Build, JenkinsSimulator
from tests.conformance.receiver import Receiver
from tests.conformance.second_jenkins import flow, notification, project, second_config
from tests.conformance.story import Story, recording, until

FOLDER = "15-timing"
SLACK_S = 2.0


def now() -> float:
    """The loop's clock, which the receiver uses too."""
    return asyncio.get_running_loop().time()


async def sequence_of(story: Story, queue_id: int) -> list[list[Any]]:
    """What the queue item shows until it has a build, changes only."""
    seen: list[list[Any]] = []
    while not seen or not seen[-1][1]:
        reply = await story.get(f"/queue/item/{queue_id}/api/json")
        item = json.loads(reply.body)
        executable = item.get("executable")
        why = (item["why"] or "").rpartition(". Expires")[0] or item["why"] or ""
        state = [
            item["_class"].rpartition("$")[2],
            executable is not None,
            item.get("cancelled"),
            why,
        ]
        if seen[-1:] != [state]:
            seen.append(state)
    return seen


def recorded_sequence(entry: dict[str, Any]) -> list[list[Any]]:
    """The same of a recorded try."""
    seen: list[list[Any]] = []
    for _, _, java_class, executable, cancelled, why in entry["item_sequence"]:
        shown = why.rpartition(". Expires")[0] or why
        state = [java_class, bool(executable), cancelled, shown]
        if seen[-1:] != [state]:
            seen.append(state)
    return seen


@pytest.mark.parametrize(
    ("name", "delay", "round_s"),
    [("start-freestyle-delay-0", "?delay=0sec", 0.0), ("start-freestyle-quiet-period-2", "", 5.0)],
)
async def test_from_the_trigger_to_the_posts(
    receiver: Receiver, name: str, delay: str, round_s: float
):
    recorded = recording(FOLDER, name)
    # Every state that was recorded on the way, in the recorded order.
    possible = [recorded_sequence(entry) for entry in recorded["tries"]]
    config = second_config(leave_queue_s=0.1, queue_round_s=round_s, first_build_s=0.0)
    async with JenkinsSimulator(config) as jenkins:
        story = Story(jenkins, FOLDER)
        told = notification(f"http://127.0.0.1:{receiver.port}/n")
        extra = "<quietPeriod>2</quietPeriod>"
        jenkins.create_job("j", project("true", told, extra=extra))
        began = now()
        queue_id = await story.trigger(f"/job/j/build{delay}")
        seen = await sequence_of(story, queue_id)
        await story.finished("j", 1)
    assert seen in possible, (seen, possible)
    assert any(state[:3] == ["LeftItem", False, False] for state in seen)
    assert recorded["LeftItem_with_null_executable_and_not_cancelled_in_tries"] > 0
    summary = recorded["summary"]
    started_s = receiver.times[1] - began
    assert started_s >= (2.0 if round_s else 0.0)
    assert started_s < summary["STARTED_post"]["max"] + SLACK_S
    final_s = receiver.times[3] - receiver.times[2]
    bounds = summary["COMPLETED_to_FINALIZED"]
    assert bounds["min"] - 0.001 <= final_s < bounds["max"] + SLACK_S


@pytest.mark.parametrize("name", ["stop-freestyle", "stop-pipeline"])
async def test_from_a_stop_to_the_end(receiver: Receiver, name: str):
    summary = recording(FOLDER, name)["summary"]
    async with JenkinsSimulator(second_config(first_build_s=0.0)) as jenkins:
        story = Story(jenkins, FOLDER)
        told = notification(f"http://127.0.0.1:{receiver.port}/n")
        script = flow("node { sh 'sleep 60' }", told)
        xml = script if name == "stop-pipeline" else project("sleep 60", told)
        jenkins.create_job("j", xml)
        await story.trigger("/job/j/build?delay=0sec")
        build = await story.output("j", 1, "+ sleep")
        # From before the answer: a busy machine may read it after the end of the build.
        stopped = now()
        assert (await story.post("/job/j/1/stop")).status == 302
        await until(lambda: not build.building)
        ended_s = now() - stopped
        await jenkins.wait_for(build)
    assert build.result is not None
    assert build.result.name == "ABORTED"
    for got, bounds in (
        (ended_s, summary["building_false"]),
        (receiver.times[2] - stopped, summary["COMPLETED_post"]),
        (receiver.times[3] - stopped, summary["FINALIZED_post"]),
    ):
        assert bounds["min"] * 0.9 - 0.002 <= got < bounds["max"] + SLACK_S


class CallInterceptor:
    """The state of a build around its posts, changes only, as the recorder wrote it down."""

    def __init__(self, story: Story, receiver: Receiver, build: Build) -> None:
        self._story = story
        self._receiver = receiver
        self._build = build
        self.posts: list[list[Any]] = []
        self.changes: list[list[Any]] = []

    async def watch(self) -> None:
        """Read the build again and again, and at each post's arrival, until FINALIZED has come."""
        while len(self.posts) < 4:
            arrived = len(self._receiver.requests)
            state = await self._read()
            if arrived > len(self.posts) and arrived == len(self._receiver.requests):
                body = json.loads(self._receiver.requests[arrived - 1][2])["build"]
                self.posts.append([body["phase"], *state])
            if self.changes[-1:] != [state]:
                self.changes.append(state)

    async def _read(self) -> list[Any]:
        reply = await self._story.get("/job/j/1/api/json?tree=building,result,inProgress")
        shown = json.loads(reply.body)
        return [shown["building"], shown["result"], shown["inProgress"]]


def recorded_around(name: str) -> tuple[list[list[Any]], list[list[Any]]]:
    """The states at the posts, and the changes between them."""
    posts: list[list[Any]] = []
    changes: list[list[Any]] = []
    for event in recording(FOLDER, name)["events"]:
        if "arrives" in event[1]:
            posts.append([event[1].split()[0], *event[3:6]])
            state = event[3:6]
        elif event[1].startswith("GET"):
            state = event[3:6]
        else:
            continue
        if changes[-1:] != [state]:
            changes.append(state)
    return posts, changes


@pytest.mark.parametrize(
    "name",
    [
        "state-around-posts-freestyle-stop-receiver-0.5s",
        "state-around-posts-freestyle-stop-receiver-0s",
        "state-around-posts-freestyle-success-receiver-0s",
        "state-around-posts-pipeline-stop-receiver-0s",
        "state-around-posts-pipeline-success-receiver-0.5s",
        "state-around-posts-pipeline-success-receiver-0s",
    ],
)
async def test_the_state_of_a_build_around_its_posts(name: str):
    # Slow enough for a read while each post waits, also where the recorded receiver was fast.
    receiver = Receiver(slow_s=0.5 if "0.5s" in name else 0.15)
    async with await receiver.serve(), JenkinsSimulator(second_config()) as jenkins:
        story = Story(jenkins, FOLDER)
        told = notification(f"http://127.0.0.1:{receiver.port}/slow")
        seconds = 60 if "stop" in name else 1
        script = flow(f"node {{ sh 'sleep {seconds}' }}", told)
        xml = script if "pipeline" in name else project(f"sleep {seconds}", told)
        jenkins.create_job("j", xml)
        await story.trigger("/job/j/build?delay=0sec")
        build = await story.build("j", 1)
        around = CallInterceptor(story, receiver, build)
        watching = asyncio.create_task(around.watch())
        if seconds == 60:
            await story.output("j", 1, "+ sleep")
            await story.post("/job/j/1/stop")
        await jenkins.wait_for(build)
        await watching
        await receiver.finish()
    posts, changes = recorded_around(name)
    assert around.posts == posts
    # A busy machine may not read in the few milliseconds before a Pipeline's end.
    assert around.changes in (changes, [c for at, c in enumerate(changes) if at == 0 or c != BRIEF])


BRIEF = [True, None, False]
