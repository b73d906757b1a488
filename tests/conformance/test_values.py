"""Conformance of folder 12: parameters of every kind, odd values, odd names, delays, large bodies."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from jenkins_simulator import JenkinsSimulator
from tests.conformance.posts import compare_posts
from tests.conformance.receiver import Receiver
from tests.conformance.second_jenkins import (
    choice,
    defined,
    notification,
    parameter,
    project,
    second_config,
    string,
)
from tests.conformance.story import Story, recording, until

FOLDER = "12-values"


@pytest.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator(second_config()) as simulator:
        yield simulator


@pytest.fixture
def told(receiver: Receiver) -> str:
    """The property with the receiver's endpoint."""
    return notification(f"http://127.0.0.1:{receiver.port}/n")


async def replay_with_builds(story: Story, *names: str) -> None:
    """Replay triggers, and for each the reading of its build, under the build's recorded number."""
    for name in sorted(names, key=_queue_id):
        path = recording(story.folder, f"{name}-build")["request"]["path"]
        found = re.match(r"/job/(\w+)/(\d+)/", path)
        assert found is not None
        job, number = found.group(1), int(found.group(2))
        story.jenkins.job(job).next_build_number = number
        await story.replay(name)
        await story.finished(job, number)
        await story.replay(f"{name}-build")


def _queue_id(name: str) -> int:
    headers = dict(recording(FOLDER, name)["response"]["headers"])
    return int(headers["Location"].rstrip("/").rpartition("/")[2])


async def test_booleans(jenkins: JenkinsSimulator):
    story = Story(jenkins, FOLDER)
    boolean = parameter("Boolean", "B", "<defaultValue>true</defaultValue>")
    jenkins.create_job("bool", project("true", defined(boolean)))
    await replay_with_builds(
        story,
        "boolean-1",
        "boolean-TRUE",
        "boolean-empty",
        "boolean-false",
        "boolean-left-out",
        "boolean-true",
        "boolean-yes",
    )
    story.check()
    for name in (
        "boolean-1-build",
        "boolean-TRUE-build",
        "boolean-empty-build",
        "boolean-false-build",
        "boolean-left-out-build",
        "boolean-true-build",
        "boolean-yes-build",
    ):
        assert name in story.replies


async def test_choices(jenkins: JenkinsSimulator):
    story = Story(jenkins, FOLDER)
    choices = choice("C", "", "a", " b ", "c d", "ü")
    told = notification("http://127.0.0.1:1/n")
    jenkins.create_job("choice", project('echo "C=[$C]"', told, defined(choices)))
    await story.replay("choice-config")
    await story.replay("choice-definition")
    await replay_with_builds(story, "choice-empty", "choice-left-out", "choice-b-with-spaces")
    await story.replay("choice-b-without-spaces")
    await story.replay("choice-a-with-space")
    story.check()
    for name in ("choice-empty-build", "choice-left-out-build", "choice-b-with-spaces-build"):
        assert name in story.replies


async def test_credentials_and_runs(jenkins: JenkinsSimulator, receiver: Receiver, told: str):
    story = Story(jenkins, FOLDER)
    reference = parameter("Run", "R", "<projectName>plain2</projectName><filter>ALL</filter>")
    jenkins.create_job("runp", project("true", told, defined(reference)))
    jenkins.create_job("plain2", project("true"))
    await story.trigger("/job/runp/buildWithParameters?delay=0sec")
    await story.finished("runp", 1)
    await story.trigger("/job/plain2/build?delay=0sec")
    await story.finished("plain2", 1)
    await story.replay("run-definition")
    await replay_with_builds(story, "run-id", "run-left-out", "run-unknown")
    compare_posts(story, receiver, "run-notifications", job="runp")

    package = "com.cloudbees.plugins.credentials."
    credentials = parameter("Credentials", "CR", "<defaultValue></defaultValue>", package=package)
    jenkins.create_job("credp", project("true", told, defined(credentials)))
    await story.replay("credentials-definition")
    await replay_with_builds(story, "credentials-id")
    await story.trigger("/job/credp/buildWithParameters?delay=0sec")
    await story.finished("credp", 2)
    compare_posts(story, receiver, "credentials-notifications", job="credp")
    story.check()
    for name in ("run-id-build", "run-left-out-build", "run-unknown-build", "credentials-id-build"):
        assert name in story.replies


async def test_files(jenkins: JenkinsSimulator):
    story = Story(jenkins, FOLDER)
    jenkins.create_job("filep", project("cat F", defined(parameter("File", "F"), string("S"))))
    await replay_with_builds(
        story,
        "file-as-form-value",
        "file-as-multipart-field-without-filename",
        "file-as-multipart-file",
    )
    story.check()
    for name in (
        "file-as-form-value-build",
        "file-as-multipart-field-without-filename-build",
        "file-as-multipart-file-build",
    ):
        assert name in story.replies


async def test_passwords(jenkins: JenkinsSimulator, receiver: Receiver):
    story = Story(jenkins, FOLDER)
    told = notification(f"http://127.0.0.1:{receiver.port}/n", loglines=20)
    password = parameter("Password", "PW", "<defaultValue>PASSWORD_DEFAULT</defaultValue>")
    jenkins.create_job(
        "pass", project('echo "PW=[$PW]"', told, defined(password, string("S", "d")))
    )
    await story.replay("password-config-xml")
    await story.replay("password-definition")
    await story.replay("password-given")
    await story.finished("pass", 1)
    for name in ("password-given-build", "password-given-item", "password-given-console"):
        await story.replay(name)
    compare_posts(story, receiver, "password-given-notifications", job="pass")
    await replay_with_builds(story, "password-left-out")
    assert "password-left-out-build" in story.replies
    assert "PW=[PASSWORD_DEFAULT]" in jenkins.job("pass").builds[2].console.plain
    body, kind = "description=touched", "application/x-www-form-urlencoded"
    await story.post("/job/pass/submitDescription", body, kind)
    await story.replay("password-config-xml-after-save")
    # The default that Jenkins has encrypted is still the same to builds.
    await story.trigger("/job/pass/buildWithParameters?delay=0sec")
    assert "PW=[PASSWORD_DEFAULT]" in (await story.finished("pass", 3)).console.plain
    story.check()


async def test_texts(jenkins: JenkinsSimulator, receiver: Receiver, told: str):
    story = Story(jenkins, FOLDER)
    jenkins.create_job("text", project("true", told, defined(string("T", kind="Text"))))
    await replay_with_builds(story, "text-crlf-unicode", "text-crlf-unicode-query")
    # Not recorded themselves, but their posts: another charset, and a NUL.
    for body, kind in (
        ("T=caf%E9", "application/x-www-form-urlencoded;charset=ISO-8859-1"),
        (None, None),
        ("T=a%00b", "application/x-www-form-urlencoded"),
    ):
        if body is None or kind is None:
            await replay_with_builds(story, "text-bad-utf8")
            continue
        await story.post("/job/text/buildWithParameters?delay=0sec", body, kind)
        await story.finished("text", jenkins.job("text").next_build_number - 1)
    await replay_with_builds(story, "text-control", "text-trailing-space")
    compare_posts(story, receiver, "text-notifications", job="text", phases=("FINALIZED",))
    story.check()
    for name in (
        "text-crlf-unicode-build",
        "text-crlf-unicode-query-build",
        "text-bad-utf8-build",
        "text-control-build",
        "text-trailing-space-build",
    ):
        assert name in story.replies


async def test_delays(jenkins: JenkinsSimulator):
    story = Story(jenkins, FOLDER)
    jenkins.create_job("plain", project("true", defined(string("S"))))
    await story.replay("delay-600sec")
    await story.replay("delay-600sec-item")
    await story.replay("delay-negative")
    build = await story.build("plain", 1)
    await story.replay("delay-negative-item")
    await until(lambda: not build.building)
    # The build is over but not FINALIZED, which still blocks the next.
    await story.replay("delay-5")
    await story.replay("delay-5-item")
    for name in ("delay-soon", "delay-2min", "delay-5seconds", "delay-1hour", "delay-empty"):
        await story.replay(name)
    story.check()


async def test_names_that_the_form_uses_itself(jenkins: JenkinsSimulator):
    story = Story(jenkins, FOLDER)
    names = {"token": "dt", "cause": "dc", "json": "dj", "delay": "dd"}
    definitions = (string(name, default) for name, default in names.items())
    jenkins.create_job("names", project("true", defined(*definitions)))
    await replay_with_builds(story, "name-token-form", "name-cause", "name-json")
    await story.replay("name-delay")
    await story.replay("name-delay-both")
    jenkins.job("names").next_build_number = 6
    await story.replay("name-delay-3sec")
    jenkins.clock.advance(3)
    await story.finished("names", 6)
    await story.replay("name-delay-3sec-build")
    story.check()
    for name in ("name-token-form-build", "name-cause-build", "name-json-build"):
        assert name in story.replies


async def test_large_bodies(jenkins: JenkinsSimulator, receiver: Receiver, told: str):
    story = Story(jenkins, FOLDER)
    jenkins.create_job("large", project('echo "${#S}"', told, defined(string("S"))))
    jenkins.create_job("largeq", project('echo "${#S}"', defined(string("S"))))
    for name, job, number in (
        ("large-body-2MB", "large", 1),
        ("large-body-2MB-no-notification", "largeq", 1),
        ("large-body-20MB", "large", 2),
    ):
        await story.replay(name)
        await story.finished(job, number)
    for name in (
        "large-body-2MB-build",
        "large-body-2MB-console",
        "large-body-2MB-no-notification-build",
        "large-body-2MB-no-notification-console",
        "large-body-20MB-build",
        "large-body-20MB-console",
    ):
        await story.replay(name)
    await story.replay("large-body-20MB-multipart")
    await story.finished("largeq", 2)
    compare_posts(story, receiver, "large-body-notifications", job="large")
    story.check()
