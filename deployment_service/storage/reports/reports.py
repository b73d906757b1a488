"""The columns of jobs that reports read and write, and the stored deliveries."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deployment_service.domain.problems import EXTERNAL_RUNS_PER_HOUR
from deployment_service.domain.status import BuildState
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection

READ = """
    SELECT j.job_id, j.full_name, j.generation, j.correlation, j.status, j.status_generation,
        j.status_build_number, j.status_rank, j.token_exposed AND NOT p.private_console AS token_exposed,
        j.discards_builds, p.base_url, (
            SELECT count(*) FROM (
                SELECT FROM deployment_runs AS r
                WHERE r.tenant_id = $1 AND r.source = 'EXTERNAL' AND r.create_time > now() - interval '1 hour'
                LIMIT $3) AS recent) AS external_runs
    FROM cicd_jobs AS j JOIN cicd_providers AS p ON p.tenant_id = j.tenant_id AND p.provider_id = j.provider_id
    WHERE j.tenant_id = $1 AND j.job_id = ANY($2)
"""
_NOTE_DISCARDS_BUILDS = """
    UPDATE cicd_jobs SET discards_builds = $3
    WHERE tenant_id = $1 AND job_id = $2 AND discards_builds IS DISTINCT FROM $3
"""
_WRITE_GENERATION = "UPDATE cicd_jobs SET generation = $3 WHERE tenant_id = $1 AND job_id = $2"
_WRITE_STATUS = """
    UPDATE cicd_jobs AS j SET status = n.status, status_generation = n.generation,
        status_build_number = n.build_number, status_rank = n.rank, update_time = now()
    FROM unnest($2::uuid[], $3::text[], $4::int[], $5::int[], $6::smallint[])
        AS n (job_id, status, generation, build_number, rank)
    WHERE j.tenant_id = $1 AND j.job_id = n.job_id
"""
_REQUEST_REFRESH = """
    -- Not now(): the request must be later than one whose read has begun already, as that read may miss the change.
    UPDATE cicd_jobs SET refresh_request_time = clock_timestamp()
    WHERE tenant_id = $1 AND job_id = ANY($2) AND state = 'READY'
"""
_READY_JOBS = (
    "SELECT job_id FROM cicd_jobs WHERE tenant_id = $1 AND job_id = ANY($2) AND state = 'READY'"
)
_NOTE_KEYS = """
    -- At most one write per hour and key, not one per report.
    INSERT INTO webhook_key_uses AS u (tenant_id, job_id, key_id, signed)
    SELECT $1, n.* FROM unnest($2::uuid[], $3::text[], $4::boolean[]) AS n (job_id, key_id, signed)
    WHERE NOT EXISTS (
        SELECT FROM webhook_key_uses AS k WHERE k.tenant_id = $1 AND k.job_id = n.job_id
            AND k.key_id = n.key_id AND k.signed = n.signed AND k.last_seen_time > now() - interval '1 hour')
    ON CONFLICT (tenant_id, job_id, key_id, signed) DO UPDATE SET last_seen_time = now()
"""
_SIGNED = """
    SELECT job_id, signed_id FROM webhook_deliveries
    WHERE tenant_id = $1 AND job_id = ANY($2) AND signed_id = ANY($3)
"""
_A_DEPLOYMENT = """
    SELECT m.job_id, min(d.slug) AS slug
    FROM deployment_cicd_mappings AS m JOIN deployments AS d USING (tenant_id, deployment_id)
    WHERE m.tenant_id = $1 AND m.job_id = ANY($2) GROUP BY m.job_id
"""
_PENDING = """
    SELECT delivery_id, job_id, build_number, rank, status, queue_id, create_time, named_run_id
    FROM webhook_deliveries
    WHERE tenant_id = $1 AND job_id = ANY($2) AND build_number = ANY($3) AND verdict = 'PENDING_ATTRIBUTION'
    ORDER BY delivery_id
"""
_SETTLE_PENDING = """
    UPDATE webhook_deliveries AS d SET verdict = n.verdict, run_id = n.run_id
    FROM unnest($2::bigint[], $3::text[], $4::uuid[]) AS n (delivery_id, verdict, run_id)
    WHERE d.tenant_id = $1 AND d.delivery_id = n.delivery_id
"""
# From rank 300 on a report speaks of an end.
_DISPROVE = """
    UPDATE webhook_deliveries AS d SET verdict = 'DISPROVED'
    FROM unnest($2::uuid[], $3::timestamptz[]) AS n (run_id, building_time)
        JOIN deployment_runs AS r ON r.tenant_id = $1 AND r.run_id = n.run_id
    WHERE d.tenant_id = $1 AND d.job_id = r.job_id AND d.build_number = r.build_number AND d.run_id = n.run_id
        AND d.verdict = 'APPLIED' AND d.rank >= 300 AND d.create_time < n.building_time
"""
_DELIVERY = {
    "job_id": "uuid",
    "build_number": "int",
    "run_id": "uuid",
    "source": "text",
    "phase": "text",
    "status": "text",
    "rank": "smallint",
    "queue_id": "text",
    "sender_timestamp_ms": "bigint",
    "verdict": "text",
    "message": "text",
    "signed_id": "text",
    "receive_time": "timestamptz",
    "named_run_id": "uuid",
    "gateway_key_id": "uuid",
}
_INSERT_DELIVERIES = f"""
    INSERT INTO webhook_deliveries (tenant_id, {", ".join(_DELIVERY)})
    SELECT $1, n.* FROM unnest(
        {", ".join(f"${place}::{kind}[]" for place, kind in enumerate(_DELIVERY.values(), 2))}) AS n
"""


@dataclass(slots=True)
class ReportedJob:
    """A job with the last status that was reported for it.

    ``last``: (generation, number, rank) of that status. The highest wins, so the result does not depend on the order
    of arrival.
    """

    job_id: uuid.UUID
    full_name: str
    generation: int
    builds_name_their_run: bool
    status: str
    last: tuple[int, int, int]
    token_exposed: bool
    discards_builds: bool | None
    """Whether Jenkins discards old builds of the job; None if that was not read yet."""
    base_url: str = ""
    """The URL of its provider."""
    external_runs: int = 0
    """Number of the tenant's external runs of the last hour, counted up to ``EXTERNAL_RUNS_PER_HOUR``."""


@dataclass(frozen=True, slots=True)
class PendingDelivery:
    """A delivery that waits for attribution: Jenkins has not shown its build yet."""

    delivery_id: int
    job_id: uuid.UUID
    build_number: int
    state: BuildState
    status_text: str
    queue_id: str | None
    create_time: datetime
    named_run_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A report to store in ``webhook_deliveries``."""

    job_id: uuid.UUID
    build_number: int
    run_id: uuid.UUID | None
    source: str
    phase: str
    status: str
    rank: int
    queue_id: str | None
    sender_timestamp_ms: int | None
    verdict: str
    message: str
    signed_id: str | None
    receive_time: datetime
    named_run_id: uuid.UUID | None
    gateway_key_id: uuid.UUID | None


async def read_jobs(
    connection: Connection, tenant_id: uuid.UUID, job_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, ReportedJob]:
    rows = await connection.fetch(READ, tenant_id, list(job_ids), EXTERNAL_RUNS_PER_HOUR)
    return {
        row["job_id"]: ReportedJob(
            row["job_id"],
            row["full_name"],
            row["generation"],
            row["correlation"] == "RUN_ID",
            row["status"],
            (row["status_generation"], row["status_build_number"], row["status_rank"]),
            row["token_exposed"],
            row["discards_builds"],
            row["base_url"],
            row["external_runs"],
        )
        for row in rows
    }


async def note_discards_builds(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, *, discards_builds: bool
) -> None:
    """Store whether Jenkins discards old builds of a locked job."""
    await connection.execute(_NOTE_DISCARDS_BUILDS, tenant_id, job_id, discards_builds)


async def write_generation(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, generation: int
) -> None:
    """Write the generation of a locked job."""
    await connection.execute(_WRITE_GENERATION, tenant_id, job_id, generation)


async def write_job_status(
    connection: Connection, tenant_id: uuid.UUID, changed: Sequence[ReportedJob]
) -> None:
    if changed:
        await connection.execute(
            _WRITE_STATUS,
            tenant_id,
            [job.job_id for job in changed],
            [job.status for job in changed],
            *[[job.last[place] for job in changed] for place in range(3)],
        )


async def request_refresh(
    connection: Connection, tenant_id: uuid.UUID, job_ids: Collection[uuid.UUID]
) -> None:
    """Request a read of these jobs. Unknown jobs are ignored."""
    if job_ids:
        await connection.execute(_REQUEST_REFRESH, tenant_id, list(job_ids))


async def request_refresh_unlocked(
    connection: Connection, tenant_id: uuid.UUID, job_ids: Collection[uuid.UUID]
) -> set[uuid.UUID]:
    """Request a read of the jobs that no other transaction holds; return the other READY jobs. Never waits."""
    locked = await locks.try_lock_jobs(connection, tenant_id, job_ids)
    await request_refresh(connection, tenant_id, locked)
    rows = await connection.fetch(_READY_JOBS, tenant_id, list(job_ids))
    return {row["job_id"] for row in rows} - locked


async def note_keys(
    connection: Connection, tenant_id: uuid.UUID, keys: Collection[tuple[uuid.UUID, str, bool]]
) -> None:
    """Store which keys authenticated reports of these locked jobs: (job, key id, whether it signed)."""
    if keys:
        columns = [list(column) for column in zip(*keys, strict=True)]
        await connection.execute(_NOTE_KEYS, tenant_id, *columns)


async def signed_before(
    connection: Connection, tenant_id: uuid.UUID, signed: Collection[tuple[uuid.UUID, str]]
) -> set[tuple[uuid.UUID, str]]:
    """Return which of these signed deliveries (job, signed id) of locked jobs are stored already."""
    if not signed:
        return set()
    jobs, names = [list(column) for column in zip(*signed, strict=True)]
    return {tuple(row) for row in await connection.fetch(_SIGNED, tenant_id, jobs, names)}


async def a_deployment(
    connection: Connection, tenant_id: uuid.UUID, job_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, str]:
    """Return, for each mapped job, the slug of one deployment that uses it."""
    rows = await connection.fetch(_A_DEPLOYMENT, tenant_id, list(job_ids))
    return {row["job_id"]: row["slug"] for row in rows}


async def read_pending(
    connection: Connection,
    tenant_id: uuid.UUID,
    job_ids: Collection[uuid.UUID],
    numbers: Collection[int],
) -> list[PendingDelivery]:
    rows = await connection.fetch(_PENDING, tenant_id, list(job_ids), list(numbers))
    return [
        PendingDelivery(
            row["delivery_id"],
            row["job_id"],
            row["build_number"],
            BuildState.from_rank(row["rank"]),
            row["status"],
            row["queue_id"],
            row["create_time"],
            row["named_run_id"],
        )
        for row in rows
    ]


async def settle_pending(
    connection: Connection,
    tenant_id: uuid.UUID,
    settled: Sequence[tuple[int, str, uuid.UUID | None]],
) -> None:
    """Write the verdicts of pending deliveries: (delivery_id, verdict, run_id)."""
    if settled:
        await connection.execute(
            _SETTLE_PENDING, tenant_id, *[[row[place] for row in settled] for place in range(3)]
        )


async def disprove(
    connection: Connection, tenant_id: uuid.UUID, disproved: Sequence[tuple[uuid.UUID, datetime]]
) -> None:
    """Mark the reported ends of runs that reads show building: (run_id, when the read began)."""
    if disproved:
        await connection.execute(
            _DISPROVE, tenant_id, *[[row[place] for row in disproved] for place in range(2)]
        )


async def insert_deliveries(
    connection: Connection, tenant_id: uuid.UUID, deliveries: Sequence[Delivery]
) -> None:
    if deliveries:
        columns: list[list[Any]] = [
            [getattr(delivery, name) for delivery in deliveries] for name in _DELIVERY
        ]
        await connection.execute(_INSERT_DELIVERIES, tenant_id, *columns)
