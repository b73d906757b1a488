"""Fixtures of the tests that bring runs through a simulated Jenkins. Modules may have their own instead."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from deployment_service.cicd.jenkins.provider import JenkinsProvider
from jenkins_simulator import DEFAULT_API_TOKEN, JenkinsSimulator, SimulatorConfig
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import Jobs, jobs_of
from tests.integration.runs_harness import Runs, runs_of
from tests.support.front_proxy import FrontProxy, front_proxy


@pytest_asyncio.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator(SimulatorConfig(quiet_period_s=0.0, executors=8)) as simulator:
        yield simulator


@pytest_asyncio.fixture
async def jobs(databases: Databases, jenkins: JenkinsSimulator) -> AsyncIterator[Jobs]:
    async with jobs_of(databases, jenkins.url, webhook_base_url="") as process:
        yield process


@pytest_asyncio.fixture
async def runs(jobs: Jobs) -> AsyncIterator[Runs]:
    async with runs_of(jobs) as process:
        yield process


@pytest_asyncio.fixture
async def proxy(jenkins: JenkinsSimulator) -> AsyncIterator[FrontProxy]:
    """Something in front of Jenkins."""
    async with front_proxy(jenkins.url) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def behind(databases: Databases, proxy: FrontProxy) -> AsyncIterator[Runs]:
    """A process that reaches Jenkins through the proxy."""
    async with jobs_of(databases, proxy.url, webhook_base_url="") as jobs, runs_of(jobs) as runs:
        yield runs


@pytest_asyncio.fixture
async def client(jenkins: JenkinsSimulator) -> AsyncIterator[JenkinsProvider]:
    """A person in Jenkins, with our account."""
    provider = JenkinsProvider(jenkins.url, "admin", DEFAULT_API_TOKEN, timeout_s=5)
    yield provider
    await provider.close()
