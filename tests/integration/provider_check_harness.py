"""What the tests of provider checks share: a service, a simulated Jenkins with one account, and its findings."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest_asyncio

from deployment_service.v1 import admin_service_pb2 as pb
from jenkins_simulator import (
    ALL_PERMISSIONS,
    DEFAULT_API_TOKEN,
    JenkinsSimulator,
    Permission,
    SimulatedUser,
    SimulatorConfig,
)
from tests.integration.cicd_harness import FOLDER, PLAIN
from tests.support.api import Api, refused, running_api
from tests.support.front_proxy import FrontProxy, front_proxy

DEPLOYER = "deployer"
NEEDED = frozenset(
    {
        Permission.OVERALL_READ,
        Permission.ITEM_READ,
        Permission.ITEM_BUILD,
        Permission.ITEM_CANCEL,
        Permission.ITEM_CREATE,
        Permission.ITEM_CONFIGURE,
        Permission.ITEM_DELETE,
        Permission.CREDENTIALS_VIEW,
        Permission.CREDENTIALS_CREATE,
        Permission.CREDENTIALS_UPDATE,
        Permission.CREDENTIALS_DELETE,
    }
)
"""The permissions of an account that docs/how-to/connect-jenkins.md lists."""


@asynccontextmanager
async def jenkins_with(
    permissions: frozenset[Permission] = NEEDED, **options: Any
) -> AsyncIterator[JenkinsSimulator]:
    """A Jenkins with the jobs `app` and `shop/web`, and the accounts `admin` and `deployer`."""
    users = {
        "admin": SimulatedUser(permissions=ALL_PERMISSIONS),
        DEPLOYER: SimulatedUser(permissions=permissions),
    }
    async with JenkinsSimulator(SimulatorConfig(users=users, **options)) as simulator:
        simulator.create_job("app", PLAIN)
        simulator.create_job("shop", FOLDER)
        simulator.create_job("shop/web", PLAIN)
        yield simulator


@asynccontextmanager
async def checking_api(database_url: str, **options: Any) -> AsyncIterator[Api]:
    """A service with the tenant `demo`."""
    async with running_api(database_url, **options) as api:
        await api.admin.CreateTenant(
            pb.CreateTenantRequest(tenant_id="demo"), metadata=api.as_admin
        )
        yield api


def settings(url: str, **fields: Any) -> pb.Provider:
    """Settings that are right for ``jenkins_with``, unless ``fields`` say otherwise."""
    values: dict[str, Any] = {
        "base_url": url,
        "username": DEPLOYER,
        "api_token": DEFAULT_API_TOKEN,
        "webhook_base_url": "https://hooks.internal",
    }
    return pb.Provider(**(values | fields))


async def check(
    api: Api, url: str, *, metadata: Any = None, **fields: Any
) -> pb.CheckProviderResponse:
    request = pb.CheckProviderRequest(
        name="tenants/demo/providers/main", provider=settings(url, **fields)
    )
    answer: pb.CheckProviderResponse = await api.admin.CheckProvider(
        request, metadata=metadata or api.as_admin
    )
    return answer


async def create(
    api: Api, url: str, *, metadata: Any = None, slug: str = "main", **fields: Any
) -> pb.CreateProviderResponse:
    request = pb.CreateProviderRequest(
        parent="tenants/demo", provider_id=slug, provider=settings(url, **fields)
    )
    answer: pb.CreateProviderResponse = await api.admin.CreateProvider(
        request, metadata=metadata or api.as_admin
    )
    return answer


def kind(finding: pb.ProviderFinding) -> str:
    return pb.ProviderFinding.Kind.Name(finding.kind).removeprefix("KIND_")


def severity(finding: pb.ProviderFinding) -> str:
    return pb.ProviderFinding.Severity.Name(finding.severity).removeprefix("SEVERITY_")


def of_kind(answer: Any, wanted: str) -> list[pb.ProviderFinding]:
    return [one for one in answer.findings if kind(one) == wanted]


def one_of_kind(answer: Any, wanted: str) -> pb.ProviderFinding:
    (found,) = of_kind(answer, wanted)
    return found


def texts(answer: Any, *severities: str) -> list[str]:
    return [one.message for one in answer.findings if severity(one) in severities]


@pytest_asyncio.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with checking_api(database_url) as running:
        yield running


@pytest_asyncio.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with jenkins_with() as simulator:
        yield simulator


@pytest_asyncio.fixture
async def proxy(jenkins: JenkinsSimulator) -> AsyncIterator[FrontProxy]:
    async with front_proxy(jenkins.url) as running:
        yield running


async def stored(api: Api) -> list[str]:
    page = await api.admin.ListProviders(
        pb.ListProvidersRequest(parent="tenants/demo"), metadata=api.as_admin
    )
    return [one.base_url for one in page.providers]


async def proven_wrong(api: Api, url: str, expected: str, **fields: Any) -> pb.ProviderFinding:
    """The finding, if a check tells it, a create is refused for it, and nothing was stored."""
    answer = await check(api, url, **fields)
    found = one_of_kind(answer, expected)
    assert (severity(found), found.settings_wrong) == ("ERROR", True)
    async with refused() as refusals:
        await create(api, url, **fields)
    refusal = refusals[0]
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "PROVIDER_SETTINGS_WRONG",
    )
    assert refusal.message == found.message
    assert refusal.metadata["field"] == found.field
    violations = refusal.details["PreconditionFailure"].violations
    assert [(one.type, one.description) for one in violations] == [(expected, found.message)]
    assert await stored(api) == []
    return found


async def not_proven(api: Api, url: str, expected: str, **fields: Any) -> pb.ProviderFinding:
    """The finding, if it keeps nobody from creating the provider."""
    answer = await create(api, url, **fields)
    found = one_of_kind(answer, expected)
    assert not any(one.settings_wrong for one in answer.findings)
    return found


def contents(jenkins: JenkinsSimulator) -> Any:
    """All that a check could change: jobs, their configuration and builds, the queue, secret texts."""
    controller = jenkins.controller
    jobs = list(controller.root.jobs())
    return (
        [(job.full_name, copy.deepcopy(job.config), dict(job.builds)) for job in jobs],
        list(controller.queue.items()),
        dict(controller.credentials),
    )
