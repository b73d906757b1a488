"""Conformance of folder 14: which answers carry Jenkins' headers, starting up, missing permissions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jenkins_simulator import JenkinsSimulator, Permission
from tests.conformance.receiver import Receiver
from tests.conformance.second_jenkins import (
    defined,
    notification,
    project,
    second_config,
    string,
)
from tests.conformance.story import Story, basic, recording, until
from tests.conformance.wire import Reply, exchange

FOLDER = "14-answers"
FOLDER_XML = "<com.cloudbees.hudson.plugins.folder.Folder/>"
TOLD = notification("http://127.0.0.1:18184/n")
WHO = defined(string("WHO", "w"))
ANS = project("echo $WHO; sleep 20", TOLD, WHO, concurrent=True)


@pytest.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator(second_config()) as simulator:
        yield simulator


async def set_up(jenkins: JenkinsSimulator) -> Story:
    """Make the recorded jobs: `ans`, `again` with a build, and `off`, which is disabled."""
    story = Story(jenkins, FOLDER)
    jenkins.create_job("ans", ANS)
    jenkins.create_job("off", project("true", WHO, disabled=True))
    jenkins.create_job("fold-c", FOLDER_XML)
    jenkins.create_job("again", project("echo $WHO", WHO))
    return story


async def test_answers(jenkins: JenkinsSimulator):
    story = await set_up(jenkins)
    await story.trigger("/job/again/buildWithParameters?delay=0sec&WHO=new")
    await story.finished("again", 1)
    for name in (
        "200-json",
        "200-config",
        "200-create",
        "200-html",
        "200-crumb",
        "200-login-page",
        "200-whoami-anonymous",
        "302-delete",
        "302-no-slash",
        "400-duplicate",
        "400-bad-name",
        "400-no-name",
        "400-bad-path",
        "400-dotdot",
        "400-put-config",
        "patch",
        "401-bad-token",
        "401-bad-token-post",
        "401-unknown-user",
        "basic-empty-user",
        "basic-empty-both",
        "basic-empty-password",
        "basic-empty-user-post",
        "basic-nothing",
        "basic-not-base64",
        "basic-lower-case",
        "bearer",
        "403-anonymous",
        "403-anonymous-job",
        "403-anonymous-unknown-job",
        "403-anonymous-post",
        "403-anonymous-unknown-path",
        "403-no-crumb",
        "403-no-crumb-unknown-job",
        "403-no-overall-read",
        "404-job",
        "404-job-post",
        "404-build",
        "404-item",
        "404-path",
        "404-path-post",
        "404-path-json",
        "404-static",
        "404-prefix",
        "404-delete-method-unknown-job",
        "double-slash",
        "405-build-get",
        "405-bwp-get",
        "405-createItem-get",
        "405-cancel-get",
        "405-doDelete-get",
        "409-disabled",
        "409-disabled-build",
        "414-long-query",
        "431-long-header",
        "500-bad-tree",
        "500-bad-config-xml",
        "500-bad-delay",
        "perm-script",
    ):
        await story.replay(name)
    jenkins.create_job("todel", project("true"))
    await story.replay("204-delete-method-job")
    await story.replay("delete-method-job-after")

    await story.replay("201-trigger")
    build = await story.output("ans", 1, "+ sleep")
    await story.replay("302-stop")
    await jenkins.wait_for(build)
    await story.replay("options")
    await story.replay("quietDown-1")
    await story.replay("quietDown-2-trigger")
    await _other_rows(story)
    await story.post("/cancelQuietDown")
    waiting = await story.trigger("/job/ans/buildWithParameters?WHO=waits&delay=300sec")
    await story.replay("204-cancelItem", item=waiting)
    story.check()
    _compare_with_table(story)


async def test_the_console_of_a_build_whose_posts_arrive(receiver: Receiver):
    async with JenkinsSimulator(second_config()) as jenkins:
        story = Story(jenkins, FOLDER)
        told = notification(f"http://127.0.0.1:{receiver.port}/n")
        jenkins.create_job("again", project("echo $WHO", told, WHO))
        await story.trigger("/job/again/buildWithParameters?delay=0sec&WHO=new")
        await story.finished("again", 1)
        await story.replay("200-console")
        story.check()
        _compare_with_table(story)


async def test_missing_permissions(jenkins: JenkinsSimulator):
    story = await set_up(jenkins)
    await story.trigger("/job/ans/buildWithParameters?delay=0sec")
    first = await story.output("ans", 1, "+ sleep")
    await story.post("/job/ans/1/stop")
    await jenkins.wait_for(first)
    await story.trigger("/job/ans/buildWithParameters?delay=0sec&WHO=l1")
    await story.output("ans", 2, "+ sleep")
    item = await story.trigger("/job/ans/buildWithParameters?delay=300sec&WHO=l2")
    await story.replay("perm-nocancel-stop")
    await story.replay("perm-nocancel-cancelItem", item=item)
    await story.replay("perm-nocancel-item-after", item=item)
    await story.replay("perm-nocancel-build-after")
    for name in (
        "perm-nobuild-trigger",
        "perm-nobuild-trigger-unknown-job",
        "perm-nobuild-trigger-disabled",
        "perm-nobuild-create",
        "perm-noconfig-get",
        "perm-noconfig-post",
        "perm-noconfig-create",
        "perm-noconfig-create-existing",
        "perm-noconfig-read-json",
        "perm-nocred-create",
        "perm-nocred-list",
        "perm-nocred-read",
        "perm-nocred-credentials",
        "perm-nocred-config-get",
        "perm-nocred-config-post",
    ):
        await story.replay(name)
    jenkins.controller.credentials["there"] = "x"
    may = jenkins.controller.users["nocred"].permissions | {Permission.CREDENTIALS_VIEW}
    jenkins.set_permissions("nocred", may)
    for name in (
        "perm-viewcred-read",
        "perm-viewcred-list",
        "perm-viewcred-config",
        "perm-viewcred-create",
        "perm-viewcred-delete",
    ):
        await story.replay(name)
    story.check()
    _compare_with_table(story)


# Requests of the table of headers that were not recorded one by one.
ROWS: dict[str, tuple[str, str, str | None]] = {
    "200-progressive": ("GET", "/job/again/1/logText/progressiveText", "lab"),
    "200-head": ("HEAD", "/job/ans/api/json", "lab"),
    "401-deleted-looking-token": ("GET", "/api/json", "lab:" + "11" + "0" * 32),
    "basic-no-colon": ("GET", "/api/json", "no colon"),
    "basic-user-case": ("GET", "/whoAmI/api/json", "LAB:lab-token"),
    "basic-token-newline": ("GET", "/api/json", "lab:lab-token\n"),
    "403-no-overall-read-job": ("GET", "/job/ans/api/json", "nothing"),
    "404-web-inf": ("GET", "/WEB-INF/web.xml", "lab"),
    "encoded-slash": ("GET", "/job%2Fans/api/json", "lab"),
    "semicolon": ("GET", "/job/ans;x=1/api/json", "lab"),
    "405-stop-get": ("GET", "/job/again/1/stop", "lab"),
    "trace": ("TRACE", "/job/ans/api/json", "lab"),
    "500-cancelItem-left": ("POST", "/queue/cancelItem?id=1", "lab"),
    "perm-nobuild-bad-value": ("POST", "/job/ans/buildWithParameters?delay=soon", "nobuild"),
    "perm-noconfig-delete": ("POST", "/job/ans/doDelete", "noconfig"),
    "perm-nocred-folder-create": (
        "POST",
        "/job/fold-c/credentials/store/folder/domain/_/createCredentials",
        "nocred",
    ),
}


async def _other_rows(story: Story) -> None:
    for name, (method, path, account) in ROWS.items():
        credentials = account or ""
        if ":" not in credentials and " " not in credentials:
            credentials = f"{account}:{account}-token"
        user, colon, secret = credentials.partition(":")
        header = basic(user, secret) if colon else "Basic bm8gY29sb24="
        headers = [("Host", "x"), ("Authorization", header), ("Connection", "close")]
        if method == "POST":
            headers += [("Content-Length", "0"), ("Content-Type", "application/xml")]
        story.replies[name] = await exchange(story.jenkins.port, method, path, headers, b"")
    assert b'"name":"lab"' in story.replies["basic-user-case"].body


def _compare_with_table(story: Story) -> None:
    """Compare the headers of every answer with the recorded table."""
    rows = {row["answer"]: row for row in recording(FOLDER, "headers-table")["rows"]}
    for name, reply in story.replies.items():
        if name in rows:
            story.fail(name, _row_differences(rows[name], reply))
    story.check()


def _row_differences(row: dict[str, Any], reply: Reply) -> list[str]:
    found = [] if row["status"] == reply.status else [f"status {reply.status}, not {row['status']}"]
    present = ("X-Jenkins", "X-Jenkins-Session", "X-Hudson", "Set-Cookie")
    alike = ("Content-Type", "WWW-Authenticate", "X-Required-Permission")
    expected = {name: row[name] for name in (*present, *alike)}
    actual: dict[str, object] = {name: bool(reply.all(name)) for name in present}
    actual |= {name: (reply.all(name) or [""])[0] or None for name in alike}
    return found if expected == actual else [*found, f"recorded {expected}, got {actual}"]


# --- starting


async def test_starting():
    config = second_config(start_up_s=100)
    async with JenkinsSimulator(config) as jenkins:
        story = Story(jenkins, FOLDER)
        jenkins.create_job("idb", project("true", WHO))
        restarting = asyncio.create_task(jenkins.restart(hard=True))
        await until(lambda: jenkins.is_starting and jenkins.is_listening)
        for name in (
            "503-starting-get-SIGKILL",
            "starting-SIGKILL-get-503",
            "starting-SIGKILL-get-anonymous-503",
            "starting-post-500-first",
        ):
            await story.replay(name)
        jenkins.clock.advance(30)
        held = asyncio.create_task(story.replay("starting-post-403-first"))
        assert not (await asyncio.wait({held}, timeout=0.05))[0]
        jenkins.clock.advance(50)
        await held
        await story.replay("starting-SIGKILL-post-503")
        jenkins.clock.advance(20)
        await restarting
        await story.replay("starting-SIGKILL-get-200")
        await story.replay("starting-SIGKILL-post-201")
        story.check()


async def test_the_order_of_the_answers_of_a_starting_jenkins():
    async with JenkinsSimulator(second_config(start_up_s=100)) as jenkins:
        story = Story(jenkins, FOLDER)
        jenkins.create_job("idb", project("true", WHO))
        restarting = asyncio.create_task(jenkins.restart(hard=True))
        await until(lambda: jenkins.is_starting and jenkins.is_listening)
        seen: dict[str, list[int]] = {"GET": [], "POST": []}
        for _ in range(11):
            posting = asyncio.create_task(story.post("/job/idb/buildWithParameters?delay=0sec"))
            _note(seen["GET"], (await story.get("/api/json?tree=mode")).status)
            if not (await asyncio.wait({posting}, timeout=0.05))[0]:
                # Held until the extensions are loaded: all that wait get the same answer.
                jenkins.clock.advance(50)
            _note(seen["POST"], (await posting).status)
            jenkins.clock.advance(10)
            if seen["POST"][-1] == 201:
                break
        await restarting
        story.check()
    recorded = recording(FOLDER, "starting-each-request-in-its-own-thread")["rows"]
    assert seen == _statuses(recorded)
    unknown = recording(FOLDER, "starting-each-request-in-its-own-thread-2")["rows"]
    assert {**seen, "POST": [*seen["POST"][:-1], 404]} == _statuses(unknown)
    sequence = recording(FOLDER, "starting-sequence-SIGKILL")["sequence"]
    assert [status for _, status in sequence if isinstance(status, int)] == seen["GET"]
    both = recording(FOLDER, "starting-sequence-get-post-anonymous-SIGKILL")["sequence"]
    posts = [entry[2] for entry in both if isinstance(entry[2], int)]
    assert posts == seen["POST"][-len(posts) :]


def _note(statuses: list[int], status: int) -> None:
    if statuses[-1:] != [status]:
        statuses.append(status)


def _statuses(rows: list[list[Any]]) -> dict[str, list[int]]:
    """The statuses of each method in the order of the requests, repeats left out."""
    found: dict[str, list[int]] = {"GET": [], "POST": []}
    for method, _, _, status, _ in sorted(rows, key=lambda row: float(row[1])):
        _note(found[method], status)
    return found
