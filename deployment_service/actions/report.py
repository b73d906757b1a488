"""ReportBuilds: what the gateway hands over becomes status and events.

A call is one transaction for each tenant in it (no tenant waits for another's locks, none fails with
another) of a few set-based statements. What somebody else holds is waited for, all of it together and not
for long, and a report that the database won't take is found by halving: neither fails nor delays its
neighbours.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import asyncpg
import structlog

from deployment_service.actions.refresh_requests import RefreshRequests, requested_reads
from deployment_service.cicd.names import job_path_matches
from deployment_service.domain.attribution import EXPOSED, Observation, Outcome, Verdict
from deployment_service.domain.events import EventSource
from deployment_service.domain.names import DeploymentName
from deployment_service.domain.reports import (
    BuildReport,
    InvalidReport,
    Proof,
    RefreshRequest,
    ReportResult,
    checked,
)
from deployment_service.domain.status import DeploymentStatus
from deployment_service.storage import tenants
from deployment_service.storage.database.failures import OutageLog
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.reports import pending_reports
from deployment_service.storage.reports import reports as store
from deployment_service.unit_of_work.run_unit_of_work import observe_builds
from deployment_service.unit_of_work.status_updates import jobs_to_refresh

_log = structlog.get_logger(__name__)
_OUTAGE = OutageLog("reports")

# Long enough for any transaction of ours, short enough to answer within the gateway's patience.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"
_TENANTS_AT_ONCE = 4
# Jobs that somebody holds are waited for, in turn with everybody else, for so long in all: the gateway waits for
# the call's answer, and the jobs that one has got already are held meanwhile.
_WAIT_FOR_JOBS = "SET LOCAL statement_timeout = '300ms'"
_WAIT_AS_USUAL = "SELECT set_config('statement_timeout', current_setting('deployment_service.statement_timeout'), true)"
# A job may have so many reports about builds that Jenkins has not shown.
MAX_PENDING_REPORTS = 100
_TOO_MANY_PENDING = "too many reports of this job wait for builds that Jenkins has not shown"
_BUSY = ReportResult(Verdict.RETRY, message="the job is busy")


@dataclass(frozen=True, slots=True)
class _Item:
    """A report that makes sense: its place in the call, what it says, what it claims."""

    place: int
    report: BuildReport
    seen: Observation

    @property
    def signed(self) -> tuple[uuid.UUID, str] | None:
        """The name of a signed delivery; None if it has none."""
        name = self.report.delivery_id
        return (self.seen.job_id, name) if name else None

    def is_trusted(self, job: store.ReportedJob) -> bool:
        """Whether its word is taken as it is."""
        return self.report.is_trusted(self.seen, token_exposed=job.token_exposed)


class ReportBuilds:
    """The use case. ``committed(tenant_id)`` is called after each commit that appended events,
    ``reported()`` too, as an end may be among them; ``refresh_requested()`` after one with refresh requests."""

    def __init__(
        self,
        database: Database,
        *,
        committed: Callable[[uuid.UUID], None],
        reported: Callable[[], None],
        refresh_requested: Callable[[], None],
    ) -> None:
        self._database = database
        self._committed = committed
        self._reported = reported
        self._refresh_requested = refresh_requested
        self._refresh_requests = RefreshRequests(database, refresh_requested)
        self._slots = asyncio.Semaphore(_TENANTS_AT_ONCE)

    async def __call__(
        self, reports: Sequence[BuildReport], refresh_requests: Sequence[RefreshRequest] = ()
    ) -> list[ReportResult]:
        """Apply reports and return what each did, in their order. Every result but RETRY is durable.

        A tenant whose part fails gets RETRY; only if nothing else came of the call does it fail.
        """
        results: list[ReportResult | None] = [None] * len(reports)
        groups: dict[str, list[_Item]] = {}
        for place, report in enumerate(reports):
            try:
                tenant, seen = checked(report)
            except InvalidReport as why:
                results[place] = ReportResult(Verdict.INVALID, message=str(why))
            else:
                groups.setdefault(tenant.tenant, []).append(_Item(place, report, seen))
        requested = requested_reads(refresh_requests)
        async with self._database.acquire() as connection:
            tenant_ids = await tenants.ids_by_slug(connection, {*groups, *requested})

        failures: dict[str, Exception] = {}

        async def one_tenant(slug: str) -> None:
            items = groups.get(slug, [])
            if slug not in tenant_ids:
                for item in items:
                    results[item.place] = _none("no such tenant")
                return
            work = _TenantWork(self._database, self._slots, tenant_ids[slug], slug)
            try:
                await work.run(items)
            except Exception as error:
                failures[slug] = error
            # Also of one that failed: what is committed is, and told.
            for place, result in work.results.items():
                results[place] = result
            if work.appended:
                self._committed(tenant_ids[slug])
                self._reported()
            if work.refresh_requested:
                self._refresh_requested()
            if slug in requested:
                async with self._slots:
                    await self._refresh_requests.place(tenant_ids[slug], requested[slug])

        async with asyncio.TaskGroup() as group:
            for slug in {*groups, *requested}:
                group.create_task(one_tenant(slug))
        if failures and not any(results):
            # As it is, not in a group: it says whether the database is away.
            raise next(iter(failures.values()))
        for slug, error in failures.items():
            _OUTAGE.report_error(error, "a tenant's reports failed", tenant=slug)
        return [result or ReportResult(Verdict.RETRY) for result in results]


class _TenantWork:
    """The part of a call that is one tenant's."""

    def __init__(
        self, database: Database, slots: asyncio.Semaphore, tenant_id: uuid.UUID, slug: str
    ) -> None:
        self._database = database
        self._slots = slots
        self._tenant_id = tenant_id
        self._slug = slug
        self.results: dict[int, ReportResult] = {}
        self.appended = False
        self.refresh_requested = False

    async def run(self, items: Sequence[_Item]) -> None:
        await self._try_out([item for item in items if item.report.test])
        busy = await self._apply([item for item in items if not item.report.test])
        if busy:
            busy = await self._apply(busy, wait=True)
        if busy:
            # One of them that is held for long made all wait in vain.
            busy = await self._apply(busy)
        for item in busy:
            self.results[item.place] = _BUSY

    async def _try_out(self, items: Sequence[_Item]) -> None:
        """Answer reports that only try the way to here, without writing anything."""
        if not items:
            return
        wanted = {item.seen.job_id for item in items}
        async with self._slots, self._database.acquire() as connection:
            known = await store.read_jobs(connection, self._tenant_id, wanted)
            mapped = await store.a_deployment(connection, self._tenant_id, wanted)
        for item in items:
            slug = mapped.get(item.seen.job_id, "")
            result = _refusal(item, known.get(item.seen.job_id))
            if result is None and not slug:
                result = _none("the job isn't mapped to any deployment")
            self.results[item.place] = result or ReportResult(
                Verdict.TESTED, str(DeploymentName(self._slug, slug))
            )

    async def _apply(self, items: Sequence[_Item], *, wait: bool = False) -> list[_Item]:
        """Apply reports in one transaction; return those whose jobs somebody else holds.

        With ``wait`` it waits for them a little; if that is in vain all are returned.
        """
        if not items:
            return []
        try:
            async with self._slots:
                done = await self._database.transaction(
                    lambda connection: self._transaction(connection, items, wait=wait)
                )
        except _WaitedInVain:
            return list(items)
        except asyncpg.LockNotAvailableError:
            for item in items:
                self.results[item.place] = _BUSY
            return []
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            return await self._halve(items, error, wait=wait)
        self.results |= done.results
        self.appended |= done.sequence is not None
        self.refresh_requested |= bool(done.to_read)
        return done.busy

    async def _halve(self, items: Sequence[_Item], error: Exception, *, wait: bool) -> list[_Item]:
        if len(items) == 1:
            _log.error(
                "report refused by the database", job_id=str(items[0].seen.job_id), error=str(error)
            )
            self.results[items[0].place] = ReportResult(
                Verdict.INVALID, message="the report can't be stored"
            )
            return []
        middle = len(items) // 2
        first = await self._apply(items[:middle], wait=wait)
        return first + await self._apply(items[middle:], wait=wait)

    async def _transaction(
        self, connection: Connection, items: Sequence[_Item], *, wait: bool
    ) -> _Done:
        await connection.execute(_LOCK_TIMEOUT)
        wanted = {item.seen.job_id for item in items}
        locked = await self._lock(connection, wanted, wait=wait)
        known = await store.read_jobs(connection, self._tenant_id, wanted)
        signed = {item.signed for item in items if item.signed}
        before = await store.signed_before(connection, self._tenant_id, signed)
        done = _Done({}, [i for i in items if i.seen.job_id in known.keys() - locked])
        heard: list[_Item] = []
        right: list[_Item] = []
        for item in items:
            job = known.get(item.seen.job_id)
            if job is not None and item.seen.job_id not in locked:
                continue
            refusal = _refusal(item, job) or _replay(item, before)
            if refusal is None and job is not None and not item.is_trusted(job):
                refusal = ReportResult(Verdict.DEFERRED, message=EXPOSED)
            if refusal is None:
                right.append(item)
            else:
                done.results[item.place] = refusal
            if job is not None and not _is(refusal, Verdict.DUPLICATE):
                heard.append(item)
        run_ids = await self._observe(connection, right, done)
        done.to_read |= {
            item.seen.job_id
            for item in heard
            if _is(done.results[item.place], Verdict.WRONG_JOB, Verdict.DEFERRED)
        }
        await store.request_refresh(connection, self._tenant_id, done.to_read)
        await store.note_keys(connection, self._tenant_id, _keys(heard, done.results))
        await store.insert_deliveries(
            connection,
            self._tenant_id,
            [_delivery(i, done.results[i.place], run_ids.get(i.place)) for i in heard],
        )
        return done

    async def _lock(
        self, connection: Connection, wanted: set[uuid.UUID], *, wait: bool
    ) -> set[uuid.UUID]:
        if not wait:
            return await store.lock_jobs(connection, self._tenant_id, wanted, skip_locked=True)
        await connection.execute(_WAIT_FOR_JOBS)
        try:
            locked = await store.lock_jobs(connection, self._tenant_id, wanted)
        except asyncpg.QueryCanceledError:
            raise _WaitedInVain from None
        await connection.execute(_WAIT_AS_USUAL)
        return locked

    async def _observe(
        self, connection: Connection, items: Sequence[_Item], done: _Done
    ) -> dict[int, uuid.UUID | None]:
        """Merge reports that are believed; return the run that each turned out to be about."""
        if not items:
            return {}
        seen = [item.seen for item in items]
        outcomes, done.sequence = await observe_builds(
            connection, self._tenant_id, seen, source=EventSource.WEBHOOK
        )
        done.to_read |= jobs_to_refresh(seen, outcomes)
        for item, outcome in zip(items, outcomes, strict=True):
            done.results[item.place] = self._result(outcome)
        await self._limit_pending(connection, items, done)
        return {item.place: o.run_id for item, o in zip(items, outcomes, strict=True)}

    async def _limit_pending(
        self, connection: Connection, items: Sequence[_Item], done: _Done
    ) -> None:
        """Defer what goes beyond the pending reports that a job may have."""
        waiting = [i for i in items if _is(done.results[i.place], Verdict.PENDING_ATTRIBUTION)]
        if not waiting:
            return
        jobs = {item.seen.job_id for item in waiting}
        counts = await pending_reports.counts(connection, self._tenant_id, jobs)
        for item in waiting:
            count = counts[item.seen.job_id] = counts.get(item.seen.job_id, 0) + 1
            if count > MAX_PENDING_REPORTS:
                done.results[item.place] = ReportResult(Verdict.DEFERRED, message=_TOO_MANY_PENDING)

    def _result(self, outcome: Outcome) -> ReportResult:
        name = outcome.deployment_slug
        return ReportResult(
            outcome.verdict,
            str(DeploymentName(self._slug, name)) if name else "",
            DeploymentStatus(outcome.old_status) if outcome.old_status else None,
            DeploymentStatus(outcome.status) if outcome.status else None,
            outcome.message,
        )


class _WaitedInVain(Exception):
    """Somebody held a job for too long."""


@dataclass(slots=True)
class _Done:
    """What one transaction did; taken over only after its commit."""

    results: dict[int, ReportResult]
    busy: list[_Item]
    sequence: int | None = None
    to_read: set[uuid.UUID] = field(default_factory=set)


def _refusal(item: _Item, job: store.ReportedJob | None) -> ReportResult | None:
    """Why a report can't be about the job that its sender was verified for; None if it can."""
    if job is None:
        return _none("no such job")
    if item.seen.job_path and not job_path_matches(job.full_name, item.seen.job_path):
        message = f"the token is for the job '{job.full_name}'"
        return ReportResult(Verdict.WRONG_JOB, message=message)
    return None


def _replay(item: _Item, before: set[tuple[uuid.UUID, str]]) -> ReportResult | None:
    """The answer to a signed delivery that was taken before. Notes those that are taken now."""
    if item.signed in before:
        return ReportResult(Verdict.DUPLICATE, message="this delivery was taken before")
    if item.signed:
        before.add(item.signed)
    return None


def _is(result: ReportResult | None, *verdicts: Verdict) -> bool:
    return result is not None and result.verdict in verdicts


def _keys(
    heard: Sequence[_Item], results: dict[int, ReportResult]
) -> set[tuple[uuid.UUID, str, bool]]:
    """With which keys each job was heard, by signature or token. A token in another job's hands doesn't tell."""
    return {
        (item.seen.job_id, item.report.key_id, item.report.proof is Proof.SIGNATURE)
        for item in heard
        if item.report.key_id and not _is(results[item.place], Verdict.WRONG_JOB)
    }


def _none(message: str) -> ReportResult:
    return ReportResult(Verdict.NO_MAPPING, message=message)


def _delivery(item: _Item, result: ReportResult, run_id: uuid.UUID | None) -> store.Delivery:
    report, seen = item.report, item.seen
    return store.Delivery(
        job_id=seen.job_id,
        build_number=seen.build_ref.number,
        run_id=run_id,
        source=report.source,
        phase=report.phase,
        status=seen.status_text,
        rank=seen.state.rank,
        queue_id=seen.build_ref.queue_id,
        sender_timestamp_ms=report.sender_timestamp_ms or None,
        verdict=result.verdict,
        message=result.message,
        signed_id=report.delivery_id or None,
        receive_time=report.receive_time or datetime.now(UTC),
        named_run_id=seen.build_ref.run_id,
        gateway_key_id=report.gateway_key_id,
    )
