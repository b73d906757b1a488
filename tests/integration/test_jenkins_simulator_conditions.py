"""Conditions around the simulated Jenkins: retry plugins, replicas, seed jobs, lost records and secrets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from jenkins_simulator import (
    ENDPOINTS,
    Conditions,
    RequestFault,
    Result,
    SeedJob,
    SimulatorConfig,
)
from tests.conformance.client import Client, endpoint, freestyle, parameters, pipeline, running
from tests.conformance.receiver import Receiver
from tests.support.waiting import until

RUN_ID = parameters(DEPLOYMENT_RUN_ID="")
LONG_ID = 7213489120345678901


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


# --- one endpoint fails alone

PATHS = {
    "root": "api/json",
    "who_am_i": "whoAmI/api/json",
    "crumb": "crumbIssuer/api/json",
    "queue": "queue/api/json",
    "queue_item": "queue/item/1/api/json",
    "executors": "computer/api/json",
    "job": "job/j/api/json",
    "build": "job/j/1/api/json",
    "console": "job/j/1/consoleText",
    "read_config": "job/j/config.xml",
    "plugins": "pluginManager/api/json",
}


@pytest.mark.parametrize("name", sorted(PATHS))
async def test_one_endpoint_fails_and_the_others_answer(client: Client, name: str):
    await client.run("j", DEPLOYMENT_RUN_ID="r")
    client.jenkins.faults.add(RequestFault(endpoint=name, jenkins_status=500))
    for other, path in PATHS.items():
        response = await client.get(path)
        assert (response.status == 500) is (other == name), (other, response.status)
        if other == name:
            assert "X-Jenkins" in response.headers


@pytest.mark.parametrize("name", ["trigger", "stop", "cancel_item", "create_item", "delete"])
async def test_one_action_is_refused_and_not_done(client: Client, name: str):
    client.jenkins.hold("j")
    await client.trigger("j")
    await client.build("j")
    queue_id = await client.trigger("j", DEPLOYMENT_RUN_ID="waits")
    client.jenkins.faults.add(RequestFault(endpoint=name, jenkins_status=403))
    path = {
        "trigger": "job/j/buildWithParameters",
        "stop": "job/j/1/stop",
        "cancel_item": f"queue/cancelItem?id={queue_id}",
        "create_item": "createItem?name=new",
        "delete": "job/j/doDelete",
    }[name]
    response = await client.post(path, data="<project/>", headers={"Content-Type": "text/xml"})
    assert response.status == 403
    assert "X-Required-Permission" in response.headers
    job = client.jenkins.job("j")
    assert job.builds[1].building
    assert len(client.jenkins.controller.queue.items()) == 1
    assert client.jenkins.controller.find("new") is None


async def test_one_endpoint_is_slow(client: Client):
    client.jenkins.faults.add(RequestFault(endpoint="executors", delay_before_s=60))
    slow = asyncio.create_task(client.get("computer/api/json"))
    assert (await client.get("queue/api/json")).status == 200
    assert not slow.done()
    slow.cancel()


def test_an_unknown_endpoint_is_an_error():
    with pytest.raises(ValueError, match="unknown endpoint"):
        RequestFault(endpoint="compute")
    assert set(PATHS) < ENDPOINTS


# --- a proxy in front


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (RequestFault(status=403), 403),
        (RequestFault(status=404), 404),
        (RequestFault(status=302, location="https://sso.example/login"), 302),
        (RequestFault(status=429, retry_after="7"), 429),
        (RequestFault(status=413, larger_than=1000), 413),
        (RequestFault(status=503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), 503),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
async def test_a_proxy_answers_in_place_of_jenkins(
    client: Client, fault: RequestFault, status: int
):
    client.jenkins.faults.add(fault)
    body = {"DEPLOYMENT_RUN_ID": "x" * 2000}
    response = await client.post("job/j/buildWithParameters", data=body)
    assert response.status == status
    assert not [name for name in response.headers if name.startswith("X-Jenkins")]
    assert response.headers.get("Retry-After") == fault.retry_after
    assert response.headers.get("Location") == fault.location
    assert client.jenkins.ledger.items() == []


async def test_a_proxy_that_limits_bodies_lets_small_ones_pass(client: Client):
    client.jenkins.faults.add(RequestFault(status=413, larger_than=1000))
    response = await client.post("job/j/buildWithParameters", data={"DEPLOYMENT_RUN_ID": "r"})
    assert response.status == 201


# --- a retry plugin


@pytest.mark.parametrize("kind", ["freestyle", "pipeline"])
async def test_a_retry_plugin_copies_parameters_and_causes(client: Client, kind: str):
    jenkins = client.jenkins
    if kind == "freestyle":
        jenkins.create_job("fails", freestyle("exit 1", properties=RUN_ID))
    else:
        jenkins.create_job("fails", pipeline("error 'no'", properties=RUN_ID))
    jenkins.set_conditions(retry_times=2)
    await client.trigger("fails", DEPLOYMENT_RUN_ID="r")
    last = await client.build("fails", 3)
    await jenkins.wait_for(last)
    tree = "queueId,actions[parameters[name,value],causes[userId,shortDescription]]"
    shown = [await client.json(f"job/fails/{number}/api/json", tree=tree) for number in (1, 2, 3)]
    assert len({build["queueId"] for build in shown}) == 3
    assert len({json.dumps(build["actions"]) for build in shown}) == 1
    origins = [(b.origin, b.retry_of) for b in jenkins.ledger.builds(run_id="r")]
    assert origins == [("trigger", None), ("retry plugin", 1), ("retry plugin", 2)]
    assert 4 not in jenkins.job("fails").builds


@pytest.mark.parametrize("result", [Result.SUCCESS, Result.ABORTED])
async def test_a_retry_plugin_leaves_other_results_alone(client: Client, result: Result):
    client.jenkins.set_conditions(retry_times=1)
    client.jenkins.hold("j")
    await client.trigger("j")
    build = await client.build("j")
    client.jenkins.release("j", 1, result)
    await client.jenkins.wait_for(build)
    assert client.jenkins.controller.queue.items() == []
    assert list(client.jenkins.job("j").builds) == [1]


async def test_a_rebuild_by_another_user_has_another_cause(client: Client):
    await client.run("j", DEPLOYMENT_RUN_ID="r")
    client.jenkins.rebuild("j", 1, user="mia")
    await client.jenkins.wait_for(await client.build("j", 2))
    builds = client.jenkins.ledger.builds(run_id="r")
    assert [(build.user, build.origin) for build in builds] == [
        ("admin", "trigger"),
        ("mia", "rebuild"),
    ]


async def test_the_ledger_names_who_stopped_a_build(client: Client):
    client.jenkins.hold("j")
    await client.trigger("j")
    build = await client.build("j")
    await client.post("job/j/1/stop")
    await client.jenkins.wait_for(build)
    assert client.jenkins.ledger.builds()[0].stopped_by == "admin"


# --- queue ids and sessions


async def test_long_queue_ids():
    conditions = Conditions(first_queue_id=LONG_ID)
    async with running(SimulatorConfig(quiet_period_s=0, conditions=conditions)) as client:
        client.jenkins.create_job("j", freestyle())
        assert await client.trigger("j") == LONG_ID
        item = await client.json(f"queue/item/{LONG_ID}/api/json")
        assert (item["id"], item["url"]) == (LONG_ID, f"queue/item/{LONG_ID}/")
        await client.jenkins.wait_for(await client.build("j"))
        assert (await client.json("job/j/1/api/json"))["queueId"] == LONG_ID


async def test_queue_ids_become_long_while_it_runs(client: Client):
    assert await client.trigger("j") == 1
    client.jenkins.set_conditions(first_queue_id=LONG_ID)
    assert await client.trigger("j") == LONG_ID


@pytest.mark.parametrize("hard", [False, True])
async def test_a_resumed_pipeline_has_another_queue_id(client: Client, hard: bool):
    jenkins = client.jenkins
    jenkins.create_job("pipe", pipeline("sleep 1000"))
    for _ in range(3):
        await client.run("j")
    old_id = await client.trigger("pipe")
    build = await client.build("pipe")
    await until(lambda: "Sleeping" in build.console.raw)
    await jenkins.restart(hard=hard)
    shown = await client.json("job/pipe/1/api/json")
    assert shown["queueId"] == (1 if hard else old_id + 1)
    assert (shown["number"], shown["timestamp"]) == (1, build.timestamp_ms)
    for queue_id in (old_id, shown["queueId"]):
        assert (await client.get(f"queue/item/{queue_id}/api/json")).status == 404
    jenkins.clock.advance(1000)
    await jenkins.wait_for(build)


async def test_a_hard_kill_gives_out_young_ids_again_and_keeps_old_ones(client: Client):
    jenkins = client.jenkins
    jenkins.create_job("other", freestyle())
    assert await client.trigger("j") == 1
    jenkins.clock.advance(66)
    assert await client.trigger("j") == 2
    await jenkins.restart(hard=True)
    assert await client.trigger("other") == 2


async def test_sessions_alternate_and_change_with_a_restart(client: Client):
    async def sessions() -> list[str]:
        answers = [await client.get("api/json") for _ in range(4)]
        return [answer.headers["X-Jenkins-Session"] for answer in answers]

    assert len(set(await sessions())) == 1
    client.jenkins.set_conditions(sessions=2)
    first, second, third, fourth = await sessions()
    assert (first, second) == (third, fourth)
    assert first != second
    await client.jenkins.restart()
    assert not {first, second} & set(await sessions())


# --- what others do to jobs, records and secrets


async def test_a_seed_job_overwrites_and_creates_again(client: Client):
    jenkins = client.jenkins
    seed = SeedJob("j", freestyle("echo seeded"), every_s=5)
    jenkins.set_conditions(seed_jobs=[seed])
    await until(lambda: jenkins.job("j").config.parameters is None)
    assert (await client.post("job/j/buildWithParameters")).status == 500
    response = await client.post(
        "job/j/config.xml",
        data=freestyle(properties=RUN_ID),
        headers={"Content-Type": "application/xml"},
    )
    assert response.status == 200
    assert (await client.post("job/j/buildWithParameters")).status == 201
    jenkins.clock.advance(5)
    await until(lambda: jenkins.job("j").config.parameters is None)
    await client.post("job/j/doDelete")
    jenkins.clock.advance(5)
    await until(lambda: jenkins.controller.find("j") is not None)
    jenkins.clear_conditions()


async def test_lost_secrets_stop_the_posts_and_leave_a_trace_in_the_console(
    client: Client, receiver: Receiver
):
    jenkins = client.jenkins
    jenkins.controller.credentials["hook"] = f"http://127.0.0.1:{receiver.port}/"
    jenkins.create_job("told", freestyle(properties=endpoint("hook", url_type="SECRET")))
    await client.run("told")
    assert len(receiver.requests) == 4
    assert jenkins.lose_secrets("ho.*") == ["hook"]
    build = await client.run("told")
    assert build.result is Result.SUCCESS
    assert len(receiver.requests) == 4
    assert "hook" in build.console.plain


@pytest.mark.parametrize(
    ("phase", "readable"),
    [("COMPLETED", "QUEUED STARTED"), ("FINALIZED", "QUEUED STARTED COMPLETED")],
)
async def test_a_record_is_gone_when_its_phase_is_posted(
    client: Client, receiver: Receiver, phase: str, readable: str
):
    client.jenkins.set_conditions(record_gone_at=phase)
    url = f"http://127.0.0.1:{receiver.port}/slow"
    client.jenkins.create_job("told", freestyle(properties=endpoint(url)))
    receiver.slow_s = 0.2
    found = []
    await client.trigger("told")
    build = await client.build("told")
    for count in range(1, 5):
        await _arrived(receiver, count)
        sent = json.loads(receiver.requests[-1][2])["build"]["phase"]
        if (await client.get("job/told/1/api/json")).status == 200:
            found.append(sent)
    await client.jenkins.wait_for(build)
    assert found == readable.split()


async def _arrived(receiver: Receiver, count: int) -> None:
    await until(lambda: len(receiver.requests) == count)


async def test_a_record_can_be_deleted_while_the_build_runs(client: Client):
    client.jenkins.hold("j")
    await client.trigger("j")
    build = await client.build("j")
    client.jenkins.discard_build("j", 1)
    assert (await client.get("job/j/1/api/json")).status == 404
    client.jenkins.controller.release(build, Result.SUCCESS)
    await client.jenkins.wait_for(build)
    assert client.jenkins.ledger.builds()[0].result == "SUCCESS"


async def test_conditions_over_http(client: Client):
    changed = await client.control(
        "conditions",
        retry_times=1,
        retry_results=["FAILURE", "UNSTABLE"],
        seed_jobs=[{"job": "seeded", "config_xml": freestyle()}],
    )
    assert changed["retry_results"] == ["FAILURE", "UNSTABLE"]
    await until(lambda: client.jenkins.controller.find("seeded") is not None)
    assert (await client.json("_simulator/conditions"))["retry_times"] == 1
    assert (await client.control("conditions/clear"))["seed_jobs"] == []
    async with client.http.post(
        f"{client.jenkins.url}/_simulator/conditions", json={"unknown": 1}
    ) as response:
        assert response.status == 400
    await client.run("j")
    await client.control("rebuild", job="j", number=1, user="mia")
    await client.jenkins.wait_for(await client.build("j", 2))
    await client.control("discard", job="j", number=1)
    assert (await client.get("job/j/1/api/json")).status == 404
    client.jenkins.controller.credentials["hook"] = "x"
    assert await client.control("secrets/lose", pattern="h.*") == {"lost": ["hook"]}


def test_conditions_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="record_gone_at"):
        Conditions(record_gone_at="STARTED")
    with pytest.raises(ValueError, match="sessions"):
        Conditions(sessions=0)
    with pytest.raises(TypeError):
        Conditions().changed({"nothing": 1})
