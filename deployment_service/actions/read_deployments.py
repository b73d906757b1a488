"""Read deployments, runs and events.

Every list returns a position in the history that was read before its first page. So a client that lists and then
watches from that position misses no event. The page token keeps the position.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar, cast

import asyncpg

from deployment_service.actions.webhook_keys import WebhookKey, WebhookKeys
from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import InvalidArgument, NotFound
from deployment_service.domain.events import Event
from deployment_service.domain.lists import DeploymentOrder, EventFilter, RunFilter, View
from deployment_service.domain.names import DeploymentName, RunName, deleted_uid
from deployment_service.storage import webhook_keys
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.deployments import deployments
from deployment_service.storage.deployments.deployments import DeploymentFilter, DeploymentRecord
from deployment_service.storage.events import event_log, events
from deployment_service.storage.pages import Cell, Chunk, Paging
from deployment_service.storage.reports import reports_without_run
from deployment_service.storage.runs import explain, run_records
from deployment_service.storage.runs.explain import Trail
from deployment_service.storage.runs.run_records import RunRecord
from deployment_service.watch.epoch import StoreEpoch
from deployment_service.watch.tokens import ResumeTokens

Row = TypeVar("Row")

_HIGHEST_NUMBER = 2**31 - 1
_NO_DELIVERY_YET = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Listed(Generic[Row]):
    """A page of a list. ``resume_token`` is the same on every page."""

    rows: list[Row]
    next_page_token: str
    resume_token: str


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page."""

    size: int
    token: str


class Reader:
    """Reads under the role ``api``."""

    def __init__(self, database: Database, epoch: StoreEpoch, keys: WebhookKeys) -> None:
        self._database = database
        self._epoch = epoch
        self._tokens = ResumeTokens()
        self._keys = keys

    async def deployment(
        self,
        tenant: TenantRef,
        resource_id: str,
        *,
        uid: uuid.UUID | None = None,
        with_key: bool = False,
        signing: bool = False,
    ) -> tuple[DeploymentRecord, WebhookKey | None]:
        """A deployment, and the key with which its webhook URL is written.

        With ``uid`` that very deployment, not another of its name. ``signing``: the caller gets the job's signing
        secret, so that gateways need it from now on.
        """
        async with self._database.acquire() as connection:
            if uid is not None:
                found = await deployments.by_id(connection, tenant.tenant_id, uid)
            else:
                found = await deployments.by_resource_id(connection, tenant.tenant_id, resource_id)
            if found is None:
                raise NotFound("deployment", str(DeploymentName(tenant.slug, resource_id)))
            key = await self._keys.newest(connection, tenant.tenant_id) if with_key else None
        job_id = found.job_id
        if signing and job_id is not None:
            await self._database.transaction(
                lambda c: webhook_keys.note_signing(c, tenant.tenant_id, job_id)
            )
        return found, key

    async def deployments(
        self,
        tenant: TenantRef,
        wanted: DeploymentFilter,
        page: PageRequest,
        view: View,
        *,
        with_key: bool = False,
    ) -> tuple[Listed[DeploymentRecord], WebhookKey | None]:
        """Deployments in the order of ``wanted``, and the key with which their webhook URLs are written."""
        by_name = wanted.order is DeploymentOrder.NAME
        scope = ("deployments", tenant.tenant_id, *_told_apart(wanted))
        paging = Paging(scope, (str, str) if by_name else (datetime, uuid.UUID, str))
        size = paging.size(page.size)
        cursor = paging.cursor(page.token)
        epoch = await self._epoch.current()
        async with self._database.acquire() as connection:
            token = str(cursor[-1]) if cursor else await self._position(connection, tenant, epoch)
            if by_name:
                rows = await deployments.page(
                    connection,
                    tenant.tenant_id,
                    wanted,
                    after_resource_id=str(cursor[0]) if cursor else "",
                    limit=size,
                    view=view,
                )
            else:
                after = cast("tuple[datetime, uuid.UUID] | None", cursor and cursor[:2])
                rows = await deployments.page_by_age(
                    connection, tenant.tenant_id, wanted, after=after, limit=size, view=view
                )
            key = await self._keys.newest(connection, tenant.tenant_id) if with_key else None
        if by_name:
            return _listed(paging, rows, token, lambda row: (row.resource_id,)), key
        return _listed(paging, rows, token, lambda row: (row.create_time, row.deployment_id)), key

    async def run(self, tenant: TenantRef, name: RunName) -> RunRecord:
        """A run by its number."""
        async with self._database.acquire() as connection:
            found = await run_records.by_number(
                connection, tenant.tenant_id, name.deployment, name.number
            )
        if found is None:
            raise NotFound("run", str(name))
        return found

    async def run_by_id(self, tenant: TenantRef, run_id: uuid.UUID) -> RunRecord:
        """A run by its uid."""
        async with self._database.acquire() as connection:
            found = await run_records.by_id(connection, tenant.tenant_id, run_id)
        if found is None:
            raise NotFound("run", str(run_id), message="The run was deleted with its deployment.")
        return found

    async def runs(
        self,
        tenant: TenantRef,
        resource_id: str,
        page: PageRequest,
        wanted: RunFilter,
        view: View,
    ) -> Listed[RunRecord]:
        """The runs of a deployment, by their numbers."""
        paging = Paging(("runs", tenant.tenant_id, resource_id, *wanted.scope), (int, str))
        size = paging.size(page.size)
        cursor = cast("tuple[int, str] | None", paging.cursor(page.token))
        epoch = await self._epoch.current()
        async with self._database.acquire() as connection:
            token = cursor[1] if cursor else await self._position(connection, tenant, epoch)
            deployment_id = await deployments.find_id(connection, tenant.tenant_id, resource_id)
            if deployment_id is None:
                raise NotFound("deployment", str(DeploymentName(tenant.slug, resource_id)))
            rows = await run_records.of_one(
                connection,
                tenant.tenant_id,
                deployment_id,
                wanted,
                after=min(cursor[0], _HIGHEST_NUMBER) if cursor else None,
                limit=size,
                view=view,
            )
        return _listed(paging, rows, token, lambda row: (row.number,))

    async def explain(self, tenant: TenantRef, name: RunName) -> tuple[RunRecord, Trail]:
        """Return a run with its attempts, reports, events and resolutions."""
        run = await self.run(tenant, name)
        async with self._database.acquire() as connection:
            return run, await explain.trail(connection, tenant.tenant_id, run.run_id)

    async def runs_of_all(
        self, tenant: TenantRef, page: PageRequest, wanted: RunFilter, view: View
    ) -> Listed[RunRecord]:
        """The runs of all deployments, by the time of their creation."""
        paging = Paging(("runs", tenant.tenant_id, "-", *wanted.scope), (datetime, uuid.UUID, str))
        size = paging.size(page.size)
        cursor = cast("tuple[datetime, uuid.UUID, str] | None", paging.cursor(page.token))
        epoch = await self._epoch.current()
        async with self._database.acquire() as connection:
            token = cursor[2] if cursor else await self._position(connection, tenant, epoch)
            rows = await run_records.of_all(
                connection,
                tenant.tenant_id,
                wanted,
                after=(cursor[0], cursor[1]) if cursor else None,
                limit=size,
                view=view,
            )
        return _listed(paging, rows, token, lambda row: (row.create_time, row.run_id))

    async def reports_without_run(
        self, tenant: TenantRef, of: str | uuid.UUID, page: PageRequest
    ) -> tuple[list[asyncpg.Record], str]:
        """Reports that belong to no run, newest first, and the token of the next page.

        ``of``: the job's id, or the deployment that uses it. Raises NotFound.
        """
        async with self._database.acquire() as connection:
            if isinstance(of, str):
                found = await reports_without_run.job_of_deployment(
                    connection, tenant.tenant_id, of
                )
                if found is None:
                    raise NotFound("deployment", str(DeploymentName(tenant.slug, of)))
            else:
                found = await reports_without_run.find_job(connection, tenant.tenant_id, of)
                if found is None:
                    raise NotFound("job", str(of))
            paging = Paging(("reports", tenant.tenant_id, found), (int,))
            size = paging.size(page.size)
            cursor = cast("tuple[int] | None", paging.cursor(page.token))
            before = cursor[0] if cursor else _NO_DELIVERY_YET
            chunk = await reports_without_run.page(
                connection, tenant.tenant_id, found, before=before, limit=size
            )
        more = paging.token((chunk.rows[-1]["delivery_id"],)) if chunk.more else ""
        return chunk.rows, more

    async def batch_deployments(
        self, tenant: TenantRef, names: Sequence[DeploymentName], view: View, *, with_key: bool
    ) -> tuple[list[DeploymentRecord], WebhookKey | None]:
        """Deployments in the order of ``names``. Raises NotFound for the first that is missing, InvalidArgument."""
        ids = [name.deployment for name in names]
        async with self._database.acquire() as connection:
            chunk = await deployments.by_names(connection, tenant.tenant_id, ids, view)
            key = await self._keys.newest(connection, tenant.tenant_id) if with_key else None
        found = {row.resource_id: row for row in _whole(chunk)}
        for name in names:
            if name.deployment not in found:
                raise NotFound("deployment", str(name))
        return [found[one] for one in ids], key

    async def batch_runs(
        self, tenant: TenantRef, names: Sequence[RunName], view: View
    ) -> list[RunRecord]:
        """Runs in the order of ``names``. Raises NotFound for the first that is missing, InvalidArgument."""
        keys = [(name.deployment, name.number) for name in names]
        async with self._database.acquire() as connection:
            chunk = await run_records.by_names(connection, tenant.tenant_id, keys, view)
        found = {(row.deployment_resource_id, row.number): row for row in _whole(chunk)}
        for name, key in zip(names, keys, strict=True):
            if key not in found:
                raise NotFound("run", str(name))
        return [found[key] for key in keys]

    async def events(
        self,
        tenant: TenantRef,
        of: str | RunName | None,
        page: PageRequest,
        wanted: EventFilter,
    ) -> Listed[Event]:
        """The committed events of a deployment's name, of a deleted deployment, of a run, or of all."""
        paging = Paging(
            ("events", tenant.tenant_id, of or "-", *wanted.scope),
            (int, str),
            default_size=100,
            max_size=1000,
        )
        size = paging.size(page.size)
        cursor = cast("tuple[int, str] | None", paging.cursor(page.token))
        epoch = await self._epoch.current()
        async with self._database.acquire() as connection:
            token = cursor[1] if cursor else await self._position(connection, tenant, epoch)
            rows = await event_log.list_events(
                connection,
                tenant.tenant_id,
                after=cursor[0] if cursor else None,
                limit=size + 1,
                subject=await self._subject(connection, tenant, of),
                wanted=wanted,
            )
        chunk = Chunk(rows[:size], len(rows) > size)
        return _listed(paging, chunk, token, lambda row: (row.sequence,))

    async def _subject(
        self, connection: Connection, tenant: TenantRef, of: str | RunName | None
    ) -> event_log.Subject:
        if not isinstance(of, RunName):
            uid = deleted_uid(of)
            return event_log.Subject(slug=of if uid is None else None, deployment_id=uid)
        run = await run_records.by_number(connection, tenant.tenant_id, of.deployment, of.number)
        if run is None:
            raise NotFound("run", str(of))
        return event_log.Subject(deployment_id=run.deployment_id, run_number=of.number)

    async def _position(self, connection: Connection, tenant: TenantRef, epoch: bytes) -> str:
        head = await events.head(connection, tenant.tenant_id)
        return self._tokens.position(tenant.tenant_id, epoch, head)


def _whole(chunk: Chunk[Row]) -> list[Row]:
    if chunk.more:
        raise InvalidArgument(
            "names",
            "are too large for one answer: name fewer, or use VIEW_BASIC",
            reason="TOO_MANY",
        )
    return chunk.rows


def _told_apart(wanted: DeploymentFilter) -> list[object]:
    """What makes two filters the same list."""
    labels = sorted((wanted.labels or {}).items())
    kinds = [*sorted(wanted.statuses), "labels", *labels, "provider", wanted.provider_slug]
    return [*kinds, "created", *wanted.created.scope, str(wanted.show_deleted), wanted.order]


def _listed(
    paging: Paging,
    chunk: Chunk[Row],
    resume_token: str,
    cells: Callable[[Row], tuple[Cell, ...]],
) -> Listed[Row]:
    rows = chunk.rows
    token = paging.token((*cells(rows[-1]), resume_token)) if chunk.more else ""
    return Listed(rows, token, resume_token)
