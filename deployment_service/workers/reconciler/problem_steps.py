"""The commits of a reading cycle about problems: on provider and jobs, and the events about them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta

from deployment_service.cicd.names import build_url
from deployment_service.domain.certainty import Certainty
from deployment_service.domain.events import EventSource, EventType, NewEvent, WaitingFor
from deployment_service.domain.observation import Verdicts
from deployment_service.domain.problems import Problem
from deployment_service.domain.status import DeploymentStatus, FailureCause
from deployment_service.storage import locks, problems
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.events import events, problem_events
from deployment_service.storage.events.problem_events import Affected
from deployment_service.storage.problems import StoredProblems

_BATCH = 200
_OVER = "The observation problem is over: Jenkins is read again, and requests are carried out."
_NOT_AFFECTED = "The observation problem is over for this deployment: its runs are settled."


async def note_problems(
    database: Database,
    tenant_id: uuid.UUID,
    provider_id: uuid.UUID,
    stored: StoredProblems,
    verdicts: Verdicts,
) -> None:
    """Write the problems that a cycle found; nothing if they equal those stored when the cycle began."""
    changed: list[tuple[uuid.UUID, Problem | None]] = [
        (job_id, problem)
        for job_id, problem in verdicts.jobs.items()
        if problem != stored.jobs.get(job_id)
    ]
    provider_changed = verdicts.asked and verdicts.provider != stored.provider
    if not changed and not provider_changed:
        return

    async def work(connection: Connection) -> None:
        if changed:
            await locks.lock_jobs(connection, tenant_id, {job_id for job_id, _ in changed})
            await problems.note_jobs(connection, tenant_id, changed)
        if provider_changed:
            await problems.note_provider(connection, tenant_id, provider_id, verdicts.provider)

    await database.transaction(work)


async def append_problem_events(
    database: Database, tenant_id: uuid.UUID, provider_id: uuid.UUID, *, after_s: float
) -> int | None:
    """Append an event for each deployment whose problem has lasted so long, and one at its end.

    Return the last sequence; None if nothing was due. There is one event at the beginning and one at the end: the
    deployment stores whether its problem has been announced.
    """
    after = timedelta(seconds=after_s)
    sequence: int | None = None
    while True:
        async with database.acquire() as connection:
            ids = await problem_events.candidates(
                connection, tenant_id, provider_id, after=after, limit=_BATCH
            )
        if not ids:
            return sequence

        async def work(connection: Connection, ids: Sequence[uuid.UUID] = ids) -> int | None:
            return await _append(connection, tenant_id, ids, after)

        appended = await database.transaction(work)
        if appended is None or len(ids) < _BATCH:
            return appended or sequence
        sequence = appended


async def _append(
    connection: Connection, tenant_id: uuid.UUID, ids: Sequence[uuid.UUID], after: timedelta
) -> int | None:
    await locks.lock_deployments(connection, tenant_id, list(ids))
    affected = await problem_events.decide(connection, tenant_id, ids, after=after)
    due = [one for one in affected if _is_due(one)]
    if not due:
        return None
    revisions = await problem_events.revise(
        connection, tenant_id, [one.deployment_id for one in due]
    )
    return await events.append(
        connection, tenant_id, [_event(one, revisions[one.deployment_id]) for one in due]
    )


def _is_due(one: Affected) -> bool:
    """Return whether an event about the beginning or the end of the problem is missing."""
    return one.problem is None if one.announced else one.lasted


def _event(one: Affected, revision: int) -> NewEvent:
    over = _NOT_AFFECTED if one.settled else _OVER
    message = one.problem.shown(in_full=False) if one.problem else over
    return NewEvent(
        deployment_id=one.deployment_id,
        deployment_slug=one.slug,
        revision=revision,
        type=EventType.DEPLOYMENT_OBSERVATION_PROBLEM,
        source=EventSource.READ,
        old_status=DeploymentStatus(one.status),
        status=DeploymentStatus(one.status),
        deployment_status=DeploymentStatus(one.deployment_status),
        run_number=one.number,
        job_id=one.job_id,
        build_number=one.build_number,
        certainty=Certainty(one.certainty) if one.certainty else None,
        # A client takes the state of a run from its last event, whatever that event is about.
        failure_cause=FailureCause(one.failure_cause) if one.failure_cause else None,
        failure_message=one.failure_message,
        waiting_for=WaitingFor(one.waiting_for) if one.waiting_for else None,
        waiting_reason=one.waiting_reason,
        build_url=build_url(one.base_url, one.full_name, one.build_number)
        if one.build_number
        else "",
        message=message,
        problem_since=one.problem.since if one.problem else None,
        problem_reason=one.problem.reason if one.problem else None,
    )
