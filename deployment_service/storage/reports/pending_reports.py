"""Reports that wait for attribution, and the effect of reads of the job on them."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from deployment_service.storage.database.pool import Connection

_PENDING = "tenant_id = $1 AND job_id = $2 AND verdict = 'PENDING_ATTRIBUTION'"
_NUMBERS = (
    f"SELECT DISTINCT build_number FROM webhook_deliveries WHERE {_PENDING} ORDER BY build_number"
)
_COUNTS = """
    SELECT job_id, count(*) AS count FROM webhook_deliveries
    WHERE tenant_id = $1 AND job_id = ANY($2) AND verdict = 'PENDING_ATTRIBUTION' GROUP BY job_id
"""
_NOTE_PROBE = f"""
    -- A report that was stored after the read began waits for the next read.
    UPDATE webhook_deliveries SET probe_time = $4
    WHERE {_PENDING} AND probe_time IS NULL AND create_time < $4
        AND (build_number >= $3 OR build_number = ANY($5))
"""
_NOT_ISSUED = f"""
    UPDATE webhook_deliveries SET verdict = 'NO_SUCH_BUILD',
        message = 'Jenkins has not issued this number: two reads did not show such a build.'
    WHERE {_PENDING} AND build_number >= $3 AND probe_time <= $4
"""
_REMOVED = f"""
    SELECT DISTINCT build_number FROM webhook_deliveries
    WHERE {_PENDING} AND build_number = ANY($3) AND probe_time <= $4 ORDER BY build_number
"""
_READ_AGAIN = f"""
    UPDATE cicd_jobs SET next_sweep_time = least(next_sweep_time, now() + $3::interval)
    WHERE tenant_id = $1 AND job_id = $2 AND EXISTS (SELECT FROM webhook_deliveries WHERE {_PENDING})
"""


async def numbers(connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID) -> list[int]:
    """Return the build numbers of the pending reports of a job."""
    return [row["build_number"] for row in await connection.fetch(_NUMBERS, tenant_id, job_id)]


async def counts(
    connection: Connection, tenant_id: uuid.UUID, job_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, int]:
    """Return how many reports of each job are pending."""
    rows = await connection.fetch(_COUNTS, tenant_id, list(job_ids))
    return {row["job_id"]: row["count"] for row in rows}


async def note_probe(
    connection: Connection,
    tenant_id: uuid.UUID,
    job_id: uuid.UUID,
    *,
    next_build_number: int,
    absent: Collection[int],
    read_time: datetime,
    interval_s: float,
) -> list[int]:
    """Record a read that did not show some builds; return the builds that two reads prove removed.

    Reports whose number two reads prove not issued become NO_SUCH_BUILD. The job must be locked.
    ``interval_s``: the minimum time between the two reads, in seconds.
    """
    key = (tenant_id, job_id)
    before = read_time - timedelta(seconds=interval_s)
    await connection.execute(_NOT_ISSUED, *key, next_build_number, before)
    gone = [
        row["build_number"] for row in await connection.fetch(_REMOVED, *key, list(absent), before)
    ]
    await connection.execute(_NOTE_PROBE, *key, next_build_number, read_time, list(absent))
    return gone


async def read_again(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, *, in_s: float
) -> None:
    """Read the job again within ``in_s`` seconds if it has pending reports."""
    await connection.execute(_READ_AGAIN, tenant_id, job_id, timedelta(seconds=in_s))
