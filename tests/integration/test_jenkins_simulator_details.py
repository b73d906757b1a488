"""Details of the simulated Jenkins: starting up, causes, restarts, odd values, credentials."""

from __future__ import annotations

import asyncio
import json

import pytest

from jenkins_simulator import ALL_PERMISSIONS, Permission, Result, SimulatorConfig
from tests.conformance.client import (
    FOLDER,
    Client,
    endpoint,
    freestyle,
    parameters,
    pipeline,
    running,
)
from tests.conformance.receiver import Receiver
from tests.support.waiting import until

XML = {"Content-Type": "application/xml"}
ONE_AT_A_TIME = (
    "<org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty>"
    "<abortPrevious>true</abortPrevious>"
    "</org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty>"
)


# --- starting


@pytest.mark.parametrize(
    ("passed_s", "get", "post"), [(0, 503, 500), (30, 503, 403), (80, 503, 503), (100, 200, 201)]
)
async def test_a_starting_jenkins_answers_posts_differently(passed_s: int, get: int, post: int):
    async with running(SimulatorConfig(quiet_period_s=0, start_up_s=100)) as client:
        client.jenkins.create_job("j", freestyle())
        restarting = asyncio.create_task(client.jenkins.restart())
        await until(lambda: client.jenkins.is_starting and client.jenkins.is_listening)
        client.jenkins.clock.advance(passed_s)
        if passed_s == 100:
            await restarting
        assert (await client.get("api/json?tree=mode")).status == get
        posting = asyncio.create_task(client.post("job/j/build"))
        if post == 403:
            # It is held until the extensions are loaded.
            assert not (await asyncio.wait({posting}, timeout=0.05))[0]
            client.jenkins.clock.advance(50)
        response = await posting
        assert response.status == post
        assert "X-Jenkins" not in response.headers
        assert len(client.jenkins.ledger.items()) == (post == 201)
        client.jenkins.clock.advance(200)
        await restarting


# --- causes


async def test_a_freestyle_job_starts_another_when_it_succeeds():
    trigger = (
        "<publishers><hudson.tasks.BuildTrigger><childProjects>down, missing</childProjects>"
        "</hudson.tasks.BuildTrigger></publishers>"
    )
    async with running() as client:
        client.jenkins.create_job("down", freestyle(properties=parameters(WHO="default")))
        client.jenkins.create_job("up", freestyle(extra=trigger))
        client.jenkins.create_job("fails", freestyle("exit 1", extra=trigger))
        await client.run("fails")
        await client.run("up")
        build = await client.build("down")
        await client.jenkins.wait_for(build)
        assert build.console.plain.startswith(
            'Started by upstream project "up" build number 1\noriginally caused by:\n'
            " Started by user admin\n"
        )
        assert build.parameter("WHO") == "default"
        assert client.jenkins.job("down").next_build_number == 2


@pytest.mark.parametrize(
    ("options", "result"),
    [
        ("", Result.FAILURE),
        (", propagate: false", Result.SUCCESS),
        (", wait: false", Result.SUCCESS),
    ],
)
async def test_a_pipeline_starts_another_job(options: str, result: Result):
    async with running() as client:
        client.jenkins.create_job("down", freestyle("exit 1", properties=parameters(WHO="", X="x")))
        step = f"build job: 'down', parameters: [string(name: 'WHO', value: 'me')]{options}"
        client.jenkins.create_job("up", pipeline(step))
        assert (await client.run("up")).result is result
        down = await client.build("down")
        await client.jenkins.wait_for(down)
        assert (down.parameter("WHO"), down.parameter("X")) == ("me", "x")


async def test_a_timer_starts_a_build():
    async with running() as client:
        client.jenkins.create_job("j", freestyle())
        client.jenkins.start_by_timer("j")
        await client.jenkins.wait_for(await client.build("j"))
        causes = (await client.json("job/j/1/api/json"))["actions"][0]["causes"]
        assert causes == [
            {
                "_class": "hudson.triggers.TimerTrigger$TimerTriggerCause",
                "shortDescription": "Started by timer",
            }
        ]


async def test_three_quick_starts_with_abort_previous():
    async with running() as client:
        xml = pipeline("sleep 1000", properties=ONE_AT_A_TIME + parameters(WHO=""))
        client.jenkins.create_job("super", xml)
        for number, who in enumerate("abc", 1):
            await client.trigger("super", WHO=who)
            await client.build("super", number)
        builds = client.jenkins.job("super").builds
        for number in (1, 2):
            assert await client.jenkins.wait_for(builds[number]) is Result.NOT_BUILT
        client.jenkins.clock.advance(1000)
        assert await client.jenkins.wait_for(builds[3]) is Result.SUCCESS
        assert "Superseded by #2" in builds[1].console.plain
        assert client.jenkins.ledger.builds()[0].stopped_by is None


# --- Pipelines and restarts


async def test_labels_of_stages_and_branches_in_a_scripted_pipeline():
    script = "stage('one') { parallel a: { echo 'in a' }, b: { stage('two') { echo 'in b' } } }"
    async with running() as client:
        client.jenkins.create_job("j", pipeline(script))
        console = (await client.run("j")).console.plain
        for label in ("one", "Branch: a", "Branch: b", "two"):
            assert f"[Pipeline] {{ ({label})\n" in console
        assert console.count("[Pipeline] }\n") == 4


async def test_a_sleeping_pipeline_says_how_long_it_still_sleeps():
    async with running() as client:
        client.jenkins.create_job("j", pipeline("sleep 100"))
        await client.trigger("j")
        build = await client.build("j")
        await until(lambda: build.sleeps_until is not None)
        client.jenkins.clock.advance(40)
        await client.jenkins.restart()
        client.jenkins.clock.advance(60)
        await client.jenkins.wait_for(build)
        lines = build.console.plain.splitlines()
        resumed = next(at for at, line in enumerate(lines) if line.startswith("Resuming build"))
        assert lines[resumed + 1] == "Sleeping for 60 sec"
        assert lines[resumed + 2].startswith("Ready to run")


@pytest.mark.parametrize("saves", [True, False])
async def test_a_graceful_restart_aborts_a_freestyle_build(saves: bool):
    async with running(SimulatorConfig(quiet_period_s=0, stop_saves_builds=saves)) as client:
        client.jenkins.create_job("j", freestyle("# simulator: hold"))
        await client.trigger("j")
        await client.build("j")
        await client.jenkins.restart()
        response = await client.get("job/j/1/consoleText")
        assert response.status == (200 if saves else 404)
        if saves:
            assert (await response.text()).endswith("Build was aborted\nFinished: ABORTED\n")
        assert client.jenkins.ledger.builds()[0].lost is not saves
        assert (await client.json("job/j/api/json"))["nextBuildNumber"] == 2


# --- values


@pytest.mark.parametrize(
    ("body", "content_type", "value"),
    [
        (b"T=caf%E9", "application/x-www-form-urlencoded; charset=ISO-8859-1", "café"),
        (b"T=caf%E9", "application/x-www-form-urlencoded", "caf\ufffd"),
        (b"T=caf%C3%A9", "application/x-www-form-urlencoded;charset=utf-8", "café"),
    ],
)
async def test_the_charset_of_a_form(body: bytes, content_type: str, value: str):
    async with running() as client:
        client.jenkins.create_job("j", freestyle(properties=parameters(T="")))
        path = "job/j/buildWithParameters"
        response = await client.post(path, data=body, headers={"Content-Type": content_type})
        assert response.status == 201
        build = await client.build("j")
        await client.jenkins.wait_for(build)
        assert build.parameter("T") == value


def definition(kind: str, name: str, inner: str = "") -> str:
    """A job property with one parameter definition."""
    tag = f"hudson.model.{kind}ParameterDefinition"
    wrapper = "hudson.model.ParametersDefinitionProperty"
    listed = f"<{tag}><name>{name}</name>{inner}</{tag}>"
    return f"<{wrapper}><parameterDefinitions>{listed}</parameterDefinitions></{wrapper}>"


@pytest.mark.parametrize(
    ("kind", "inner", "given", "status", "count"),
    [
        ("Choice", "", None, 201, 0),
        ("Choice", "", "x", 500, 0),
        ("Run", "<projectName>other</projectName>", None, 201, 0),
        ("Run", "<projectName>other</projectName>", "other", 500, 0),
        ("Run", "<projectName>other</projectName>", "other#7", 201, 1),
        ("File", "", "plain", 201, 0),
        ("Boolean", "", " TRUE ", 201, 1),
    ],
)
async def test_odd_values_of_odd_kinds(
    kind: str, inner: str, given: str | None, status: int, count: int
):
    async with running() as client:
        client.jenkins.create_job("other", freestyle())
        client.jenkins.create_job("j", freestyle(properties=definition(kind, "P", inner)))
        data = None if given is None else {"P": given}
        assert (await client.post("job/j/buildWithParameters", data=data)).status == status
        if status == 201:
            build = await client.build("j")
            await client.jenkins.wait_for(build)
            assert len(build.parameters or ()) == count


async def test_a_parameter_with_nul_fails_the_build():
    async with running() as client:
        client.jenkins.create_job("j", freestyle(properties=parameters(T="")))
        assert (await client.run("j", T="a\0b")).result is Result.FAILURE


# --- credentials


STORE = "credentials/store/{0}/domain/_"
SECRET = (
    "<org.jenkinsci.plugins.plaincredentials.impl.StringCredentialsImpl><id>{0}</id>"
    "<secret>{1}</secret></org.jenkinsci.plugins.plaincredentials.impl.StringCredentialsImpl>"
)


async def test_a_folder_has_its_own_store_for_its_jobs():
    receiver = Receiver()
    async with await receiver.serve(), running() as client:
        client.jenkins.create_job("team", FOLDER)
        xml = freestyle(properties=endpoint("hook", url_type="SECRET"))
        for name in ("team/in", "out"):
            client.jenkins.create_job(name, xml)
        secret = SECRET.format("hook", f"http://127.0.0.1:{receiver.port}/")
        store = "job/team/" + STORE.format("folder")
        assert (
            await client.post(f"{store}/createCredentials", data=secret, headers=XML)
        ).status == 200
        listed = await client.json(f"{store}/api/json", tree="credentials[id]")
        assert listed["credentials"] == [{"id": "hook"}]
        await client.run("team/in")
        await client.run("out")
        assert len(receiver.requests) == 4


async def test_a_redacted_secret_that_is_posted_back_is_empty():
    async with running() as client:
        client.jenkins.controller.credentials["hook"] = "http://127.0.0.1:1/"
        path = STORE.format("system") + "/credential/hook/config.xml"
        redacted = await (await client.get(path)).text()
        assert "127.0.0.1" not in redacted
        assert (await client.post(path, data=redacted, headers=XML)).status == 200
        assert client.jenkins.controller.credentials["hook"] == ""
        build = await _told(client)
        assert "URL is not set, ignoring call to send notification." in build


async def _told(client: Client) -> str:
    client.jenkins.create_job("told", freestyle(properties=endpoint("hook", url_type="SECRET")))
    return (await client.run("told")).console.plain


async def test_deleting_a_secret_by_its_method_and_without_permission():
    async with running() as client:
        client.jenkins.controller.credentials["hook"] = "x"
        path = STORE.format("system") + "/credential/hook"
        lacking = ALL_PERMISSIONS - {Permission.ADMINISTER, Permission.CREDENTIALS_DELETE}
        client.jenkins.set_permissions("admin", lacking)
        assert (await client.post(path + "/doDelete")).status == 403
        client.jenkins.set_permissions("admin", ALL_PERMISSIONS)
        async with client.http.delete(f"{client.jenkins.url}/{path}/config.xml") as response:
            assert response.status == 200
        assert (await client.post(path + "/doDelete")).status == 404


# --- jobs that change while builds run


def posts_of(receiver: Receiver) -> list[tuple[str, str | None, int]]:
    """Phase, status and queue id of every post."""
    builds = [json.loads(body)["build"] for _, _, body in receiver.requests]
    return [(build["phase"], build.get("status"), build["queue_id"]) for build in builds]


async def test_a_job_deleted_while_it_builds_still_posts_its_end():
    receiver = Receiver()
    async with await receiver.serve(), running() as client:
        xml = freestyle("sleep 60", properties=endpoint(f"http://127.0.0.1:{receiver.port}/"))
        client.jenkins.create_job("again", xml)
        old = await client.trigger("again")
        build = await client.build("again")
        await until(lambda: "sleep 60" in build.console.raw)
        assert (await client.post("job/again/doDelete")).status == 302
        assert await client.jenkins.wait_for(build) is Result.ABORTED
        client.jenkins.create_job("again", xml.replace("sleep 60", "true"))
        new = await client.trigger("again")
        await client.jenkins.wait_for(await client.build("again"))
        assert posts_of(receiver) == [
            ("QUEUED", None, old),
            ("STARTED", None, old),
            ("COMPLETED", "ABORTED", old),
            ("FINALIZED", "ABORTED", old),
            ("QUEUED", None, new),
            ("STARTED", None, new),
            ("COMPLETED", "SUCCESS", new),
            ("FINALIZED", "SUCCESS", new),
        ]


@pytest.mark.parametrize("kind", ["freestyle", "pipeline"])
async def test_a_job_overwritten_while_it_builds_posts_no_end(kind: str):
    receiver = Receiver()
    async with await receiver.serve(), running() as client:
        told = endpoint(f"http://127.0.0.1:{receiver.port}/")
        make = freestyle if kind == "freestyle" else pipeline
        client.jenkins.create_job("j", make("true", properties=told))
        client.jenkins.hold("j")
        await client.trigger("j")
        build = await client.build("j")
        await until(lambda: len(receiver.requests) == 2)
        response = await client.post("job/j/config.xml", data=make("true"), headers=XML)
        assert response.status == 200
        client.jenkins.release("j")
        await client.jenkins.wait_for(build)
        assert [phase for phase, _, _ in posts_of(receiver)] == ["QUEUED", "STARTED"]


async def test_the_token_of_a_job_makes_a_remote_cause_even_for_a_user():
    async with running() as client:
        xml = freestyle(extra="<authToken>secret</authToken>")
        client.jenkins.create_job("j", xml)
        assert (await client.post("job/j/build?token=secret&cause=why&delay=0sec")).status == 201
        await client.jenkins.wait_for(await client.build("j"))
        cause = (await client.json("job/j/1/api/json"))["actions"][0]["causes"][0]
        assert cause["_class"] == "hudson.model.Cause$RemoteCause"
        assert cause["shortDescription"].endswith("with note: why")
        assert "userId" not in cause


async def test_a_rebuild_is_folded_into_an_equal_item_that_waits():
    async with running() as client:
        client.jenkins.create_job("j", freestyle(properties=parameters(WHO="")))
        await client.run("j", WHO="x")
        data = {"WHO": "x"}
        await client.post("job/j/buildWithParameters?delay=400sec", data=data)
        client.jenkins.rebuild("j", 1)
        build = await client.build("j", 2)
        await client.jenkins.wait_for(build)
        assert [cause.user for cause in build.causes] == ["admin", "admin"]
        assert len(build.parameters or ()) == 1
        assert client.jenkins.job("j").next_build_number == 3


@pytest.mark.parametrize(
    ("delay", "why"),
    [
        ("99999999999sec", "In the quiet period. Expires in 38 yr"),
        ("600sec", "In the quiet period. Expires in 9 min 59 sec"),
        ("5 sec", "In the quiet period. Expires in 4."),
        ("90000sec", "In the quiet period. Expires in 1 day 0 hr"),
    ],
)
async def test_how_long_a_quiet_period_lasts(delay: str, why: str):
    async with running() as client:
        client.jenkins.create_job("j", freestyle())
        response = await client.post("job/j/build", params={"delay": delay})
        assert response.status == 201
        item = await client.json(response.headers["Location"].split("/", 3)[3] + "api/json")
        assert item["why"].startswith(why)


@pytest.mark.parametrize("delay", ["1.5sec", "2s", "5seconds", "1hour", "soon", "", "sec"])
async def test_delays_that_jenkins_cannot_read(delay: str):
    async with running() as client:
        client.jenkins.create_job("j", freestyle())
        response = await client.post("job/j/build", params={"delay": delay})
        assert response.status == 500
        assert client.jenkins.ledger.items() == []
