"""CICD jobs: insert, claim, provision and delete them. ``storage.reports.reports`` has the reports about their builds.

A job is leased while the provisioner creates, adopts or deletes it. Each claim increments ``attempt``, the fencing
token: every later write names it, so that a provisioner that stalled past its lease changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import asyncpg

from deployment_service.domain.definition import JobDefinition
from deployment_service.domain.jobs import Correlation, JobFailure, JobFault, JobOrigin, JobState
from deployment_service.domain.parameter_definitions import DeclaredParameter, definitions_from_json
from deployment_service.domain.status import DeploymentStatus
from deployment_service.storage.database.pool import Connection

CLAIM = """
    WITH due AS (
        -- next_try_time alone shows what is due, so its index is enough. A claimed job is due again when its lease
        -- ends. A READY job is due while its endpoint has an old key.
        SELECT tenant_id, job_id FROM cicd_jobs
        WHERE next_try_time <= now() AND provider_id <> ALL($4::uuid[])
        ORDER BY next_try_time LIMIT $1
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE cicd_jobs AS job SET attempt = job.attempt + 1, lease_owner = $2,
        lease_until = now() + make_interval(secs => $3), next_try_time = now() + make_interval(secs => $3)
    FROM due WHERE job.tenant_id = due.tenant_id AND job.job_id = due.job_id
    RETURNING job.tenant_id, job.job_id, job.provider_id, job.attempt
"""
_TASK = """
    SELECT job.tenant_id, job.job_id, job.provider_id, job.attempt, job.full_name, job.origin, job.state,
        job.owner_deployment_id, job.token_exposed, job.endpoint_key_id, job.next_build_number IS NOT NULL AS was_ready,
        extract(epoch FROM now() - job.update_time)::float8 AS state_age_s,
        EXISTS (SELECT FROM deployment_runs AS r WHERE r.tenant_id = job.tenant_id AND r.job_id = job.job_id
            AND r.stop_until > now()) AS is_stopping,
        tenant.slug AS tenant_slug, owner.job_kind, owner.job_spec, owner.parameter_definitions AS parameters,
        provider.version, provider.base_url, provider.username, provider.api_token_encrypted,
        provider.ca_certificate_pem, provider.webhook_base_url,
        provider.private_console
    FROM cicd_jobs AS job
    JOIN tenants AS tenant USING (tenant_id)
    JOIN cicd_providers AS provider ON provider.tenant_id = job.tenant_id AND provider.provider_id = job.provider_id
    LEFT JOIN deployments AS owner
        ON owner.tenant_id = job.tenant_id AND owner.deployment_id = job.owner_deployment_id
            AND owner.delete_time IS NULL
    WHERE job.tenant_id = $1 AND job.job_id = $2 AND job.attempt = $3
"""
_ROW = """
    SELECT job_id, provider_id, full_name, origin, owner_deployment_id, state, state_fault, state_message, attempt,
        generation, next_build_number, status_generation, status_build_number
    FROM cicd_jobs WHERE tenant_id = $1
"""
_INSERT = """
    INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin, owner_deployment_id)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (tenant_id, provider_id, full_name) DO NOTHING
    RETURNING job_id
"""
_MAP = """
    INSERT INTO deployment_cicd_mappings
        (tenant_id, deployment_id, job_id, fixed_parameters, first_generation, first_build_number)
    VALUES ($1, $2, $3, $4, $5, $6)
"""
# update_time is the time of the last change of the state: a retry does not set it.
_READY = """
    UPDATE cicd_jobs SET state = 'READY', state_fault = '', state_message = '', full_name = $4, correlation = $5,
        sends_webhooks = $6, next_build_number = $7, token_exposed = $8, endpoint_key_id = $9,
        secret_parameters = $10, lease_owner = NULL, lease_until = NULL,
        next_try_time = CASE WHEN $9 <> (
            SELECT key_id FROM webhook_keys WHERE tenant_id = $1 AND retire_time IS NULL
            ORDER BY create_time DESC LIMIT 1) THEN now() END, update_time = now()
    WHERE tenant_id = $1 AND job_id = $2 AND attempt = $3
    RETURNING generation
"""
_FIRST_BUILD = """
    UPDATE deployment_cicd_mappings SET first_generation = $3, first_build_number = $4
    WHERE tenant_id = $1 AND job_id = $2 AND first_build_number IS NULL
"""
_FAILED = """
    UPDATE cicd_jobs SET state = 'FAILED', state_fault = $4, state_message = $5, lease_owner = NULL, lease_until = NULL,
        next_try_time = NULL, update_time = now()
    WHERE tenant_id = $1 AND job_id = $2 AND attempt = $3
"""
_RETRY_LATER = """
    UPDATE cicd_jobs SET state_message = $4, next_try_time = now() + make_interval(secs => $5),
        lease_owner = NULL, lease_until = NULL
    WHERE tenant_id = $1 AND job_id = $2 AND attempt = $3 AND state IN ('CREATING', 'DELETING', 'READY')
"""
_ENDPOINT_WRITTEN = """
    UPDATE cicd_jobs SET endpoint_key_id = $4, token_exposed = $5, state_message = '', next_try_time = NULL,
        lease_owner = NULL, lease_until = NULL
    WHERE tenant_id = $1 AND job_id = $2 AND attempt = $3 AND state = 'READY'
"""
_START_AGAIN = """
    UPDATE cicd_jobs SET state = $3, state_fault = '', state_message = '',
        attempt = attempt + 1,  -- Fences off the worker that holds the lease.
        lease_owner = NULL, lease_until = NULL, next_try_time = now(), update_time = now()
    WHERE tenant_id = $1 AND job_id = $2
"""
_RETRY_NOW = """
    UPDATE cicd_jobs SET next_try_time = now()
    WHERE tenant_id = $1 AND job_id = $2 AND state IN ('CREATING', 'DELETING') AND lease_owner IS NULL
"""
_DELETE = "DELETE FROM cicd_jobs WHERE tenant_id = $1 AND job_id = $2"
_DELETE_ATTEMPT = "DELETE FROM cicd_jobs WHERE tenant_id = $1 AND job_id = $2 AND attempt = $3 AND state = 'DELETING'"
_MAPPED = "SELECT deployment_id FROM deployment_cicd_mappings WHERE tenant_id = $1 AND job_id = $2"
_REVISE = """
    UPDATE deployments SET revision = revision + 1, update_time = now()
    WHERE tenant_id = $1 AND deployment_id = ANY($2)
    RETURNING deployment_id, slug, revision, status
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that this replica has leased."""

    tenant_id: uuid.UUID
    job_id: uuid.UUID
    provider_id: uuid.UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class JobTask:
    """The data that an attempt needs. It also implements ``ProviderAccess``."""

    tenant_id: uuid.UUID
    job_id: uuid.UUID
    provider_id: uuid.UUID
    attempt: int
    full_name: str
    origin: JobOrigin
    state: JobState
    owner_deployment_id: uuid.UUID | None
    token_exposed: bool
    endpoint_key_id: str | None
    """The webhook key in its endpoint; None if the service did not write the endpoint."""
    was_ready: bool
    """Whether the job was READY before."""
    state_age_s: float
    """Time since the last change of the state, in seconds."""
    is_stopping: bool
    """Whether builds of runs of deleted deployments must still be stopped."""
    tenant_slug: str
    version: int
    base_url: str
    username: str
    api_token_encrypted: bytes | None = field(repr=False)
    ca_certificate_pem: str = field(repr=False)
    webhook_base_url: str
    private_console: bool
    definition: JobDefinition | None = field(repr=False)
    """The definition of the owner; None for an adopted job, or if the owner is deleted."""
    parameters: tuple[DeclaredParameter, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as stored, without the columns that reports write."""

    job_id: uuid.UUID
    provider_id: uuid.UUID
    full_name: str
    origin: JobOrigin
    owner_deployment_id: uuid.UUID | None
    state: JobState
    state_fault: str
    state_message: str
    attempt: int
    generation: int
    next_build_number: int | None
    status_generation: int
    status_build_number: int

    @property
    def failure(self) -> JobFailure | None:
        """Why the job is FAILED; None in other states."""
        return (
            JobFailure(JobFault(self.state_fault), self.state_message) if self.state_fault else None
        )

    @property
    def next_number(self) -> int | None:
        """Return the lowest number that the next build can have; None before the job is READY."""
        if self.next_build_number is None:
            return None
        reported = self.status_build_number if self.status_generation == self.generation else 0
        return max(self.next_build_number, reported + 1)


@dataclass(frozen=True, slots=True)
class Revised:
    """A deployment with the revision for its next event."""

    deployment_id: uuid.UUID
    slug: str
    revision: int
    status: DeploymentStatus


async def claim(
    connection: Connection,
    *,
    owner: uuid.UUID,
    limit: int,
    lease_s: float,
    without_providers: Collection[uuid.UUID] = (),
) -> list[Claimed]:
    """Claim due jobs, the longest due first. A job that another transaction holds is skipped."""
    rows = await connection.fetch(CLAIM, limit, owner, lease_s, list(without_providers))
    return [Claimed(*row) for row in rows]


async def task(connection: Connection, claimed: Claimed) -> JobTask | None:
    """Read the data of an attempt; return None if the lease is lost."""
    row = await connection.fetchrow(_TASK, claimed.tenant_id, claimed.job_id, claimed.attempt)
    if row is None:
        return None
    values: dict[str, Any] = dict(row)
    kind, spec = values.pop("job_kind"), values.pop("job_spec")
    values["definition"] = JobDefinition.from_json(kind, spec) if kind is not None else None
    values["parameters"] = definitions_from_json(values["parameters"] or ())
    values["origin"] = JobOrigin(values["origin"])
    values["state"] = JobState(values["state"])
    return JobTask(**values)


async def read(connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID) -> JobRow | None:
    return _job(await connection.fetchrow(f"{_ROW} AND job_id = $2", tenant_id, job_id))


async def find(
    connection: Connection, tenant_id: uuid.UUID, provider_id: uuid.UUID, full_name: str
) -> JobRow | None:
    """Return the job with that name, in Jenkins' exact spelling; None if there is none."""
    return _job(
        await connection.fetchrow(
            f"{_ROW} AND provider_id = $2 AND full_name = $3", tenant_id, provider_id, full_name
        )
    )


async def insert(
    connection: Connection,
    tenant_id: uuid.UUID,
    provider_id: uuid.UUID,
    full_name: str,
    *,
    owner_deployment_id: uuid.UUID | None,
) -> uuid.UUID | None:
    """Insert a job in state CREATING; return None if the name is taken. A job without owner is adopted."""
    origin = JobOrigin.ADOPTED if owner_deployment_id is None else JobOrigin.CREATED
    job_id: uuid.UUID | None = await connection.fetchval(
        _INSERT, tenant_id, provider_id, full_name, origin, owner_deployment_id
    )
    return job_id


async def map_deployment(
    connection: Connection,
    tenant_id: uuid.UUID,
    deployment_id: uuid.UUID,
    job: JobRow,
    fixed_parameters: Mapping[str, str],
) -> None:
    """Map a deployment to a locked or new job. Builds older than the mapping never become runs of the deployment."""
    await connection.execute(
        _MAP,
        tenant_id,
        deployment_id,
        job.job_id,
        dict(fixed_parameters),
        job.generation,
        job.next_number,
    )


async def make_ready(
    connection: Connection,
    task: JobTask,
    *,
    full_name: str,
    correlation: Correlation,
    sends_webhooks: bool,
    next_build_number: int,
    token_exposed: bool,
    endpoint_key_id: str | None,
    secret_parameters: Collection[str],
) -> None:
    """Set a job READY, with what Jenkins shows of it. The job must be locked and the attempt checked."""
    generation = await connection.fetchval(
        _READY,
        task.tenant_id,
        task.job_id,
        task.attempt,
        full_name,
        correlation,
        sends_webhooks,
        next_build_number,
        token_exposed,
        endpoint_key_id,
        sorted(secret_parameters),
    )
    first = 1 if task.origin is JobOrigin.CREATED else next_build_number
    await connection.execute(_FIRST_BUILD, task.tenant_id, task.job_id, generation, first)


async def make_failed(connection: Connection, task: JobTask, failure: JobFailure) -> None:
    """Set a job FAILED. The job must be locked and the attempt checked."""
    key = (task.tenant_id, task.job_id, task.attempt)
    await connection.execute(_FAILED, *key, failure.fault, failure.message)


async def try_later(
    connection: Connection, claimed: Claimed | JobTask, state_message: str, delay_s: float
) -> bool:
    """Release the lease and retry after ``delay_s`` seconds; return False if the lease was lost."""
    status = await connection.execute(
        _RETRY_LATER, claimed.tenant_id, claimed.job_id, claimed.attempt, state_message, delay_s
    )
    return status != "UPDATE 0"


async def endpoint_written(
    connection: Connection, task: JobTask, key_id: str | None, *, token_exposed: bool
) -> bool:
    """Store the key in a READY job's endpoint and release the lease; return False if the lease was lost."""
    status = await connection.execute(
        _ENDPOINT_WRITTEN, task.tenant_id, task.job_id, task.attempt, key_id, token_exposed
    )
    return status != "UPDATE 0"


async def start_again(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, state: JobState
) -> None:
    """Set the state of a locked job, so that the provisioner creates, adopts or deletes it again."""
    await connection.execute(_START_AGAIN, tenant_id, job_id, state)


async def retry_now(connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID) -> None:
    """Make the next try due now, because a caller waits for it."""
    await connection.execute(_RETRY_NOW, tenant_id, job_id)


async def delete(connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID) -> None:
    """Delete the row of a job that no deployment is mapped to."""
    await connection.execute(_DELETE, tenant_id, job_id)


async def delete_attempted(connection: Connection, task: JobTask) -> bool:
    """Delete the row of a job after its deletion in Jenkins; return False if the lease was lost."""
    status = await connection.execute(_DELETE_ATTEMPT, task.tenant_id, task.job_id, task.attempt)
    return status != "DELETE 0"


async def mapped_deployments(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID
) -> list[uuid.UUID]:
    """Return the deployments that are mapped to a job. They do not change while it is locked."""
    rows = await connection.fetch(_MAPPED, tenant_id, job_id)
    return [row["deployment_id"] for row in rows]


async def revise(
    connection: Connection, tenant_id: uuid.UUID, deployment_ids: Sequence[uuid.UUID]
) -> list[Revised]:
    """Increment the revision of locked deployments, for an event of each."""
    rows = await connection.fetch(_REVISE, tenant_id, deployment_ids)
    return [
        Revised(r["deployment_id"], r["slug"], r["revision"], DeploymentStatus(r["status"]))
        for r in rows
    ]


_FIELDS = tuple(one.name for one in fields(JobRow))


def _job(row: asyncpg.Record | None) -> JobRow | None:
    if row is None:
        return None
    values: dict[str, Any] = {name: row[name] for name in _FIELDS}
    values["origin"] = JobOrigin(values["origin"])
    values["state"] = JobState(values["state"])
    return JobRow(**values)
