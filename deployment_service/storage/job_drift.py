"""What changes of a job that is READY: how its builds are tied to runs, and how often it was repaired."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from deployment_service.domain.jobs import Correlation
from deployment_service.storage.database import Connection

_CHANGE_CORRELATION = """
    UPDATE cicd_jobs SET correlation = $3, update_time = now()
    WHERE tenant_id = $1 AND job_id = $2 AND correlation IS DISTINCT FROM $3
"""


async def change_correlation(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, correlation: Correlation
) -> bool:
    """Write down how a locked job's builds are tied to runs; False if it is so already."""
    status = await connection.execute(_CHANGE_CORRELATION, tenant_id, job_id, correlation)
    return status != "UPDATE 0"


_GRANT_REPAIR = """
    WITH job AS (
        -- A job is created with what the first version of its definition declares.
        SELECT job_id, coalesce(declared_version, 1) = $3 AS drifted,
            ARRAY(SELECT one FROM unnest(repair_times) AS one WHERE one > now() - interval '1 hour') AS recent
        FROM cicd_jobs WHERE tenant_id = $1 AND job_id = $2
    )
    UPDATE cicd_jobs AS j SET declared_version = $3,
        repair_times = CASE WHEN job.drifted THEN job.recent || now() ELSE job.recent END
    FROM job
    WHERE j.tenant_id = $1 AND j.job_id = job.job_id AND (NOT job.drifted OR cardinality(job.recent) < $4)
    RETURNING job.drifted, cardinality(j.repair_times) AS repairs
"""


@dataclass(frozen=True, slots=True)
class Grant:
    """A repair that may be made. ``drifted``: of what had been written already; ``repairs`` in the last hour."""

    drifted: bool
    repairs: int


async def grant_repair(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, version: int, most: int
) -> Grant | None:
    """Count a repair of a locked job; None if it had as many as are allowed in an hour."""
    row = await connection.fetchrow(_GRANT_REPAIR, tenant_id, job_id, version, most)
    return Grant(**row) if row is not None else None
