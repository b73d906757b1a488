"""Drift of jobs: a Jenkinsfile or a person removes or adds our parameter. Events report what that changes."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import replace

from deployment_service.domain.events import EventType
from deployment_service.domain.jobs import Correlation
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.events import events
from deployment_service.storage.jobs import job_drift, jobs
from deployment_service.workers.job_provisioner.attempt import job_update

_MOST_REPAIRS = 3
_DRIFTED = {
    Correlation.RUN_ID: "The job defines DEPLOYMENT_RUN_ID now, so that its builds name their runs.",
    Correlation.QUEUE_ITEM: "The job no longer defines DEPLOYMENT_RUN_ID. Its builds are tied to runs "
    "by their queue items, and a trigger whose answer is lost can't be repeated. Add the parameter again.",
}


async def note_correlation(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, correlation: Correlation
) -> bool:
    """Store how a locked job's builds are correlated with runs; return whether that has changed.

    The last step of its transaction, as it appends events.
    """
    if not await job_drift.change_correlation(connection, tenant_id, job_id, correlation):
        return False
    await _append_drift(connection, tenant_id, job_id, _DRIFTED[correlation])
    return True


async def grant_repair(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, version: int
) -> bool:
    """Return whether a locked job of ours may be rewritten, and count it. True also for a newer definition.

    A program that keeps rewriting the job, such as a seed job, would win: three repairs an hour, then none.
    The last step of its transaction, as it appends events.
    """
    granted = await job_drift.grant_repair(connection, tenant_id, job_id, version, _MOST_REPAIRS)
    if granted is None:
        return False
    if granted.drifted:
        message = (
            "The job no longer defined all parameters of its deployment, or DEPLOYMENT_RUN_ID. They were declared "
            f"again: repair {granted.repairs} of at most {_MOST_REPAIRS} in an hour."
        )
        await _append_drift(connection, tenant_id, job_id, message)
    return True


async def grant_restoring(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, lost: Collection[str]
) -> bool:
    """Return whether what a locked job of ours has lost may be written again; count the repair and append its event.

    After three repairs in an hour one event reports it, and it is left. The last step of its transaction.
    """
    granted = await job_drift.grant_repair(connection, tenant_id, job_id, None, _MOST_REPAIRS)
    parts = ", ".join(lost)
    if granted is None:
        message = (
            f"The job no longer has what this service wrote into it: {parts}. It was repaired {_MOST_REPAIRS} times in "
            "an hour and is left now: find what overwrites it, such as a seed job."
        )
        await note_unrepaired(connection, tenant_id, job_id, message)
        return False
    await job_drift.note_drift(connection, tenant_id, job_id, "")
    message = (
        f"The job no longer had what this service wrote into it: {parts}. It was written again: repair "
        f"{granted.repairs} of at most {_MOST_REPAIRS} in an hour."
    )
    await _append_drift(connection, tenant_id, job_id, message)
    return True


async def note_unrepaired(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, drift: str
) -> None:
    """Store how a locked job differs and is not repaired; append an event if that is new. Empty: it does not differ."""
    changed = await job_drift.note_drift(connection, tenant_id, job_id, drift)
    if changed and drift:
        await _append_drift(connection, tenant_id, job_id, drift)


async def _append_drift(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, message: str
) -> None:
    mapped = await jobs.mapped_deployments(connection, tenant_id, job_id)
    await locks.lock_deployments(connection, tenant_id, mapped)
    revised = await jobs.revise(connection, tenant_id, mapped)
    drifted = EventType.DEPLOYMENT_JOB_DRIFTED
    drift_events = [replace(job_update(one, job_id, message), type=drifted) for one in revised]
    if drift_events:
        await events.append(connection, tenant_id, drift_events)
