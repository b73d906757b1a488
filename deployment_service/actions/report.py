"""ReportBuilds: what the gateway hands over becomes status and events.

A call is one transaction for each tenant in it (no tenant waits for another's locks) of a few
set-based statements. What somebody else holds goes in a transaction of its own, and a report that
the database won't take is found by halving: neither fails nor delays its neighbours.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
import structlog

from deployment_service.actions.observe import jobs_to_poke, observe_builds
from deployment_service.cicd.names import job_path_matches
from deployment_service.domain.attribution import Observation, Outcome, Verdict
from deployment_service.domain.events import EventSource
from deployment_service.domain.names import DeploymentName, TenantName
from deployment_service.domain.reports import (
    BuildReport,
    JobPoke,
    ReportResult,
    Senseless,
    checked,
    job_id,
)
from deployment_service.domain.status import DeploymentStatus
from deployment_service.storage import reports as store
from deployment_service.storage.database import Connection, Database

_log = structlog.get_logger(__name__)

# Long enough for any transaction of ours, short enough to answer within the gateway's patience.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"
_TENANTS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class _Item:
    """A report that makes sense: its place in the call, what it says, what it claims."""

    place: int
    report: BuildReport
    seen: Observation


class ReportBuilds:
    """The use case. ``committed(tenant_id)`` is called after each commit that appended events,
    ``poked()`` after one that asked for jobs to be read."""

    def __init__(
        self,
        database: Database,
        *,
        committed: Callable[[uuid.UUID], None],
        poked: Callable[[], None],
    ) -> None:
        self._database = database
        self._committed = committed
        self._poked = poked
        self._slots = asyncio.Semaphore(_TENANTS_AT_ONCE)

    async def __call__(
        self, reports: Sequence[BuildReport], pokes: Sequence[JobPoke] = ()
    ) -> list[ReportResult]:
        """Apply reports and return what each did, in their order. Every result but RETRY is durable."""
        results: list[ReportResult | None] = [None] * len(reports)
        groups: dict[str, list[_Item]] = {}
        for place, report in enumerate(reports):
            try:
                tenant, seen = checked(report)
            except Senseless as why:
                results[place] = ReportResult(Verdict.INVALID, message=str(why))
            else:
                groups.setdefault(tenant.tenant, []).append(_Item(place, report, seen))
        wishes = _wishes(pokes)
        async with self._database.acquire() as connection:
            tenant_ids = await store.tenant_ids(connection, {*groups, *wishes})

        async def one_tenant(slug: str) -> None:
            items = groups.get(slug, [])
            if slug not in tenant_ids:
                for item in items:
                    results[item.place] = _none("no such tenant")
                return
            work = _TenantWork(self._database, tenant_ids[slug], slug)
            async with self._slots:
                await work.run(items, wishes.get(slug, set()))
            for place, result in work.results.items():
                results[place] = result
            if work.appended:
                self._committed(tenant_ids[slug])
            if work.poked:
                self._poked()

        async with asyncio.TaskGroup() as group:
            for slug in {*groups, *wishes}:
                group.create_task(one_tenant(slug))
        return [result or ReportResult(Verdict.RETRY) for result in results]


class _TenantWork:
    """The part of a call that is one tenant's."""

    def __init__(self, database: Database, tenant_id: uuid.UUID, slug: str) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self._slug = slug
        self.results: dict[int, ReportResult] = {}
        self.appended = False
        self.poked = False

    async def run(self, items: Sequence[_Item], wishes: set[uuid.UUID]) -> None:
        blocked = await self._apply(items, skip_locked=True)
        for job in sorted({item.seen.job_id for item in blocked}):
            await self._apply([i for i in blocked if i.seen.job_id == job], skip_locked=False)
        if wishes:
            await self._database.transaction(
                lambda connection: store.poke(connection, self._tenant_id, wishes)
            )
            self.poked = True

    async def _apply(self, items: Sequence[_Item], *, skip_locked: bool) -> list[_Item]:
        """Apply reports in one transaction; return those whose jobs somebody else holds."""
        if not items:
            return []
        try:
            done = await self._database.transaction(
                lambda connection: self._transaction(connection, items, skip_locked=skip_locked)
            )
        except asyncpg.LockNotAvailableError:
            for item in items:
                self.results[item.place] = ReportResult(Verdict.RETRY, message="the job is busy")
            return []
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            return await self._halve(items, error, skip_locked=skip_locked)
        self.results |= done.results
        self.appended |= done.sequence is not None
        self.poked |= done.poked
        return done.blocked

    async def _halve(
        self, items: Sequence[_Item], error: Exception, *, skip_locked: bool
    ) -> list[_Item]:
        if len(items) == 1:
            _log.error(
                "report refused by the database", job_id=str(items[0].seen.job_id), error=str(error)
            )
            self.results[items[0].place] = ReportResult(
                Verdict.INVALID, message="the report can't be stored"
            )
            return []
        middle = len(items) // 2
        first = await self._apply(items[:middle], skip_locked=skip_locked)
        return first + await self._apply(items[middle:], skip_locked=skip_locked)

    async def _transaction(
        self, connection: Connection, items: Sequence[_Item], *, skip_locked: bool
    ) -> _Done:
        await connection.execute(_LOCK_TIMEOUT)
        wanted = {item.seen.job_id for item in items}
        locked = await store.lock_jobs(connection, self._tenant_id, wanted, skip_locked=skip_locked)
        known = await store.read_jobs(connection, self._tenant_id, wanted)
        done = _Done({}, [])
        right: list[_Item] = []
        for item in items:
            job = known.get(item.seen.job_id)
            if job is None:
                done.results[item.place] = _none("no such job")
            elif item.seen.job_id not in locked:
                done.blocked.append(item)
            elif item.seen.job_path and not job_path_matches(job.full_name, item.seen.job_path):
                done.results[item.place] = ReportResult(
                    Verdict.WRONG_JOB, message=f"the token is for the job '{job.full_name}'"
                )
            else:
                right.append(item)
        wrong = {i.seen.job_id for i in items if _is_wrong(done.results.get(i.place))}
        outcomes: list[Outcome] = []
        if right:
            seen = [item.seen for item in right]
            outcomes, done.sequence = await observe_builds(
                connection, self._tenant_id, seen, source=EventSource.WEBHOOK
            )
            wrong |= jobs_to_poke(seen, outcomes)
            for item, outcome in zip(right, outcomes, strict=True):
                done.results[item.place] = self._result(outcome)
        done.poked = bool(wrong)
        await store.poke(connection, self._tenant_id, wrong)
        run_ids = {item.place: o.run_id for item, o in zip(right, outcomes, strict=True)}
        await store.insert_deliveries(
            connection,
            self._tenant_id,
            [
                _delivery(item, done.results[item.place], run_ids.get(item.place))
                for item in items
                if item.place in done.results and item.seen.job_id in known
            ],
        )
        return done

    def _result(self, outcome: Outcome) -> ReportResult:
        name = outcome.deployment_slug
        return ReportResult(
            outcome.verdict,
            str(DeploymentName(self._slug, name)) if name else "",
            DeploymentStatus(outcome.old_status) if outcome.old_status else None,
            DeploymentStatus(outcome.status) if outcome.status else None,
            outcome.message,
        )


@dataclass(slots=True)
class _Done:
    """What one transaction did; taken over only after its commit."""

    results: dict[int, ReportResult]
    blocked: list[_Item]
    sequence: int | None = None
    poked: bool = False


def _is_wrong(result: ReportResult | None) -> bool:
    return result is not None and result.verdict is Verdict.WRONG_JOB


def _none(message: str) -> ReportResult:
    return ReportResult(Verdict.NO_MAPPING, message=message)


def _wishes(pokes: Sequence[JobPoke]) -> dict[str, set[uuid.UUID]]:
    wishes: dict[str, set[uuid.UUID]] = {}
    for poke in pokes:
        try:
            tenant = TenantName.parse(poke.tenant, field="tenant").tenant
            wishes.setdefault(tenant, set()).add(job_id(poke.cicd_job_id))
        except Exception as error:
            _log.warning("senseless poke", error=str(error))
    return wishes


def _delivery(item: _Item, result: ReportResult, run_id: uuid.UUID | None) -> store.Delivery:
    report, seen = item.report, item.seen
    return store.Delivery(
        job_id=seen.job_id,
        build_number=seen.sighting.number,
        run_id=run_id,
        source=report.source,
        phase=report.phase,
        status=seen.word,
        rank=seen.known.rank,
        queue_id=seen.sighting.queue_id,
        sender_timestamp_ms=report.sender_timestamp_ms or None,
        verdict=result.verdict,
        message=result.message,
        receive_time=report.receive_time or datetime.now(UTC),
    )
