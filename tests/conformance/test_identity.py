"""Conformance of folder 11: what identifies a build, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jenkins_simulator import JenkinsSimulator
from jenkins_simulator.core.jobxml import parse_xml
from jenkins_simulator.core.model import Decision
from tests.conformance.posts import compare_posts
from tests.conformance.receiver import Receiver
from tests.conformance.second_jenkins import (
    defined,
    flow,
    notification,
    project,
    second_config,
    string,
)
from tests.conformance.story import Story, recording, until

FOLDER = "11-identity"
WHO_NAP = defined(string("WHO", "w"), string("NAP", "25"))
WHO_TAG = defined(string("WHO", "w"), string("TAG", "none"))
WHO = defined(string("WHO", "w"))
FOLDER_XML = "<com.cloudbees.hudson.plugins.folder.Folder/>"
ONE_AT_A_TIME = (
    "<org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty>"
    "<abortPrevious>true</abortPrevious>"
    "</org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty>"
)
TICKS = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do echo tick $i; sleep 0.3; done"
TICKING = f"node {{\nsh '''{TICKS}'''\n}}\necho \"who ${{params.WHO}}\""
SLEEPING = "echo \"start ${params.WHO}\"\nsleep 25\necho 'end'"


@pytest.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator(second_config()) as simulator:
        yield simulator


@pytest.fixture
def told(receiver: Receiver) -> str:
    """The property with the receiver's endpoint."""
    return notification(f"http://127.0.0.1:{receiver.port}/n")


async def test_a_pipelines_across_a_graceful_restart(
    jenkins: JenkinsSimulator, receiver: Receiver, told: str
):
    story = Story(jenkins, FOLDER)
    jenkins.create_job("pipe-sigterm-sh", flow(TICKING, told, WHO_NAP))
    jenkins.create_job("pipe-sigterm-sleep", flow(SLEEPING, told, WHO_NAP))
    await story.replay("a-SIGTERM-sh-0-trigger")
    await story.replay("a-SIGTERM-sleep-0-trigger")
    ticking = await story.build("pipe-sigterm-sh", 1)
    sleeping = await story.output("pipe-sigterm-sleep", 1, "Sleeping")
    await until(lambda: ticking.console.raw.count("\ntick") == 2)
    for name in (
        "a-SIGTERM-sh-1-before-item",
        "a-SIGTERM-sh-1-before",
        "a-SIGTERM-sleep-1-before-item",
        "a-SIGTERM-sleep-1-before",
    ):
        await story.replay(name)
    await jenkins.restart()
    for name in (
        "a-SIGTERM-sh-2-after-item",
        "a-SIGTERM-sh-2-after",
        "a-SIGTERM-sh-3-after-5s",
        "a-SIGTERM-sleep-2-after-item",
        "a-SIGTERM-sleep-2-after",
        "a-SIGTERM-sleep-3-after-5s",
    ):
        await story.replay(name)
    jenkins.clock.advance(25)
    await jenkins.wait_for(sleeping)
    await jenkins.wait_for(ticking)
    for name in (
        "a-SIGTERM-sh-4-console",
        "a-SIGTERM-sh-4-end-new-item",
        "a-SIGTERM-sh-4-end",
        "a-SIGTERM-sleep-4-console",
        "a-SIGTERM-sleep-4-end-new-item",
        "a-SIGTERM-sleep-4-end",
    ):
        await story.replay(name)
    compare_posts(story, receiver, "a-SIGTERM-sh-5-notifications", job="pipe-sigterm-sh")
    compare_posts(story, receiver, "a-SIGTERM-sleep-5-notifications", job="pipe-sigterm-sleep")
    story.check()


async def test_a_pipeline_and_a_freestyle_build_across_a_hard_kill(
    jenkins: JenkinsSimulator, receiver: Receiver, told: str
):
    story = Story(jenkins, FOLDER)
    for name in ("before", "free-sigkill"):
        jenkins.create_job(name, project("sleep 25", told, WHO_NAP))
    jenkins.create_job("pipe-sigkill-sh", flow(TICKING, told, WHO_NAP))
    for number in (1, 2, 3):
        await story.trigger("/job/before/buildWithParameters?delay=0sec")
        build = await story.build("before", number)
        await story.post(f"/job/before/{number}/stop")
        await jenkins.wait_for(build)
    await story.replay("a-SIGKILL-sh-0-trigger")
    pipe = await story.build("pipe-sigkill-sh", 1)
    await story.trigger("/job/free-sigkill/buildWithParameters?delay=0sec&WHO=restart-SIGKILL")
    await story.output("free-sigkill", 1, "+ sleep")
    await until(lambda: pipe.console.raw.count("\ntick") == 3)
    for name in ("a-SIGKILL-sh-1-before-item", "a-SIGKILL-sh-1-before", "a-SIGKILL-free-1-before"):
        await story.replay(name)
    await jenkins.restart(hard=True)
    await story.replay("a-SIGKILL-sh-2-after-item")
    story.numbers.restart()
    for name in (
        "a-SIGKILL-sh-2-after",
        "a-SIGKILL-sh-3-after-5s",
        "a-SIGKILL-free-2-after",
        "a-SIGKILL-free-3-job-after",
    ):
        await story.replay(name)
    await jenkins.wait_for(pipe)
    for name in ("a-SIGKILL-sh-4-console", "a-SIGKILL-sh-4-end-new-item", "a-SIGKILL-sh-4-end"):
        await story.replay(name)
    compare_posts(story, receiver, "a-SIGKILL-sh-5-notifications", job="pipe-sigkill-sh")
    compare_posts(story, receiver, "a-SIGKILL-free-5-notifications", job="free-sigkill")
    story.check()


async def test_a_queue_ids_are_given_out_again():
    async with JenkinsSimulator(second_config(executors=1)) as jenkins:
        story = Story(jenkins, FOLDER)
        jenkins.create_job("pipe", flow("input 'go'\nnode { sleep 1000 }"))
        jenkins.create_job("ida", project("echo $WHO", WHO))
        jenkins.create_job("idb", project("echo $WHO; sleep 60", WHO))
        # A Pipeline holds the only executor, as its coming up did in the recording.
        await story.trigger("/job/pipe/build?delay=0sec")
        pipe = await story.output("pipe", 1, "Proceed or Abort")
        await story.replay("a-queue-id-reuse-1-before-kill")
        await story.finished("ida", 1)
        await story.replay("a-queue-id-reuse-2-before-kill-build")
        await story.replay("a-queue-id-reuse-2-before-kill-item")
        assert pipe.waiting_for_input is not None
        pipe.waiting_for_input.decision.set_result(Decision("lab", proceeds=True))
        await story.output("pipe", 1, "Sleeping")
        await jenkins.restart(hard=True)
        # The same id again, for another job.
        await story.replay("a-queue-id-reuse-3-after-kill")
        await story.replay("a-queue-id-reuse-4-after-kill-old-item")
        await story.post("/job/pipe/1/stop")
        await story.output("idb", 1, "+ sleep")
        await story.replay("a-queue-id-reuse-5-same-id-other-job")
        for name in (
            "a-queue-id-reuse-6-two-builds-one-queueId-ida",
            "a-queue-id-reuse-6-two-builds-one-queueId-idb",
        ):
            await story.replay(name)
        story.check()


async def test_a_queue_ids_go_on_after_a_late_kill(jenkins: JenkinsSimulator):
    story = Story(jenkins, FOLDER)
    jenkins.create_job("idb", project("echo $WHO", WHO))
    await story.replay("a-queue-id-late-kill-1-before")
    await story.finished("idb", 1)
    jenkins.clock.advance(66)
    await jenkins.restart(hard=True)
    await story.replay("a-queue-id-late-kill-2-after")
    story.check()


async def test_b_started_again_and_c_causes(
    jenkins: JenkinsSimulator, receiver: Receiver, told: str
):
    story = Story(jenkins, FOLDER)
    jenkins.create_job("fails", project("test $BUILD_NUMBER -gt 1", told, WHO_TAG))
    await story.replay("b-again-1-trigger")
    await story.finished("fails", 1)
    await story.replay("b-again-2-first")
    # The script console is not simulated: this is what its script does.
    jenkins.rebuild("fails", 1)
    await story.finished("fails", 2)
    for name in (
        "b-again-4-second",
        "b-again-5-both-causes",
        "b-again-6-first-item",
        "b-again-6-second-item",
    ):
        await story.replay(name)
    compare_posts(story, receiver, "b-again-7-notifications", job="fails")

    await story.replay("c-causes-user")
    await story.replay("c-rebuild-1-mia")
    await story.finished("fails", 3)
    await story.replay("c-rebuild-2-build")
    session = jenkins._app.sessions.new()
    crumb = jenkins._app.sessions.crumb("mia", session)
    cookie = f"JSESSIONID={session}"
    await story.replay(
        "c-rebuild-3-browser-form", headers={"Cookie": cookie, "Jenkins-Crumb": crumb}
    )
    await story.finished("fails", 4)
    await story.replay("c-rebuild-4-browser-build")

    downstream = (
        "<hudson.tasks.BuildTrigger><childProjects>down</childProjects></hudson.tasks.BuildTrigger>"
    )
    jenkins.create_job("up", project("true", publishers=downstream))
    jenkins.create_job("down", project("true", extra="<quietPeriod>0</quietPeriod>"))
    await story.trigger("/job/up/build?delay=0sec")
    await story.finished("down", 1)
    await story.replay("c-causes-upstream-freestyle")
    await story.replay("c-causes-upstream-freestyle-full")
    values = "[string(name: 'WHO', value: 'from-pipe'), string(name: 'TAG', value: 't9')]"
    jenkins.create_job("pup", flow(f"build job: 'fails', parameters: {values}"))
    await story.trigger("/job/pup/build?delay=0sec")
    await story.finished("pup", 1)
    await story.replay("c-causes-upstream-pipeline")
    await story.replay("c-causes-upstream-pipeline-full")
    story.check()


async def test_d_a_superseded_build(jenkins: JenkinsSimulator, receiver: Receiver, told: str):
    story = Story(jenkins, FOLDER)
    script = 'node {\nsh "echo ${WHO}; sleep 20"\n}'
    jenkins.create_job("super", flow(script, told, ONE_AT_A_TIME, WHO_TAG))
    await story.replay("d-abortPrevious-1-trigger-first")
    first = await story.output("super", 1, "+ sleep")
    began = asyncio.get_running_loop().time()
    await story.replay("d-abortPrevious-2-trigger-second")
    second = await story.build("super", 2)
    item = jenkins.controller.queue.get(second.queue_id)
    assert item is not None
    sequence = [["LeftItem", None, item.build and item.build.number, first.building, first.result]]
    await until(lambda: not first.building)
    took_s = asyncio.get_running_loop().time() - began
    assert first.result is not None
    sequence.append(["LeftItem", None, 2, first.building, first.result.name])
    recorded = recording_of("d-abortPrevious-3-sequence")
    assert [entry[1:] for entry in recorded] == sequence
    assert abs(took_s - recorded[-1][0]) < 1.0
    await story.output("super", 2, "+ sleep")
    await story.replay("d-abortPrevious-5-second")
    await jenkins.wait_for(first)
    for name in (
        "d-abortPrevious-4-console",
        "d-abortPrevious-4-superseded",
        "d-abortPrevious-4-superseded-tree",
    ):
        await story.replay(name)
    story.check()


def recording_of(name: str) -> list[list[Any]]:
    """The recorded sequence of this name."""
    sequence: list[list[Any]] = recording(FOLDER, name)["sequence"]
    return sequence


async def test_e_a_job_deleted_and_made_again(
    jenkins: JenkinsSimulator, receiver: Receiver, told: str
):
    story = Story(jenkins, FOLDER)
    jenkins.create_job("again", project("echo $WHO", told, WHO))
    for number, who in enumerate("xy", 1):
        await story.trigger(f"/job/again/buildWithParameters?delay=0sec&WHO={who}")
        await story.finished("again", number)
    await story.replay("e-recreated-1-before")
    waiting = await story.trigger("/job/again/buildWithParameters?WHO=waiting")
    await story.replay("e-recreated-2-delete")
    await story.replay("e-recreated-2-item-of-old-build")
    await story.replay("e-recreated-2-waiting-item", item=waiting)
    await story.replay("e-recreated-3-create")
    # The recorded configuration names the recorder's receiver: put ours in its place.
    jenkins.job("again").update(*parse_xml(project("echo $WHO", told, WHO)))
    await story.replay("e-recreated-4-empty")
    await story.replay("e-recreated-4-old-number")
    await story.trigger("/job/again/buildWithParameters?delay=0sec&WHO=new")
    await story.finished("again", 1)
    await story.replay("e-recreated-5-after")
    await story.replay("e-recreated-5-item-of-old-build")
    compare_posts(story, receiver, "e-recreated-6-notifications", job="again")
    story.check()


async def test_f_moved_jobs(jenkins: JenkinsSimulator, receiver: Receiver, told: str):
    story = Story(jenkins, FOLDER)
    for folder in ("fold-a", "fold-b", "mv-a", "mv-b"):
        jenkins.create_job(folder, FOLDER_XML)
    jenkins.create_job("fold-a/mover", project("echo $WHO", told, WHO))
    await story.trigger("/job/fold-a/job/mover/buildWithParameters?delay=0sec&WHO=x")
    await story.finished("fold-a/mover", 1)
    await story.replay("f-move-1")
    for name in (
        "f-move-2-get-old-job",
        "f-move-2-get-old-build",
        "f-move-2-post-old-build",
        "f-move-2-new-build",
    ):
        await story.replay(name)
    await story.replay("f-move-2-item")
    await story.post("/job/fold-b/confirmRename?newName=fold-c")
    await story.trigger("/job/fold-c/job/mover/buildWithParameters?delay=0sec&WHO=x")
    await story.finished("fold-c/mover", 2)
    compare_posts(story, receiver, "f-move-3-notifications", job="mover")

    jenkins.create_job("mv-a/mover2", project("echo $WHO; sleep $NAP", told, WHO_NAP))
    await story.trigger("/job/mv-a/job/mover2/buildWithParameters?delay=0sec&WHO=r&NAP=3")
    build = await story.output("mv-a/mover2", 1, "+ sleep")
    await story.replay("f-move-4-while-running")
    await jenkins.wait_for(build)
    await story.replay("f-move-4-while-running-after-mv-a")
    await story.replay("f-move-4-while-running-after-mv-b")
    compare_posts(story, receiver, "f-move-4-while-running-notifications", job="mover2")
    story.check()


async def test_f_renamed_jobs(jenkins: JenkinsSimulator, receiver: Receiver, told: str):
    story = Story(jenkins, FOLDER)
    jenkins.create_job("old-name", project("echo $WHO", told, WHO))
    jenkins.create_job("again", project("true"))
    first = await story.trigger("/job/old-name/buildWithParameters?delay=0sec&WHO=x")
    await story.finished("old-name", 1)
    await story.replay("f-rename-1")
    for name in (
        "f-rename-2-get-job",
        "f-rename-2-get-build",
        "f-rename-2-post-build",
        "f-rename-2-post-config",
        "f-rename-2-stop",
        "f-rename-2-new-job",
    ):
        await story.replay(name)
    await story.replay("f-rename-2-item", item=first)
    await story.replay("f-rename-2-new-build")
    await story.trigger("/job/new-name/buildWithParameters?delay=0sec&WHO=z")
    await story.finished("new-name", 2)
    await story.replay("f-rename-3-next-build")
    await story.replay("f-rename-4-to-taken-name")
    waiting = await story.trigger("/job/new-name/buildWithParameters?WHO=w")
    await story.replay("f-rename-5-while-waiting")
    await story.replay("f-rename-5-waiting-item", item=waiting)
    jenkins.clock.advance(5)
    await story.finished("newer-name", 3)
    await story.replay("f-rename-5-waiting-item-left")

    jenkins.create_job("run-old", project("echo $WHO; sleep $NAP", told, WHO_NAP))
    await story.trigger("/job/run-old/buildWithParameters?delay=0sec&WHO=r&NAP=3")
    build = await story.output("run-old", 1, "+ sleep")
    await story.replay("f-rename-6-while-running")
    await story.replay("f-rename-6-while-running-old-build")
    await jenkins.wait_for(build)
    compare_posts(story, receiver, "f-rename-6-while-running-notifications", job="run-old")
    story.check()
