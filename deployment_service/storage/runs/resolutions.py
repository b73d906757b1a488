"""Resolutions of runs by operators, an append-only audit trail."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import asyncpg

from deployment_service.domain.actors import Actor
from deployment_service.domain.resolution import Resolution
from deployment_service.domain.runs import Run
from deployment_service.storage.database.pool import Connection

# Fences off the dispatcher, whose writes need its lease.
_FENCE = """
    UPDATE deployment_runs SET lease_owner = NULL, lease_until = NULL WHERE tenant_id = $1 AND run_id = $2
"""
_ADD = """
    -- count(*) is safe: the lock of the job excludes concurrent resolutions of the run.
    INSERT INTO run_resolutions (tenant_id, run_id, place, status, reason, old_status, old_certainty,
        actor_kind, actor_subject, actor_display_name)
    SELECT $1, $2, 1 + count(*), $3, $4, $5, $6, $7, $8, $9 FROM run_resolutions
    WHERE tenant_id = $1 AND run_id = $2
"""
_OF_RUN = """
    SELECT status, reason, old_status, old_certainty, actor_kind, actor_subject, actor_display_name, create_time
    FROM run_resolutions WHERE tenant_id = $1 AND run_id = $2 ORDER BY place LIMIT 1000
"""


async def add(
    connection: Connection, tenant_id: uuid.UUID, run: Run, resolution: Resolution, actor: Actor
) -> None:
    """Record a resolution of ``run`` (its state before); remove the lease of its trigger. The job must be locked."""
    await connection.execute(_FENCE, tenant_id, run.run_id)
    await connection.execute(
        _ADD,
        tenant_id,
        run.run_id,
        resolution.status,
        resolution.reason,
        run.status,
        run.certainty,
        actor.kind,
        actor.subject,
        actor.display_name,
    )


async def of_run(
    connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID
) -> Sequence[asyncpg.Record]:
    """Return the resolutions of a run, oldest first."""
    return await connection.fetch(_OF_RUN, tenant_id, run_id)
