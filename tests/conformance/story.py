"""Replaying recordings against a simulator, in the order in which they tell a story."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from jenkins_simulator import (
    Build,
    JenkinsSimulator,
)
from tests.conformance.comparison import differences
from tests.conformance.numbers import Numbers
from tests.conformance.wire import Reply, exchange

RECORDINGS = Path(__file__).parent / "recordings"
_PATIENCE_S = 10.0
_QUEUE_ID = re.compile(r"(queue/item/|queue/cancelItem\?id=)(\d+)")


def recording(folder: str, name: str) -> Any:
    """A recording's content."""
    return json.loads((RECORDINGS / folder / f"{name}.json").read_text())


def basic(user: str, secret: str) -> str:
    """An Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


async def until(condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds, and return its value."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE_S
    while not (value := condition()):
        assert loop.time() < deadline, "condition not reached"
        await asyncio.sleep(0.002)
    return value


def freestyle(
    command: str,
    *,
    properties: str = "",
    extra: str = "",
    disabled: bool = False,
    unstable: int = 0,
) -> str:
    """A freestyle job's config.xml."""
    unstable_return = f"<unstableReturn>{unstable}</unstableReturn>" if unstable else ""
    return (
        "<?xml version='1.1' encoding='UTF-8'?><project><description></description>"
        f"<keepDependencies>false</keepDependencies><properties>{properties}</properties>"
        f'<scm class="hudson.scm.NullSCM"/><disabled>{str(disabled).lower()}</disabled><builders>'
        f"<hudson.tasks.Shell><command>{escape(command)}</command>{unstable_return}"
        f"</hudson.tasks.Shell></builders>{extra}</project>"
    )


def pipeline(script: str, *, properties: str = "") -> str:
    """A Pipeline job's config.xml."""
    return (
        f"<flow-definition><description/><properties>{properties}</properties>"
        '<definition class="org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition">'
        f"<script>{escape(script)}</script><sandbox>true</sandbox></definition></flow-definition>"
    )


class Story:
    """Replays one folder's recordings; differences are collected, and reported at the end."""

    def __init__(self, jenkins: JenkinsSimulator, folder: str) -> None:
        self.jenkins = jenkins
        self.folder = folder
        self.failures: list[str] = []
        self.numbers = Numbers()
        self.replies: dict[str, Reply] = {}

    async def replay(
        self, name: str, *, item: int | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """Send a recorded request and compare; `item` replaces the recorded queue id.

        Queue ids that an earlier recording of the story has introduced are replaced by themselves.
        """
        recorded = recording(self.folder, name)
        request = recorded["request"]
        path = _whole_path(request["path"])
        found = _QUEUE_ID.search(path)
        if item is None and found is not None:
            item = self.numbers.simulated("queue", int(found.group(2)))
        if item is not None:
            digits = str(item)
            before, _, after = path.partition("/item/" if "/item/" in path else "id=")
            separator = "/item/" if "/item/" in path else "id="
            path = before + separator + digits + after.lstrip("0123456789")
        body = _whole_body(request)
        reply = await exchange(
            self.jenkins.port,
            request["method"],
            path,
            self._headers(request, headers or {}, body),
            body,
        )
        self.replies[name] = reply
        lines = differences(recorded["response"], reply)
        self.fail(name, lines or self._number_differences(request["path"], recorded, reply))
        return reply

    def fail(self, name: str, lines: list[str]) -> None:
        """Note how a recording differs."""
        self.failures += [f"{self.folder}/{name}: {line}" for line in lines]

    def _number_differences(self, path: str, recorded: dict[str, Any], reply: Reply) -> list[str]:
        found = []
        for name, value in recorded["response"]["headers"]:
            if name == "Location" and reply.all("Location"):
                found += self.numbers.compare_text(value, reply.all("Location")[0])
        if "json" in recorded["response"]:
            job = re.search(r"(?:job/[^/]+/)+", path)
            found += self.numbers.compare_json(
                recorded["response"]["json"],
                json.loads(reply.body),
                job.group(0) if job else "",
            )
        return found

    def _headers(
        self, request: dict[str, Any], replaced: dict[str, str], body: bytes
    ) -> list[tuple[str, str]]:
        headers = []
        for name, value in request["headers"]:
            value = replaced.get(name, self._credentials(value))
            if name == "Host":
                value = f"127.0.0.1:{self.jenkins.port}"
            if name == "Content-Length":
                value = str(len(body))
            headers.append((name, _repeated(value)))
        return headers

    def _credentials(self, value: str) -> str:
        """A recorded Authorization header with the simulator's secrets in place of words."""
        users = self.jenkins.controller.users
        scheme, _, rest = value.partition(" ")
        named = re.fullmatch(r"<(\w+):(API_TOKEN|\w*PASSWORD)>", rest)
        if named is not None:
            user = users[named.group(1)]
            secret = user.api_token if named.group(2) == "API_TOKEN" else user.password
            return f"{scheme} " + basic(named.group(1), secret or "").removeprefix("Basic ")
        if scheme == "Bearer":
            return f"Bearer {next(iter(users.values())).api_token}"
        encoded = re.fullmatch(r"base64\((.*?):(.*)\)", rest)
        if encoded is None:
            return value
        lab = next(iter(users.values()))
        words = {"API_TOKEN": lab.api_token or "", "LAB_PASSWORD": lab.password or ""}
        return basic(encoded.group(1), words.get(encoded.group(2), encoded.group(2)))

    async def post(
        self,
        path: str,
        body: str = "",
        content_type: str | None = None,
        headers: list[tuple[str, str]] | None = None,
    ) -> Reply:
        """A POST of the set-up, which is in no recording."""
        sent = [("Content-Length", str(len(body.encode())))]
        if content_type is not None:
            sent.append(("Content-Type", content_type))
        return await self._send("POST", path, [*(headers or []), *sent], body)

    async def get(self, path: str) -> Reply:
        """A GET that is in no recording."""
        return await self._send("GET", path, [], "")

    async def _send(
        self, method: str, path: str, headers: list[tuple[str, str]], body: str
    ) -> Reply:
        sent = [
            *headers,
            ("Authorization", self._administrator()),
            ("Connection", "close"),
        ]
        if not any(name == "Host" for name, _ in headers):
            sent.insert(0, ("Host", f"127.0.0.1:{self.jenkins.port}"))
        return await exchange(self.jenkins.port, method, path, sent, body.encode())

    def _administrator(self) -> str:
        """The first account, which may do everything."""
        name, user = next(iter(self.jenkins.controller.users.items()))
        return basic(name, user.api_token or "")

    async def trigger(self, path: str) -> int:
        """Trigger a build and return the id of its queue item."""
        reply = await self.post(path)
        assert reply.status in (201, 303), reply
        return item_id(reply)

    async def build(self, full_name: str, number: int) -> Build:
        """The build, once it has begun."""
        job = self.jenkins.job(full_name)
        build: Build = await until(lambda: job.builds.get(number))
        return build

    async def output(self, full_name: str, number: int, text: str) -> Build:
        """The build, once its console shows this text."""
        build = await self.build(full_name, number)
        await until(lambda: text in build.console.raw)
        return build

    async def finished(self, full_name: str, number: int) -> Build:
        """The build, once it is over."""
        build = await self.build(full_name, number)
        await self.jenkins.wait_for(build)
        return build

    def check(self) -> None:
        """Fail if anything differed."""
        assert not self.failures, "\n".join(self.failures)


def _repeated(value: str) -> str:
    """A header that the recorder shortened: `a * 20000`."""
    short = re.fullmatch(r"(\w) \* (\d+)", value)
    return value if short is None else short.group(1) * int(short.group(2))


def _whole_path(path: str) -> str:
    """A path that the recorder cut, filled up with its last character."""
    cut = re.fullmatch(r"(.*)\.\.\. \((\d+) characters in all\)", path)
    return path if cut is None else cut.group(1).ljust(int(cut.group(2)), cut.group(1)[-1])


def _whole_body(request: dict[str, Any]) -> bytes:
    """The body, or one of its size if the recorder kept only the beginning."""
    omitted = request.get("body_omitted")
    if omitted is None:
        return str(request.get("body") or "").encode()
    size, _, beginning = str(omitted).partition(" bytes; begins ")
    end = "\r\n--B0--\r\n" if beginning.startswith("--B0") else ""
    return (beginning.ljust(int(size) - len(end), beginning[-1]) + end).encode()


def item_id(reply: Reply) -> int:
    """The queue id in a Location."""
    return int(reply.all("Location")[0].rstrip("/").rpartition("/")[2])
