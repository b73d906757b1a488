"""Observation problems, as stored on providers, jobs and runs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from deployment_service.domain.problems import ObservationProblem, Problem
from deployment_service.storage.database.pool import Connection

_PARTS = ("since", "reason", "message")
# While a run is not settled: its own problem, else that of its job, else that of its provider. The build of a run whose
# deployment was deleted may still have to be stopped. The three columns of a problem are set together (CHECK).
_RUN_PROBLEM = """
    CASE WHEN {run}.settle_time IS NULL AND {run}.run_id IS NOT NULL
            THEN coalesce({run}.cancel_problem_{part}, j.problem_{part}, p.problem_{part})
        WHEN {run}.stop_until > now() THEN {run}.cancel_problem_{part} END AS problem_{part}
"""


def _run_problem(run: str) -> str:
    columns = [_RUN_PROBLEM.format(run=run, part=part) for part in _PARTS]
    return ", ".join([*columns, f"{run}.cancel_request_time IS NOT NULL AS problem_cancelling"])


RUN_PROBLEM_COLUMNS = _run_problem("r")
"""The problem of a run ``r`` with its job ``j`` and provider ``p``."""
CURRENT_RUN_PROBLEM_COLUMNS = _run_problem("current_run")
"""The same of a run ``current_run``."""
JOB_PROBLEM_COLUMNS = ", ".join(
    f"coalesce(j.problem_{part}, p.problem_{part}) AS job_problem_{part}" for part in _PARTS
)
"""The problem of a job ``j`` or its provider ``p``."""

PROVIDER = """
    SELECT p.problem_reason, p.problem_message,
        EXISTS (SELECT FROM cicd_jobs AS j
            JOIN deployment_runs AS r ON r.tenant_id = j.tenant_id AND r.job_id = j.job_id
            WHERE j.tenant_id = p.tenant_id AND j.provider_id = p.provider_id
                AND r.trigger_state IN ('WAITING', 'SENDING') AND r.failures > 0) AS held_up,
        EXISTS (SELECT FROM deployments AS d WHERE d.tenant_id = p.tenant_id AND d.provider_id = p.provider_id
            AND d.problem_event_time IS NOT NULL) OR EXISTS (SELECT FROM cicd_jobs AS j
            JOIN deployment_runs AS r ON r.tenant_id = j.tenant_id AND r.job_id = j.job_id
            WHERE j.tenant_id = p.tenant_id AND j.provider_id = p.provider_id
                AND r.cancel_problem_since IS NOT NULL) AS events_due
    FROM cicd_providers AS p WHERE p.tenant_id = $1 AND p.provider_id = $2
"""
JOBS = """
    SELECT job_id, problem_reason, problem_message FROM cicd_jobs
    WHERE tenant_id = $1 AND provider_id = $2 AND problem_since IS NOT NULL
"""
# `since` stays the time of the first failure.
_NOTE = """
    UPDATE {table} AS t SET problem_reason = n.reason, problem_message = n.message,
        problem_since = CASE WHEN n.reason IS NOT NULL THEN coalesce(t.problem_since, now()) END
    FROM unnest($2::uuid[], $3::text[], $4::text[]) AS n (id, reason, message)
    WHERE t.tenant_id = $1 AND t.{key} = n.id
"""
_NOTE_PROVIDERS = _NOTE.format(table="cicd_providers", key="provider_id")
_NOTE_JOBS = _NOTE.format(table="cicd_jobs", key="job_id")
_NOTE_CANCEL_FAILED = """
    UPDATE deployment_runs SET cancel_problem_since = coalesce(cancel_problem_since, now()),
        cancel_problem_reason = $3, cancel_problem_message = $4,
        cancel_sent_time = CASE WHEN $5 THEN now() ELSE cancel_sent_time END
    WHERE tenant_id = $1 AND run_id = $2 AND cancel_request_time IS NOT NULL
        AND (settle_time IS NULL OR stop_until IS NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class StoredProblems:
    """The problems of a provider and of its jobs.

    ``held_up``: the provider has runs that could not be sent.
    ``events_due``: runs have their own problems, or an announced problem may have ended.
    """

    provider: Problem | None = None
    jobs: Mapping[uuid.UUID, Problem] = field(default_factory=dict)
    held_up: bool = False
    events_due: bool = False


async def stored(
    connection: Connection, tenant_id: uuid.UUID, provider_id: uuid.UUID
) -> StoredProblems:
    """Read the problems of a provider and of its jobs."""
    provider = await connection.fetchrow(PROVIDER, tenant_id, provider_id)
    jobs = await connection.fetch(JOBS, tenant_id, provider_id)
    if provider is None:
        return StoredProblems()
    return StoredProblems(
        _problem(provider) if provider["problem_reason"] else None,
        {row["job_id"]: _problem(row) for row in jobs},
        provider["held_up"],
        provider["events_due"],
    )


async def note_jobs(
    connection: Connection,
    tenant_id: uuid.UUID,
    problems: Sequence[tuple[uuid.UUID, Problem | None]],
) -> None:
    """Write the problems of locked jobs; None removes a problem."""
    await connection.execute(_NOTE_JOBS, tenant_id, *_columns(problems))


async def note_provider(
    connection: Connection, tenant_id: uuid.UUID, provider_id: uuid.UUID, problem: Problem | None
) -> None:
    """Write the problem of a provider; None removes it."""
    await connection.execute(_NOTE_PROVIDERS, tenant_id, *_columns([(provider_id, problem)]))


async def note_cancel_failed(
    connection: Connection,
    tenant_id: uuid.UUID,
    run_id: uuid.UUID,
    problem: Problem,
    *,
    answered: bool,
) -> None:
    """Store why a cancel request failed. ``answered``: Jenkins answered, so the next try is delayed."""
    await connection.execute(
        _NOTE_CANCEL_FAILED, tenant_id, run_id, problem.reason, problem.message, answered
    )


def problem_in(row: asyncpg.Record, prefix: str = "problem") -> ObservationProblem | None:
    """Return the problem in three columns of a row; None if they are NULL."""
    since, reason, message = (row[f"{prefix}_{part}"] for part in _PARTS)
    if since is None:
        return None
    cancelling = prefix == "problem" and row.get("problem_cancelling", False)
    return ObservationProblem(since, reason, message, bool(cancelling))


def _problem(row: asyncpg.Record) -> Problem:
    return Problem(row["problem_reason"], row["problem_message"])


def _columns(
    problems: Sequence[tuple[uuid.UUID, Problem | None]],
) -> tuple[list[uuid.UUID], list[str | None], list[str | None]]:
    return (
        [one for one, _ in problems],
        [problem.reason if problem else None for _, problem in problems],
        [problem.message if problem else None for _, problem in problems],
    )
