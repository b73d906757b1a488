"""The statements of the reconciler: unconfirmed runs, and jobs to read."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from deployment_service.domain.runs import Run
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.runs.runs import RUN_COLUMNS, from_row

WORK_COLUMNS = """
    j.tenant_id, j.job_id, j.provider_id, j.full_name, j.generation, j.next_build_number, now() AS asked_time,
    (SELECT 'tenants/' || t.slug || '/providers/' || p.slug FROM tenants AS t WHERE t.tenant_id = p.tenant_id)
        AS provider_name,
    CASE p.reporting WHEN 'AUTO' THEN NOT coalesce(j.sends_webhooks, false) OR p.webhook_base_url = ''
        ELSE p.reporting = 'POLLING' END AS polled
"""
# An end that no read has confirmed is read again for a day, at increasing intervals.
_UNCONFIRMED_HEAD = f"""
    SELECT {WORK_COLUMNS}, r.probe_count, r.probe_time, r.stop_until IS NOT NULL AS to_stop,
        r.cancel_request_time IS NOT NULL
            AND (r.cancel_sent_time IS NULL OR r.cancel_sent_time < now() - interval '10 s') AS to_cancel,
        {", ".join("r." + name.strip() for name in RUN_COLUMNS.split(",") if name.strip() != "job_id")}
    FROM deployment_runs AS r
    JOIN cicd_jobs AS j ON j.tenant_id = r.tenant_id AND j.job_id = r.job_id
    JOIN cicd_providers AS p ON p.tenant_id = j.tenant_id AND p.provider_id = j.provider_id
"""
UNCONFIRMED = (
    _UNCONFIRMED_HEAD
    + """
    JOIN deployments AS d ON d.tenant_id = r.tenant_id AND d.deployment_id = r.deployment_id
    WHERE j.tenant_id = $1 AND j.provider_id = $2 AND (r.settle_time IS NULL OR r.certainty = 'UNVERIFIABLE')
        AND r.trigger_state IN ('ACCEPTED', 'ENDED') AND d.delete_time IS NULL
        AND (r.settle_time IS NULL OR r.end_time > now() - interval '1 day' AND (
            r.probe_time IS NULL OR r.probe_time < r.last_observed_time
            OR r.probe_time < now() - least((now() - r.end_time) / 4, interval '5 min')))
    ORDER BY r.last_observed_time NULLS FIRST LIMIT 5000
"""
)
# Builds of deleted deployments that must be stopped.
TO_STOP = (
    _UNCONFIRMED_HEAD
    + """
    WHERE j.tenant_id = $1 AND j.provider_id = $2 AND r.stop_until > now() AND (r.probe_time IS NULL
        OR r.probe_time < now() - least((now() - r.end_time) / 4, interval '5 min'))
    ORDER BY r.end_time LIMIT 1000
"""
)
JOBS_TO_READ = f"""
    SELECT {WORK_COLUMNS}, j.refresh_request_time
    FROM cicd_jobs AS j
    JOIN cicd_providers AS p ON p.tenant_id = j.tenant_id AND p.provider_id = j.provider_id
    WHERE j.tenant_id = $1 AND j.provider_id = $2 AND j.state = 'READY'
        AND (j.refresh_request_time IS NOT NULL OR j.next_sweep_time <= now())
    ORDER BY j.refresh_request_time NULLS LAST, j.next_sweep_time LIMIT 50
"""
# An AUTO provider is polled for jobs without our endpoint. Its detection bound is that of a job with our endpoint.
_PROVIDERS = """
    SELECT 'tenants/' || t.slug || '/providers/' || p.slug AS name, p.reporting = 'POLLING' AS polled
    FROM cicd_providers AS p JOIN tenants AS t ON t.tenant_id = p.tenant_id ORDER BY name
"""
JOBS_NAMED = f"""
    SELECT {WORK_COLUMNS}
    FROM cicd_jobs AS j
    JOIN cicd_providers AS p ON p.tenant_id = j.tenant_id AND p.provider_id = j.provider_id
    WHERE j.tenant_id = $1 AND j.provider_id = $2 AND j.state = 'READY' AND j.full_name = ANY($3)
"""
# Random jitter spreads the slow sweep of jobs that were created together.
_JOB_WAS_READ = """
    UPDATE cicd_jobs SET
        refresh_request_time = CASE WHEN refresh_request_time <= $3 THEN NULL ELSE refresh_request_time END,
        next_sweep_time = now() + $4::interval * (0.75 + random() / 2)
    WHERE tenant_id = $1 AND job_id = $2
"""
_JOB_WAS_NOT_READ = """
    UPDATE cicd_jobs SET refresh_request_time = NULL, next_sweep_time = now() + $3::interval
    WHERE tenant_id = $1 AND job_id = $2
"""
# After a restore: see restore.py.
_READ_AGAIN = "DELETE FROM unread_jobs WHERE tenant_id = $1 AND job_id = $2"
# Numbers start again when a job is deleted and created again: then a run has the next number already. Only numbers
# that Jenkins has shown count (a report may contain any number), and only if they were stored before the read began.
_NOTE_NUMBER = """
    UPDATE cicd_jobs AS j SET next_build_number = $3, number_time = now(), generation = generation + (
        EXISTS (
            SELECT FROM deployment_runs AS r WHERE r.tenant_id = j.tenant_id AND r.job_id = j.job_id
                AND r.generation = j.generation AND r.build_number >= $3 AND r.last_observed_time < $5
                AND r.shown))::int
    WHERE tenant_id = $1 AND job_id = $2 AND generation = $4 AND next_build_number IS DISTINCT FROM $3
        AND (number_time IS NULL OR number_time <= $5)
"""
_MADE_AGAIN = """
    UPDATE cicd_jobs SET next_build_number = $3, number_time = now(), generation = generation + 1
    WHERE tenant_id = $1 AND job_id = $2 AND generation = $4
"""
# External builds that were reported before the read began, with numbers that Jenkins has not issued. After a fall of
# the next number they are excluded: the job before may have issued them.
_NEVER_ISSUED = """
    SELECT run_id FROM deployment_runs
    WHERE tenant_id = $1 AND job_id = $2 AND generation = $3 AND build_number >= $4 AND source = 'EXTERNAL'
        AND build_timestamp_ms IS NULL AND create_time < $5
        AND $4 >= (SELECT coalesce(next_build_number, 0) FROM cicd_jobs WHERE tenant_id = $1 AND job_id = $2)
"""
# Never changes waiting_for, because each change needs an event. A webhook may have changed it since the read.
_NOTE_SEEN = """
    UPDATE deployment_runs AS r SET last_observed_time = now(), waiting_reason = n.waiting_reason, probe_count = 0
    FROM unnest($2::uuid[], $3::text[], $4::text[]) AS n (run_id, waiting_for, waiting_reason)
    WHERE r.tenant_id = $1 AND r.run_id = n.run_id AND r.end_time IS NULL
        AND r.waiting_for IS NOT DISTINCT FROM n.waiting_for
"""
_NOTE_MISSING = """
    UPDATE deployment_runs SET probe_count = probe_count + 1,
        probe_time = CASE WHEN probe_count > 0 THEN probe_time ELSE now() END
    WHERE tenant_id = $1 AND run_id = $2
"""
_NOTE_ASKED = "UPDATE deployment_runs SET probe_time = now() WHERE tenant_id = $1 AND run_id = $2"
_NOTE_CANCEL_SENT = """
    UPDATE deployment_runs SET cancel_sent_time = now(), cancel_problem_since = NULL, cancel_problem_reason = NULL,
        cancel_problem_message = NULL
    WHERE tenant_id = $1 AND run_id = $2
"""


@dataclass(frozen=True, slots=True)
class ReadJob:
    """A job to read. ``polled``: the job sends no webhooks. ``asked_time``: a time before the read begins."""

    tenant_id: uuid.UUID
    job_id: uuid.UUID
    provider_id: uuid.UUID
    full_name: str
    generation: int
    next_build_number: int | None
    asked_time: datetime
    provider_name: str
    polled: bool


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A run to read from Jenkins, with the number of probes that did not find it."""

    run: Run
    job: ReadJob
    probe_count: int
    probe_time: datetime | None
    to_cancel: bool = False
    """Whether a cancel request must be sent to Jenkins now."""
    to_stop: bool = False
    """Whether only its build must be stopped, because its deployment was deleted."""


async def unconfirmed(
    connection: Connection, tenant_id: uuid.UUID, provider_id: uuid.UUID
) -> list[Unconfirmed]:
    """Return the unconfirmed runs of a controller, longest unobserved first, then the runs to stop."""
    rows = await connection.fetch(UNCONFIRMED, tenant_id, provider_id)
    rows += await connection.fetch(TO_STOP, tenant_id, provider_id)
    return [
        Unconfirmed(
            from_row(row),
            job_from_row(row),
            row["probe_count"],
            row["probe_time"],
            row["to_cancel"],
            row["to_stop"],
        )
        for row in rows
    ]


async def jobs_to_read(
    connection: Connection, tenant_id: uuid.UUID, provider_id: uuid.UUID
) -> list[tuple[ReadJob, datetime | None]]:
    """Return jobs with a refresh request, with its time, and jobs whose slow sweep is due."""
    rows = await connection.fetch(JOBS_TO_READ, tenant_id, provider_id)
    return [(job_from_row(row), row["refresh_request_time"]) for row in rows]


async def providers(connection: Connection) -> list[tuple[str, bool]]:
    """Return the names of all providers, and whether all their jobs are polled."""
    return [(row["name"], row["polled"]) for row in await connection.fetch(_PROVIDERS)]


async def jobs_named(
    connection: Connection,
    tenant_id: uuid.UUID,
    provider_id: uuid.UUID,
    full_names: Collection[str],
) -> list[ReadJob]:
    """Return the jobs of a controller that have one of these names."""
    rows = await connection.fetch(JOBS_NAMED, tenant_id, provider_id, list(full_names))
    return [job_from_row(row) for row in rows]


async def job_was_read(
    connection: Connection, job: ReadJob, refresh_request_time: datetime | None, *, sweep_s: float
) -> None:
    """Remove the refresh request that existed when the read began, and postpone the sweep."""
    await connection.execute(
        _JOB_WAS_READ, job.tenant_id, job.job_id, refresh_request_time, timedelta(seconds=sweep_s)
    )
    await connection.execute(_READ_AGAIN, job.tenant_id, job.job_id)


async def job_was_not_read(connection: Connection, job: ReadJob, *, again_in_s: float) -> None:
    """Postpone the read of a job that cannot be read, so that other jobs are read first."""
    await connection.execute(
        _JOB_WAS_NOT_READ, job.tenant_id, job.job_id, timedelta(seconds=again_in_s)
    )


async def note_number(
    connection: Connection,
    tenant_id: uuid.UUID,
    job_id: uuid.UUID,
    next_build_number: int,
    *,
    generation: int,
    asked_time: datetime,
) -> None:
    """Store the next build number of a locked job. If it has fallen, a new generation begins.

    ``asked_time``: a time before the read, by the database's clock. ``generation``: the generation at that time.
    """
    await connection.execute(
        _NOTE_NUMBER, tenant_id, job_id, next_build_number, generation, asked_time
    )


async def made_again(
    connection: Connection,
    tenant_id: uuid.UUID,
    job_id: uuid.UUID,
    next_build_number: int,
    *,
    generation: int,
) -> None:
    """Begin a new generation of a locked job, unless it has begun already."""
    await connection.execute(_MADE_AGAIN, tenant_id, job_id, next_build_number, generation)


async def never_issued(
    connection: Connection,
    tenant_id: uuid.UUID,
    job_id: uuid.UUID,
    next_build_number: int,
    *,
    generation: int,
    asked_time: datetime,
) -> list[uuid.UUID]:
    """Return external runs of a locked job whose builds Jenkins has not issued. Arguments as for ``note_number``."""
    rows = await connection.fetch(
        _NEVER_ISSUED, tenant_id, job_id, generation, next_build_number, asked_time
    )
    return [row["run_id"] for row in rows]


async def note_seen(
    connection: Connection,
    tenant_id: uuid.UUID,
    seen: Sequence[tuple[uuid.UUID, str | None, str]],
) -> None:
    """Record a read of unchanged runs: (run_id, waiting_for, waiting_reason)."""
    columns = [[row[place] for row in seen] for place in range(3)]
    await connection.execute(_NOTE_SEEN, tenant_id, *columns)


async def note_asked(connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID) -> None:
    """Record a probe of an ended run whose build Jenkins does not show."""
    await connection.execute(_NOTE_ASKED, tenant_id, run_id)


async def note_cancel_sent(connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID) -> None:
    """Record that a cancel request was sent to Jenkins."""
    await connection.execute(_NOTE_CANCEL_SENT, tenant_id, run_id)


async def note_missing(connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID) -> None:
    """Record a probe that did not find a run in the queue, the executors or the builds."""
    await connection.execute(_NOTE_MISSING, tenant_id, run_id)


def job_from_row(row: asyncpg.Record) -> ReadJob:
    """Return the job of a row that has WORK_COLUMNS."""
    return ReadJob(**{name: row[name] for name in ReadJob.__slots__})
