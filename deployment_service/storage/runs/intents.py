"""The intent to run: the statements of RunDeployment."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from deployment_service.domain.parameter_definitions import (
    DeclaredParameter,
    definitions_from_json,
)
from deployment_service.domain.run_requests import RunRequest
from deployment_service.domain.secret_values import SplitValues
from deployment_service.storage.actors import actor_columns
from deployment_service.storage.database.pool import Connection

# Read in a statement after the lock of the deployment, see ``storage.locks``.
_READ = """
    SELECT d.deployment_id, d.slug, d.status, d.revision, d.parameter_definitions, d.job_kind, m.job_id,
        m.fixed_parameters,
        j.state AS job_state, j.state_message, j.secret_parameters AS job_secrets,
        (SELECT min(r.number) FROM deployment_runs AS r WHERE r.tenant_id = d.tenant_id
            AND r.deployment_id = d.deployment_id AND r.settle_time IS NULL AND r.source = 'SERVICE') AS active_number,
        NOT EXISTS (SELECT FROM deployment_runs AS r WHERE r.tenant_id = d.tenant_id
            AND r.deployment_id = d.deployment_id AND r.settle_time IS NULL AND r.source = 'SERVICE'
            AND r.end_time IS NULL) AS active_has_ended,
        -- Counted only up to the limit.
        (SELECT count(*) FROM (SELECT FROM deployment_runs AS r WHERE r.tenant_id = d.tenant_id
            AND r.settle_time IS NULL AND r.source = 'SERVICE' LIMIT $3) AS active) AS active_of_tenant,
        (SELECT coalesce(max(r.number), 0) + 1 FROM deployment_runs AS r WHERE r.tenant_id = d.tenant_id
            AND r.deployment_id = d.deployment_id) AS next_number
    FROM deployments AS d
    JOIN deployment_cicd_mappings AS m ON m.tenant_id = d.tenant_id AND m.deployment_id = d.deployment_id
    JOIN cicd_jobs AS j ON j.tenant_id = m.tenant_id AND j.job_id = m.job_id
    WHERE d.tenant_id = $1 AND d.deployment_id = $2
"""
_READ_VALUES = """
    SELECT parameters, secret_parameters, source FROM deployment_runs
    WHERE tenant_id = $1 AND deployment_id = $2 AND number = $3
"""
_INSERT = """
    INSERT INTO deployment_runs (tenant_id, run_id, deployment_id, number, job_id, source, parameters,
        secret_parameters, secret_values, reason, annotations, retry_of, requested_by_kind, requested_by_subject,
        requested_by_display_name, requested_by_on_behalf_of, waiting_for, trigger_state, next_try_time,
        trigger_deadline)
    VALUES ($1, $2, $3, $4, $5, 'SERVICE', $6, $7, $8, $10, $11, $12, $13, $14, $15, $16, 'TRIGGER', 'WAITING', now(),
        now() + $9::interval)
"""
# A run without a build is the current one, whatever else the deployment has (domain/runs.py: order_key).
_MAKE_CURRENT = """
    UPDATE deployments SET status = 'PENDING', current_run_id = $3, revision = revision + 1, update_time = now()
    WHERE tenant_id = $1 AND deployment_id = $2
"""
_IS_SETTLED = """
    SELECT NOT EXISTS (SELECT FROM deployment_runs WHERE tenant_id = $1 AND deployment_id = $2 AND settle_time IS NULL
        AND source = 'SERVICE')
"""
_IS_TRIGGERED = """
    SELECT trigger_state NOT IN ('WAITING', 'SENDING') FROM deployment_runs WHERE tenant_id = $1 AND run_id = $2
"""


@dataclass(frozen=True, slots=True)
class Runnable:
    """The state of a deployment that RunDeployment needs.

    ``active_number``: the number of the first unsettled run that the service started.
    ``active_has_ended``: the end of each such run was reported.
    """

    deployment_id: uuid.UUID
    slug: str
    status: str
    revision: int
    parameter_definitions: tuple[DeclaredParameter, ...]
    job_kind: str
    job_id: uuid.UUID
    fixed_parameters: Mapping[str, str]
    job_state: str
    state_message: str
    job_secrets: Sequence[str] | None
    """The parameters that the job defines in Jenkins as secret; None if they were not read yet."""
    active_number: int | None
    active_has_ended: bool
    active_of_tenant: int
    next_number: int


@dataclass(frozen=True, slots=True)
class RunValues:
    """The parameters of a run. ``secret_parameters``: names only."""

    parameters: Mapping[str, str]
    secret_parameters: Sequence[str]
    source: str


async def read(
    connection: Connection, tenant_id: uuid.UUID, deployment_id: uuid.UUID, *, count_to: int
) -> Runnable | None:
    """Read a locked deployment. The tenant's active runs are counted up to ``count_to``."""
    row = await connection.fetchrow(_READ, tenant_id, deployment_id, count_to)
    if row is None:
        return None
    definitions = definitions_from_json(row["parameter_definitions"])
    return Runnable(**{**row, "parameter_definitions": definitions})


async def read_values(
    connection: Connection, tenant_id: uuid.UUID, deployment_id: uuid.UUID, number: int
) -> RunValues | None:
    """Return the parameters of an earlier run; None if there is no such run."""
    row = await connection.fetchrow(_READ_VALUES, tenant_id, deployment_id, number)
    return RunValues(**row) if row is not None else None


async def insert(
    connection: Connection,
    tenant_id: uuid.UUID,
    deployment: Runnable,
    run_id: uuid.UUID,
    values: SplitValues,
    secret_values: bytes | None,
    request: RunRequest,
    *,
    retry_of: int | None,
    trigger_deadline_s: float,
) -> None:
    """Insert a pending run and make it the current one. ``retry_of``: the number of the run that it repeats."""
    await connection.execute(
        _INSERT,
        tenant_id,
        run_id,
        deployment.deployment_id,
        deployment.next_number,
        deployment.job_id,
        values.shown,
        sorted(values.secret),
        secret_values,
        timedelta(seconds=trigger_deadline_s),
        request.reason,
        dict(request.annotations),
        retry_of,
        *actor_columns(request.requested_by, "requested_by").values(),
    )
    await connection.execute(_MAKE_CURRENT, tenant_id, deployment.deployment_id, run_id)


async def is_triggered(connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID) -> bool:
    """Return whether the trigger of a run has an outcome, or the run was deleted."""
    return await connection.fetchval(_IS_TRIGGERED, tenant_id, run_id) is not False


async def is_settled(
    connection: Connection, tenant_id: uuid.UUID, deployment_id: uuid.UUID
) -> bool:
    """Return whether every run that the service started is settled."""
    return bool(await connection.fetchval(_IS_SETTLED, tenant_id, deployment_id))
