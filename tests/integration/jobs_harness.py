"""A tenant with a provider, and all that brings its jobs into a Jenkins: for the tests of CICD jobs."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import asyncpg

from deployment_service.actions.create_deployment import (
    Created,
    CreateDeployment,
    DeploymentCreator,
)
from deployment_service.actions.delete_deployment import DeleteDeployment, DeploymentRemover
from deployment_service.actions.idempotency import RequestKey
from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.cicd.address import ControllerAddress
from deployment_service.cicd.errors import JobExists
from deployment_service.cicd.jenkins.job_xml import parse_owner
from deployment_service.cicd.jenkins.job_xml_parameters import run_id_description
from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.cicd.port import CicdProvider, JobBuilds, JobView, ParameterDefinition
from deployment_service.domain.access import TenantRef
from deployment_service.domain.definition import JobDefinition, JobKind
from deployment_service.domain.deployment_settings import SETTINGS, DeploymentSettings
from deployment_service.runtime.secret_box import SecretBox, generate_key
from deployment_service.storage.row_signals import RowSignals
from deployment_service.workers.controllers.breaker import ControllerLimits
from deployment_service.workers.controllers.controllers import (
    Controllers,
)
from deployment_service.workers.job_provisioner.provisioner import (
    JobProvisioner,
    JobProvisionerSettings,
)
from jenkins_simulator import DEFAULT_API_TOKEN
from tests.fixtures_stack import Databases

SHELL = JobDefinition(JobKind.FREESTYLE_SHELL, text="exit 0")
HOOKS = "http://hooks.invalid"
# No breaker: a test that makes Jenkins fail a few times doesn't want to wait for it.
LIMITS = ControllerLimits(failures=1000)
SOON = JobProvisionerSettings(poll_s=0.02)


def jenkins_client(address: ControllerAddress) -> CicdProvider:
    return JenkinsProvider(address.base_url, address.username, address.api_token, timeout_s=5.0)


def adopt(full_name: str, **fixed: str) -> JobDefinition:
    return JobDefinition(JobKind.EXISTING, full_name, fixed_parameters=fixed)


def shell(full_name: str = "") -> JobDefinition:
    return replace(SHELL, full_name=full_name)


@dataclass
class Jobs:
    """What a process has of this, with one keeper."""

    databases: Databases
    box: SecretBox
    tenant: TenantRef
    provider_id: uuid.UUID
    creator: DeploymentCreator
    remover: DeploymentRemover
    keeper: JobProvisioner
    signals: RowSignals
    commits: list[None] = field(default_factory=list)

    async def create(self, name: str = "web", job: JobDefinition = SHELL, **fields: Any) -> Created:
        remaining_s = fields.pop("remaining_s", None)
        settings = DeploymentSettings(**{one: fields.pop(one) for one in SETTINGS if one in fields})
        command = CreateDeployment(self.tenant, name, "main", job, settings, **fields)
        return await self.creator.create(command, remaining_s=remaining_s)

    async def delete(self, name: str = "web", **fields: Any) -> int:
        return await self.remover.delete(DeleteDeployment(self.tenant, name, **fields))

    def request(self, method: str = "CreateDeployment") -> RequestKey:
        return RequestKey(self.tenant.tenant_id, "tests", method, uuid.uuid4(), b"body")

    async def sql(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.databases.url)
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    async def rows(self) -> list[asyncpg.Record]:
        return await self.sql("SELECT * FROM cicd_jobs ORDER BY full_name")

    async def row(self) -> asyncpg.Record:
        """The only job."""
        (row,) = await self.rows()
        return row

    async def mapping(self, name: str) -> asyncpg.Record:
        (row,) = await self.sql(
            "SELECT m.* FROM deployment_cicd_mappings m JOIN deployments d USING (tenant_id, deployment_id)"
            " WHERE d.slug = $1",
            name,
        )
        return row

    async def events(self) -> list[tuple[str, str, int]]:
        """Deployment, type and revision of all events, which are checked to be dense."""
        rows = await self.sql("SELECT * FROM deployment_events ORDER BY sequence")
        assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
        return [
            (row["deployment_slug"], row["type"].removeprefix("DEPLOYMENT_"), row["revision"])
            for row in rows
        ]

    async def until_row(self, condition: Callable[[asyncpg.Record], object], what: str) -> None:
        async def check() -> object:
            rows = await self.rows()
            return rows and condition(rows[0])

        await eventually(check, what)

    async def until_no_rows(self) -> None:
        async def check() -> bool:
            return not await self.rows()

        await eventually(check, "no job is left")


async def eventually(check: Callable[[], Awaitable[object]], what: str) -> None:
    try:
        async with asyncio.timeout(20):
            while not await check():  # noqa: ASYNC110  the database tells nobody
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None


@contextlib.asynccontextmanager
async def jobs_of(
    databases: Databases,
    base_url: str,
    *,
    like: Jobs | None = None,
    slug: str = "demo",
    box: SecretBox | None = None,
    make_client: Callable[[ControllerAddress], CicdProvider] = jenkins_client,
    settings: JobProvisionerSettings = SOON,
    keep: bool = True,
    wait_s: float = 10.0,
    token: str = DEFAULT_API_TOKEN,
    webhook_base_url: str = HOOKS,
    keep_deleted_s: float = 3600.0,
    **provider: Any,
) -> AsyncIterator[Jobs]:
    """One process. ``like``: another replica of that one. ``keep`` False: its keeper isn't started.

    ``slug``: of the tenant that is made. ``box``: of another tenant's process, if one reads for both.
    """
    box = like.box if like else box or SecretBox([generate_key()])
    keys = WebhookKeys(box)
    if like:
        tenant, provider_id = like.tenant, like.provider_id
    else:
        columns = {"base_url": base_url, "webhook_base_url": webhook_base_url, **provider}
        tenant, provider_id = await seed_provider(databases, box, keys, token, columns, slug)
    commits: list[None] = []
    signals = RowSignals()
    controllers = Controllers(make_client, box.decrypt, LIMITS)
    keeper = JobProvisioner(
        databases.worker,
        controllers,
        keys,
        signals,
        committed=lambda _: commits.append(None),
        settings=settings,
    )
    hooks: dict[str, Any] = {
        "committed": lambda _: commits.append(None),
        "wake_provisioner": keeper.wake,
    }
    jobs = Jobs(
        databases,
        box,
        tenant,
        provider_id,
        DeploymentCreator(databases.api, signals, wait_s=wait_s, **hooks),
        DeploymentRemover(databases.api, keep_s=keep_deleted_s, **hooks),
        keeper,
        signals,
        commits,
    )
    if keep:
        await keeper.start()
    try:
        yield jobs
    finally:
        await keeper.stop()
        await controllers.close()


async def seed_provider(
    databases: Databases,
    box: SecretBox,
    keys: WebhookKeys,
    token: str,
    columns: dict[str, Any],
    slug: str = "demo",
) -> tuple[TenantRef, uuid.UUID]:
    values = {"username": "admin", "api_token_encrypted": box.encrypt(token.encode()), **columns}
    async with databases.api.acquire() as connection:
        tenant_id = await connection.fetchval(
            "INSERT INTO tenants (slug) VALUES ($1) RETURNING tenant_id", slug
        )
        await keys.add_first(connection, tenant_id)
        places = ", ".join(f"${place}" for place in range(2, len(values) + 2))
        provider_id = await connection.fetchval(
            f"INSERT INTO cicd_providers (tenant_id, slug, {', '.join(values)})"
            f" VALUES ($1, 'main', {places}) RETURNING provider_id",
            tenant_id,
            *values.values(),
        )
    return TenantRef(tenant_id, slug), provider_id


class FakeJenkins:
    """Jobs in memory, and a gate before each call. Names are exact here."""

    def __init__(self) -> None:
        self.descriptions: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.before: Callable[[str, str], Awaitable[None]] | None = None
        self.after: Callable[[str, str], Awaitable[None]] | None = None

    def client(self, _: ControllerAddress) -> CicdProvider:
        return cast(CicdProvider, self)

    def count(self, call: str) -> int:
        return sum(1 for name, _ in self.calls if name == call)

    async def read_job(self, full_name: str) -> JobView | None:
        await self._enter("read_job", full_name)
        description = self.descriptions.get(full_name)
        return None if description is None else _view(full_name, description)

    async def create_job(self, full_name: str, config_xml: str) -> None:
        await self._enter("create_job", full_name)
        if full_name in self.descriptions:
            raise JobExists("It exists.")
        self.descriptions[full_name] = config_xml
        if self.after is not None:
            await self.after("create_job", full_name)

    async def has_webhook(self, full_name: str, job_id: str) -> bool | None:
        return False

    async def put_secret(self, secret_id: str, text: str) -> bool:
        return False

    async def delete_secret(self, secret_id: str) -> None:
        pass

    async def delete_job(self, full_name: str) -> bool:
        await self._enter("delete_job", full_name)
        return self.descriptions.pop(full_name, None) is not None

    async def list_builds(self, full_name: str, *, limit: int = 50) -> JobBuilds | None:
        return JobBuilds(full_name, 1, ()) if full_name in self.descriptions else None

    async def close(self) -> None:
        pass

    async def _enter(self, call: str, full_name: str) -> None:
        self.calls.append((call, full_name))
        if self.before is not None:
            await self.before(call, full_name)


def _view(full_name: str, description: str) -> JobView:
    return JobView(
        full_name=full_name,
        url=f"http://jenkins.invalid/job/{full_name}/",
        job_class="hudson.model.FreeStyleProject",
        buildable=True,
        next_build_number=1,
        in_queue=False,
        concurrent=False,
        parameters=(
            ParameterDefinition(
                "DEPLOYMENT_RUN_ID",
                "StringParameterDefinition",
                description=run_id_description(parse_owner(description) or ""),
            ),
        )
        if "DEPLOYMENT_RUN_ID" in description
        else (),
        description=description,
        owner=parse_owner(description),
        has_notification_property=False,
        discards_builds=False,
        last_build_number=None,
    )
