"""Cancel requests of runs."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from deployment_service.storage.database.pool import Connection

_FIND = """
    SELECT r.run_id, r.job_id FROM deployments AS d
    JOIN deployment_runs AS r ON r.tenant_id = d.tenant_id AND r.deployment_id = d.deployment_id
    WHERE d.tenant_id = $1 AND d.resource_id = $2 AND d.delete_time IS NULL AND r.number = $3
"""
_REQUEST = """
    -- The time of the first request stays. A repeated one sends the cancellation to Jenkins again at once.
    UPDATE deployment_runs SET cancel_request_time = coalesce(cancel_request_time, now()), cancel_sent_time = NULL
    WHERE tenant_id = $1 AND run_id = $2
"""
_REQUEST_ONCE = """
    UPDATE deployment_runs SET cancel_request_time = now()
    WHERE tenant_id = $1 AND run_id = $2 AND cancel_request_time IS NULL RETURNING true
"""
_REQUEST_STOPS = """
    -- The runs of a deleted deployment have ended. Their builds are stopped until Jenkins shows none, at most a day.
    UPDATE deployment_runs SET cancel_request_time = coalesce(cancel_request_time, now()), cancel_sent_time = NULL,
        stop_until = now() + interval '1 day'
    WHERE tenant_id = $1 AND run_id = ANY($2)
"""
_IS_STOPPING = """
    SELECT EXISTS (SELECT FROM deployment_runs WHERE tenant_id = $1 AND job_id = $2 AND stop_until > now())
"""
_STOPPED = """
    UPDATE deployment_runs SET stop_until = NULL, cancel_problem_since = NULL, cancel_problem_reason = NULL,
        cancel_problem_message = NULL
    WHERE tenant_id = $1 AND run_id = $2
"""
_HAS_ENDED = "SELECT end_time IS NOT NULL FROM deployment_runs WHERE tenant_id = $1 AND run_id = $2"


async def find(
    connection: Connection, tenant_id: uuid.UUID, deployment_slug: str, number: int
) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Return the ids of a run and of its job; None if there is no such run."""
    row = await connection.fetchrow(_FIND, tenant_id, deployment_slug, number)
    return (row["run_id"], row["job_id"]) if row is not None else None


async def request(connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID) -> None:
    """Store a cancel request for a locked run."""
    await connection.execute(_REQUEST, tenant_id, run_id)


async def request_once(connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID) -> bool:
    """Store a cancel request for a locked run; return False if it has one already."""
    return await connection.fetchval(_REQUEST_ONCE, tenant_id, run_id) is not None


async def has_ended(connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID) -> bool:
    """Return whether the run has ended or was deleted."""
    return await connection.fetchval(_HAS_ENDED, tenant_id, run_id) is not False


async def request_stops(
    connection: Connection, tenant_id: uuid.UUID, run_ids: Sequence[uuid.UUID]
) -> None:
    """Request to stop the builds of runs that end without waiting for their builds."""
    await connection.execute(_REQUEST_STOPS, tenant_id, run_ids)


async def is_stopping(connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID) -> bool:
    """Return whether builds of ended runs of a job must still be stopped."""
    return bool(await connection.fetchval(_IS_STOPPING, tenant_id, job_id))


async def stopped(connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID) -> None:
    """Record that Jenkins has finished the build of a run that had to be stopped."""
    await connection.execute(_STOPPED, tenant_id, run_id)
