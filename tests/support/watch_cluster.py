"""Several replicas of the service as real processes on one database, and writers of events without any Jenkins."""

from __future__ import annotations

import asyncio
import random
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from cryptography.fernet import Fernet

from deployment_service.actions.api_keys import create_api_key
from deployment_service.client import DeploymentClient
from deployment_service.domain.access import Role, TenantRef
from deployment_service.domain.events import Event, EventSource, EventType, NewEvent
from deployment_service.domain.status import DeploymentStatus
from deployment_service.runtime.backoff import Backoff
from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS
from deployment_service.storage.database.pool import API_ROLE, WORKER_ROLE, Connection, Database
from deployment_service.storage.events import events
from deployment_service.storage.events.event_log import EventLog, list_events
from deployment_service.storage.schema.migrate import migrate
from deployment_service.watch.notifier import Notifier
from deployment_service.watch.settings import WatchSettings
from devstack.children import Child, clean_environment
from devstack.postgres import EmbeddedPostgres

_PREFIX = "DEPLOYMENT_SERVICE_"
_STATUSES = tuple(DeploymentStatus)
_TYPES = (EventType.DEPLOYMENT_STATUS_UPDATE, EventType.DEPLOYMENT_RUN_START)

_PROVIDER = """
    INSERT INTO cicd_providers (tenant_id, slug, base_url) VALUES ($1, 'main', 'http://127.0.0.1:9/')
    RETURNING provider_id
"""
_DEPLOYMENT = """
    INSERT INTO deployments (tenant_id, slug, provider_id, job_kind, job_spec)
    SELECT $1, slug, $2, 'EXISTING', '{"full_name": "any"}' FROM unnest($3::text[]) AS slug
"""
_STATE = "SELECT deployment_id, slug, status, revision FROM deployments WHERE tenant_id = $1"
_MOVE = """
    UPDATE deployments AS d SET status = n.status, revision = n.revision
    FROM unnest($2::uuid[], $3::text[], $4::bigint[]) AS n (deployment_id, status, revision)
    WHERE d.tenant_id = $1 AND d.deployment_id = n.deployment_id
"""
_CUT = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'deployment-service/listener'
"""


@dataclass
class Cluster:
    """``replicas[n]`` is at ``targets[n]``, also after a restart."""

    postgres: EmbeddedPostgres
    url: str
    api: Database
    worker: Database
    key: str = ""
    replicas: list[Child] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)

    def client(self, tenant: str, *targets: str) -> DeploymentClient:
        """A client that spreads its streams over the targets (all, if none is given)."""
        addresses = ",".join(targets or self.targets)
        return DeploymentClient(
            f"ipv4:{addresses}",
            api_key=self.key,
            tenant=tenant,
            backoff=Backoff(first_s=0.05, longest_s=1.0),
        )

    async def kill(self, number: int) -> None:
        """SIGKILL a replica and start it again, where it was."""
        await self.replicas[number].kill()
        await self.replicas[number].start()

    async def cut_listeners(self) -> int:
        """End the listening connections; how many there were."""
        return int(await self.sql(_CUT))

    async def sql(self, statement: str, *arguments: object) -> Any:
        """As superuser."""
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    async def new_tenant(self, slug: str, *slugs: str) -> TenantRef:
        """A tenant with these deployments."""

        async def work(connection: Connection) -> TenantRef:
            tenant_id = await connection.fetchval(
                "INSERT INTO tenants (slug) VALUES ($1) RETURNING tenant_id", slug
            )
            provider = await connection.fetchval(_PROVIDER, tenant_id)
            await connection.execute(_DEPLOYMENT, tenant_id, provider, list(slugs))
            return TenantRef(tenant_id, slug)

        return await self.api.transaction(work)

    async def history(self, tenant: TenantRef) -> list[Event]:
        async with self.api.acquire() as connection:
            return await list_events(connection, tenant.tenant_id, after=0, limit=10**6)

    async def table(self, tenant: TenantRef) -> dict[str, tuple[str, int]]:
        """Status and revision of each deployment, by id."""
        async with self.api.acquire() as connection:
            rows = await connection.fetch(_STATE, tenant.tenant_id)
        return {row["slug"]: (row["status"], row["revision"]) for row in rows}


@asynccontextmanager
async def cluster(replicas: int = 3, **settings: str) -> AsyncIterator[Cluster]:
    """A server of its own, because tests stop and kill it. ``settings`` as ``{"LISTEN": …}``."""
    async with EmbeddedPostgres(durable=False) as server:
        connection = await asyncpg.connect(server.url())
        await connection.execute("CREATE DATABASE service")
        await connection.close()
        url = server.url("service")
        await migrate(url)
        api = await Database.open(url, role=API_ROLE, max_connections=10)
        worker = await Database.open(url, role=WORKER_ROLE, max_connections=4)
        one = Cluster(server, url, api, worker)
        try:
            _, one.key = await create_api_key(api, role=Role.ADMIN, tenant=None, display_name="")
            one.replicas = [_replica(n, url, settings) for n in range(replicas)]
            await _start(one)
            yield one
        finally:
            await asyncio.gather(*(replica.stop() for replica in one.replicas))
            await asyncio.gather(api.close(), worker.close())


def _replica(number: int, url: str, settings: dict[str, str]) -> Child:
    values = {
        "DATABASE_URL": url,
        "SECRET_KEYS": Fernet.generate_key().decode(),
        "LISTEN": "127.0.0.1:0",
        "LOG_FORMAT": "json",
        "DRAIN_GRACE_S": "1",
        **settings,
    }
    env = clean_environment(_PREFIX) | {_PREFIX + name: value for name, value in values.items()}
    name = f"replica-{number}"
    command = [sys.executable, "-m", "deployment_service", "serve"]
    return Child(name, command, env, lambda name, line: print(f"{name} | {line}"))


async def _start(one: Cluster) -> None:
    ready = await asyncio.gather(*(replica.start() for replica in one.replicas))
    for replica, said in zip(one.replicas, ready, strict=True):
        one.targets.append(str(said["target"]))
        replica.env[f"{_PREFIX}LISTEN"] = one.targets[-1]


@dataclass
class Quota:
    """How many events the writers may have committed by now, and how many they have."""

    allowed: int = 0
    begun: int = 0
    committed: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def allow(self, more: int) -> None:
        async with self.changed:
            self.allowed += more
            self.changed.notify_all()

    async def room(self, count: int) -> None:
        """Wait until so many more may be committed."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.begun + count <= self.allowed)
            self.begun += count

    async def done(self, count: int) -> None:
        """So many more are committed, or already were: for certain."""
        async with self.changed:
            self.committed += count
            self.changed.notify_all()

    async def reached(self, count: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.committed >= count)


class Writer:
    """Moves some deployments of a tenant as transactions of the service do: the row and its events together."""

    def __init__(
        self,
        one: Cluster,
        tenant: TenantRef,
        slugs: Sequence[str],
        notifier: Notifier,
        seed: int,
    ) -> None:
        self._one = one
        self._tenant = tenant
        self._slugs = slugs
        self._notifier = notifier
        self._random = random.Random(seed)

    async def run(self, quota: Quota, batch: int) -> None:
        """Commit for ever, as the quota allows. One of unknown outcome is followed by another that goes on from
        what the database then has."""
        while True:
            await quota.room(batch)
            while True:
                try:
                    await self._one.api.transaction(lambda at: self._commit(at, batch))
                except (*UNAVAILABLE_ERRORS, asyncpg.PostgresError):
                    await asyncio.sleep(0.05)  # the database is being restarted
                    continue
                break
            self._notifier.notify(self._tenant.tenant_id)
            await quota.done(batch)

    async def _commit(self, connection: Connection, count: int) -> None:
        rows = await connection.fetch(
            _STATE + " AND slug = ANY ($2) ORDER BY deployment_id FOR NO KEY UPDATE",
            self._tenant.tenant_id,
            self._slugs,
        )
        state = {row["slug"]: (row["status"], row["revision"]) for row in rows}
        ids = {row["slug"]: row["deployment_id"] for row in rows}
        new = []
        for _ in range(count):
            slug = self._random.choice(self._slugs)
            old, revision = state[slug]
            status = self._random.choice(_STATUSES)
            state[slug] = (status, revision + 1)
            new.append(_event(ids[slug], slug, revision + 1, old, status))
        columns = [[ids[slug], *state[slug]] for slug in state]
        await connection.execute(
            _MOVE, self._tenant.tenant_id, *(list(one) for one in zip(*columns, strict=True))
        )
        await events.append(connection, self._tenant.tenant_id, new)


def _event(
    deployment_id: uuid.UUID, slug: str, revision: int, old: str, status: DeploymentStatus
) -> NewEvent:
    return NewEvent(
        deployment_id=deployment_id,
        deployment_slug=slug,
        revision=revision,
        type=_TYPES[revision % 3 == 0],
        source=EventSource.READ,
        old_status=DeploymentStatus(old),
        status=status,
        deployment_status=status,
        message=f"{slug} {revision}",
    )


@asynccontextmanager
async def notifying(one: Cluster) -> AsyncIterator[Notifier]:
    """What a replica does after its commits, for commits of our own."""
    notifier = Notifier(EventLog(one.worker), uuid.uuid4().hex[:12], WatchSettings())
    task = asyncio.create_task(notifier.run())
    try:
        yield notifier
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
