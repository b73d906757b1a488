"""ReportBuilds: apply a batch of reports from the gateway, as status changes and events.

A call has one transaction for each tenant in it, so that no tenant waits for another's locks or fails with it. A
transaction has a few set-based statements. Locked jobs are waited for together, with a short timeout. A report that
the database rejects is isolated by halving the batch. So neither delays nor fails the other reports.
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
from deployment_service.storage import locks, tenants
from deployment_service.storage.database.failures import OutageLog
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.reports import pending_reports
from deployment_service.storage.reports import reports as store
from deployment_service.unit_of_work.run_unit_of_work import observe_builds
from deployment_service.unit_of_work.status_updates import jobs_to_refresh

_log = structlog.get_logger(__name__)
_OUTAGE = OutageLog("reports")

# Longer than any transaction of the service, shorter than the gateway's call timeout.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"
_TENANTS_AT_ONCE = 4
# Total wait for locked jobs. Short: the gateway waits for the answer, and the jobs locked so far stay locked meanwhile.
_WAIT_FOR_JOBS = "SET LOCAL statement_timeout = '300ms'"
_WAIT_AS_USUAL = "SELECT set_config('statement_timeout', current_setting('deployment_service.statement_timeout'), true)"
# Limit for each job of reports about builds that Jenkins has not shown.
MAX_PENDING_REPORTS = 100
_TOO_MANY_PENDING = "too many reports of this job are pending for builds that Jenkins has not shown"
_BUSY = ReportResult(Verdict.RETRY, message="the job is busy")


@dataclass(frozen=True, slots=True)
class _Item:
    """A valid report: its index in the call, the message, and its observation of the build."""

    place: int
    report: BuildReport
    observation: Observation

    @property
    def signed(self) -> tuple[uuid.UUID, str] | None:
        """Return the id of a signed delivery; None if it has none."""
        delivery_id = self.report.delivery_id
        return (self.observation.job_id, delivery_id) if delivery_id else None

    def is_trusted(self, job: store.ReportedJob) -> bool:
        """Return whether its proof suffices to apply it without a read from Jenkins."""
        return self.report.is_trusted(self.observation, token_exposed=job.token_exposed)


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
        """Apply reports and return their results, in the same order. Every result except RETRY is durable.

        If the transaction of one tenant fails, its reports get RETRY. If all fail, the call raises the first error.
        """
        results: list[ReportResult | None] = [None] * len(reports)
        groups: dict[str, list[_Item]] = {}
        for place, report in enumerate(reports):
            try:
                tenant, observation = checked(report)
            except InvalidReport as invalid:
                results[place] = ReportResult(Verdict.INVALID, message=str(invalid))
            else:
                groups.setdefault(tenant.tenant, []).append(_Item(place, report, observation))
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
            # Also after a failure: some of its transactions may be committed.
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
            # The error itself, not an ExceptionGroup: the error table maps its type, such as database unavailable.
            raise next(iter(failures.values()))
        for slug, error in failures.items():
            _OUTAGE.report_error(error, "reports.failed", tenant=slug)
        return [result or ReportResult(Verdict.RETRY) for result in results]


class _TenantWork:
    """The part of a call that belongs to one tenant."""

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
        await self._answer_tests([item for item in items if item.report.test])
        busy = await self._apply([item for item in items if not item.report.test])
        if busy:
            busy = await self._apply(busy, wait=True)
        if busy:
            # One job with a long lock made the whole group time out: apply those that are free now.
            busy = await self._apply(busy)
        for item in busy:
            self.results[item.place] = _BUSY

    async def _answer_tests(self, items: Sequence[_Item]) -> None:
        """Answer test reports, which only check the path to the service; store nothing."""
        if not items:
            return
        wanted = {item.observation.job_id for item in items}
        async with self._slots, self._database.acquire() as connection:
            known = await store.read_jobs(connection, self._tenant_id, wanted)
            mapped = await store.a_deployment(connection, self._tenant_id, wanted)
        for item in items:
            slug = mapped.get(item.observation.job_id, "")
            result = _refusal(item, known.get(item.observation.job_id))
            if result is None and not slug:
                result = _none("the job is not mapped to any deployment")
            self.results[item.place] = result or ReportResult(
                Verdict.TESTED, str(DeploymentName(self._slug, slug))
            )

    async def _apply(self, items: Sequence[_Item], *, wait: bool = False) -> list[_Item]:
        """Apply reports in one transaction; return those whose jobs are locked.

        With ``wait`` it waits for the locks; if that times out, nothing is applied and all are returned.
        """
        if not items:
            return []
        try:
            async with self._slots:
                done = await self._database.transaction(
                    lambda connection: self._transaction(connection, items, wait=wait)
                )
        except _LockTimeout:
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
                "report.refused_by_database",
                job_id=str(items[0].observation.job_id),
                error=str(error),
            )
            self.results[items[0].place] = ReportResult(
                Verdict.INVALID, message="the report cannot be stored"
            )
            return []
        middle = len(items) // 2
        first = await self._apply(items[:middle], wait=wait)
        return first + await self._apply(items[middle:], wait=wait)

    async def _transaction(
        self, connection: Connection, items: Sequence[_Item], *, wait: bool
    ) -> _Done:
        await connection.execute(_LOCK_TIMEOUT)
        wanted = {item.observation.job_id for item in items}
        locked = await self._lock(connection, wanted, wait=wait)
        known = await store.read_jobs(connection, self._tenant_id, wanted)
        signed = {item.signed for item in items if item.signed}
        before = await store.signed_before(connection, self._tenant_id, signed)
        done = _Done({}, [i for i in items if i.observation.job_id in known.keys() - locked])
        verified: list[_Item] = []
        accepted: list[_Item] = []
        for item in items:
            job = known.get(item.observation.job_id)
            if job is not None and item.observation.job_id not in locked:
                continue
            refusal = _refusal(item, job) or _replay(item, before)
            if refusal is None and job is not None and not item.is_trusted(job):
                refusal = ReportResult(Verdict.DEFERRED, message=EXPOSED)
            if refusal is None:
                accepted.append(item)
            else:
                done.results[item.place] = refusal
            if job is not None and not _is(refusal, Verdict.DUPLICATE):
                verified.append(item)
        run_ids = await self._observe(connection, accepted, done)
        done.to_read |= {
            item.observation.job_id
            for item in verified
            if _is(done.results[item.place], Verdict.WRONG_JOB, Verdict.DEFERRED)
        }
        await store.request_refresh(connection, self._tenant_id, done.to_read)
        await store.note_keys(connection, self._tenant_id, _keys(verified, done.results))
        await store.insert_deliveries(
            connection,
            self._tenant_id,
            [_delivery(i, done.results[i.place], run_ids.get(i.place)) for i in verified],
        )
        return done

    async def _lock(
        self, connection: Connection, wanted: set[uuid.UUID], *, wait: bool
    ) -> set[uuid.UUID]:
        if not wait:
            return await locks.try_lock_jobs(connection, self._tenant_id, wanted)
        await connection.execute(_WAIT_FOR_JOBS)
        try:
            locked = await locks.lock_jobs(connection, self._tenant_id, wanted)
        except asyncpg.QueryCanceledError:
            raise _LockTimeout from None
        await connection.execute(_WAIT_AS_USUAL)
        return locked

    async def _observe(
        self, connection: Connection, items: Sequence[_Item], done: _Done
    ) -> dict[int, uuid.UUID | None]:
        """Merge accepted reports; return the run to which each was attributed."""
        if not items:
            return {}
        observations = [item.observation for item in items]
        outcomes, done.sequence = await observe_builds(
            connection, self._tenant_id, observations, source=EventSource.WEBHOOK
        )
        done.to_read |= jobs_to_refresh(observations, outcomes)
        for item, outcome in zip(items, outcomes, strict=True):
            done.results[item.place] = self._result(outcome)
        await self._limit_pending(connection, items, done)
        return {item.place: o.run_id for item, o in zip(items, outcomes, strict=True)}

    async def _limit_pending(
        self, connection: Connection, items: Sequence[_Item], done: _Done
    ) -> None:
        """Defer the reports of jobs that have too many pending ones."""
        waiting = [i for i in items if _is(done.results[i.place], Verdict.PENDING_ATTRIBUTION)]
        if not waiting:
            return
        jobs = {item.observation.job_id for item in waiting}
        counts = await pending_reports.counts(connection, self._tenant_id, jobs)
        for item in waiting:
            count = counts[item.observation.job_id] = counts.get(item.observation.job_id, 0) + 1
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


class _LockTimeout(Exception):
    """A job stayed locked for too long."""


@dataclass(slots=True)
class _Done:
    """The effects of one transaction; used only after its commit."""

    results: dict[int, ReportResult]
    busy: list[_Item]
    sequence: int | None = None
    to_read: set[uuid.UUID] = field(default_factory=set)


def _refusal(item: _Item, job: store.ReportedJob | None) -> ReportResult | None:
    """Return the refusal of a report that is not about the job that its sender was verified for, else None."""
    if job is None:
        return _none("no such job")
    if item.observation.job_path and not job_path_matches(job.full_name, item.observation.job_path):
        message = f"the token is for the job '{job.full_name}'"
        return ReportResult(Verdict.WRONG_JOB, message=message)
    return None


def _replay(item: _Item, before: set[tuple[uuid.UUID, str]]) -> ReportResult | None:
    """Return the answer to a replayed delivery, else None; add new deliveries to ``before``."""
    if item.signed in before:
        return ReportResult(Verdict.DUPLICATE, message="this delivery was received before")
    if item.signed:
        before.add(item.signed)
    return None


def _is(result: ReportResult | None, *verdicts: Verdict) -> bool:
    return result is not None and result.verdict in verdicts


def _keys(
    verified: Sequence[_Item], results: dict[int, ReportResult]
) -> set[tuple[uuid.UUID, str, bool]]:
    """Return which keys each job uses, by signature or token. Reports with another job's token do not count."""
    return {
        (item.observation.job_id, item.report.key_id, item.report.proof is Proof.SIGNATURE)
        for item in verified
        if item.report.key_id and not _is(results[item.place], Verdict.WRONG_JOB)
    }


def _none(message: str) -> ReportResult:
    return ReportResult(Verdict.NO_MAPPING, message=message)


def _delivery(item: _Item, result: ReportResult, run_id: uuid.UUID | None) -> store.Delivery:
    report, observation = item.report, item.observation
    return store.Delivery(
        job_id=observation.job_id,
        build_number=observation.build_ref.number,
        run_id=run_id,
        source=report.source,
        phase=report.phase,
        status=observation.status_text,
        rank=observation.state.rank,
        queue_id=observation.build_ref.queue_id,
        sender_timestamp_ms=report.sender_timestamp_ms or None,
        verdict=result.verdict,
        message=result.message,
        signed_id=report.delivery_id or None,
        receive_time=report.receive_time or datetime.now(UTC),
        named_run_id=observation.build_ref.run_id,
        gateway_key_id=report.gateway_key_id,
    )
