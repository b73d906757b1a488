"""Read deployments for the API, and update their settings.

``definitions`` creates and deletes them, ``storage.runs.runs`` writes their status, ``storage.runs.run_records`` reads
their runs.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from deployment_service.domain.deployment_settings import SETTINGS, DeploymentSettings
from deployment_service.domain.lists import ANY_TIME, NEVER, DeploymentOrder, TimeRange, View
from deployment_service.domain.problems import ObservationProblem
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.pages import Chunk
from deployment_service.storage.problems import (
    CURRENT_RUN_PROBLEM_COLUMNS,
    JOB_PROBLEM_COLUMNS,
    problem_in,
)
from deployment_service.storage.records import chunk
from deployment_service.storage.runs.run_summaries import SUMMARY_COLUMNS, RunSummary, summary_in

# A deployment has exactly one job until it is deleted; its current and last completed runs may be missing.
_SELECT = f"""
    SELECT d.deployment_id, d.resource_id, d.slug, {", ".join(f"d.{name}" for name in SETTINGS)},
        d.job_kind, d.job_spec, d.status, d.revision, d.version, d.create_time, d.update_time, d.delete_time,
        d.purge_time,
        coalesce(p.slug, '') AS provider_slug, coalesce(p.base_url, '') AS base_url,
        coalesce(p.webhook_base_url, '') AS webhook_base_url,
        coalesce(m.fixed_parameters, '{{}}') AS fixed_parameters,
        j.job_id, coalesce(j.full_name, '') AS job_full_name, coalesce(j.state, '') AS job_state,
        concat_ws(': ', nullif(j.state_fault, ''), j.state_message) AS job_state_message,
        j.correlation AS job_correlation,
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
# A definition may have megabytes, which most callers of lists do not need.
_SELECT_BASIC = _SELECT.replace("d.job_spec", "'{}'::jsonb AS job_spec").replace(
    "d.parameter_definitions", "'[]'::jsonb AS parameter_definitions"
)
_SELECTS = {View.BASIC: _SELECT_BASIC, View.FULL: _SELECT}
_BY_RESOURCE_ID = _SELECT + " WHERE d.tenant_id = $1 AND d.resource_id = $2"
_BY_ID = _SELECT + " WHERE d.tenant_id = $1 AND d.deployment_id = $2"
_FILTERS = """
        -- NULL: not filtered by this column.
        AND ($4::text[] IS NULL OR d.status = ANY ($4))
        AND ($5::jsonb IS NULL OR d.labels @> $5)
        AND ($6::text IS NULL OR p.slug = $6)
        AND ($7::text[] IS NULL OR d.slug = ANY ($7))
        AND d.create_time >= $8 AND d.create_time < $9
"""
# In the order of the index on (tenant_id, resource_id).
_PAGE_BY_NAME = f"""
    WHERE d.tenant_id = $1 AND d.resource_id > $2 {_FILTERS}
    ORDER BY d.resource_id LIMIT $3
"""
# In the order of the index on (tenant_id, create_time, deployment_id); deployment_id makes the order total.
_PAGE_BY_AGE = f"""
    WHERE d.tenant_id = $1 AND (d.create_time, d.deployment_id) > ($2, $10)
        AND (d.create_time, d.deployment_id) < ($11, $12) {_FILTERS}
    ORDER BY d.create_time DESC, d.deployment_id DESC LIMIT $3
"""
_LOWEST, _HIGHEST = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)
_BY_NAMES = " WHERE d.tenant_id = $1 AND d.resource_id = ANY ($2)"
_UPDATE = f"""
    UPDATE deployments SET {", ".join(f"{name} = ${n}" for n, name in enumerate(SETTINGS, 3))},
        revision = revision + 1, version = version + 1, update_time = now()
    WHERE tenant_id = $1 AND deployment_id = $2
"""

_ID = "SELECT deployment_id FROM deployments WHERE tenant_id = $1 AND resource_id = $2"


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """A deployment with its job and provider, for the API.

    ``resource_id`` is the last part of its name: the slug, or ``uid:`` and its UUID after deletion. A deleted
    deployment has no job. Its provider texts are empty if the provider is deleted too.
    """

    deployment_id: uuid.UUID
    resource_id: str
    slug: str
    settings: DeploymentSettings
    job_kind: str
    job_spec: Mapping[str, Any]
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
    """The median duration of the last completed runs."""
    problem: ObservationProblem | None
    """The problem of its current run, while that is not settled."""
    job_problem: ObservationProblem | None
    """The problem of its job or provider."""


@dataclass(frozen=True, slots=True)
class DeploymentFilter:
    """A filter and order of a tenant's deployments. The default matches all, by name."""

    statuses: Collection[str] = ()
    labels: Mapping[str, str] | None = None
    provider_slug: str | None = None
    slugs: Collection[str] | None = None
    created: TimeRange = ANY_TIME
    show_deleted: bool = False
    order: DeploymentOrder = DeploymentOrder.NAME


async def by_resource_id(
    connection: Connection, tenant_id: uuid.UUID, resource_id: str
) -> DeploymentRecord | None:
    row = await connection.fetchrow(_BY_RESOURCE_ID, tenant_id, resource_id)
    return _to_record(row) if row is not None else None


async def by_id(
    connection: Connection, tenant_id: uuid.UUID, deployment_id: uuid.UUID
) -> DeploymentRecord | None:
    row = await connection.fetchrow(_BY_ID, tenant_id, deployment_id)
    return _to_record(row) if row is not None else None


async def page(
    connection: Connection,
    tenant_id: uuid.UUID,
    wanted: DeploymentFilter,
    *,
    after_resource_id: str,
    limit: int,
    view: View,
) -> Chunk[DeploymentRecord]:
    """Return at most ``limit`` deployments after ``after_resource_id``, by resource id."""
    query = query_of_page(wanted, view)
    filters = _filters(wanted)
    return await chunk(
        connection, _to_record, limit, query, tenant_id, after_resource_id, limit + 1, *filters
    )


async def page_by_age(
    connection: Connection,
    tenant_id: uuid.UUID,
    wanted: DeploymentFilter,
    *,
    after: tuple[datetime, uuid.UUID] | None,
    limit: int,
    view: View,
) -> Chunk[DeploymentRecord]:
    """Return at most ``limit`` deployments after ``after``, by time of creation, in the order of ``wanted``."""
    low, high = (wanted.created.start, _LOWEST), (NEVER, _HIGHEST)
    if after is not None:
        newest_first = wanted.order is DeploymentOrder.NEWEST_FIRST
        low, high = (low, after) if newest_first else (after, high)
    arguments = (tenant_id, low[0], limit + 1, *_filters(wanted), low[1], *high)
    return await chunk(connection, _to_record, limit, query_of_page(wanted, view), *arguments)


def _filters(wanted: DeploymentFilter) -> tuple[object, ...]:
    """Return the arguments $4 to $9 of both statements."""
    return (
        list(wanted.statuses) or None,
        dict(wanted.labels) if wanted.labels else None,
        wanted.provider_slug,
        list(wanted.slugs) if wanted.slugs is not None else None,
        wanted.created.start,
        wanted.created.end,
    )


def query_of_page(wanted: DeploymentFilter, view: View) -> str:
    """Return the statement that reads a page."""
    query = _PAGE_BY_NAME if wanted.order is DeploymentOrder.NAME else _PAGE_BY_AGE
    if wanted.order is DeploymentOrder.OLDEST_FIRST:
        query = query.replace(" DESC", "")
    if not wanted.show_deleted:
        query = query.replace(
            "WHERE d.tenant_id = $1", "WHERE d.tenant_id = $1 AND d.delete_time IS NULL"
        )
    return _SELECTS[view] + query


async def by_names(
    connection: Connection, tenant_id: uuid.UUID, resource_ids: Collection[str], view: View
) -> Chunk[DeploymentRecord]:
    """Return the existing deployments with these names, unordered, as many as fit into an answer."""
    names = list(set(resource_ids))
    query = query_of_names(view)
    return await chunk(connection, _to_record, len(names), query, tenant_id, names)


def query_of_names(view: View) -> str:
    """Return the statement that reads deployments by their names."""
    return _SELECTS[view] + _BY_NAMES


async def find_id(
    connection: Connection, tenant_id: uuid.UUID, resource_id: str
) -> uuid.UUID | None:
    deployment_id: uuid.UUID | None = await connection.fetchval(_ID, tenant_id, resource_id)
    return deployment_id


async def update(
    connection: Connection,
    tenant_id: uuid.UUID,
    deployment_id: uuid.UUID,
    settings: DeploymentSettings,
) -> None:
    """Write the settings of a locked deployment. The caller appends an event."""
    await connection.execute(_UPDATE, tenant_id, deployment_id, *settings.to_row().values())


_READ_BY_RULES = ("settings", "problem", "job_problem", "current_run")
_COLUMNS = tuple(one.name for one in fields(DeploymentRecord) if one.name not in _READ_BY_RULES)


def _to_record(row: asyncpg.Record) -> DeploymentRecord:
    values: dict[str, Any] = {name: row[name] for name in _COLUMNS}
    values["settings"] = DeploymentSettings.from_row(row)
    values |= {name: problem_in(row, name) for name in ("problem", "job_problem")}
    values["current_run"] = summary_in(row)
    return DeploymentRecord(**values)
