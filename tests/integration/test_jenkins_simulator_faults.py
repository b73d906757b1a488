"""Faults that can be injected: what chaos tests of P3 and P4 rely on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from jenkins_simulator import NotificationFault, RequestFault, Result, SimulatorConfig
from jenkins_simulator.plugins import java_http
from tests.conformance.client import Client, endpoint, freestyle, parameters, pipeline, running
from tests.conformance.receiver import Receiver
from tests.support.waiting import until

RUN_ID = parameters(DEPLOYMENT_RUN_ID="")
TRIGGER = "buildWithParameters"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running() as client:
        client.jenkins.create_job("j", freestyle(properties=RUN_ID))
        yield client


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with await receiver.serve():
        yield receiver
        await receiver.finish()


@pytest.mark.parametrize("do_work", [False, True])
async def test_a_status_with_or_without_the_work_done(client: Client, do_work: bool):
    client.jenkins.faults.add(RequestFault(path=TRIGGER, count=1, status=502, do_work=do_work))
    response = await client.post(f"job/j/{TRIGGER}", data={"DEPLOYMENT_RUN_ID": "r"})
    assert (response.status, "X-Jenkins" in response.headers) == (502, False)
    assert len(client.jenkins.ledger.items(run_id="r")) == do_work
    assert (await client.post(f"job/j/{TRIGGER}")).status == 201


@pytest.mark.parametrize("do_work", [False, True])
async def test_a_connection_that_breaks(client: Client, do_work: bool):
    client.jenkins.faults.add(RequestFault("POST", TRIGGER, count=1, reset=True, do_work=do_work))
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.post(f"job/j/{TRIGGER}", data={"DEPLOYMENT_RUN_ID": "r"})
    assert len(client.jenkins.ledger.items(run_id="r")) == do_work
    assert [entry.status for entry in client.jenkins.requests.entries] == [None]


async def test_an_answer_that_comes_late(client: Client):
    client.jenkins.faults.add(RequestFault(path=TRIGGER, count=1, delay_after_s=60))
    late = asyncio.create_task(client.post(f"job/j/{TRIGGER}", data={"DEPLOYMENT_RUN_ID": "r"}))
    await until(lambda: client.jenkins.ledger.items(run_id="r"))
    assert not late.done()
    late.cancel()


async def test_a_login_page_instead_of_an_answer(client: Client):
    client.jenkins.faults.add(RequestFault(path="api/json", login_page=True))
    response = await client.get("job/j/api/json")
    assert (response.status, response.content_type) == (200, "text/html")
    client.jenkins.faults.clear()
    assert (await client.json("job/j/api/json"))["name"] == "j"


async def test_probabilities_repeat_with_the_seed(client: Client):
    async def statuses() -> list[int]:
        client.jenkins.faults.reseed(7)
        return [(await client.get("api/json")).status for _ in range(20)]

    client.jenkins.faults.add(RequestFault(path="api/json", probability=0.5, status=503))
    first = await statuses()
    assert set(first) == {200, 503}
    assert await statuses() == first


def phases(receiver: Receiver) -> list[str]:
    """Phases in the order of arrival."""
    return [json.loads(body)["build"]["phase"] for _, _, body in receiver.requests]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (NotificationFault(phase="COMPLETED", drop=True), "QUEUED STARTED FINALIZED"),
        (
            NotificationFault(phase="STARTED", duplicates=1),
            "QUEUED STARTED STARTED COMPLETED FINALIZED",
        ),
        (NotificationFault(phase="COMPLETED", reorder=True), "QUEUED STARTED FINALIZED COMPLETED"),
        (NotificationFault(phase="QUEUED", delay_s=0.5), "STARTED COMPLETED FINALIZED QUEUED"),
    ],
)
async def test_notifications_get_lost_doubled_and_out_of_order(
    client: Client, receiver: Receiver, fault: NotificationFault, expected: str
):
    client.jenkins.faults.add(fault)
    properties = endpoint(f"http://127.0.0.1:{receiver.port}/")
    client.jenkins.create_job("told", freestyle(properties=properties))
    await client.run("told")
    await until(lambda: phases(receiver) == expected.split())


async def test_a_forgotten_queue_item(client: Client):
    response = await client.post(f"job/j/{TRIGGER}?delay=60sec", data={"DEPLOYMENT_RUN_ID": "r"})
    item_id = int(response.headers["Location"].rstrip("/").rpartition("/")[2])
    client.jenkins.forget_queue_item(item_id)
    assert (await client.get(f"queue/item/{item_id}/api/json")).status == 404
    assert client.jenkins.ledger.items(run_id="r")


@pytest.mark.parametrize("turns", range(4))
async def test_a_connection_that_comes_as_it_goes_down_is_closed(client: Client, turns: int):
    """On CPython 3.11 a server that is closed right after it accepted a connection forgets that one."""
    with socket.create_connection(("127.0.0.1", client.jenkins.port)) as late:
        for _ in range(turns):
            await asyncio.sleep(0)
        await client.jenkins.restart()
        gc.collect()  # whoever forgot a connection is warned here
        late.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert late.recv(1) == b""


async def test_a_hard_restart_burns_the_number_and_pipelines_go_on(client: Client):
    jenkins = client.jenkins
    jenkins.create_job("held", freestyle("# simulator: hold"))
    jenkins.create_job("pipe", pipeline("sleep 1000\necho 'awake'"))
    await client.trigger("held")
    await client.build("held")
    await client.trigger("pipe")
    pipe = await client.build("pipe")
    await until(lambda: "Sleeping" in pipe.console.raw)
    await jenkins.restart(hard=True)
    assert (await client.get("job/held/1/api/json")).status == 404
    assert (await client.json("job/held/api/json"))["nextBuildNumber"] == 2
    assert jenkins.ledger.builds(job="held")[0].lost
    jenkins.clock.advance(1000)
    assert await jenkins.wait_for(pipe) is Result.SUCCESS
    assert "after Jenkins restart" in pipe.console.plain


@pytest.mark.parametrize("hard", [False, True])
async def test_it_restarts_in_the_moment_in_which_a_notification_is_answered(
    client: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, hard: bool
):
    """The build whose notification it was ends with Jenkins, and the restart does not wait for it for ever."""
    properties = endpoint(f"http://127.0.0.1:{receiver.port}/")
    client.jenkins.create_job("held", freestyle("# simulator: hold", properties=properties))
    restarts: list[asyncio.Task[None]] = []
    read_head = java_http._read_head

    async def read_and_restart(reader: asyncio.StreamReader) -> tuple[int, str | None]:
        answer = await read_head(reader)
        restarts.append(asyncio.create_task(client.jenkins.restart(hard=hard)))
        return answer

    monkeypatch.setattr(java_http, "_read_head", read_and_restart)
    await client.trigger("held")
    await until(lambda: restarts)
    monkeypatch.undo()
    async with asyncio.timeout(10):
        await restarts[0]
    (build,) = client.jenkins.ledger.builds(job="held")
    assert build.ended_at is not None
    assert (await client.get("api/json")).status == 200


async def test_while_it_is_down_connections_are_refused(client: Client):
    restarting = asyncio.create_task(client.jenkins.restart(down_s=3600))
    await until(lambda: not client.jenkins.is_listening)
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.get("api/json")
    client.jenkins.clock.advance(3600)
    await restarting
    assert (await client.get("api/json")).status == 200


async def test_everything_can_be_driven_over_http(client: Client):
    rule = {"path": "api/json", "status": 503, "count": 1}
    await client.control("faults", request=rule, seed=3)
    assert (await client.get("api/json")).status == 503
    await client.control("faults/clear")
    await client.control("hold", job="j")
    await client.trigger("j", DEPLOYMENT_RUN_ID="r")
    build = await client.build("j")
    assert await client.control("release", job="j", number=1, result="FAILURE") == {"released": [1]}
    assert await client.jenkins.wait_for(build) is Result.FAILURE
    session = client.jenkins.controller.session
    await client.control("restart", hard=True)
    await until(
        lambda: client.jenkins.controller.session != session and client.jenkins.is_listening
    )
    counts = (await client.json("_simulator/requests"))["counts"]
    assert {"method": "GET", "path": "/api/json", "count": 1} in counts
    assert (await client.post("_simulator/release", json={"job": "none"})).status == 400
    await client.control("user", name="viewer", api_token="t", permissions=["OVERALL_READ"])
    headers = {"Authorization": aiohttp.encode_basic_auth("viewer", "t")}
    assert (await client.get("api/json", headers=headers)).status == 200
    assert (await client.get("job/j/api/json", headers=headers)).status == 404
    assert (await client.get("_simulator/unknown")).status == 404


async def test_a_controller_that_starts_slowly_says_503():
    async with running(SimulatorConfig(start_up_s=60)) as client:
        restarting = asyncio.create_task(client.jenkins.restart())
        await until(lambda: client.jenkins.is_starting and client.jenkins.is_listening)
        response = await client.get("api/json")
        assert (response.status, "X-Jenkins" in response.headers) == (503, False)
        client.jenkins.clock.advance(60)
        await restarting
