"""Talking to a simulated Jenkins in tests: a small HTTP client, and configurations of jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import aiohttp

from jenkins_simulator import (
    DEFAULT_API_TOKEN,
    Build,
    JenkinsSimulator,
    SimulatorConfig,
)
from tests.support.waiting import until

FOLDER = "<com.cloudbees.hudson.plugins.folder.Folder/>"
_PARAMETERS = "hudson.model.ParametersDefinitionProperty"
_STRING = "hudson.model.StringParameterDefinition"
_PLUGIN = "com.tikal.hudson.plugins.notification."


def parameters(**defaults: str) -> str:
    """A job property that declares string parameters."""
    declared = "".join(
        f"<{_STRING}><name>{name}</name><defaultValue>{escape(value)}</defaultValue></{_STRING}>"
        for name, value in defaults.items()
    )
    return f"<{_PARAMETERS}><parameterDefinitions>{declared}</parameterDefinitions></{_PARAMETERS}>"


def endpoint(
    url: str, *, event: str = "all", url_type: str = "PUBLIC", branch: str | None = ".*"
) -> str:
    """A job property with one notification endpoint."""
    pattern = "" if branch is None else f"<branch>{branch}</branch>"
    return (
        f"<{_PLUGIN}HudsonNotificationProperty><endpoints><{_PLUGIN}Endpoint><protocol>HTTP</protocol>"
        f"<format>JSON</format><urlInfo><urlOrId>{escape(url)}</urlOrId><urlType>{url_type}</urlType></urlInfo>"
        f"<event>{event}</event><timeout>2000</timeout><loglines>0</loglines><buildNotes></buildNotes>"
        f"<retries>0</retries>{pattern}</{_PLUGIN}Endpoint></endpoints></{_PLUGIN}HudsonNotificationProperty>"
    )


def freestyle(command: str = "true", *, properties: str = "", extra: str = "") -> str:
    """A freestyle job."""
    shell = f"<hudson.tasks.Shell><command>{escape(command)}</command></hudson.tasks.Shell>"
    return f"<project><properties>{properties}</properties><builders>{shell}</builders>{extra}</project>"


def pipeline(script: str, *, properties: str = "") -> str:
    """A Pipeline job."""
    return (
        f"<flow-definition><properties>{properties}</properties>"
        '<definition class="org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition">'
        f"<script>{escape(script)}</script></definition></flow-definition>"
    )


@dataclass
class Client:
    """A simulator and an HTTP session that is logged in with the API token."""

    jenkins: JenkinsSimulator
    http: aiohttp.ClientSession

    async def post(self, path: str, **options: Any) -> aiohttp.ClientResponse:
        """POST, not following redirects; the body has been read."""
        return await self._request("POST", path, **options)

    async def get(self, path: str, **options: Any) -> aiohttp.ClientResponse:
        """GET, not following redirects; the body has been read."""
        return await self._request("GET", path, **options)

    async def json(self, path: str, **query: str) -> Any:
        """The JSON of an object."""
        response = await self.get(path, params=query or None)
        assert response.status == 200, (path, response.status)
        return await response.json()

    async def trigger(self, job: str, **values: str) -> int:
        """Trigger a build and return its queue id."""
        path = "/".join(f"job/{quote(name, safe='')}" for name in job.split("/"))
        declared = self.jenkins.job(job).config.parameters
        action = "build" if declared is None else "buildWithParameters"
        response = await self.post(f"{path}/{action}?delay=0sec", data=values or None)
        assert response.status in (201, 303), response.status
        return int(response.headers["Location"].rstrip("/").rpartition("/")[2])

    async def build(self, job: str, number: int = 1) -> Build:
        """The build, once it has begun."""
        builds = self.jenkins.job(job).builds
        await until(lambda: number in builds, what=f"{job} #{number} begins")
        return builds[number]

    async def run(self, job: str, **values: str) -> Build:
        """Trigger a build and wait until it is over."""
        number = self.jenkins.job(job).next_build_number
        await self.trigger(job, **values)
        build = await self.build(job, number)
        await self.jenkins.wait_for(build)
        return build

    async def control(self, command: str, **arguments: Any) -> Any:
        """Use the control path."""
        response = await self.post(f"_simulator/{command}", json=arguments)
        assert response.status == 200, await response.text()
        return await response.json()

    async def _request(self, method: str, path: str, **options: Any) -> aiohttp.ClientResponse:
        url = f"{self.jenkins.url}/{path}"
        async with self.http.request(method, url, allow_redirects=False, **options) as response:
            await response.read()
            return response


@asynccontextmanager
async def running(config: SimulatorConfig | None = None) -> AsyncIterator[Client]:
    """A simulator without a quiet period, unless told otherwise, and a client."""
    headers = {"Authorization": aiohttp.encode_basic_auth("admin", DEFAULT_API_TOKEN)}
    async with JenkinsSimulator(config or SimulatorConfig(quiet_period_s=0)) as jenkins:
        async with aiohttp.ClientSession(headers=headers) as http:
            yield Client(jenkins, http)
