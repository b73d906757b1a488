"""Conformance of folders 07 (edges) and 10 (missing permissions)."""

from __future__ import annotations

import pytest

from jenkins_simulator import READ_ONLY, JenkinsSimulator, Permission
from tests.conformance.story import Story, basic, freestyle, item_id, recording
from tests.conformance.test_trigger_queue_build import PARAMETERS
from tests.conformance.wire import exchange

EDGE = "07-edge"
SLOW = freestyle("echo start\nsleep 60")


@pytest.mark.parametrize("case", ["other-host", "x-forwarded"])
async def test_location_follows_the_host_of_the_request(jenkins: JenkinsSimulator, case: str):
    jenkins.create_job("edge", freestyle("true"))
    recorded = recording(EDGE, "location-host-header")[case]
    headers = [("Host", recorded["host"]), *((name, value) for name, value in recorded["extra"])]
    story = Story(jenkins, EDGE)
    reply = await story.post("/job/edge/build", headers=headers)
    head = recorded["response"].split("\r\n")
    location = next(line.removeprefix("Location: ") for line in head if line.startswith("Location"))
    assert reply.status == 201
    assert reply.all("Location") == [location.replace("/60/", f"/{item_id(reply)}/")]
    assert {name for name, _ in reply.headers} == {
        line.partition(":")[0] for line in head[1:] if line
    }


async def test_07_parameters_and_delays(jenkins: JenkinsSimulator):
    story = Story(jenkins, EDGE)
    jenkins.create_job("params", freestyle("true", properties=PARAMETERS))
    jenkins.create_job("edge", freestyle("true"))
    for name in (
        "delay-0",
        "delay-bad",
        "params-newline-body",
        "params-multipart",
        "params-large-query-20k",
        "params-duplicate-key",
    ):
        await story.replay(name)
    story.check()
    run = (await story.build("edge", 1)).number
    assert run == 1
    texts = {
        item.parameters[0].text for item in jenkins.controller.queue.items() if item.parameters
    }
    assert texts == {"line1\nline2", "multipart val"}


async def test_07_quiet_down_disable_and_deleted_builds(jenkins: JenkinsSimulator):
    story = Story(jenkins, EDGE)
    jenkins.create_job("edge", freestyle("true"))
    for number in range(1, 6):
        await story.trigger("/job/edge/build?delay=0sec")
        await story.finished("edge", number)
    await story.post("/quietDown")
    item = item_id(await story.replay("build-during-quietdown"))
    await story.replay("build-with-cause")
    await story.replay("build-trailing-slash")
    for _ in range(2):
        await story.trigger("/job/edge/build")
    await story.replay("item-during-quietdown", item=item)
    await story.post("/cancelQuietDown")
    await story.finished("edge", 6)
    await story.replay("disable")
    await story.replay("job-disabled-json")
    await story.replay("build-after-disable")
    await story.replay("enable")
    await story.post("/job/edge/6/doDelete")
    await story.replay("item-of-deleted-build", item=item)
    await story.replay("job-after-delete-build")
    story.check()


async def test_07_deleted_and_renamed_jobs(jenkins: JenkinsSimulator):
    story = Story(jenkins, EDGE)
    for name in ("todel", "todel2", "torename"):
        jenkins.create_job(name, SLOW)
    queued = await story.trigger("/job/todel/build")
    await story.post("/job/todel/doDelete")
    await story.replay("item-of-deleted-job", item=queued)

    running = await story.trigger("/job/todel2/build?delay=0sec")
    await story.build("todel2", 1)
    await story.post("/job/todel2/doDelete")
    await story.replay("item-of-deleted-running-job", item=running)
    await story.replay("build-of-deleted-job")

    renamed = await story.trigger("/job/torename/build?delay=0sec")
    await story.build("torename", 1)
    refused = await story.post("/job/torename/doRename?newName=renamed")
    assert (refused.status, refused.all("X-Error")) == (
        400,
        ["Unable to rename a job while it is building."],
    )
    await story.replay("item-after-rename", item=renamed)
    await story.replay("old-name-build")
    story.check()


async def test_07_folders(jenkins: JenkinsSimulator):
    story = Story(jenkins, EDGE)
    await story.replay("create-folder")
    await story.post("/job/fold/createItem?name=inner", freestyle("true"), "application/xml")
    item = item_id(await story.replay("build-in-folder"))
    jenkins.clock.advance(5)
    await story.finished("fold/inner", 1)
    await story.replay("item-in-folder", item=item)
    await story.replay("build-in-folder-json")
    story.check()


async def test_07_buildable_items(jenkins: JenkinsSimulator):
    story = Story(jenkins, EDGE)
    for name in ("one", "two", "three", "four"):
        jenkins.create_job(name, SLOW)
    ids = [
        await story.trigger(f"/job/{name}/build?delay=0sec")
        for name in ("one", "two", "three", "four")
    ]
    await story.build("two", 1)
    assert _state(jenkins, ids[2]) == recording(EDGE, "item-state-sequence-0")[0][1:]
    await story.replay("cancel-buildable-item", item=ids[3])
    await story.post("/job/one/1/stop")
    await story.build("three", 1)
    assert _state(jenkins, ids[2]) == recording(EDGE, "item-state-sequence-0")[1][1:]
    assert _state(jenkins, ids[0]) == recording(EDGE, "item-state-sequence-2")[0][1:]
    story.check()


def _state(jenkins: JenkinsSimulator, item_id: int) -> list[object]:
    """Class, why, cancelled and whether there is an executable, as the recorder noted them."""
    item = jenkins.controller.queue.get(item_id)
    assert item is not None
    has_left = item.state.value.endswith("LeftItem")
    return [
        item.state.value.rpartition("$")[2],
        jenkins.controller.queue.why(item),
        item.cancelled if has_left else None,
        item.build is not None,
    ]


async def test_10_permissions(jenkins: JenkinsSimulator):
    story = Story(jenkins, "10-permission")
    jenkins.create_job("ok", freestyle("true"))
    jenkins.create_job("slow", SLOW)
    for number in (1, 2):
        await story.trigger("/job/slow/build?delay=0sec")
        await story.output("slow", number, "sleep 60")
        if number == 1:
            await story.post("/job/slow/1/stop")
            await story.finished("slow", 1)
    item = await story.trigger("/job/ok/build")
    headers = await _session_of_viewer(jenkins)

    jenkins.set_permissions("viewer", frozenset({Permission.OVERALL_READ}))
    for name in ("list-jobs", "no-item-read-job", "no-item-read-build"):
        await story.replay(name, headers=headers)
    jenkins.set_permissions("viewer", READ_ONLY)
    for name in ("read-only-build", "read-only-create", "read-only-stop"):
        await story.replay(name, headers=headers)
    await story.replay("read-only-cancel", item=item, headers=headers)
    story.check()


async def _session_of_viewer(jenkins: JenkinsSimulator) -> dict[str, str]:
    headers = [
        ("Host", "x"),
        ("Authorization", basic("viewer", "viewer-pw")),
        ("Connection", "close"),
    ]
    reply = await exchange(jenkins.port, "GET", "/crumbIssuer/api/json", headers, b"")
    crumb = reply.body.decode().partition('"crumb":"')[2].partition('"')[0]
    cookie = reply.all("Set-Cookie")[0].partition(";")[0]
    return {"Jenkins-Crumb": crumb, "Cookie": cookie}
