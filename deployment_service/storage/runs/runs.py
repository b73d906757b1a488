"""Read and write runs, and the status of their deployments, in sets."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import asyncpg

from deployment_service.domain.attribution import DeploymentOfJob
from deployment_service.domain.certainty import Certainty, ReportedEnd
from deployment_service.domain.events import WaitingFor
from deployment_service.domain.runs import Build, Run, RunSource, TriggerState
from deployment_service.domain.status import (
    BuildState,
    DeploymentStatus,
    FailureCause,
    UnstablePolicy,
)
from deployment_service.storage.actors import actor_columns, actor_in
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.runs.typical_durations import TYPICAL_DURATION

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

RUN_COLUMNS = """
    run_id, deployment_id, number, job_id, source, trigger_state, rank, status, result, certainty,
    settle_time, reported_status, reported_ends, building_time, absent_time, unsaved_result, confirm_due_time,
    failure_cause,
    failure_message, waiting_for, waiting_reason, generation, build_number, build_timestamp_ms, shown, queue_id,
    first_build_number, after_generation, after_build_number, start_time, end_time, last_observed_time, parameters,
    requested_by_kind, requested_by_subject, requested_by_display_name, requested_by_on_behalf_of
"""

_READ_RUNS = f"SELECT {RUN_COLUMNS} FROM deployment_runs WHERE tenant_id = $1 AND run_id = ANY($2)"

# For each deployment the highest run and the highest settled COMPLETED run, except the runs in $3.
_HIGHEST_OTHERS = f"""
    SELECT top.* FROM unnest($2::uuid[]) AS d (id)
    CROSS JOIN LATERAL (
        (SELECT {RUN_COLUMNS} FROM deployment_runs
         WHERE tenant_id = $1 AND deployment_id = d.id AND run_id <> ALL($3)
         ORDER BY order_generation DESC, order_position DESC, number DESC LIMIT 1)
        UNION ALL
        (SELECT {RUN_COLUMNS} FROM deployment_runs
         WHERE tenant_id = $1 AND deployment_id = d.id AND status = 'COMPLETED' AND settle_time IS NOT NULL
            AND run_id <> ALL($3)
         ORDER BY order_generation DESC, order_position DESC, number DESC LIMIT 1)
    ) AS top
"""
_NEXT_NUMBERS = """
    SELECT d.id, (SELECT coalesce(max(number), 0) + 1 FROM deployment_runs
                  WHERE tenant_id = $1 AND deployment_id = d.id) AS number
    FROM unnest($2::uuid[]) AS d (id)
"""

# The columns that a status update may change, with their types.
_WRITTEN = {
    "trigger_state": "text",
    "rank": "smallint",
    "status": "text",
    "result": "text",
    "certainty": "text",
    "settle_time": "timestamptz",
    "reported_status": "text",
    "reported_ends": "jsonb",
    "building_time": "timestamptz",
    "absent_time": "timestamptz",
    "unsaved_result": "text",
    "confirm_due_time": "timestamptz",
    "failure_cause": "text",
    "failure_message": "text",
    "waiting_for": "text",
    "waiting_reason": "text",
    "generation": "int",
    "build_number": "int",
    "build_timestamp_ms": "bigint",
    "shown": "bool",
    "queue_id": "text",
    "first_build_number": "int",
    "after_generation": "int",
    "after_build_number": "int",
    "start_time": "timestamptz",
    "end_time": "timestamptz",
    "last_observed_time": "timestamptz",
    "requested_by_kind": "text",
    "requested_by_subject": "text",
    "requested_by_display_name": "text",
    "requested_by_on_behalf_of": "text",
}
_UPDATE = f"""
    UPDATE deployment_runs AS r SET {", ".join(f"{name} = n.{name}" for name in _WRITTEN)},
        -- A settled run is never sent again.
        secret_values = CASE WHEN n.settle_time IS NULL THEN r.secret_values END,
        -- A settled run has nothing to cancel, except after the deletion of its deployment: then its build is stopped.
        (cancel_problem_since, cancel_problem_reason, cancel_problem_message) = (
            SELECT r.cancel_problem_since, r.cancel_problem_reason, r.cancel_problem_message
            WHERE n.settle_time IS NULL OR r.stop_until IS NOT NULL)
    FROM unnest($2::uuid[], $3::bool[],
        {", ".join(f"${place}::{kind}[]" for place, kind in enumerate(_WRITTEN.values(), 4))})
        AS n (run_id, forced, {", ".join(_WRITTEN)})
    WHERE r.tenant_id = $1 AND r.run_id = n.run_id
        -- The state never decreases, also if a writer decided on a stale read. `forced`: the end was withdrawn, or the
        -- build moved to another run.
        AND (n.forced OR r.rank <= n.rank)
"""
_INSERT_EXTERNAL = f"""
    INSERT INTO deployment_runs (tenant_id, run_id, deployment_id, number, job_id, source, parameters,
        {", ".join(_WRITTEN)})
    SELECT $1, n.run_id, n.deployment_id, n.number, n.job_id, n.source,
        -- Jenkins shows the value of a SECRET parameter if its job defines the parameter as a text.
        n.parameters - (SELECT coalesce(array_agg(one ->> 'name'), '{{}}')
            FROM deployments AS d, jsonb_array_elements(d.parameter_definitions) AS one
            WHERE d.tenant_id = $1 AND d.deployment_id = n.deployment_id AND one ->> 'kind' = 'SECRET'),
        {", ".join(f"n.{name}" for name in _WRITTEN)}
    FROM unnest($2::uuid[], $3::uuid[], $4::int[], $5::uuid[], $6::text[], $7::jsonb[],
        {", ".join(f"${place}::{kind}[]" for place, kind in enumerate(_WRITTEN.values(), 8))})
        AS n (run_id, deployment_id, number, job_id, source, parameters, {", ".join(_WRITTEN)})
"""


@dataclass(slots=True)
class DeploymentState:
    """The columns of a deployment that change with its runs."""

    deployment_id: uuid.UUID
    slug: str
    status: DeploymentStatus
    revision: int
    unstable_policy: UnstablePolicy
    current_run_id: uuid.UUID | None
    last_completed_run_id: uuid.UUID | None


async def read(
    connection: Connection, tenant_id: uuid.UUID, run_ids: Collection[uuid.UUID]
) -> list[Run]:
    """Return the existing runs with these ids."""
    return [from_row(row) for row in await connection.fetch(_READ_RUNS, tenant_id, list(run_ids))]


async def read_highest_others(
    connection: Connection,
    tenant_id: uuid.UUID,
    deployment_ids: Sequence[uuid.UUID],
    excluded: Sequence[uuid.UUID],
) -> list[Run]:
    """Return, for each deployment, the highest and the highest settled COMPLETED run that is not ``excluded``."""
    rows = await connection.fetch(_HIGHEST_OTHERS, tenant_id, deployment_ids, excluded)
    return [from_row(row) for row in rows]


async def next_numbers(
    connection: Connection, tenant_id: uuid.UUID, deployment_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, int]:
    """Return the next run number of each deployment. The deployments must be locked."""
    rows = await connection.fetch(_NEXT_NUMBERS, tenant_id, deployment_ids)
    return {row["id"]: row["number"] for row in rows}


async def update(
    connection: Connection,
    tenant_id: uuid.UUID,
    changed: Sequence[Run],
    forced: Collection[uuid.UUID] = (),
) -> None:
    """Write runs. ``forced`` runs are written although their state ranks lower than the stored one."""
    if changed:
        ids = [run.run_id for run in changed]
        await connection.execute(
            _UPDATE, tenant_id, ids, [run_id in forced for run_id in ids], *_columns(changed)
        )


async def insert_external(connection: Connection, tenant_id: uuid.UUID, new: Sequence[Run]) -> None:
    """Insert external runs, for builds that were not started by the service."""
    if new:
        await connection.execute(
            _INSERT_EXTERNAL,
            tenant_id,
            [run.run_id for run in new],
            [run.deployment_id for run in new],
            [run.number for run in new],
            [run.job_id for run in new],
            [run.source for run in new],
            [dict(run.parameters) for run in new],
            *_columns(new),
        )


async def read_deployments(
    connection: Connection, tenant_id: uuid.UUID, deployment_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, DeploymentState]:
    """Return the columns of deployments that change with their runs."""
    rows = await connection.fetch(
        """
        SELECT deployment_id, slug, status, revision, unstable_policy, current_run_id, last_completed_run_id
        FROM deployments WHERE tenant_id = $1 AND deployment_id = ANY($2)
        """,
        tenant_id,
        list(deployment_ids),
    )
    return {
        row["deployment_id"]: DeploymentState(
            row["deployment_id"],
            row["slug"],
            DeploymentStatus(row["status"]),
            row["revision"],
            UnstablePolicy(row["unstable_policy"]),
            row["current_run_id"],
            row["last_completed_run_id"],
        )
        for row in rows
    }


async def write_deployments(
    connection: Connection, tenant_id: uuid.UUID, changed: Iterable[DeploymentState]
) -> None:
    """Write the status of locked deployments."""
    states = list(changed)
    if states:
        await connection.execute(
            f"""
            UPDATE deployments AS d SET status = n.status, revision = n.revision, current_run_id = n.current_run_id,
                last_completed_run_id = n.last_completed_run_id, update_time = now(),
                typical_duration = CASE WHEN n.last_completed_run_id IS NOT DISTINCT FROM d.last_completed_run_id
                    THEN d.typical_duration ELSE ({TYPICAL_DURATION}) END
            FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::uuid[], $6::uuid[])
                AS n (deployment_id, status, revision, current_run_id, last_completed_run_id)
            WHERE d.tenant_id = $1 AND d.deployment_id = n.deployment_id
            """,
            tenant_id,
            [state.deployment_id for state in states],
            [state.status for state in states],
            [state.revision for state in states],
            [state.current_run_id for state in states],
            [state.last_completed_run_id for state in states],
        )


async def deployments_of_jobs(
    connection: Connection, tenant_id: uuid.UUID, job_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, list[DeploymentOfJob]]:
    """Return the deployments that are mapped to each job."""
    rows = await connection.fetch(
        """
        SELECT job_id, deployment_id, fixed_parameters, first_generation, coalesce(first_build_number, 1) AS first,
            (extract(epoch FROM create_time) * 1000)::bigint AS mapped_ms
        FROM deployment_cicd_mappings WHERE tenant_id = $1 AND job_id = ANY($2)
        """,
        tenant_id,
        list(job_ids),
    )
    found: dict[uuid.UUID, list[DeploymentOfJob]] = {job_id: [] for job_id in job_ids}
    for row in rows:
        first = Build(row["first_generation"], row["first"])
        found[row["job_id"]].append(
            DeploymentOfJob(row["deployment_id"], row["fixed_parameters"], first, row["mapped_ms"])
        )
    return found


async def now(connection: Connection) -> datetime:
    """Return the time of the transaction, by the database's clock."""
    value: datetime = await connection.fetchval("SELECT now()")
    return value


def from_row(row: asyncpg.Record) -> Run:
    """Return the run of a row that has RUN_COLUMNS."""
    waiting_for, number = row["waiting_for"], row["build_number"]
    return Run(
        run_id=row["run_id"],
        deployment_id=row["deployment_id"],
        number=row["number"],
        job_id=row["job_id"],
        source=RunSource(row["source"]),
        trigger_state=TriggerState(row["trigger_state"]),
        state=BuildState.from_rank(row["rank"]),
        status=DeploymentStatus(row["status"]),
        result=row["result"],
        certainty=Certainty(row["certainty"]) if row["certainty"] else None,
        settle_time=row["settle_time"],
        reported_status=_status(row["reported_status"]),
        reports=_reported_ends(row["reported_ends"]),
        building_time=row["building_time"],
        absent_time=row["absent_time"],
        unsaved_result=row["unsaved_result"],
        confirm_due_time=row["confirm_due_time"],
        failure_cause=_cause(row["failure_cause"]),
        failure_message=row["failure_message"],
        waiting_for=WaitingFor(waiting_for) if waiting_for else None,
        waiting_reason=row["waiting_reason"],
        build=Build(row["generation"], number) if number is not None else None,
        build_timestamp_ms=row["build_timestamp_ms"],
        shown=row["shown"],
        queue_id=row["queue_id"],
        first_build_number=row["first_build_number"],
        after=Build(row["after_generation"], row["after_build_number"]),
        start_time=row["start_time"],
        end_time=row["end_time"],
        last_observed_time=row["last_observed_time"],
        parameters=row["parameters"],
        requested_by=actor_in(row, "requested_by"),
    )


def _cause(status_text: str | None) -> FailureCause | None:
    try:
        return FailureCause(status_text) if status_text else None
    except ValueError:
        # Unknown value of a newer replica (rolling upgrade): keep the string.
        return cast(FailureCause, status_text)


def _status(status_text: str | None) -> DeploymentStatus | None:
    return DeploymentStatus(status_text) if status_text else None


def _reported_ends(stored: Mapping[str, list[Any]]) -> tuple[ReportedEnd, ...]:
    return tuple(
        ReportedEnd(
            BuildState.from_rank(int(rank)), _EPOCH + timedelta(microseconds=microseconds), text
        )
        for rank, (microseconds, text) in sorted(stored.items(), reverse=True)
    )


def _stored_ends(reports: Iterable[ReportedEnd]) -> dict[str, list[Any]]:
    """Return ``rank -> [time in microseconds since 1970, status text]``."""
    return {
        str(end.state.rank): [(end.time - _EPOCH) // timedelta(microseconds=1), end.status_text]
        for end in reports
    }


def _columns(runs: Sequence[Run]) -> list[list[Any]]:
    """Return the values of the columns in _WRITTEN, column by column."""
    written = [_written(run) for run in runs]
    return [[values[name] for values in written] for name in _WRITTEN]


def _written(run: Run) -> dict[str, Any]:
    values = {name: getattr(run, name) for name in _WRITTEN if hasattr(run, name)}
    values |= actor_columns(run.requested_by, "requested_by")
    return values | {
        "rank": run.state.rank,
        "reported_ends": _stored_ends(run.reports),
        "generation": run.build.generation if run.build else None,
        "build_number": run.build.number if run.build else None,
        "after_generation": run.after.generation,
        "after_build_number": run.after.number,
    }
