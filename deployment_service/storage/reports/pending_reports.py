"""Reports that wait until Jenkins shows their builds, and what reads of the job decide about them."""

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
# A report that came after the read began is left for the next one.
_NOTE_PROBE = f"""
    UPDATE webhook_deliveries SET probe_time = $4
    WHERE {_PENDING} AND probe_time IS NULL AND create_time < $4
        AND (build_number >= $3 OR build_number = ANY($5))
"""
_NOT_ISSUED = f"""
    UPDATE webhook_deliveries SET verdict = 'NO_SUCH_BUILD',
        message = 'Jenkins has not issued this number: two reads did not show such a build.'
    WHERE {_PENDING} AND build_number >= $3 AND probe_time <= $4
"""
_GONE = f"""
    SELECT DISTINCT build_number FROM webhook_deliveries
    WHERE {_PENDING} AND build_number = ANY($3) AND probe_time <= $4 ORDER BY build_number
"""
_READ_AGAIN = f"""
    UPDATE cicd_jobs SET next_sweep_time = least(next_sweep_time, now() + $3::interval)
    WHERE tenant_id = $1 AND job_id = $2 AND EXISTS (SELECT FROM webhook_deliveries WHERE {_PENDING})
"""


async def numbers(connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID) -> list[int]:
    """The builds that the pending reports of a job name."""
    return [row["build_number"] for row in await connection.fetch(_NUMBERS, tenant_id, job_id)]


async def counts(
    connection: Connection, tenant_id: uuid.UUID, job_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, int]:
    """How many reports of each job are pending."""
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
    """Note a read that did not show some builds; return those that two reads have found gone.

    Reports whose number two reads found not to be issued become NO_SUCH_BUILD. ``interval_s``: the time between
    the two. The job must be locked.
    """
    key = (tenant_id, job_id)
    before = read_time - timedelta(seconds=interval_s)
    await connection.execute(_NOT_ISSUED, *key, next_build_number, before)
    gone = [
        row["build_number"] for row in await connection.fetch(_GONE, *key, list(absent), before)
    ]
    await connection.execute(_NOTE_PROBE, *key, next_build_number, read_time, list(absent))
    return gone


async def read_again(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, *, in_s: float
) -> None:
    """Have the job read again soon if it has pending reports."""
    await connection.execute(_READ_AGAIN, tenant_id, job_id, timedelta(seconds=in_s))
