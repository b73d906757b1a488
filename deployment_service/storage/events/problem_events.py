"""Select deployments that need an event about the begin or end of an observation problem.

The database decides, so that each is appended once, with any number of replicas and restarts.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from deployment_service.domain.problems import ObservationProblem
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.problems import RUN_PROBLEM_COLUMNS, problem_in

# The first failure of run, job or provider. LEAST ignores NULLs.
_SINCE = "least(r.cancel_problem_since, j.problem_since, p.problem_since)"
_RUNS = """
    FROM deployment_runs AS r
    JOIN cicd_jobs AS j ON j.tenant_id = r.tenant_id AND j.job_id = r.job_id
    JOIN cicd_providers AS p ON p.tenant_id = j.tenant_id AND p.provider_id = j.provider_id
"""
TO_BEGIN = f"""
    SELECT DISTINCT d.deployment_id {_RUNS}
    JOIN deployments AS d ON d.tenant_id = r.tenant_id AND d.deployment_id = r.deployment_id
    WHERE j.tenant_id = $1 AND j.provider_id = $2 AND r.settle_time IS NULL AND {_SINCE} <= now() - $3::interval
        AND d.delete_time IS NULL AND d.problem_event_time IS NULL
    LIMIT $4
"""
TO_END = f"""
    SELECT d.deployment_id FROM deployments AS d
    WHERE d.tenant_id = $1 AND d.provider_id = $2 AND d.problem_event_time IS NOT NULL AND d.delete_time IS NULL
        AND NOT EXISTS (SELECT {_RUNS} WHERE r.tenant_id = d.tenant_id AND r.deployment_id = d.deployment_id
            AND r.settle_time IS NULL AND {_SINCE} IS NOT NULL)
    LIMIT $3
"""
_FIRST_SINCE = f"CASE WHEN r.settle_time IS NULL THEN {_SINCE} END"
# The run of the event: an affected run, preferably the current one; else the current run.
_DECIDE = f"""
    SELECT d.deployment_id, d.slug, d.status AS deployment_status, d.problem_event_time IS NOT NULL AS announced,
        run.number, run.job_id, run.build_number, run.status, run.certainty, run.failure_cause, run.failure_message,
        run.waiting_for, run.waiting_reason, run.full_name, run.base_url,
        run.settle_time IS NOT NULL AS settled, run.problem_since, run.problem_reason, run.problem_message,
        run.problem_cancelling, coalesce(run.first_since <= now() - $3::interval, false) AS lasted
    FROM deployments AS d
    JOIN LATERAL (
        SELECT r.number, r.job_id, r.build_number, r.status, r.certainty, r.failure_cause, r.failure_message,
            r.waiting_for, r.waiting_reason, r.settle_time, j.full_name, p.base_url,
            {_FIRST_SINCE} AS first_since, {RUN_PROBLEM_COLUMNS}
        {_RUNS}
        WHERE r.tenant_id = d.tenant_id AND r.deployment_id = d.deployment_id
            AND (r.settle_time IS NULL AND {_SINCE} IS NOT NULL OR r.run_id = d.current_run_id)
        ORDER BY {_FIRST_SINCE} IS NULL, {_FIRST_SINCE} > now() - $3::interval, r.run_id <> d.current_run_id,
            r.number DESC
        LIMIT 1
    ) AS run ON true
    WHERE d.tenant_id = $1 AND d.deployment_id = ANY($2) AND d.delete_time IS NULL
"""
_REVISE = """
    UPDATE deployments SET revision = revision + 1, update_time = now(),
        problem_event_time = CASE WHEN problem_event_time IS NULL THEN now() END
    WHERE tenant_id = $1 AND deployment_id = ANY($2)
    RETURNING deployment_id, revision
"""


@dataclass(frozen=True, slots=True)
class Affected:
    """A deployment with one affected run, else with its current run.

    ``announced``: the last event about a problem has no event about its end yet.
    ``problem``: the problem of that run, while it is not settled. ``lasted``: whether it lasted longer than ``after``.
    """

    deployment_id: uuid.UUID
    slug: str
    deployment_status: str
    announced: bool
    number: int
    job_id: uuid.UUID
    build_number: int | None
    status: str
    certainty: str | None
    failure_cause: str | None
    failure_message: str
    waiting_for: str | None
    waiting_reason: str
    full_name: str
    """The full name of its job."""
    base_url: str
    settled: bool
    lasted: bool
    problem: ObservationProblem | None


async def candidates(
    connection: Connection,
    tenant_id: uuid.UUID,
    provider_id: uuid.UUID,
    *,
    after: timedelta,
    limit: int,
) -> list[uuid.UUID]:
    """Return deployments of a provider that may need an event. ``decide`` decides, under locks."""
    begun = await connection.fetch(TO_BEGIN, tenant_id, provider_id, after, limit)
    ended = await connection.fetch(TO_END, tenant_id, provider_id, limit)
    return sorted({row["deployment_id"] for row in (*begun, *ended)})


async def decide(
    connection: Connection,
    tenant_id: uuid.UUID,
    deployment_ids: Sequence[uuid.UUID],
    *,
    after: timedelta,
) -> list[Affected]:
    """Return how locked deployments are affected now."""
    rows = await connection.fetch(_DECIDE, tenant_id, deployment_ids, after)
    return [_affected(row) for row in rows]


async def revise(
    connection: Connection, tenant_id: uuid.UUID, deployment_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, int]:
    """Increment the revisions of these locked deployments, for an event of each; return the revisions."""
    rows = await connection.fetch(_REVISE, tenant_id, deployment_ids)
    return {row["deployment_id"]: row["revision"] for row in rows}


def _affected(row: asyncpg.Record) -> Affected:
    names = [name for name in Affected.__slots__ if name != "problem"]
    return Affected(**{name: row[name] for name in names}, problem=problem_in(row))
