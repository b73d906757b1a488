"""Conformance of folder 13: jobs overwritten, endpoint secrets replaced and lost, builds discarded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jenkins_simulator import JenkinsSimulator
from tests.conformance.posts import compare_posts
from tests.conformance.receiver import Receiver
from tests.conformance.second_jenkins import (
    choice,
    defined,
    notification,
    project,
    second_config,
    string,
)
from tests.conformance.story import Story, recording, until

FOLDER = "13-drift"
XML = "application/xml"
WHO = defined(string("WHO", "w"))


@pytest.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator(second_config()) as simulator:
        yield simulator


@pytest.fixture
def told(receiver: Receiver) -> str:
    """The property with the receiver's endpoint."""
    return notification(f"http://127.0.0.1:{receiver.port}/n")


async def test_a_seed_job(jenkins: JenkinsSimulator, told: str):
    story = Story(jenkins, FOLDER)
    ours = defined(string("WHO", "world"), choice("ENVNAME", "dev", "prod"), string("CORRELATION"))
    jenkins.create_job("seeded", project("true", told, ours, description="made by our service"))
    await story.trigger("/job/seeded/buildWithParameters?delay=0sec&WHO=a&CORRELATION=c1")
    await story.finished("seeded", 1)
    for name in (
        "seed-1-before",
        "seed-2-overwrite",
        "seed-3-read",
        "seed-4-buildWithParameters",
        "seed-4-buildWithParameters-form",
    ):
        await story.replay(name)
    assert jenkins.controller.queue.items() == []
    await story.replay("seed-4-build")
    await story.finished("seeded", 2)
    await story.replay("seed-4-build-json")

    partly = defined(string("WHO", "world"), choice("ENVNAME", "dev", "production"))
    overwritten = project("echo $WHO; sleep 1", partly, description="made by seed job")
    await story.post("/job/seeded/config.xml", overwritten, XML)
    await story.replay("seed-5-partial-read")
    await story.replay("seed-5-partial-trigger")
    await story.replay("seed-5-partial-old-choice")
    await story.finished("seeded", 3)
    await story.replay("seed-5-partial-item")
    await story.replay("seed-5-partial-build")

    for name in ("description-1-edit", "description-2-read", "description-2-config"):
        await story.replay(name)
    await story.replay("seed-7-old-build-parameters")

    jenkins.create_job("midway", project("sleep 60", told, WHO))
    await story.trigger("/job/midway/buildWithParameters?delay=0sec&WHO=one")
    running = await story.output("midway", 1, "+ sleep")
    await story.trigger("/job/midway/buildWithParameters?delay=0sec&WHO=two")
    await story.post("/job/midway/config.xml", project("true"), XML)
    await story.post("/job/midway/1/stop")
    await jenkins.wait_for(running)
    await story.finished("midway", 2)
    await jenkins.restart()
    await story.replay("seed-7-midway-build-2-after-restart")
    await story.replay("seed-7-old-build-parameters-after-restart")
    story.check()


async def test_an_endpoint_whose_secret_is_replaced_and_lost(
    jenkins: JenkinsSimulator, receiver: Receiver
):
    story = Story(jenkins, FOLDER)
    secret = notification("notify-url", secret=True, retries=1)
    jenkins.create_job("sec", project("echo $WHO; sleep 3", secret, WHO))
    for name in ("cred-01-missing", "cred-02-create", "cred-03-create-again"):
        await story.replay(name)
    for name in ("cred-04-list", "cred-04-read-json", "cred-06-job-config", "cred-06-job-json"):
        await story.replay(name)
    _listen_here(jenkins, receiver)

    await _run(story, 1, "present")
    await story.replay("cred-06-secret-endpoint-console")
    compare_posts(story, receiver, "cred-06-secret-endpoint-notifications", job="sec")

    receiver.requests.clear()
    receiver.times.clear()
    second = await _running(story, 2, "replaced")
    await story.replay("cred-07-replace")
    _listen_here(jenkins, receiver)
    await jenkins.wait_for(second)
    compare_posts(story, receiver, "cred-07-replace-notifications", job="sec")

    sent = len(receiver.requests)
    jenkins.controller.credentials["notify-url"] = ""
    jenkins.job("sec").next_build_number = 4
    fourth = await _running(story, 4, "deleted-midway")
    await story.replay("cred-09-delete")
    await story.replay("cred-09-delete-again")
    await story.replay("cred-09-read-after-delete")
    await jenkins.wait_for(fourth)
    await story.replay("cred-10-deleted-midway-console")
    await _run(story, 5, "absent")
    await story.replay("cred-11-absent-build")
    await story.replay("cred-11-absent-console")
    assert len(receiver.requests) == sent
    story.check()


def _listen_here(jenkins: JenkinsSimulator, receiver: Receiver) -> None:
    """Put our receiver in place of the recorder's."""
    secrets = jenkins.controller.credentials
    secrets["notify-url"] = secrets["notify-url"].replace("18184", str(receiver.port))


async def _running(story: Story, number: int, who: str) -> Any:
    await story.trigger(f"/job/sec/buildWithParameters?delay=0sec&WHO={who}")
    return await story.output("sec", number, "+ sleep")


async def _run(story: Story, number: int, who: str) -> None:
    await _running(story, number, who)
    await story.finished("sec", number)


# --- builds that are discarded


DISCARDER = (
    "<jenkins.model.BuildDiscarderProperty><strategy class='hudson.tasks.LogRotator'>"
    "<numToKeep>1</numToKeep></strategy></jenkins.model.BuildDiscarderProperty>"
)


class States:
    """What GET says of a build whenever one of its posts arrives, and when its answer goes out."""

    def __init__(self, story: Story, job: str, receiver: Receiver) -> None:
        self._story = story
        self._job = job
        self._receiver = receiver
        self.seen: list[list[Any]] = []

    async def watch(self, posts: int) -> None:
        """Read the build of each post while the receiver holds its answer back."""
        for count in range(1, posts + 1):
            await self._arrived(count)
            build = json.loads(self._receiver.requests[count - 1][2])["build"]
            tree = "building,result,inProgress"
            path = f"/job/{self._job}/{build['number']}/api/json?tree={tree}"
            reply = await self._story.get(path)
            state: list[Any] = [None, None, None]
            if reply.status == 200:
                shown = json.loads(reply.body)
                state = [shown["building"], shown["result"], shown["inProgress"]]
            self.seen.append([build["number"], build["phase"], reply.status, *state])

    async def _arrived(self, count: int) -> None:
        await until(lambda: len(self._receiver.requests) >= count)


def recorded_states(name: str) -> list[list[Any]]:
    """The same of the recording: the GET of each post, in the order in which the posts arrived."""
    events = recording(FOLDER, name)["events"]
    order = [event[1].split() for event in events if event[1].endswith("arrives")]
    held = {
        tuple(event[1].split()[2:4]): event[2:]
        for event in events
        if "answered; GET of that build meanwhile" in event[1]
    }
    return [
        [int(words[2]), words[3], *held[words[2], words[3]][:1], *_padded(held[words[2], words[3]])]
        for words in order
    ]


def _padded(state: list[Any]) -> list[Any]:
    return [*state[1:], None, None, None][:3]


@pytest.mark.parametrize(
    ("name", "builds", "job"),
    [
        ("keep1-concurrent-fast-receiver", "keep1-concurrent-fast-receiver-builds", "keep-e"),
        ("keep1-concurrent-older-ends-last", "keep1-concurrent-older-ends-last-builds", "keep-a"),
        ("keep1-one-after-another", "keep1-one-after-another-builds", "keep-d"),
    ],
)
async def test_builds_that_are_discarded(
    jenkins: JenkinsSimulator, name: str, builds: str, job: str
):
    story = Story(jenkins, FOLDER)
    concurrent = "concurrent" in name
    receiver = Receiver(slow_s=0.4 if "fast" not in name else 0.1)
    async with await receiver.serve():
        told = notification(f"http://127.0.0.1:{receiver.port}/slow")
        xml = project("sleep $WHO", told, DISCARDER, WHO, concurrent=concurrent)
        jenkins.create_job(job, xml)
        states = States(story, job, receiver)
        watching = asyncio.create_task(states.watch(8))
        await story.trigger(f"/job/{job}/buildWithParameters?delay=0sec&WHO=4")
        first = await story.build(job, 1)
        if not concurrent:
            await jenkins.wait_for(first)
        await story.trigger(f"/job/{job}/buildWithParameters?delay=0sec&WHO=1")
        second = await story.build(job, 2)
        await jenkins.wait_for(first)
        await jenkins.wait_for(second)
        await watching
        await receiver.finish()
    # QUEUED and STARTED of two builds interleave as they like.
    assert sorted(states.seen, key=_place) == sorted(recorded_states(name), key=_place)
    assert [one for one in states.seen if one[1] in ("COMPLETED", "FINALIZED")] == [
        one for one in recorded_states(name) if one[1] in ("COMPLETED", "FINALIZED")
    ]
    await story.replay(builds)
    story.check()


def _place(state: list[Any]) -> tuple[int, str]:
    return state[0], state[1]
