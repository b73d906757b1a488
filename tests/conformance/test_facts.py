"""Facts about Jenkins 2.440 that no recording in this folder shows, one by one; the numbers are those of their list.

Recordings show single exchanges. These are what else was seen on the same Jenkins.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from jenkins_simulator import (
    ALL_PERMISSIONS,
    DEFAULT_API_TOKEN,
    Permission,
    Result,
    SimulatorConfig,
)
from tests.conformance.client import FOLDER, Client, endpoint, freestyle, parameters, running
from tests.conformance.receiver import Receiver

NO_ADMIN = ALL_PERMISSIONS - {Permission.ADMINISTER}
DEFINITIONS = "hudson.model.ParametersDefinitionProperty"


def one_parameter(kind: str, name: str, inner: str = "") -> str:
    tag = f"hudson.model.{kind}ParameterDefinition"
    declared = f"<{tag}><name>{name}</name>{inner}</{tag}>"
    return f"<{DEFINITIONS}><parameterDefinitions>{declared}</parameterDefinitions></{DEFINITIONS}>"


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    async with running() as client:
        yield client


async def values(client: Client, job: str = "j", number: int = 1) -> dict[str, object]:
    """The parameters that a build's JSON shows once it is over."""
    await client.jenkins.wait_for(await client.build(job, number))
    shown = await client.json(
        f"job/{job}/{number}/api/json", tree="actions[parameters[name,value]]"
    )
    found = [action["parameters"] for action in shown["actions"] if "parameters" in action]
    return {one["name"]: one.get("value") for one in (found[0] if found else [])}


# --- 11 identity


async def test_12_a_job_that_was_deleted_and_made_again(client: Client) -> None:
    client.jenkins.create_job("j", freestyle())
    await client.run("j")
    build = await client.run("j")
    old_id, old_time = build.queue_id, build.timestamp_ms
    client.jenkins.hold("j")
    await client.trigger("j")
    running_build = await client.build("j", 3)
    waiting = await client.trigger("j")
    assert (await client.post("job/j/doDelete")).status == 302
    await client.jenkins.wait_for(running_build)
    client.jenkins.create_job("j", freestyle())
    new = await client.trigger("j")
    build = await client.build("j", 1)
    assert new > old_id
    assert build.timestamp_ms > old_time
    item = await client.json(f"queue/item/{old_id}/api/json")
    assert item["executable"]["number"] == 2
    assert (await client.get("job/j/2/api/json")).status == 404
    assert (await client.json(f"queue/item/{waiting}/api/json"))["cancelled"] is True
    client.jenkins.release("j")


async def test_14_a_rename_while_idle(client: Client) -> None:
    client.jenkins.create_job("old", freestyle())
    client.jenkins.create_job("taken", freestyle())
    build = await client.run("old")
    waiting = await client.post("job/old/build?delay=600sec")
    item_id = waiting.headers["Location"].rstrip("/").rpartition("/")[2]
    refused = await client.post("job/old/doRename?newName=taken")
    assert (refused.status, "X-Error" in refused.headers) == (400, True)
    assert (await client.post("job/old/doRename?newName=new")).status == 302
    for path in ("api/json", "1/api/json", "config.xml"):
        assert (await client.get(f"job/old/{path}")).status == 404
    for path in ("build", "1/stop"):
        assert (await client.post(f"job/old/{path}")).status == 404
    item = await client.json(f"queue/item/{build.queue_id}/api/json")
    assert item["task"]["name"] == "new"
    assert "/job/new/1/" in item["executable"]["url"]
    item = await client.json(f"queue/item/{item_id}/api/json")
    assert (item["task"]["name"], item["_class"].rpartition("$")[2]) == ("new", "WaitingItem")
    assert (await client.json("job/new/api/json"))["nextBuildNumber"] == 2


@pytest.mark.parametrize("renamed", ["folder/job/j", "folder"])
async def test_15_a_rename_while_building(client: Client, renamed: str) -> None:
    """Of the job it is refused; of its folder the URL changes under the build."""
    client.jenkins.create_job("folder/j", freestyle())
    client.jenkins.hold("folder/j")
    await client.trigger("folder/j")
    await client.build("folder/j")
    answer = await client.post(f"job/{renamed}/doRename?newName=other")
    if renamed == "folder":
        assert (answer.status, (await client.get("job/folder/job/j/1/api/json")).status) == (
            302,
            404,
        )
        assert (await client.json("job/other/job/j/1/api/json"))["building"] is True
        client.jenkins.release("other/j")
    else:
        assert answer.status == 400
        assert "Unable to rename a job while it is building" in answer.headers["X-Error"]
        client.jenkins.release("folder/j")


# --- 12 values


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("TrUe", True),
        ("on", False),
        (" TRUE ", False),
        (" true", False),
        ("0", False),
        ("y", False),
        ("True\n", False),
    ],
)
async def test_16_booleans(client: Client, given: str, kept: bool) -> None:
    client.jenkins.create_job("j", freestyle(properties=one_parameter("Boolean", "FLAG")))
    assert (await client.post("job/j/buildWithParameters", data={"FLAG": given})).status == 201
    assert await values(client) == {"FLAG": kept}


@pytest.mark.parametrize("where", ["form", "query"])
async def test_16_a_boolean_that_is_sent_twice(client: Client, where: str) -> None:
    client.jenkins.create_job("j", freestyle(properties=one_parameter("Boolean", "FLAG")))
    twice = [("FLAG", "true"), ("FLAG", "true")]
    how = {"data": aiohttp.FormData(twice)} if where == "form" else {"params": twice}
    assert (await client.post("job/j/buildWithParameters", **how)).status == 500


@pytest.mark.parametrize("given", ["b", "B ", "a ", "A", " a"])
async def test_23_choices_match_exactly(client: Client, given: str) -> None:
    inner = "<choices><string>a</string><string> b </string></choices>"
    client.jenkins.create_job("j", freestyle(properties=one_parameter("Choice", "C", inner)))
    assert (await client.post("job/j/buildWithParameters", data={"C": given})).status == 500
    assert (await client.post("job/j/buildWithParameters", data={"C": " b "})).status == 201
    assert await values(client) == {"C": " b "}


@pytest.mark.parametrize(
    ("delay", "status"),
    [
        ("5 sec", 201),
        ("-5sec", 201),
        ("1sec", 201),
        ("99999999999sec", 201),
        ("2s", 500),
        ("1.5sec", 500),
        ("soon", 500),
        ("5 seconds", 500),
    ],
)
async def test_21_delays(client: Client, delay: str, status: int) -> None:
    client.jenkins.create_job("j", freestyle())
    assert (await client.post("job/j/build", params={"delay": delay})).status == status


@pytest.mark.parametrize(("value", "status"), [("soon", 500), ("0sec", 201)])
async def test_22_a_parameter_that_is_called_delay(client: Client, value: str, status: int) -> None:
    """The control value becomes the parameter's value, and the other way round."""
    client.jenkins.create_job("j", freestyle(properties=parameters(delay="")))
    answer = await client.post("job/j/buildWithParameters", data={"delay": value})
    assert answer.status == status
    if status == 201:
        assert await values(client) == {"delay": value}


@pytest.mark.parametrize("name", ["token", "cause", "json"])
async def test_22_other_control_names_are_plain_parameters(client: Client, name: str) -> None:
    client.jenkins.create_job("j", freestyle(properties=parameters(**{name: ""})))
    answer = await client.post("job/j/buildWithParameters", data={name: "x"})
    assert answer.status == 201
    assert await values(client) == {name: "x"}
    build = client.jenkins.job("j").builds[1]
    assert [cause.user for cause in build.causes] == ["admin"]


# --- 13 drift


async def test_27_and_28_an_overwritten_job(client: Client) -> None:
    receiver_less = freestyle(properties=parameters(A="", B="") + endpoint("http://127.0.0.1:9/"))
    client.jenkins.create_job("j", receiver_less)
    xml = {"Content-Type": "application/xml"}
    await client.post("job/j/config.xml", data=freestyle(properties=parameters(A="")), headers=xml)
    partly = await client.post("job/j/buildWithParameters", data={"A": "1", "B": "2"})
    assert partly.status == 201
    assert await values(client) == {"A": "1"}
    await client.post("job/j/config.xml", data=freestyle(), headers=xml)
    shown = await client.json("job/j/api/json", tree="property[_class]")
    assert shown["property"] == []
    assert (await client.post("job/j/buildWithParameters", data={"A": "1"})).status == 500
    assert client.jenkins.controller.queue.items() == []
    assert (await client.post("job/j/build")).status == 201
    assert await values(client, number=2) == {}
    # Finished builds keep theirs.
    assert await values(client) == {"A": "1"}


async def test_32_an_empty_secret(receiver: Receiver) -> None:
    async with running(SimulatorConfig(quiet_period_s=0, credentials={"hook": ""})) as client:
        client.jenkins.create_job("j", freestyle(properties=endpoint("hook", url_type="SECRET")))
        build = await client.run("j")
        assert build.result is Result.SUCCESS
        console = await client.get("job/j/1/consoleText")
        assert "URL is not set, ignoring call to send notification." in await console.text()


# --- 14 answers


@pytest.mark.parametrize(
    ("credentials", "status"),
    [
        (f"basic {aiohttp.encode_basic_auth('admin', DEFAULT_API_TOKEN).partition(' ')[2]}", 200),
        (aiohttp.encode_basic_auth("ADMIN", DEFAULT_API_TOKEN), 200),
        (aiohttp.encode_basic_auth("admin", f"{DEFAULT_API_TOKEN}\n"), 401),
        (aiohttp.encode_basic_auth("", DEFAULT_API_TOKEN), 401),
        (aiohttp.encode_basic_auth("", ""), 401),
        (aiohttp.encode_basic_auth("nobody", DEFAULT_API_TOKEN), 401),
        ("Basic YWRtaW4=", 401),
        ("Basic %%%", 401),
        ("Basic", 403),
        ("Bearer x", 403),
    ],
)
async def test_38_credentials(client: Client, credentials: str, status: int) -> None:
    async with aiohttp.ClientSession() as http:
        url = f"{client.jenkins.url}/api/json"
        async with http.get(url, headers={"Authorization": credentials}) as answer:
            assert answer.status == status
            assert ("WWW-Authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize("path", ["job/j/build", "job/none/build", "quietDown"])
async def test_39_an_anonymous_post(client: Client, path: str) -> None:
    """The crumb is checked before the route."""
    client.jenkins.create_job("j", freestyle())
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{client.jenkins.url}/{path}") as answer:
            assert answer.status == 403
            assert "No valid crumb" in await answer.text()
            assert "X-Jenkins" not in answer.headers


async def test_40_without_the_right_to_cancel(client: Client) -> None:
    client.jenkins.create_job("j", freestyle())
    client.jenkins.hold("j")
    left = await client.trigger("j")
    await client.build("j")
    waiting = await client.trigger("j")
    client.jenkins.set_permissions("admin", NO_ADMIN - {Permission.ITEM_CANCEL})
    stop = await client.post("job/j/1/stop")
    assert (stop.status, "X-Required-Permission" in stop.headers) == (403, True)
    assert (await client.post(f"queue/cancelItem?id={waiting}")).status == 422
    assert len(client.jenkins.controller.queue.items()) == 1
    client.jenkins.set_permissions("admin", ALL_PERMISSIONS)
    assert (await client.post(f"queue/cancelItem?id={left}")).status == 500
    assert (await client.post(f"queue/cancelItem?id={waiting}")).status == 204
    client.jenkins.release("j")


@pytest.mark.parametrize("disabled", [False, True])
async def test_41_without_the_right_to_build(client: Client, disabled: bool) -> None:
    extra = f"<disabled>{str(disabled).lower()}</disabled>"
    client.jenkins.create_job("j", freestyle(properties=parameters(A=""), extra=extra))
    client.jenkins.set_permissions("admin", NO_ADMIN - {Permission.ITEM_BUILD})
    refused = await client.post("job/j/buildWithParameters")
    assert (refused.status, "X-Required-Permission" in refused.headers) == (403, True)
    assert (await client.post("job/none/buildWithParameters")).status == 404
    assert (await client.post("job/j/buildWithParameters?delay=soon")).status == 500
    client.jenkins.set_permissions("admin", ALL_PERMISSIONS)
    trigger = await client.post("job/j/buildWithParameters")
    assert trigger.status == (409 if disabled else 201)


async def test_42_without_the_right_to_configure(client: Client) -> None:
    client.jenkins.create_job("j", freestyle(properties=endpoint("http://127.0.0.1:9/")))
    configure = {Permission.ITEM_CONFIGURE, Permission.ITEM_EXTENDED_READ}
    client.jenkins.set_permissions("admin", NO_ADMIN - configure)
    xml = {"Content-Type": "application/xml"}
    assert (await client.get("job/j/config.xml")).status == 403
    assert (await client.post("job/j/config.xml", data=freestyle(), headers=xml)).status == 403
    shown = await client.json("job/j/api/json", tree="property[_class]")
    assert len(shown["property"]) == 1
    for name, status in (("new", 200), ("j", 400)):
        made = await client.post(f"createItem?name={name}", data=freestyle(), headers=xml)
        assert made.status == status


async def test_44_odd_requests(client: Client) -> None:
    client.jenkins.create_job("j", freestyle())
    xml = {"Content-Type": "application/xml"}
    assert (await client.get("job/j/api/json?tree=name[")).status == 500
    assert (await client.post("job/j/config.xml", data="<broken", headers=xml)).status == 500
    for path in ("job/j/build", "job/j/buildWithParameters", "job/j/doDelete"):
        assert (await client.get(path)).status == 405
    assert (await client.post("quietDown")).status == 302
    assert (await client.post("job/j/build")).status == 201
    await asyncio.sleep(0)
    assert [item.why for item in client.jenkins.controller.queue.items()]
    await client.post("cancelQuietDown")
    await client.jenkins.wait_for(await client.build("j"))
    async with client.http.delete(f"{client.jenkins.url}/job/j") as deleted:
        assert deleted.status == 204
    assert client.jenkins.controller.find("j") is None


async def test_15_a_folder_is_no_job(client: Client) -> None:
    """Its own URL takes no build."""
    client.jenkins.create_job("f", FOLDER)
    assert (await client.post("job/f/build")).status == 404
