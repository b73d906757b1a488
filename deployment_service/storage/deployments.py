"""Deployments and runs as callers see them, and changes of a definition.

How deployments come and go is in ``storage.definitions``, what changes their status in ``storage.runs``.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, TypeVar

import asyncpg

from deployment_service.domain.actors import Actor
from deployment_service.domain.parameter_definitions import (
    DeclaredParameter,
    definitions_from_json,
    definitions_to_json,
)
from deployment_service.domain.problems import ObservationProblem
from deployment_service.storage.actors import actor_in
from deployment_service.storage.database import Connection
from deployment_service.storage.pages import Chunk
from deployment_service.storage.problems import (
    CURRENT_RUN_PROBLEM_COLUMNS,
    JOB_PROBLEM_COLUMNS,
    RUN_PROBLEM_COLUMNS,
    problem_in,
)
from deployment_service.storage.run_summaries import SUMMARY_COLUMNS, RunSummary, summary_in

# A deployment has exactly one job until it is deleted; its current and last completed runs may be missing.
_SELECT = f"""
    SELECT d.deployment_id, d.resource_id, d.slug, d.display_name, d.job_kind, d.job_spec,
        d.parameter_definitions, d.labels,
        d.unstable_policy, d.status, d.revision, d.version, d.create_time, d.update_time, d.delete_time, d.purge_time,
        coalesce(p.slug, '') AS provider_slug, coalesce(p.base_url, '') AS base_url,
        coalesce(p.webhook_base_url, '') AS webhook_base_url,
        coalesce(m.fixed_parameters, '{{}}') AS fixed_parameters,
        j.job_id, coalesce(j.full_name, '') AS job_full_name, coalesce(j.state, '') AS job_state,
        coalesce(j.state_message, '') AS job_state_message, j.correlation AS job_correlation,
        coalesce(j.status, '') AS job_status, coalesce(j.status_build_number, 0) AS job_build_number,
        coalesce(j.token_exposed AND NOT p.private_console, false) AS job_token_exposed,
        completed_run.number AS last_completed_run_number, d.typical_duration, {SUMMARY_COLUMNS},
        {JOB_PROBLEM_COLUMNS}, {CURRENT_RUN_PROBLEM_COLUMNS}
    FROM deployments AS d
    LEFT JOIN cicd_providers AS p ON p.tenant_id = d.tenant_id AND p.provider_id = d.provider_id
    LEFT JOIN deployment_cicd_mappings AS m ON m.tenant_id = d.tenant_id AND m.deployment_id = d.deployment_id
    LEFT JOIN cicd_jobs AS j ON j.tenant_id = m.tenant_id AND j.job_id = m.job_id
    LEFT JOIN deployment_runs AS current_run
        ON current_run.tenant_id = d.tenant_id AND current_run.run_id = d.current_run_id
    LEFT JOIN deployment_runs AS completed_run
        ON completed_run.tenant_id = d.tenant_id AND completed_run.run_id = d.last_completed_run_id
"""
_BY_RESOURCE_ID = _SELECT + " WHERE d.tenant_id = $1 AND d.resource_id = $2"
_BY_ID = _SELECT + " WHERE d.tenant_id = $1 AND d.deployment_id = $2"
# In the order of the index on (tenant_id, resource_id); a filter that isn't asked for is NULL.
PAGE_WITH_DELETED = (
    _SELECT
    + """
    WHERE d.tenant_id = $1 AND d.resource_id > $2
        AND ($4::text[] IS NULL OR d.status = ANY ($4))
        AND ($5::jsonb IS NULL OR d.labels @> $5)
        AND ($6::text IS NULL OR p.slug = $6)
        AND ($7::text[] IS NULL OR d.slug = ANY ($7))
    ORDER BY d.resource_id LIMIT $3
"""
)
PAGE = PAGE_WITH_DELETED.replace(
    "WHERE d.tenant_id = $1", "WHERE d.tenant_id = $1 AND d.delete_time IS NULL"
)
_LOCK = """
    SELECT deployment_id FROM deployments WHERE tenant_id = $1 AND resource_id = $2 AND delete_time IS NULL
    FOR NO KEY UPDATE
"""
_UPDATE = """
    UPDATE deployments SET display_name = $3, parameter_definitions = $4, labels = $5, unstable_policy = $6,
        revision = revision + 1, version = version + 1, update_time = now()
    WHERE tenant_id = $1 AND deployment_id = $2
"""

_SELECT_RUN = f"""
    SELECT r.run_id, d.resource_id AS deployment_resource_id, r.number, r.source, r.parameters,
        r.secret_parameters, r.status, r.certainty,
        r.settle_time, r.reported_status, r.failure_cause, r.failure_message, r.waiting_for, r.waiting_reason,
        r.queue_id, r.build_number, r.create_time, r.start_time, r.build_timestamp_ms, r.end_time, r.last_observed_time,
        r.cancel_request_time, r.reason, r.annotations, r.retry_of, r.requested_by_kind, r.requested_by_subject,
        r.requested_by_display_name, r.requested_by_on_behalf_of, j.full_name AS job_full_name,
        coalesce(p.base_url, '') AS base_url,
        {RUN_PROBLEM_COLUMNS}, {JOB_PROBLEM_COLUMNS}
    FROM deployment_runs AS r
    JOIN deployments AS d ON d.tenant_id = r.tenant_id AND d.deployment_id = r.deployment_id
    LEFT JOIN cicd_providers AS p ON p.tenant_id = d.tenant_id AND p.provider_id = d.provider_id
    LEFT JOIN cicd_jobs AS j ON j.tenant_id = r.tenant_id AND j.job_id = r.job_id
"""
_RUN_BY_NUMBER = _SELECT_RUN + " WHERE r.tenant_id = $1 AND d.resource_id = $2 AND r.number = $3"
_RUN_BY_ID = _SELECT_RUN + " WHERE r.tenant_id = $1 AND r.run_id = $2"
# Of one deployment: by number, which the key of the table has in order.
RUNS_OF_ONE = (
    _SELECT_RUN
    + """
    WHERE r.tenant_id = $1 AND r.deployment_id = $2 AND r.number < $3
        AND ($5::text[] IS NULL OR r.status = ANY ($5))
    ORDER BY r.number DESC LIMIT $4
"""
)
# Of all: by time; run_id makes the order total.
RUNS_OF_ALL = (
    _SELECT_RUN
    + """
    WHERE r.tenant_id = $1 AND (r.create_time, r.run_id) < ($2, $3)
        AND ($5::text[] IS NULL OR r.status = ANY ($5))
        AND ($6 OR d.delete_time IS NULL)
    ORDER BY r.create_time DESC, r.run_id DESC LIMIT $4
"""
)
_ID = "SELECT deployment_id FROM deployments WHERE tenant_id = $1 AND resource_id = $2"


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """A deployment with its job and provider, as callers see it.

    ``resource_id`` is the last part of its name: the slug, or `uid:` and its UUID once it is deleted. Then it
    has no job, and no provider (empty texts) if that is deleted as well.
    """

    deployment_id: uuid.UUID
    resource_id: str
    slug: str
    display_name: str
    job_kind: str
    job_spec: Mapping[str, Any]
    parameter_definitions: tuple[DeclaredParameter, ...]
    labels: Mapping[str, str]
    unstable_policy: str
    status: str
    revision: int
    version: int
    create_time: datetime
    update_time: datetime
    delete_time: datetime | None
    purge_time: datetime | None
    provider_slug: str
    base_url: str
    webhook_base_url: str
    fixed_parameters: Mapping[str, str]
    job_id: uuid.UUID | None
    job_full_name: str
    job_state: str
    job_state_message: str
    job_correlation: str | None
    job_status: str
    job_build_number: int
    job_token_exposed: bool
    current_run: RunSummary | None
    last_completed_run_number: int | None
    typical_duration: timedelta | None
    """The median of the last completed runs."""
    problem: ObservationProblem | None
    """Of its current run, while that is not settled."""
    job_problem: ObservationProblem | None
    """Of its job or of its whole provider."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as callers see it."""

    run_id: uuid.UUID
    deployment_resource_id: str
    number: int
    source: str
    parameters: Mapping[str, str]
    secret_parameters: Sequence[str]
    status: str
    certainty: str | None
    settle_time: datetime | None
    reported_status: str | None
    failure_cause: str | None
    failure_message: str
    waiting_for: str | None
    waiting_reason: str
    queue_id: str | None
    build_number: int | None
    create_time: datetime
    start_time: datetime | None
    """When Jenkins accepted it."""
    build_timestamp_ms: int | None
    end_time: datetime | None
    last_observed_time: datetime | None
    cancel_request_time: datetime | None
    reason: str
    annotations: Mapping[str, str]
    retry_of: int | None
    requested_by: Actor | None
    """None: it was requested before requesters were kept, or Jenkins has not shown its cause."""
    job_full_name: str | None
    base_url: str
    problem: ObservationProblem | None
    """Its own, else its job's or its provider's, while it is not settled."""
    job_problem: ObservationProblem | None
    """Of its job or of its whole provider."""


@dataclass(frozen=True, slots=True)
class DeploymentFilter:
    """Which deployments of a tenant; an empty filter lets all through."""

    statuses: Collection[str] = ()
    labels: Mapping[str, str] | None = None
    provider_slug: str | None = None
    slugs: Collection[str] | None = None
    show_deleted: bool = False


async def by_resource_id(
    connection: Connection, tenant_id: uuid.UUID, resource_id: str
) -> DeploymentRecord | None:
    row = await connection.fetchrow(_BY_RESOURCE_ID, tenant_id, resource_id)
    return _record(DeploymentRecord, row) if row is not None else None


async def by_id(
    connection: Connection, tenant_id: uuid.UUID, deployment_id: uuid.UUID
) -> DeploymentRecord | None:
    row = await connection.fetchrow(_BY_ID, tenant_id, deployment_id)
    return _record(DeploymentRecord, row) if row is not None else None


async def page(
    connection: Connection,
    tenant_id: uuid.UUID,
    wanted: DeploymentFilter,
    *,
    after_resource_id: str,
    limit: int,
) -> Chunk[DeploymentRecord]:
    """Deployments by resource id, those after ``after_resource_id``, at most ``limit``."""
    return await _chunk(
        connection,
        DeploymentRecord,
        limit,
        PAGE_WITH_DELETED if wanted.show_deleted else PAGE,
        tenant_id,
        after_resource_id,
        limit + 1,
        list(wanted.statuses) or None,
        dict(wanted.labels) if wanted.labels else None,
        wanted.provider_slug,
        list(wanted.slugs) if wanted.slugs is not None else None,
    )


async def find_id(
    connection: Connection, tenant_id: uuid.UUID, resource_id: str
) -> uuid.UUID | None:
    deployment_id: uuid.UUID | None = await connection.fetchval(_ID, tenant_id, resource_id)
    return deployment_id


async def lock(connection: Connection, tenant_id: uuid.UUID, slug: str) -> uuid.UUID | None:
    """Lock a deployment that isn't deleted; None if there is none. Read it in a later statement."""
    deployment_id: uuid.UUID | None = await connection.fetchval(_LOCK, tenant_id, slug)
    return deployment_id


async def update(
    connection: Connection,
    tenant_id: uuid.UUID,
    deployment_id: uuid.UUID,
    *,
    display_name: str,
    parameter_definitions: tuple[DeclaredParameter, ...],
    labels: Mapping[str, str],
    unstable_policy: str,
) -> None:
    """Change the definition of a locked deployment, for which an event follows."""
    await connection.execute(
        _UPDATE,
        tenant_id,
        deployment_id,
        display_name,
        definitions_to_json(parameter_definitions),
        dict(labels),
        unstable_policy,
    )


async def run_by_number(
    connection: Connection, tenant_id: uuid.UUID, resource_id: str, number: int
) -> RunRecord | None:
    row = await connection.fetchrow(_RUN_BY_NUMBER, tenant_id, resource_id, number)
    return _record(RunRecord, row) if row is not None else None


async def run_by_id(
    connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID
) -> RunRecord | None:
    row = await connection.fetchrow(_RUN_BY_ID, tenant_id, run_id)
    return _record(RunRecord, row) if row is not None else None


async def runs_of_one(
    connection: Connection,
    tenant_id: uuid.UUID,
    deployment_id: uuid.UUID,
    *,
    before: int,
    limit: int,
    statuses: Sequence[str],
) -> Chunk[RunRecord]:
    """The runs of a deployment with numbers below ``before``, newest first."""
    wanted = list(statuses) or None
    arguments = (tenant_id, deployment_id, before, limit + 1, wanted)
    return await _chunk(connection, RunRecord, limit, RUNS_OF_ONE, *arguments)


async def runs_of_all(
    connection: Connection,
    tenant_id: uuid.UUID,
    *,
    before: tuple[datetime, uuid.UUID],
    limit: int,
    statuses: Sequence[str],
    show_deleted: bool,
) -> Chunk[RunRecord]:
    """The runs of a tenant's deployments that are older than ``before``, newest first.

    ``show_deleted``: those of deleted deployments too.
    """
    arguments = (tenant_id, *before, limit + 1, list(statuses) or None, show_deleted)
    return await _chunk(connection, RunRecord, limit, RUNS_OF_ALL, *arguments)


Kind = TypeVar("Kind", DeploymentRecord, RunRecord)
_PROBLEMS = ("problem", "job_problem")
_READ_BY_RULES = (*_PROBLEMS, "requested_by", "current_run")
_NAMES = {
    kind: tuple(f.name for f in fields(kind) if f.name not in _READ_BY_RULES)
    for kind in (DeploymentRecord, RunRecord)
}
# A definition may have megabytes: a page ends where it would get too large for a client's default limit of 4 MiB.
_MAX_CHUNK_BYTES = 3_500_000
# What a row becomes on the wire beyond its texts: names and URLs put together of them, numbers, times.
_ROW_OVERHEAD_BYTES = 2_000
_ENTRY_OVERHEAD_BYTES = 10
_ROWS_AT_ONCE = 25


async def _chunk(
    connection: Connection, kind: type[Kind], limit: int, query: str, *arguments: object
) -> Chunk[Kind]:
    """At most ``limit`` rows (of a query for one more), fewer if they are large, but one at least."""
    rows: list[Kind] = []
    room_bytes = _MAX_CHUNK_BYTES
    async with connection.transaction():
        async for row in connection.cursor(query, *arguments, prefetch=_ROWS_AT_ONCE):
            room_bytes -= _ROW_OVERHEAD_BYTES + sum(map(_size_bytes, row.values()))
            if len(rows) == limit or (rows and room_bytes < 0):
                return Chunk(rows, more=True)
            rows.append(_record(kind, row))
    return Chunk(rows, more=False)


def _size_bytes(value: object) -> int:
    """What a text, or a map or list of texts, takes in UTF-8 on the wire; other values are in the row's overhead."""
    match value:
        case str():
            return len(value.encode())
        case Mapping():
            inner = (_size_bytes(key) + _size_bytes(one) for key, one in value.items())
            return sum(inner) + _ENTRY_OVERHEAD_BYTES * len(value)
        case list():
            return sum(map(_size_bytes, value)) + _ENTRY_OVERHEAD_BYTES * len(value)
        case _:
            return 0


def _record(kind: type[Kind], row: asyncpg.Record) -> Kind:
    values: dict[str, Any] = {name: row[name] for name in _NAMES[kind]}
    if "parameter_definitions" in values:
        values["parameter_definitions"] = definitions_from_json(values["parameter_definitions"])
        values["current_run"] = summary_in(row)
    else:
        values["requested_by"] = actor_in(row, "requested_by")
    for name in _PROBLEMS:
        values[name] = problem_in(row, name)
    return kind(**values)
