"""A real service process with a database and a Jenkins of its own, brought back whenever it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import asyncpg

from deployment_service.actions.api_keys import create_api_key
from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.client import DeploymentClient
from deployment_service.client.channel import Caller
from deployment_service.domain.access import Role
from deployment_service.runtime.backoff import Backoff
from deployment_service.runtime.secret_box import SecretBox
from deployment_service.storage import egress
from deployment_service.storage.database.pool import API_ROLE, WORKER_ROLE, Database
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1 import gateway_service_pb2 as gateway_pb
from deployment_service.v1.gateway_service_pb2_grpc import GatewayServiceStub
from devstack.children import Child, StackError, clean_environment
from jenkins_simulator import DEFAULT_API_TOKEN, JenkinsSimulator, SimulatorConfig
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import seed_provider
from tests.support.api import NOBODY, SECRET_KEY

PREFIX = "DEPLOYMENT_SERVICE_"
SERVE = ("-m", "deployment_service", "serve")

# As short as a busy machine lets them be: what is waited for after a death is these.
SHORT = {
    "REQUEST_TIMEOUT_S": "1.5",
    "SEND_WITHIN_S": "1",
    "QUARANTINE_S": "0.5",
    "BETWEEN_LOOKS_S": "0.3",
    "LOST_AFTER_S": "0.5",
    "LEASE_S": "3",
    "READ_INTERVAL_S": "0.3",
    "POLLING_INTERVAL_S": "0.3",
    "TRIGGER_WAIT_S": "1",
    "DRAIN_GRACE_S": "1",
    "API_POOL_CONNECTIONS": "4",
    "WORKER_POOL_CONNECTIONS": "5",
}
PATIENCE_S = 60.0


class World:
    """``reached`` counts the failpoints that the process has noted."""

    def __init__(
        self,
        url: str,
        jenkins: JenkinsSimulator,
        env: Mapping[str, str],
        *,
        name: str = "service",
        command: Sequence[str] = SERVE,
    ) -> None:
        self.url = url
        self.jenkins = jenkins
        self.deaths = 0
        self.reached: Counter[str] = Counter()
        self.said: list[str] = []
        self.child = Child(name, [sys.executable, *command], env, self._hear)
        self.client: DeploymentClient
        self.gateway_key = ""
        self._sql: asyncpg.Connection
        self._guardian: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process as it is set up, and see that there is always one."""
        try:
            await self._start()
        except StackError:
            await self._bring_back()
        self._guardian = asyncio.create_task(self._guard())

    async def stop(self) -> None:
        if self._guardian is not None:
            self._guardian.cancel()
            await asyncio.gather(self._guardian, return_exceptions=True)
        await self.child.kill()

    async def stop_gracefully(self) -> None:
        """SIGTERM, and up again. It may die of a failpoint on its way out."""
        assert self._guardian is not None
        await self.client.get_deployment("web")  # if it is just coming back, it is there now
        self._guardian.cancel()
        await asyncio.gather(self._guardian, return_exceptions=True)
        if await self.child.stop() == -signal.SIGKILL:
            self.deaths += 1
        self.child.env.pop(f"{PREFIX}FAILPOINTS", None)
        await self.start()

    async def restart(self, failpoints: str = "", *, database_url: str = "") -> None:
        """SIGKILL, and up again, with other failpoints or on another database."""
        await self.stop()
        self.child.env.pop(f"{PREFIX}FAILPOINTS", None)
        if failpoints:
            self.child.env[f"{PREFIX}FAILPOINTS"] = failpoints
        if database_url:
            await self._sql.close()
            self.child.env[f"{PREFIX}DATABASE_URL"] = self.url = database_url
            self._sql = await asyncpg.connect(database_url)
        await self.start()

    @contextlib.asynccontextmanager
    async def replica(self, failpoints: str = "") -> AsyncIterator[Child]:
        """One more process on the same database."""
        env = {
            **self.child.env,
            f"{PREFIX}LISTEN": "127.0.0.1:0",
            f"{PREFIX}FAILPOINTS": failpoints,
        }
        child = Child("replica", [sys.executable, *SERVE], env, self._hear)
        await child.start()
        try:
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError, TypeError):
                os.kill(child.pid, signal.SIGCONT)  # type: ignore[arg-type]
            await child.stop()

    async def sql(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        return await self._sql.fetch(statement, *arguments)

    async def until(self, what: str, check: Callable[[], Awaitable[object]]) -> Any:
        """Return what ``check`` says as soon as that is something."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    if found := await check():
                        return found
                    await asyncio.sleep(0.05)
        except TimeoutError:
            last = "\n".join(self.said[-40:])
            raise AssertionError(f"never came true: {what}; it said last:\n{last}") from None

    async def until_run(self, uid: str, **wanted: Any) -> asyncpg.Record:
        """The row of a run as soon as it is as wanted."""

        async def check() -> asyncpg.Record | None:
            (row,) = await self.sql(
                "SELECT * FROM deployment_runs WHERE run_id = $1", uuid.UUID(uid)
            )
            return row if all(row[name] == value for name, value in wanted.items()) else None

        row: asyncpg.Record = await self.until(f"run is {wanted}", check)
        return row

    async def create(self, name: str = "web", script: str = "exit 0", **job: Any) -> str:
        """Create a deployment, wait for its job and return the job's full name."""
        spec = job or {"freestyle_shell": script}
        await self.client.create_deployment(
            name, pb.Deployment(provider="main", job=pb.DeploymentJob(**spec))
        )
        return await self.until_job(name)

    async def until_job(self, name: str = "web") -> str:
        async def ready() -> str | None:
            rows = await self.sql(
                "SELECT j.full_name FROM cicd_jobs j JOIN deployment_cicd_mappings m USING (tenant_id, job_id)"
                " JOIN deployments d USING (tenant_id, deployment_id) WHERE d.slug = $1 AND j.state = 'READY'",
                name,
            )
            return rows[0]["full_name"] if rows else None

        full_name: str = await self.until(f"the job of {name} is ready", ready)
        return full_name

    async def run(self, name: str = "web", **fields: Any) -> str:
        """Run a deployment and return the run's uid."""
        return (await self.client.run_deployment(name, **fields)).run.uid

    async def report(self, *reports: Mapping[str, Any], request_refresh: bool = False) -> None:
        """What a gateway hands over of the only job: fields of BuildReport, and a poke."""
        gateway = Caller(
            self.client._caller.channel,
            api_key=self.gateway_key,
            timeout_s=PATIENCE_S,
            backoff=Backoff(0.05, 0.4),
        )
        stub = GatewayServiceStub(gateway.channel)
        tenant = "tenants/demo"
        await gateway.call(stub.ListWebhookVerifiers, gateway_pb.ListWebhookVerifiersRequest())
        (job,) = await self.sql("SELECT job_id FROM cicd_jobs")
        of_job: dict[str, Any] = {"tenant": tenant, "cicd_job_id": str(job["job_id"])}
        plugin = gateway_pb.REPORT_SOURCE_NOTIFICATION_PLUGIN
        request = gateway_pb.ReportBuildsRequest(
            reports=[gateway_pb.BuildReport(source=plugin, **of_job, **one) for one in reports],
            refresh_requests=[gateway_pb.RefreshRequest(**of_job)] if request_refresh else [],
        )
        await gateway.call(stub.ReportBuilds, request)

    def builds(self, uid: str) -> int:
        return len(self.jenkins.ledger.builds(run_id=uid))

    async def _guard(self) -> None:
        while True:
            await self.child.died()
            await self._bring_back()

    async def _bring_back(self) -> None:
        """After a death: without failpoints."""
        self.deaths += 1
        self.child.env.pop(f"{PREFIX}FAILPOINTS", None)
        await self._start()

    async def _start(self) -> None:
        ready = await self.child.start()
        self.child.env[f"{PREFIX}LISTEN"] = str(ready["target"])

    def _hear(self, _name: str, line: str) -> None:
        if "failpoint  point=" in line:
            self.reached[line.partition("point=")[2].split()[0]] += 1
        else:
            self.said.append(line)


@contextlib.asynccontextmanager
async def world(
    database_url: str,
    *,
    failpoints: str = "",
    settings: Mapping[str, str] | None = None,
    simulator: SimulatorConfig | None = None,
    command: Sequence[str] = SERVE,
    webhook_base_url: str = NOBODY,
    start: bool = True,
) -> AsyncIterator[World]:
    """A world on a fresh, migrated database. By default all webhooks are lost."""
    config = simulator or SimulatorConfig(quiet_period_s=0.0, executors=16)
    values = {
        **SHORT,
        "DATABASE_URL": database_url,
        "SECRET_KEYS": SECRET_KEY,
        "LISTEN": "127.0.0.1:0",
        "LOG_FORMAT": "json",
        **({"FAILPOINTS": failpoints} if failpoints else {}),
        **(settings or {}),
    }
    env = clean_environment(PREFIX) | {f"{PREFIX}{name}": value for name, value in values.items()}
    async with contextlib.AsyncExitStack() as stack:
        jenkins = await stack.enter_async_context(JenkinsSimulator(config))
        one = World(database_url, jenkins, env, command=command)
        key, one.gateway_key = await _seed(database_url, jenkins.url, webhook_base_url)
        one._sql = await asyncpg.connect(database_url)
        stack.push_async_callback(lambda: one._sql.close())
        stack.push_async_callback(one.stop)
        if start:
            await one.start()
            one.client = client_of(one.child.env[f"{PREFIX}LISTEN"], key)
            stack.push_async_callback(one.client.close)
        yield one


def client_of(target: str, key: str) -> DeploymentClient:
    """A client that doesn't mind a service that dies now and then."""
    return DeploymentClient(
        target, api_key=key, tenant="demo", timeout_s=PATIENCE_S, backoff=Backoff(0.05, 0.4)
    )


async def _seed(url: str, jenkins_url: str, webhook_base_url: str) -> tuple[str, str]:
    """A tenant with a provider, an admin's key and a gateway's."""
    api = await Database.open(url, role=API_ROLE, max_connections=1)
    worker = await Database.open(url, role=WORKER_ROLE, max_connections=1)
    box = SecretBox([SECRET_KEY])
    columns = {"base_url": jenkins_url, "webhook_base_url": webhook_base_url}
    try:
        databases = Databases(url, api, worker)
        await seed_provider(databases, box, WebhookKeys(box), DEFAULT_API_TOKEN, columns)
        # As for a provider that an admin of all tenants adds: its address is a private one.
        async with api.acquire() as connection:
            await egress.add(connection, jenkins_url.rstrip("/"))
        keys = [
            await create_api_key(api, role=role, tenant=None, display_name="")
            for role in (Role.ADMIN, Role.GATEWAY)
        ]
        return keys[0][1], keys[1][1]
    finally:
        await api.close()
        await worker.close()
