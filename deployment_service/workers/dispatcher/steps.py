"""The commits of an attempt: announce a request, settle its answer, settle a probe.

Each is one short transaction without network I/O, fenced by the attempt that was claimed. What a process decides
after another one has claimed the run changes nothing (``LeaseLost``).
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from deployment_service.cicd.job_rules import correlation_of
from deployment_service.cicd.port import BuildView, JobView, TriggerOutcome, TriggerReply
from deployment_service.domain.attribution import BuildRef, Observation
from deployment_service.domain.events import EventSource
from deployment_service.domain.jobs import Correlation
from deployment_service.domain.run_transitions import (
    ACCEPTED_BY_JENKINS,
    end_without_build,
    observe,
)
from deployment_service.domain.secret_values import SplitValues, redact
from deployment_service.domain.status import FailureCause, UnstablePolicy, from_read
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.reports import reports
from deployment_service.storage.runs import dispatch, reconcile
from deployment_service.storage.runs.dispatch import Claimed
from deployment_service.unit_of_work.run_unit_of_work import RunUnitOfWork
from deployment_service.workers.job_provisioner.drift import grant_repair, note_correlation


class LeaseLost(Exception):
    """Another dispatcher has claimed the run since, or its state has changed."""


class _NotItsBuild(Exception):
    """Rolls back a transaction that was to give a run its build."""


class TriggerSteps:
    """The commits of one dispatcher. ``owner`` identifies the process, anew with each start."""

    def __init__(
        self, database: Database, owner: uuid.UUID, committed: Callable[[uuid.UUID], None]
    ) -> None:
        self._database = database
        self._owner = owner
        self._committed = committed

    async def begin_send(
        self,
        run: Claimed,
        *,
        send_within_s: float,
        unclear_s: float,
        job: JobView,
    ) -> None:
        """Commit that a request will be sent within ``send_within_s`` seconds. Raises LeaseLost.

        ``job``: as it was read just before. The request carries the run's id if the job defines DEPLOYMENT_RUN_ID.
        """
        changed, correlation = False, correlation_of(job)

        async def work(connection: Connection) -> bool:
            nonlocal changed
            await locks.lock_jobs(connection, run.tenant_id, [run.job_id])
            begun = await dispatch.begin_send(
                connection,
                run,
                self._owner,
                send_within_s=send_within_s,
                unclear_s=unclear_s,
                next_build_number=job.next_build_number,
                session=job.session,
                named=correlation is Correlation.RUN_ID,
            )
            if not begun:
                # The deadline has passed, or the run was cancelled: the next attempt ends it, without waiting for
                # the end of this lease.
                await dispatch.drop_lease(connection, run, self._owner)
                return False
            await reports.note_discards_builds(
                connection, run.tenant_id, run.job_id, discards_builds=job.discards_builds
            )
            corrected = await self._note_number(connection, run, job.next_build_number)
            drifted = await note_correlation(connection, run.tenant_id, run.job_id, correlation)
            changed = corrected or drifted
            return True

        if not await self._database.transaction(work):
            raise LeaseLost
        if changed:
            self._committed(run.tenant_id)

    async def may_repair(self, run: Claimed) -> bool:
        """Commit that the run's job is going to be rewritten; return False if that was done too often."""

        async def work(connection: Connection) -> bool:
            await locks.lock_jobs(connection, run.tenant_id, [run.job_id])
            version = run.definition_version
            return await grant_repair(connection, run.tenant_id, run.job_id, version)

        granted = await self._database.transaction(work)
        self._committed(run.tenant_id)
        return granted

    async def separate_secrets(
        self,
        run: Claimed,
        values: SplitValues,
        secret_values: bytes | None,
        *,
        job_secrets: Collection[str],
    ) -> None:
        """Commit which values of a run are secret, before anything is sent. Raises LeaseLost."""

        async def work(connection: Connection) -> bool:
            await locks.lock_jobs(connection, run.tenant_id, [run.job_id])
            return await dispatch.tell_secrets_apart(
                connection, run, self._owner, values, secret_values, job_secrets=job_secrets
            )

        if not await self._database.transaction(work):
            raise LeaseLost

    async def _note_number(
        self, connection: Connection, run: Claimed, next_build_number: int
    ) -> bool:
        """Store the job's next number; return whether external runs had numbers that Jenkins has not issued yet."""
        unissued = await reconcile.never_issued(
            connection,
            run.tenant_id,
            run.job_id,
            next_build_number,
            generation=run.generation,
            asked_time=run.claim_time,
        )
        if unissued:
            unit = await RunUnitOfWork.open(
                connection,
                run.tenant_id,
                [run.job_id],
                source=EventSource.DISPATCHER,
                run_ids=unissued,
            )
            for external in filter(None, map(unit.run, unissued)):
                unit.detach_external_build(external)
            await unit.write()
        await reconcile.note_number(
            connection,
            run.tenant_id,
            run.job_id,
            next_build_number,
            generation=run.generation,
            asked_time=run.claim_time,
        )
        return bool(unissued)

    async def give_back(
        self,
        run: Claimed,
        *,
        state: str,
        retry_in_s: float,
        reason: str,
        outcome: str,
        failed: bool = True,
        http_status: int | None = None,
        message: str = "",
    ) -> None:
        """Release the run until its next attempt. ``state``: WAITING if nothing of it is in Jenkins, else SENDING.

        ``message`` is stored with the attempt; by default that is ``reason``.
        """

        reason, message = _redacted(run, reason), _redacted(run, message)

        async def work(connection: Connection) -> None:
            await dispatch.note_outcome(
                connection, run, outcome, http_status=http_status, message=message or reason
            )
            await dispatch.release(
                connection,
                run,
                self._owner,
                state=state,
                retry_in_s=retry_in_s,
                reason=reason,
                failed=failed,
            )

        await self._database.transaction(work)

    async def unclear(self, run: Claimed, reply: TriggerReply) -> None:
        """Begin the quarantine: the request was sent, and its answer does not show whether Jenkins took it."""

        async def work(connection: Connection) -> None:
            await self._note_reply(connection, run, reply)
            await dispatch.release(
                connection,
                run,
                self._owner,
                state="SENDING",
                retry_in_s=0,
                reason="It is unclear whether Jenkins has taken the request: "
                + _redacted(run, reply.message),
            )

        await self._database.transaction(work)

    async def accepted(self, run: Claimed, reply: TriggerReply, *, named: bool) -> None:
        """Commit that Jenkins has queued the run. Raises LeaseLost.

        ``named``: the request carried the run's id. Then Jenkins cannot have folded it into another run's item.
        """

        async def work(connection: Connection) -> None:
            await locks.lock_jobs(connection, run.tenant_id, [run.job_id])
            await self._note_reply(connection, run, reply)
            other = None
            if reply.queue_id is not None and not named:
                other = await dispatch.queue_item_owner(connection, run, reply.queue_id)
            unit = await self._fenced(connection, run)
            stored = unit.run(run.run_id)
            if stored is None:
                raise LeaseLost
            if other is not None:
                moved, transitions = end_without_build(
                    stored,
                    FailureCause.TRIGGER_REJECTED,
                    f"Jenkins folded it into the queued item of run {other}. Run again once that has started.",
                    certain=True,
                    highest=unit.highest_build(run.deployment_id),
                    now=unit.now,
                )
            else:
                claim = replace(ACCEPTED_BY_JENKINS, queue_id=reply.queue_id)
                moved, transitions = observe(stored, claim, UnstablePolicy.FAILED, unit.now)
            unit.move(moved, transitions)
            await unit.write()

        await self._commit(run, work, reply)

    async def no_build(
        self,
        run: Claimed,
        cause: FailureCause,
        message: str,
        *,
        certain: bool,
        reply: TriggerReply | None = None,
    ) -> None:
        """End the run without a build. Raises LeaseLost."""

        async def work(connection: Connection) -> None:
            await locks.lock_jobs(connection, run.tenant_id, [run.job_id])
            await self._note_reply(connection, run, reply or _unsent(message))
            unit = await self._fenced(connection, run)
            stored = unit.run(run.run_id)
            if stored is None:
                raise LeaseLost
            highest = unit.highest_build(run.deployment_id)
            unit.move(
                *end_without_build(
                    stored,
                    cause,
                    _redacted(run, message),
                    certain=certain,
                    highest=highest,
                    now=unit.now,
                )
            )
            await unit.write()

        await self._commit(run, work, reply)

    async def found_build(self, run: Claimed, build: BuildView) -> bool:
        """Commit the build that a probe found; return False if it is another run's. Raises LeaseLost."""
        build_ref = BuildRef(
            build.number,
            run.run_id,
            True,
            build.queue_id,
            build.parameters,
            read=True,
            timestamp_ms=build.timestamp_ms,
        )
        state = from_read(finished=build.finished, result=build.result)
        observation = Observation(
            run.job_id,
            build_ref,
            state,
            build.result or "",
            build.timestamp_ms,
            read_time=run.claim_time,
            building=build.building,
        )

        async def work(connection: Connection) -> None:
            await locks.lock_jobs(connection, run.tenant_id, [run.job_id])
            await dispatch.note_outcome(connection, run, "FOUND_BUILD")
            unit = await self._fenced(connection, run, build.number)
            if unit.observe(observation).run_id != run.run_id:
                raise _NotItsBuild
            await unit.write()

        try:
            await self._commit(run, work)
        except _NotItsBuild:
            return False
        return True

    async def note_probe(self, run: Claimed, *, session: str, next_in_s: float) -> None:
        """Commit that a probe found nothing."""

        async def work(connection: Connection) -> None:
            await dispatch.note_outcome(connection, run, "LOOKED")
            await dispatch.note_probe(
                connection, run, self._owner, session=session, next_in_s=next_in_s
            )

        await self._database.transaction(work)

    async def sent(self, run: Claimed) -> dispatch.Sent:
        """Read what has been sent for the run so far."""
        async with self._database.acquire() as connection:
            return await dispatch.sent(connection, run)

    async def _fenced(self, connection: Connection, run: Claimed, number: int = 0) -> RunUnitOfWork:
        unit = await RunUnitOfWork.open(
            connection,
            run.tenant_id,
            [run.job_id],
            source=EventSource.DISPATCHER,
            numbers=[number] if number else (),
            run_ids=[run.run_id],
        )
        if not await dispatch.fence(connection, run, self._owner):
            raise LeaseLost
        return unit

    async def _commit(
        self,
        run: Claimed,
        work: Callable[[Connection], Awaitable[None]],
        reply: TriggerReply | None = None,
    ) -> None:
        """Commit ``work``. If that raises LeaseLost, the attempt gets the ``reply`` if it is still the latest."""
        try:
            await self._database.transaction(work)
        except LeaseLost:
            if reply is not None:
                await self._database.transaction(lambda c: self._note_late_reply(c, run, reply))
            raise
        self._committed(run.tenant_id)

    async def _note_late_reply(
        self, connection: Connection, run: Claimed, reply: TriggerReply
    ) -> None:
        """Note a reply that arrives after a read has shown the build.

        If the run was claimed again since, the attempt stays unanswered: nothing waits for its answer any more, and an
        unanswered request is what a second build is stopped for (``domain/duplicates.py``).
        """
        if await dispatch.is_latest_attempt(connection, run):
            await self._note_reply(connection, run, reply)

    async def _note_reply(self, connection: Connection, run: Claimed, reply: TriggerReply) -> None:
        await dispatch.note_outcome(
            connection,
            run,
            reply.outcome.value,
            http_status=reply.http_status,
            queue_id=reply.queue_id,
            message=_redacted(run, reply.message),
        )


def _redacted(run: Claimed, text: str) -> str:
    """Remove secret values: Jenkins' error messages quote values."""
    return redact(text, run.secrets.values())


def _unsent(message: str) -> TriggerReply:
    return TriggerReply(TriggerOutcome.NOT_SENT, message=message)
