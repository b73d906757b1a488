"""Conformance of folder 06: what the Notification plugin posts, in which order, how often."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape

import pytest

from jenkins_simulator import JenkinsSimulator, SimulatorConfig
from tests.conformance.comparison import blot
from tests.conformance.receiver import Receiver
from tests.conformance.story import RECORDINGS, Story, freestyle, recording, until

VERSIONS = ("1.15", "1.19")
# Two endpoints, parameters, or no build at all: these have tests of their own.
SPECIAL = {
    "two-endpoints-first-refused",
    "rich",
    "cancelled-in-queue",
    "api-state-during-notifications",
}
FAST_S = 0.2
COMMANDS = {
    "FAILURE": "exit 1",
    "UNSTABLE": "exit 2",
    "ABORTED": "sleep 60",
    "SUCCESS": "true",
}
_PLUGIN = "com.tikal.hudson.plugins.notification."


def endpoint_xml(url: str, **settings: Any) -> str:
    """An endpoint with every element written out."""
    values = {
        "event": "all",
        "timeout": 30_000,
        "loglines": 0,
        "notes": "",
        "retries": 0,
    } | settings
    branch = "" if settings.get("branch") is None else f"<branch>{settings['branch']}</branch>"
    return (
        f"<{_PLUGIN}Endpoint><protocol>HTTP</protocol><format>{settings.get('format', 'JSON')}</format>"
        f"<urlInfo><urlOrId>{escape(url)}</urlOrId><urlType>{settings.get('type', 'PUBLIC')}</urlType></urlInfo>"
        f"<event>{values['event']}</event><timeout>{values['timeout']}</timeout>"
        f"<loglines>{values['loglines']}</loglines><buildNotes>{values['notes']}</buildNotes>"
        f"<retries>{values['retries']}</retries>{branch}</{_PLUGIN}Endpoint>"
    )


def property_xml(*endpoints: str) -> str:
    """The job property with these endpoints."""
    inner = "".join(endpoints)
    return f"<{_PLUGIN}HudsonNotificationProperty><endpoints>{inner}</endpoints></{_PLUGIN}HudsonNotificationProperty>"


def ordinary_recordings() -> list[tuple[str, str]]:
    """Recordings of one build with one endpoint."""
    return [
        (version, path.stem)
        for version in VERSIONS
        for path in sorted((RECORDINGS / f"06-notification-{version}").glob("*.json"))
        if path.stem not in SPECIAL
    ]


@pytest.mark.parametrize(("version", "name"), ordinary_recordings())
async def test_06_requests_of_a_build(receiver: Receiver, version: str, name: str):
    recorded = recording(f"06-notification-{version}", name)
    job = f"n{version.replace('.', '')}-{name}"
    async with JenkinsSimulator(SimulatorConfig(notification_plugin=version)) as jenkins:
        endpoint = dict(recorded["endpoint"])
        url = endpoint.pop("url").replace(":18090", f":{receiver.port}").replace(":18099", ":1")
        settings: dict[str, Any] = {"branch": ".*" if version == "1.19" else None, **endpoint}
        if "slow" in name:
            settings["timeout"] = int(FAST_S * 1000)
        command = COMMANDS[recorded["build"]["result"]]
        if name == "loglines":
            command = "echo one\necho two\necho three"
        xml = freestyle(command, properties=property_xml(endpoint_xml(url, **settings)), unstable=2)
        await _run(jenkins, job, xml, recorded["build"]["result"])
    assert comparable(receiver.requests) == recorded_requests(recorded["requests"])


async def _run(jenkins: JenkinsSimulator, job: str, xml: str, result: str) -> None:
    story = Story(jenkins, "")
    jenkins.create_job(job, xml)
    await story.trigger(f"/job/{job}/build?delay=0sec")
    build = await story.build(job, 1)
    if result == "ABORTED":
        await until(lambda: "sleep 60" in build.console.raw)
        await story.post(f"/job/{job}/1/stop")
    assert (await jenkins.wait_for(build)).name == result


def recorded_requests(requests: list[dict[str, Any]]) -> list[Any]:
    """What the real plugin sent, ready to be compared."""
    kept = [(r["request_line"], [(n, v) for n, v in r["headers"]], r["body"]) for r in requests]
    return comparable(kept)


def comparable(requests: list[tuple[str, list[tuple[str, str]], str]]) -> list[Any]:
    """Request line, header names and values in order, keys and values of the body in order."""
    return [
        (blot(line), [(n, blot(v)) for n, v in headers if n != "Content-Length"], _body(body))
        for line, headers, body in requests
    ]


def _body(body: str) -> str:
    shown = blot(body)
    if body.startswith("{"):
        content = json.loads(body)
        # Hidden notes hold keys of the controller; where they are is what counts.
        content["build"]["log"] = _without_notes(content["build"]["log"])
        shown = blot(json.dumps(content))
    return shown


def _without_notes(log: str) -> str:
    while "\x1b[8mha:" in log:
        before, _, rest = log.partition("\x1b[8mha:")
        log = before + "NOTE" + rest.partition("\x1b[0m")[2]
    # The recorded Jenkins names its own directories.
    return blot(log)


@pytest.mark.parametrize("version", VERSIONS)
async def test_06_two_endpoints_first_refused(receiver: Receiver, version: str):
    recorded = recording(f"06-notification-{version}", "two-endpoints-first-refused")
    async with JenkinsSimulator(SimulatorConfig(notification_plugin=version)) as jenkins:
        endpoints = (
            endpoint_xml("http://127.0.0.1:1/none", branch=".*"),
            endpoint_xml(f"http://127.0.0.1:{receiver.port}/ok?second", branch=".*"),
        )
        xml = freestyle("true", properties=property_xml(*endpoints))
        await _run(jenkins, f"n{version.replace('.', '')}-two", xml, "SUCCESS")
    assert comparable(receiver.requests) == recorded_requests(recorded["requests"])


@pytest.mark.parametrize("version", VERSIONS)
async def test_06_rich(receiver: Receiver, version: str):
    recorded = recording(f"06-notification-{version}", "rich")
    definition = "hudson.model.{0}ParameterDefinition"
    parameters = "".join(
        f"<{definition.format(kind)}><name>{name}</name><defaultValue>{default}</defaultValue>"
        f"</{definition.format(kind)}>"
        for kind, name, default in (
            ("String", "MSG", "m1"),
            ("Boolean", "FLAG", "true"),
            ("Password", "PW", "x"),
        )
    )
    properties = (
        "<hudson.model.ParametersDefinitionProperty><parameterDefinitions>"
        f"{parameters}</parameterDefinitions></hudson.model.ParametersDefinitionProperty>"
        + property_xml(endpoint_xml(f"http://127.0.0.1:{receiver.port}/ok", branch=".*"))
    )
    suite = (
        '<testsuite><testcase classname="c" name="good"/><testcase classname="c" name="bad"><failure/>'
        '</testcase><testcase classname="c" name="skip"><skipped/></testcase></testsuite>'
    )
    publishers = (
        "<publishers><hudson.tasks.ArtifactArchiver><artifacts>out/*.txt</artifacts></hudson.tasks.ArtifactArchiver>"
        "<hudson.tasks.junit.JUnitResultArchiver><testResults>r.xml</testResults></hudson.tasks.junit.JUnitResultArchiver></publishers>"
    )
    xml = freestyle(
        f"mkdir -p out; echo a > out/a.txt; echo '{suite}' > r.xml",
        properties=properties,
        extra=publishers,
    )
    async with JenkinsSimulator(SimulatorConfig(notification_plugin=version)) as jenkins:
        job = f"n{version.replace('.', '')}-rich"
        jenkins.create_job(job, xml)
        story = Story(jenkins, "")
        await story.trigger(f"/job/{job}/buildWithParameters?delay=0sec")
        await story.finished(job, 1)
    assert comparable(receiver.requests) == recorded_requests(recorded["requests"])


async def test_06_cancelled_in_queue_sends_nothing(jenkins: JenkinsSimulator, receiver: Receiver):
    assert recording("06-notification-1.15", "cancelled-in-queue")["requests"] == []
    endpoint = endpoint_xml(f"http://127.0.0.1:{receiver.port}/ok", branch=".*")
    jenkins.create_job("j", freestyle("true", properties=property_xml(endpoint)))
    story = Story(jenkins, "")
    item = await story.trigger("/job/j/build")
    assert (await story.post(f"/queue/cancelItem?id={item}")).status == 204
    jenkins.clock.advance(10)
    jenkins.controller.queue.maintain()
    assert receiver.requests == []
    assert jenkins.ledger.builds() == []


async def test_06_api_state_during_notifications(receiver: Receiver):
    """What the API says while the plugin waits for each of its four answers."""
    recorded = recording("06-notification-1.15", "api-state-during-notifications")
    async with JenkinsSimulator(SimulatorConfig(quiet_period_s=0)) as jenkins:
        endpoint = endpoint_xml(f"http://127.0.0.1:{receiver.port}/slow", branch=".*")
        jenkins.create_job("j", freestyle("true", properties=property_xml(endpoint)))
        story = Story(jenkins, "")
        await story.trigger("/job/j/build")
        seen = []
        for state in recorded:
            await _arrived(receiver, len(state["sent"]))
            tree = "building,inProgress,result"
            build = json.loads((await story.get(f"/job/j/1/api/json?tree={tree}")).body)
            tree = "color,lastCompletedBuild[number]"
            job = json.loads((await story.get(f"/job/j/api/json?tree={tree}")).body)
            last = job["lastCompletedBuild"]
            seen.append(
                {**build, "color": job["color"], "lastCompletedBuild": last and last["number"]}
            )
        await story.finished("j", 1)
    for state, got in zip(recorded, seen, strict=True):
        assert {key: state[key] for key in got if key != "_class"} == {
            key: value for key, value in got.items() if key != "_class"
        }


async def _arrived(receiver: Receiver, count: int) -> None:
    await until(lambda: len(receiver.requests) == count)
