"""The reported ends that the confirmer must read from Jenkins."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from deployment_service.domain.runs import Run
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.runs.reconcile import WORK_COLUMNS, ReadJob, job_from_row
from deployment_service.storage.runs.runs import RUN_COLUMNS, from_row

_CLAIM = """
    -- The new due time is the lease: after a crash of the claimer the run is due again.
    UPDATE deployment_runs AS r SET confirm_due_time = now() + $2::interval
    FROM (
        SELECT tenant_id, run_id FROM deployment_runs
        WHERE confirm_due_time <= now() AND tenant_id <> ALL ($3::uuid[])
        ORDER BY confirm_due_time LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
    ) AS due
    WHERE r.tenant_id = due.tenant_id AND r.run_id = due.run_id
    RETURNING r.tenant_id, r.run_id
"""
_READ = f"""
    -- clock_timestamp(): asked_time must be later than the commit of the report, so that the read begins after it.
    SELECT {WORK_COLUMNS.replace("now() AS", "clock_timestamp() AS")},
        {", ".join("r." + name.strip() for name in RUN_COLUMNS.split(",") if name.strip() != "job_id")}
    FROM unnest($1::uuid[], $2::uuid[]) AS due (tenant_id, run_id)
    JOIN deployment_runs AS r ON r.tenant_id = due.tenant_id AND r.run_id = due.run_id
    JOIN cicd_jobs AS j ON j.tenant_id = r.tenant_id AND j.job_id = r.job_id
    JOIN cicd_providers AS p ON p.tenant_id = j.tenant_id AND p.provider_id = j.provider_id
"""
_PUT_OFF = """
    UPDATE deployment_runs SET confirm_due_time = now() + $3::interval
    WHERE tenant_id = $1 AND run_id = $2 AND certainty = 'REPORTED'
"""
_LEAVE = "UPDATE deployment_runs SET confirm_due_time = NULL WHERE tenant_id = $1 AND run_id = $2"
_OVERDUE = """
    SELECT tenant_id, job_id, run_id FROM deployment_runs
    WHERE settle_time IS NULL AND certainty = 'REPORTED' AND end_time < now() - $1::interval LIMIT 50
"""


@dataclass(frozen=True, slots=True)
class DueRun:
    """A run whose reported end must be read. ``job.asked_time``: when the read begins."""

    run: Run
    job: ReadJob

    @property
    def tenant_id(self) -> uuid.UUID:
        """The tenant of run and job."""
        return self.job.tenant_id

    @property
    def provider_id(self) -> uuid.UUID:
        """The provider of the job."""
        return self.job.provider_id


async def claim_due(
    connection: Connection,
    *,
    limit: int,
    lease_s: float,
    without_tenants: Collection[uuid.UUID] = (),
) -> list[DueRun]:
    """Claim due reported ends, earliest first. Never waits for a lock."""
    claimed = await connection.fetch(
        _CLAIM, limit, timedelta(seconds=lease_s), list(without_tenants)
    )
    if not claimed:
        return []
    keys = [[row[name] for row in claimed] for name in ("tenant_id", "run_id")]
    return [
        DueRun(from_row(row), job_from_row(row)) for row in await connection.fetch(_READ, *keys)
    ]


async def put_off(
    connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID, *, retry_in_s: float
) -> None:
    """Read the end of a run again after ``retry_in_s`` seconds, if it is still REPORTED."""
    await connection.execute(_PUT_OFF, tenant_id, run_id, timedelta(seconds=retry_in_s))


async def leave(connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID) -> None:
    """Leave the run to the reconciler, which probes for missing builds."""
    await connection.execute(_LEAVE, tenant_id, run_id)


async def overdue(
    connection: Connection, *, after_s: float
) -> list[tuple[uuid.UUID, uuid.UUID, uuid.UUID]]:
    """Return tenant, job and id of runs whose end has been REPORTED for more than ``after_s`` seconds."""
    rows = await connection.fetch(_OVERDUE, timedelta(seconds=after_s))
    return [(row["tenant_id"], row["job_id"], row["run_id"]) for row in rows]
