"""Changes of READY jobs: correlation, drift from the definition, and the limit of repairs per hour."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass

from deployment_service.domain.jobs import Correlation
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.jobs.jobs import Claimed

_CHANGE_CORRELATION = """
    UPDATE cicd_jobs SET correlation = $3, update_time = now()
    WHERE tenant_id = $1 AND job_id = $2 AND correlation IS DISTINCT FROM $3
"""


async def change_correlation(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, correlation: Correlation
) -> bool:
    """Set the correlation of a locked job; return False if it is unchanged."""
    status = await connection.execute(_CHANGE_CORRELATION, tenant_id, job_id, correlation)
    return status != "UPDATE 0"


_GRANT_REPAIR = """
    WITH job AS (
        -- A new job has the parameters of the first version of its definition.
        SELECT job_id, $3::bigint IS NULL OR coalesce(declared_version, 1) = $3 AS drifted,
            ARRAY(SELECT one FROM unnest(repair_times) AS one WHERE one > now() - interval '1 hour') AS recent
        FROM cicd_jobs WHERE tenant_id = $1 AND job_id = $2
    )
    UPDATE cicd_jobs AS j SET declared_version = coalesce($3, declared_version),
        repair_times = CASE WHEN job.drifted THEN job.recent || now() ELSE job.recent END
    FROM job
    WHERE j.tenant_id = $1 AND j.job_id = job.job_id AND (NOT job.drifted OR cardinality(job.recent) < $4)
    RETURNING job.drifted, cardinality(j.repair_times) AS repairs
"""


@dataclass(frozen=True, slots=True)
class Grant:
    """A permitted repair.

    ``drifted``: the job lost what had been written already. ``repairs``: how many repairs the last hour has.
    """

    drifted: bool
    repairs: int


async def grant_repair(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, version: int | None, most: int
) -> Grant | None:
    """Count a repair of a locked job; return None if the limit ``most`` per hour is reached.

    ``version``: the version of the definition that is written. The first write of a version is no repair; None is
    always a repair.
    """
    row = await connection.fetchrow(_GRANT_REPAIR, tenant_id, job_id, version, most)
    return Grant(**row) if row is not None else None


CLAIM_COMPARISONS = """
    WITH due AS (
        SELECT tenant_id, job_id FROM cicd_jobs
        WHERE state = 'READY' AND origin = 'CREATED' AND next_compare_time <= now()
            AND next_try_time IS NULL  -- The provisioner does not work on the job.
            AND provider_id <> ALL($3::uuid[])
        ORDER BY next_compare_time LIMIT $1
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE cicd_jobs AS job
    -- The new due time is the claim: one of two replicas compares the job, and a job that cannot be read is retried.
    SET next_compare_time = now() + make_interval(secs => $2 * (0.9 + 0.2 * random()))
    FROM due WHERE job.tenant_id = due.tenant_id AND job.job_id = due.job_id
    RETURNING job.tenant_id, job.job_id, job.provider_id, job.attempt
"""
_NOTE_DRIFT = """
    UPDATE cicd_jobs SET drift = $3 WHERE tenant_id = $1 AND job_id = $2 AND drift <> $3
"""


async def claim_comparisons(
    connection: Connection,
    *,
    limit: int,
    every_s: float,
    without_providers: Collection[uuid.UUID] = (),
) -> list[Claimed]:
    """Claim jobs whose comparison is due, the longest due first. Each is due again after ``every_s`` seconds."""
    rows = await connection.fetch(CLAIM_COMPARISONS, limit, every_s, list(without_providers))
    return [Claimed(*row) for row in rows]


async def note_drift(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, drift: str
) -> bool:
    """Store which drift of a job is not repaired; return False if it is unchanged."""
    status = await connection.execute(_NOTE_DRIFT, tenant_id, job_id, drift)
    return status != "UPDATE 0"
