"""Who sees and may do what in the simulated Jenkins, and what it says of names, as 2.440 does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from jenkins_simulator import Permission, SimulatorConfig
from tests.conformance.client import Client, endpoint, freestyle, parameters, pipeline, running
from tests.conformance.receiver import Receiver
from tests.support.waiting import until

HELD = "# simulator: hold"
_TELLING = ("X-You-Are-Authenticated-As", "X-Required-Permission", "X-Permission-Implied-By")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running() as client:
        yield client


def grant(client: Client, *permissions: Permission) -> None:
    """Let our user do no more than this."""
    client.jenkins.set_permissions("admin", frozenset({Permission.OVERALL_READ, *permissions}))


async def test_to_rename_without_configure_is_to_create_and_delete(client: Client):
    client.jenkins.create_job("j", freestyle())
    grant(client, Permission.ITEM_READ)
    refused = await client.post("job/j/doRename?newName=k")
    assert refused.status == 403
    assert refused.headers["X-Required-Permission"] == "hudson.model.Item.Create"
    assert refused.headers.getall("X-Permission-Implied-By") == [
        "hudson.security.Permission.GenericCreate",
        "hudson.security.Permission.GenericWrite",
        "hudson.model.Hudson.Administer",
    ]
    grant(client, Permission.ITEM_READ, Permission.ITEM_CREATE)
    refused = await client.post("job/j/doRename?newName=k")
    assert refused.headers["X-Required-Permission"] == "hudson.model.Item.Delete"
    grant(client, Permission.ITEM_READ, Permission.ITEM_CREATE, Permission.ITEM_DELETE)
    assert (await client.post("job/j/doRename?newName=k")).status == 302


@pytest.mark.parametrize("anonymous", [False, True])
async def test_who_may_only_discover_a_job_is_told_nothing(anonymous: bool):
    granted = frozenset({Permission.OVERALL_READ, Permission.ITEM_DISCOVER})
    config = SimulatorConfig(quiet_period_s=60, anonymous_permissions=granted)
    async with running(config) as client:
        client.jenkins.create_job("j", freestyle())
        item = int((await client.post("job/j/build")).headers["Location"].split("/")[-2])
        grant(client, Permission.ITEM_DISCOVER)
        if anonymous:
            client = Client(client.jenkins, aiohttp.ClientSession())
        for path in ("job/j/api/json", "job/j/1/api/json", f"queue/item/{item}/api/json"):
            refused = await client.get(path)
            assert refused.status == 403, path
            assert not any(name in refused.headers for name in _TELLING)
            assert ("Authentication required" in await refused.text()) is anonymous
        queue = await client.json("queue/api/json")
        assert (queue["items"], queue["discoverableItems"]) == ([], [{"task": {"name": "j"}}])
        if anonymous:
            await client.http.close()
        client.jenkins.set_permissions("admin", frozenset({Permission.OVERALL_READ}))


async def test_what_runs_is_shown_to_those_who_may_read_jobs(client: Client):
    client.jenkins.create_job("j", freestyle(HELD))
    await client.trigger("j")
    await client.build("j")

    async def computer() -> dict[str, Any]:
        shown: dict[str, Any] = (await client.json("computer/api/json", depth="1"))["computer"][0]
        return shown

    assert (await computer())["monitorData"]
    grant(client)
    seen = await computer()
    assert (seen["monitorData"], seen["idle"]) == ({}, False)
    assert [e["currentExecutable"] for e in seen["executors"]] == [None, None]
    assert [e["idle"] for e in seen["executors"]] == [False, True]


@pytest.mark.parametrize("save", [["submitDescription"], ["disable", "enable"]])
async def test_a_copied_pipeline_waits_for_a_save(client: Client, save: list[str]):
    client.jenkins.create_job("j", pipeline("echo 'x'"))
    assert (await client.post("createItem?name=k&mode=copy&from=j")).status == 302
    assert (await client.json("job/k/api/json"))["buildable"] is False
    assert (await client.post("job/k/build")).status == 409
    await client.post("job/k/config.xml", data=pipeline("echo 'y'"))
    await client.post("job/k/enable")
    assert (await client.post("job/k/build")).status == 409, "neither is a save to Jenkins"
    for action in save:
        await client.post(f"job/k/{action}", data={"description": "mine"})
    assert (await client.post("job/k/build")).status == 201


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("%20", 400, "No name is specified"),
        ("n" * 255, 200, None),
        ("n" * 256, 500, None),
        ("%C3%A9" * 128, 500, None),
    ],
)
async def test_names(client: Client, name: str, status: int, error: str | None):
    headers = {"Content-Type": "application/xml"}
    url = f"{client.jenkins.url}/createItem?name={name}"
    async with client.http.post(url, data=freestyle(), headers=headers) as answer:
        assert (answer.status, answer.headers.get("X-Error")) == (status, error)
    assert bool(list(client.jenkins.controller.root.jobs())) is (status == 200)


@pytest.mark.parametrize(
    ("form", "status", "place"),
    [
        ({}, 201, "/job/j/"),
        ({"statusCode": "303"}, 303, "/job/j/"),
        ({"redirectTo": "x"}, 201, "/job/j/x"),
        ({"redirectTo": "/x"}, 201, "/x"),
        ({"redirectTo": "//evil/"}, 201, "/queue/item/1/"),
        ({"redirectTo": "http://evil/"}, 201, "/queue/item/1/"),
    ],
)
async def test_the_classic_form_says_how_it_is_answered(
    client: Client, form: dict[str, str], status: int, place: str
):
    client.jenkins.create_job("j", freestyle(properties=parameters(A="")))
    answer = await client.post("job/j/build", data={"json": json.dumps({"parameter": [], **form})})
    assert (answer.status, answer.headers["Location"]) == (status, client.jenkins.url + place)


async def test_a_description_is_read_and_changed_at_one_place(client: Client):
    client.jenkins.create_job("j", freestyle())
    assert (await client.post("job/j/description", data={"description": "new"})).status == 204
    assert await (await client.get("job/j/description")).text() == "new"
    assert (await client.post("job/j/description")).status == 400
    grant(client, Permission.ITEM_READ)
    assert (await client.post("job/j/description", data={"description": "x"})).status == 403


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with await receiver.serve():
        yield receiver
        await receiver.finish()


@pytest.mark.parametrize(("plugin", "count"), [("1.15", 0), ("1.19", 4)])
async def test_an_unresolved_variable_silences_what_comes_after_it(
    receiver: Receiver, plugin: str, count: int
):
    async with running(SimulatorConfig(quiet_period_s=0, notification_plugin=plugin)) as client:
        well = f"http://127.0.0.1:{receiver.port}/well"
        head, joint, tail = endpoint("http://127.0.0.1:1/$NOBODY").partition("</endpoints>")
        properties = (
            head + endpoint(well).partition("<endpoints>")[2].partition(joint)[0] + joint + tail
        )
        client.jenkins.create_job("j", freestyle(properties=properties))
        build = await client.run("j")
        assert "unresolved variable" in build.console.plain
        assert len(receiver.requests) == count


async def test_what_is_encoded_in_a_url_stays_encoded_in_its_credentials(
    client: Client, receiver: Receiver
):
    url = f"http://us%40er:to%2Fken@127.0.0.1:{receiver.port}/"
    client.jenkins.create_job("j", freestyle(properties=endpoint(url, event="started")))
    await client.run("j")
    await until(lambda: receiver.requests)
    expected = aiohttp.encode_basic_auth("us%40er", "to%2Fken")
    assert dict(receiver.requests[0][1])["Authorization"] == expected


@pytest.mark.parametrize("parametrised", [False, True])
async def test_get_of_a_trigger_checks_the_permission_first(client: Client, parametrised: bool):
    """`BuildAuthorizationToken.checkPermission`; the 405 with its Allow header was recorded."""
    client.jenkins.create_job("j", freestyle(properties=parameters(V="1") if parametrised else ""))
    refused = await client.get("job/j/buildWithParameters")
    assert (refused.status, refused.headers["Allow"]) == (405, "POST")
    grant(client, Permission.ITEM_READ)
    refused = await client.get("job/j/buildWithParameters")
    assert refused.status == 403
    assert refused.headers["X-Required-Permission"] == "hudson.model.Item.Build"
    assert not client.jenkins.controller.queue.items()


@pytest.mark.parametrize(
    ("path", "permission"),
    [
        ("createItem", Permission.ITEM_CREATE),
        ("credentials/store/system/domain/_/createCredentials", Permission.CREDENTIALS_CREATE),
    ],
)
async def test_creating_checks_the_permission_before_the_content(
    client: Client, path: str, permission: Permission
):
    """`ItemGroupMixIn.createTopLevelItem` (both answers were recorded) and `doCreateCredentials`."""
    grant(client, Permission.CREDENTIALS_VIEW, permission)
    refused = await client.post(path, skip_auto_headers=["Content-Type"])
    assert (refused.status, refused.headers["X-Error"]) == (400, "No Content-Type header set")
    grant(client, Permission.CREDENTIALS_VIEW)
    refused = await client.post(path, skip_auto_headers=["Content-Type"])
    assert refused.status == 403
    assert refused.headers["X-Required-Permission"] == permission.id


async def test_the_list_of_plugins_is_for_administrators(client: Client):
    assert (await client.get("pluginManager/api/json")).status == 200
    grant(client, Permission.ITEM_READ)
    assert (await client.get("pluginManager/api/json")).status == 403
