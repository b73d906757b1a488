"""Read runs for the API. ``storage.runs.runs`` writes them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import asyncpg

from deployment_service.domain.actors import Actor
from deployment_service.domain.lists import NEVER, RunFilter, View
from deployment_service.domain.problems import ObservationProblem
from deployment_service.domain.status import DeploymentStatus
from deployment_service.storage.actors import actor_in
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.pages import Chunk
from deployment_service.storage.problems import (
    JOB_PROBLEM_COLUMNS,
    RUN_PROBLEM_COLUMNS,
    problem_in,
)
from deployment_service.storage.records import chunk
from deployment_service.storage.time_bounds import RUN_NUMBERS, keys_in

_SELECT = f"""
    SELECT r.run_id, r.deployment_id, d.resource_id AS deployment_resource_id, r.number, r.source, r.parameters,
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
_SELECT_BASIC = _SELECT.replace("r.parameters", "'{}'::jsonb AS parameters").replace(
    "r.secret_parameters", "'{}'::text[] AS secret_parameters"
)
_SELECTS = {View.BASIC: _SELECT_BASIC, View.FULL: _SELECT}
_BY_NUMBER = _SELECT + " WHERE r.tenant_id = $1 AND d.resource_id = $2 AND r.number = $3"
# OFFSET 0 forces the lookup by the whole key: without it the planner reads all runs of each deployment.
_NAMED = """
    (SELECT named.* FROM unnest($2::text[], $3::int[]) AS asked (resource_id, number)
    JOIN deployments AS owner ON owner.tenant_id = $1 AND owner.resource_id = asked.resource_id
    CROSS JOIN LATERAL (
        SELECT * FROM deployment_runs
        WHERE tenant_id = owner.tenant_id AND deployment_id = owner.deployment_id AND number = asked.number OFFSET 0
    ) AS named) AS r
"""
_BY_ID = _SELECT + " WHERE r.tenant_id = $1 AND r.run_id = $2"


def _page(runs: str, order: str, deployments: str = "d.tenant_id = $1") -> dict[View, str]:
    """Return the statements of a page. The LIMIT comes before the joins, so that they read only rows of the page."""
    page = f"({runs} ORDER BY {order} LIMIT $2)"
    joined = f" WHERE {deployments} ORDER BY {order}"
    return {
        view: select.replace("deployment_runs AS r", f"{page} AS r") + joined
        for view, select in _SELECTS.items()
    }


# Of one deployment: by number, which the key of the table has in order.
_OF_ONE = _page(
    """
    SELECT * FROM deployment_runs AS r
    WHERE r.tenant_id = $1 AND r.create_time >= $3 AND r.create_time < $4
        AND ($5::text[] IS NULL OR r.status = ANY ($5))
        AND ($6::text[] IS NULL OR r.source = ANY ($6))
        AND r.deployment_id = $7 AND r.number > $8 AND r.number < $9
    """,
    "r.number DESC",
    "d.tenant_id = $1 AND d.deployment_id = $7",
)
# Of all: by time, in the order of the index on (tenant_id, create_time, run_id); run_id makes the order total.
_OF_ALL = _page(
    """
    SELECT * FROM deployment_runs AS r
    WHERE r.tenant_id = $1 AND r.create_time >= $3 AND r.create_time < $4
        AND ($5::text[] IS NULL OR r.status = ANY ($5))
        AND ($6::text[] IS NULL OR r.source = ANY ($6))
        AND (r.create_time, r.run_id) > ($7, $8) AND (r.create_time, r.run_id) < ($9, $10)
        AND ($11 OR (
            SELECT delete_time FROM deployments WHERE tenant_id = r.tenant_id AND deployment_id = r.deployment_id
        ) IS NULL)
    """,
    "r.create_time DESC, r.run_id DESC",
)
_NOT_ENDED = {DeploymentStatus.PENDING, DeploymentStatus.RUNNING}
_FIRST, _LAST = 0, 2**31 - 1
_LOWEST, _HIGHEST = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run, for the API."""

    run_id: uuid.UUID
    deployment_id: uuid.UUID
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
    """None for runs from before requesters were stored, or if Jenkins has not shown the cause."""
    job_full_name: str | None
    base_url: str
    problem: ObservationProblem | None
    """The problem of the run, else of its job or provider, while the run is not settled."""
    job_problem: ObservationProblem | None
    """The problem of its job or provider."""


async def by_number(
    connection: Connection, tenant_id: uuid.UUID, resource_id: str, number: int
) -> RunRecord | None:
    row = await connection.fetchrow(_BY_NUMBER, tenant_id, resource_id, number)
    return _to_record(row) if row is not None else None


async def by_id(
    connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID
) -> RunRecord | None:
    row = await connection.fetchrow(_BY_ID, tenant_id, run_id)
    return _to_record(row) if row is not None else None


async def by_names(
    connection: Connection, tenant_id: uuid.UUID, names: Collection[tuple[str, int]], view: View
) -> Chunk[RunRecord]:
    """Return the existing runs with these resource ids and numbers, unordered, as many as fit into an answer."""
    distinct = list(set(names))
    ids, numbers = [name[0] for name in distinct], [name[1] for name in distinct]
    query = query_of_names(view)
    return await chunk(connection, _to_record, len(distinct), query, tenant_id, ids, numbers)


def query_of_names(view: View) -> str:
    """Return the statement that reads runs by their names."""
    return _SELECTS[view].replace("deployment_runs AS r", _NAMED)


async def of_one(
    connection: Connection,
    tenant_id: uuid.UUID,
    deployment_id: uuid.UUID,
    wanted: RunFilter,
    *,
    after: int | None,
    limit: int,
    view: View,
) -> Chunk[RunRecord]:
    """Return runs of a deployment by number, those that follow the number ``after`` in the order of ``wanted``."""
    first, end = await keys_in(connection, RUN_NUMBERS, (tenant_id, deployment_id), wanted.created)
    low, high = max(_FIRST, first - 1), min(_LAST, end)
    if after is not None:
        low, high = (low, min(high, after)) if wanted.newest_first else (max(low, after), high)
    keys = (deployment_id, low, high)
    return await chunk(
        connection,
        _to_record,
        limit,
        query_of_one(wanted, view),
        *_common(tenant_id, wanted, limit),
        *keys,
    )


async def of_all(
    connection: Connection,
    tenant_id: uuid.UUID,
    wanted: RunFilter,
    *,
    after: tuple[datetime, uuid.UUID] | None,
    limit: int,
    view: View,
) -> Chunk[RunRecord]:
    """Return runs of a tenant's deployments by time, those that follow ``after`` in the order of ``wanted``."""
    low, high = (wanted.created.start, _LOWEST), (NEVER, _HIGHEST)
    if after is not None:
        low, high = (low, after) if wanted.newest_first else (after, high)
    keys = (*low, *high, wanted.show_deleted)
    return await chunk(
        connection,
        _to_record,
        limit,
        query_of_all(wanted, view),
        *_common(tenant_id, wanted, limit),
        *keys,
    )


def _common(tenant_id: uuid.UUID, wanted: RunFilter, limit: int) -> tuple[object, ...]:
    """Return the first six arguments of both statements."""
    filters = (list(wanted.statuses) or None, list(wanted.sources) or None)
    return tenant_id, limit + 1, wanted.created.start, wanted.created.end, *filters


def query_of_one(wanted: RunFilter, view: View) -> str:
    """Return the statement that reads a page of one deployment's runs."""
    return _variant(_OF_ONE[view], wanted)


def query_of_all(wanted: RunFilter, view: View) -> str:
    """Return the statement that reads a page of all deployments' runs."""
    return _variant(_OF_ALL[view], wanted)


def _variant(query: str, wanted: RunFilter) -> str:
    if not wanted.newest_first:
        query = query.replace(" DESC", "")
    if wanted.statuses and _NOT_ENDED.issuperset(wanted.statuses):
        # Unsettled runs are few and have an index, so ended runs are not read.
        query = query.replace(
            "WHERE r.tenant_id = $1", "WHERE r.tenant_id = $1 AND r.settle_time IS NULL"
        )
    return query


_READ_BY_RULES = ("problem", "job_problem", "requested_by")
_COLUMNS = tuple(one.name for one in fields(RunRecord) if one.name not in _READ_BY_RULES)


def _to_record(row: asyncpg.Record) -> RunRecord:
    values: dict[str, Any] = {name: row[name] for name in _COLUMNS}
    values |= {name: problem_in(row, name) for name in ("problem", "job_problem")}
    values["requested_by"] = actor_in(row, "requested_by")
    return RunRecord(**values)
