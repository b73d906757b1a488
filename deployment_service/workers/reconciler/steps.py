"""The commits of the reconciler: Jenkins' own answers, merged in the same way as webhooks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime

from deployment_service.domain.attribution import Observation, Outcome
from deployment_service.domain.events import EventSource, WaitingFor
from deployment_service.domain.problems import Problem
from deployment_service.domain.run_transitions import end_without_build
from deployment_service.domain.run_waiting import wait_for
from deployment_service.domain.runs import Run, RunSource
from deployment_service.domain.status import FailureCause
from deployment_service.storage import locks, problems
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.reports import pending_reports, reports
from deployment_service.storage.runs import cancel, reconcile
from deployment_service.storage.runs.reconcile import ReadJob, Unconfirmed
from deployment_service.unit_of_work.run_unit_of_work import (
    RunUnitOfWork,
    observe_builds,
)
from deployment_service.unit_of_work.status_updates import jobs_to_refresh

# A transaction locks the jobs of its runs, so many runs are written in several transactions.
_RUNS_PER_TRANSACTION = 100


class ReconcileSteps:
    """The commits of one reconciler; ``committed(tenant_id)`` follows those that appended events."""

    def __init__(self, database: Database, committed: Callable[[uuid.UUID], None]) -> None:
        self._database = database
        self._committed = committed

    async def observe(
        self, tenant_id: uuid.UUID, observations: Sequence[Observation]
    ) -> list[Outcome]:
        """Merge reads of builds of one tenant; return the outcome of each. Builds of deleted jobs are left out."""

        async def work(connection: Connection) -> tuple[list[Outcome], int | None]:
            locked = await locks.lock_jobs(
                connection, tenant_id, {one.job_id for one in observations}
            )
            existing = [one for one in observations if one.job_id in locked]
            if not existing:
                return [], None
            outcomes, sequence = await observe_builds(
                connection, tenant_id, existing, source=EventSource.READ
            )
            await reports.request_refresh(
                connection, tenant_id, jobs_to_refresh(existing, outcomes)
            )
            return outcomes, sequence

        outcomes, sequence = await self._database.transaction(work)
        if sequence is not None:
            self._committed(tenant_id)
        return outcomes

    async def job_read(
        self,
        job: ReadJob,
        next_build_number: int,
        observations: Sequence[Observation],
        *,
        refresh_request_time: datetime | None,
        sweep_s: float,
        absent: Collection[int] | None,
        probe_interval_s: float,
    ) -> list[Outcome]:
        """Merge the read of a whole job. Its next number comes first: it shows whether the job was created again.

        ``absent``: issued numbers that pending reports name and Jenkins did not show; None: it did not show the job.
        """

        async def work(connection: Connection) -> tuple[list[Outcome], int | None]:
            if not await locks.lock_jobs(connection, job.tenant_id, [job.job_id]):
                return [], None
            await reconcile.note_number(
                connection,
                job.tenant_id,
                job.job_id,
                next_build_number,
                generation=job.generation,
                asked_time=job.asked_time,
            )
            await reconcile.job_was_read(connection, job, refresh_request_time, sweep_s=sweep_s)
            proven_absent: list[int] = []
            if absent is not None:
                proven_absent = await pending_reports.note_probe(
                    connection,
                    job.tenant_id,
                    job.job_id,
                    next_build_number=next_build_number,
                    absent=absent,
                    read_time=job.asked_time,
                    interval_s=probe_interval_s,
                )
            await pending_reports.read_again(
                connection, job.tenant_id, job.job_id, in_s=probe_interval_s
            )
            if not observations and not proven_absent:
                return [], None
            return await observe_builds(
                connection,
                job.tenant_id,
                observations,
                source=EventSource.READ,
                removed_builds=[(job.job_id, number) for number in proven_absent],
            )

        outcomes, sequence = await self._database.transaction(work)
        if sequence is not None:
            self._committed(job.tenant_id)
        return outcomes

    async def pending_numbers(self, job: ReadJob) -> list[int]:
        """Read which builds the pending reports of a job name."""
        async with self._database.acquire() as connection:
            return await pending_reports.numbers(connection, job.tenant_id, job.job_id)

    async def job_not_read(self, job: ReadJob, *, again_in_s: float) -> None:
        """Note a job that could not be read: it is read again in ``again_in_s`` seconds, requested or not."""

        async def work(connection: Connection) -> None:
            await reconcile.job_was_not_read(connection, job, again_in_s=again_in_s)

        await self._database.transaction(work)

    async def made_again(self, job: ReadJob, next_build_number: int) -> None:
        """Begin a new generation of the job: a number that a run has is another build's now."""

        async def work(connection: Connection) -> None:
            await locks.lock_jobs(connection, job.tenant_id, [job.job_id])
            await reconcile.made_again(
                connection, job.tenant_id, job.job_id, next_build_number, generation=job.generation
            )

        await self._database.transaction(work)

    async def not_its_build(self, item: Unconfirmed) -> None:
        """Detach a run from a number that only a report gave it, and under which Jenkins shows no build of the run."""
        job, run = item.job, item.run

        async def work(connection: Connection) -> int | None:
            await locks.lock_jobs(connection, job.tenant_id, [job.job_id])
            unit = await RunUnitOfWork.open(
                connection,
                job.tenant_id,
                [job.job_id],
                source=EventSource.READ,
                run_ids=[run.run_id],
            )
            stored = unit.run(run.run_id)
            if stored is None or _has_moved(stored, run):
                return None
            if stored.source is RunSource.SERVICE:
                unit.detach_build(stored)
            else:
                unit.detach_external_build(stored)
            return await unit.write()

        if await self._database.transaction(work) is not None:
            self._committed(job.tenant_id)

    async def unchanged(
        self,
        tenant_id: uuid.UUID,
        unchanged: Sequence[tuple[Run, WaitingFor | None, str]],
    ) -> None:
        """Note that runs were observed without a change, with (run, waiting_for, waiting_reason) of each.

        A run whose ``waiting_for`` has changed gets an event about that first.
        """
        waiting = sorted(
            ((run, waits, why) for run, waits, why in unchanged if run.waiting_for is not waits),
            key=lambda one: one[0].run_id,
        )
        written: set[uuid.UUID] = set()
        for start in range(0, len(waiting), _RUNS_PER_TRANSACTION):
            part = waiting[start : start + _RUNS_PER_TRANSACTION]
            written |= await self._wait_for(tenant_id, part)

        async def work(connection: Connection) -> None:
            rows = [
                (run.run_id, waits, why)
                for run, waits, why in unchanged
                if run.waiting_for is waits or run.run_id in written
            ]
            await reconcile.note_seen(connection, tenant_id, sorted(rows, key=lambda row: row[0]))

        await self._database.transaction(work)

    async def _wait_for(
        self, tenant_id: uuid.UUID, changed: Sequence[tuple[Run, WaitingFor | None, str]]
    ) -> set[uuid.UUID]:
        """Write what runs wait for and append the events about it; return the runs that were written."""
        job_ids = {run.job_id for run, *_ in changed}

        async def work(connection: Connection) -> tuple[set[uuid.UUID], int | None]:
            written = set()
            await locks.lock_jobs(connection, tenant_id, job_ids)
            unit = await RunUnitOfWork.open(
                connection,
                tenant_id,
                job_ids,
                source=EventSource.READ,
                run_ids=[run.run_id for run, *_ in changed],
            )
            for run, waits, why in changed:
                stored = unit.run(run.run_id)
                # If it has moved since it was read, the next cycle reads it again.
                if stored is None or _has_moved(stored, run):
                    continue
                moved, transitions = wait_for(stored, waits, why)
                unit.move(replace(moved, last_observed_time=unit.now), transitions)
                written.add(run.run_id)
            return written, await unit.write()

        written, sequence = await self._database.transaction(work)
        if sequence is not None:
            self._committed(tenant_id)
        return written

    async def asked(self, item: Unconfirmed) -> None:
        """Note a probe that did not find the build of a run that has ended: it is probed again later."""

        async def work(connection: Connection) -> None:
            await reconcile.note_asked(connection, item.job.tenant_id, item.run.run_id)

        await self._database.transaction(work)

    async def cancel_sent(self, item: Unconfirmed) -> None:
        """Note that Jenkins was asked to cancel the run: the request is repeated only after a while."""

        async def work(connection: Connection) -> None:
            await reconcile.note_cancel_sent(connection, item.job.tenant_id, item.run.run_id)

        await self._database.transaction(work)

    async def cancel_failed(self, item: Unconfirmed, problem: Problem, *, answered: bool) -> None:
        """Note why the run could not be cancelled. ``answered``: the request is repeated only after a while."""

        async def work(connection: Connection) -> None:
            await problems.note_cancel_failed(
                connection, item.job.tenant_id, item.run.run_id, problem, answered=answered
            )

        await self._database.transaction(work)

    async def stopped(self, item: Unconfirmed) -> None:
        """Note that the build of a deleted deployment's run has ended in Jenkins."""

        async def work(connection: Connection) -> None:
            await cancel.stopped(connection, item.job.tenant_id, item.run.run_id)

        await self._database.transaction(work)

    async def missing(self, item: Unconfirmed) -> None:
        """Note that a probe did not find the run."""

        async def work(connection: Connection) -> None:
            await reconcile.note_missing(connection, item.job.tenant_id, item.run.run_id)

        await self._database.transaction(work)

    async def end(
        self, item: Unconfirmed, cause: FailureCause, message: str, *, certain: bool
    ) -> None:
        """End a run as the reads conclude, unless the run has changed since they began."""
        job, run = item.job, item.run

        async def work(connection: Connection) -> int | None:
            await locks.lock_jobs(connection, job.tenant_id, [job.job_id])
            unit = await RunUnitOfWork.open(
                connection,
                job.tenant_id,
                [job.job_id],
                source=EventSource.READ,
                numbers=[run.build.number] if run.build else (),
                run_ids=[run.run_id],
            )
            stored = unit.run(run.run_id)
            # If the run has moved since it was read, the next cycle reads it again.
            if stored is None or _has_moved(stored, run):
                return None
            highest = unit.highest_build(stored.deployment_id)
            moved, transitions = end_without_build(
                stored,
                cause,
                message,
                certain=certain,
                highest=highest,
                now=unit.now,
                time=job.asked_time,
            )
            if moved is stored:
                return None
            unit.move(moved, transitions)
            return await unit.write()

        if await self._database.transaction(work) is not None:
            self._committed(job.tenant_id)


def _has_moved(stored: Run, run: Run) -> bool:
    """Return whether anything was reported or read of ``run`` since it was loaded, whatever its rank."""
    return (stored.evidence, stored.build, stored.unsaved_result, stored.last_observed_time) != (
        run.evidence,
        run.build,
        run.unsaved_result,
        run.last_observed_time,
    )
