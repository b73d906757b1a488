"""CICD jobs: making, claiming and ending them. Reports about their builds are in ``storage.reports.reports``.

Work on a job (look up, create, delete) is claimed for a time: whoever claims raises ``attempt``,
which every later write must name, so that a keeper that was stalled past its lease changes nothing.
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

# A READY job is due while its endpoint has an old key.
# A claimed job is due again when its lease ends, so next_try_time alone says what is due, and its index is enough.
CLAIM = """
    WITH due AS (
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
_LOCK = "SELECT FROM cicd_jobs WHERE tenant_id = $1 AND job_id = $2 FOR NO KEY UPDATE"
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
# update_time is when the state changed: a later try doesn't move it.
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
_LATER = """
    UPDATE cicd_jobs SET state_message = $4, next_try_time = now() + make_interval(secs => $5),
        lease_owner = NULL, lease_until = NULL
    WHERE tenant_id = $1 AND job_id = $2 AND attempt = $3 AND state IN ('CREATING', 'DELETING', 'READY')
"""
_ENDPOINT_WRITTEN = """
    UPDATE cicd_jobs SET endpoint_key_id = $4, token_exposed = $5, state_message = '', next_try_time = NULL,
        lease_owner = NULL, lease_until = NULL
    WHERE tenant_id = $1 AND job_id = $2 AND attempt = $3 AND state = 'READY'
"""
# The raised attempt makes whoever works on it a stranger to it.
_START_AGAIN = """
    UPDATE cicd_jobs SET state = $3, state_fault = '', state_message = '', attempt = attempt + 1,
        lease_owner = NULL, lease_until = NULL, next_try_time = now(), update_time = now()
    WHERE tenant_id = $1 AND job_id = $2
"""
_HURRY = """
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
    """A job that is ours to work on until the lease ends."""

    tenant_id: uuid.UUID
    job_id: uuid.UUID
    provider_id: uuid.UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class JobTask:
    """All that an attempt needs to know. It is a ``ProviderAccess`` as well."""

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
    """The webhook key in its endpoint; None if that isn't ours to write."""
    was_ready: bool
    """Whether Jenkins has ever shown it to us."""
    state_age_s: float
    """How long it has been in this state."""
    is_stopping: bool
    """Whether builds of deleted deployments' runs are still to be stopped."""
    tenant_slug: str
    version: int
    base_url: str
    username: str
    api_token_encrypted: bytes | None = field(repr=False)
    ca_certificate_pem: str = field(repr=False)
    webhook_base_url: str
    private_console: bool
    definition: JobDefinition | None = field(repr=False)
    """The owner's; None for adopted jobs and those whose owner is deleted."""
    parameters: tuple[DeclaredParameter, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as stored, without what the reports say of its builds."""

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
        """The lowest number that a build from now on can have, as far as we know; None before it is READY."""
        if self.next_build_number is None:
            return None
        reported = self.status_build_number if self.status_generation == self.generation else 0
        return max(self.next_build_number, reported + 1)


@dataclass(frozen=True, slots=True)
class Revised:
    """A deployment whose revision was raised for an event."""

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
    """Claim jobs that are due, the longest due first; never one that somebody else holds."""
    rows = await connection.fetch(CLAIM, limit, owner, lease_s, list(without_providers))
    return [Claimed(*row) for row in rows]


async def task(connection: Connection, claimed: Claimed) -> JobTask | None:
    """Read what the attempt needs; None if it isn't ours any more."""
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


async def lock(connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID) -> None:
    """Hold a job until the commit. Read what the decision needs in a later statement."""
    await connection.execute(_LOCK, tenant_id, job_id)


async def read(connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID) -> JobRow | None:
    return _job(await connection.fetchrow(f"{_ROW} AND job_id = $2", tenant_id, job_id))


async def find(
    connection: Connection, tenant_id: uuid.UUID, provider_id: uuid.UUID, full_name: str
) -> JobRow | None:
    """The job of that name; exact, as Jenkins spells it."""
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
    """Add a job in state CREATING, adopted if it has no owner; None if there is one of that name."""
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
    """Map a deployment to a job that is locked or new. Builds that are older than this never become its runs."""
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
    """Write what Jenkins showed of a job. It is locked, and the attempt has been checked."""
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
    """Give a job up. It is locked, and the attempt has been checked."""
    key = (task.tenant_id, task.job_id, task.attempt)
    await connection.execute(_FAILED, *key, failure.fault, failure.message)


async def try_later(
    connection: Connection, claimed: Claimed | JobTask, state_message: str, delay_s: float
) -> bool:
    """Let go of a job until later; False if it wasn't ours any more."""
    status = await connection.execute(
        _LATER, claimed.tenant_id, claimed.job_id, claimed.attempt, state_message, delay_s
    )
    return status != "UPDATE 0"


async def endpoint_written(
    connection: Connection, task: JobTask, key_id: str | None, *, token_exposed: bool
) -> bool:
    """Note what a READY job's endpoint now is; False if it wasn't ours any more."""
    status = await connection.execute(
        _ENDPOINT_WRITTEN, task.tenant_id, task.job_id, task.attempt, key_id, token_exposed
    )
    return status != "UPDATE 0"


async def start_again(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, state: JobState
) -> None:
    """Give a locked job to the keeper, to be looked up again or deleted."""
    await connection.execute(_START_AGAIN, tenant_id, job_id, state)


async def retry_now(connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID) -> None:
    """Let the next try be now, because somebody waits for it."""
    await connection.execute(_HURRY, tenant_id, job_id)


async def delete(connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID) -> None:
    """Delete the row of a job to which no deployment is mapped."""
    await connection.execute(_DELETE, tenant_id, job_id)


async def delete_attempted(connection: Connection, task: JobTask) -> bool:
    """Delete the row of a job that is gone from Jenkins; False if the attempt isn't the latest."""
    status = await connection.execute(_DELETE_ATTEMPT, task.tenant_id, task.job_id, task.attempt)
    return status != "DELETE 0"


async def mapped_deployments(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID
) -> list[uuid.UUID]:
    """The deployments mapped to a job; they stay the same while it is locked."""
    rows = await connection.fetch(_MAPPED, tenant_id, job_id)
    return [row["deployment_id"] for row in rows]


async def revise(
    connection: Connection, tenant_id: uuid.UUID, deployment_ids: Sequence[uuid.UUID]
) -> list[Revised]:
    """Raise the revision of locked deployments, for an event of each."""
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
