"""Create and delete deployments. ``deployments`` reads them; ``storage.runs.runs`` changes their status."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from deployment_service.domain.definition import JobDefinition, JobKind, JobRules
from deployment_service.domain.deployment_settings import SETTINGS, DeploymentSettings
from deployment_service.domain.status import DeploymentStatus
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection

_PROVIDER = """
    SELECT provider_id, job_folder, allowed_folders, allowed_job_kinds FROM cicd_providers
    WHERE tenant_id = $1 AND slug = $2
"""
_INSERT = f"""
    -- Waits for a transaction that creates or deletes a deployment with this name. A new row is outside the lock order:
    -- no transaction that waits for it holds a lock that this transaction needs next.
    INSERT INTO deployments (tenant_id, deployment_id, slug, provider_id, job_kind, job_spec, revision,
        {", ".join(SETTINGS)})
    VALUES ($1, $2, $3, $4, $5, $6, 1, {", ".join(f"${n}" for n, _ in enumerate(SETTINGS, 7))})
    ON CONFLICT (tenant_id, resource_id) DO NOTHING
    RETURNING true
"""
_FIND = """
    SELECT d.deployment_id, m.job_id
    FROM deployments AS d JOIN deployment_cicd_mappings AS m USING (tenant_id, deployment_id)
    WHERE d.tenant_id = $1 AND d.resource_id = $2 AND d.delete_time IS NULL
"""
_STATE = """
    SELECT slug, status, revision, version,
        EXISTS (SELECT FROM deployment_runs AS r WHERE r.tenant_id = $1 AND r.deployment_id = $2
            AND r.settle_time IS NULL AND r.source = 'SERVICE') AS run_active
    FROM deployments WHERE tenant_id = $1 AND deployment_id = $2 AND delete_time IS NULL
"""
_UNSETTLED = "SELECT run_id FROM deployment_runs WHERE tenant_id = $1 AND deployment_id = $2 AND settle_time IS NULL"
_SOFT_DELETE = """
    UPDATE deployments SET delete_time = now(), purge_time = now() + make_interval(secs => $3), update_time = now()
    WHERE tenant_id = $1 AND deployment_id = $2
"""
_UNMAP = "DELETE FROM deployment_cicd_mappings WHERE tenant_id = $1 AND deployment_id = $2"
_DELETE = "DELETE FROM deployments WHERE tenant_id = $1 AND deployment_id = $2"
_DELETE_REQUEST = """
    DELETE FROM request_ids
    WHERE tenant_id = $1 AND caller = $2 AND method = $3 AND request_id = $4 AND resource_id = $5
"""


@dataclass(frozen=True, slots=True)
class Provider:
    """The parts of a provider that the creation of a deployment needs."""

    provider_id: uuid.UUID
    rules: JobRules


@dataclass(frozen=True, slots=True)
class NewDeployment:
    """A deployment to insert, in normal form."""

    tenant_id: uuid.UUID
    deployment_id: uuid.UUID
    slug: str
    settings: DeploymentSettings
    job: JobDefinition


@dataclass(frozen=True, slots=True)
class DeploymentToDelete:
    """The state of a deployment that a deletion depends on."""

    slug: str
    status: DeploymentStatus
    revision: int
    version: int
    run_active: bool


async def provider(connection: Connection, tenant_id: uuid.UUID, slug: str) -> Provider | None:
    row = await connection.fetchrow(_PROVIDER, tenant_id, slug)
    if row is None:
        return None
    return Provider(
        row["provider_id"],
        JobRules(
            job_folder=row["job_folder"],
            allowed_folders=tuple(row["allowed_folders"]),
            allowed_kinds=frozenset(map(JobKind, row["allowed_job_kinds"])),
        ),
    )


async def insert(connection: Connection, new: NewDeployment, provider_id: uuid.UUID) -> bool:
    """Insert a deployment with revision 1; return False if the name is taken."""
    added = await connection.fetchval(
        _INSERT,
        new.tenant_id,
        new.deployment_id,
        new.slug,
        provider_id,
        new.job.kind,
        new.job.to_json(),
        *new.settings.to_row().values(),
    )
    return bool(added)


async def find(
    connection: Connection, tenant_id: uuid.UUID, slug: str
) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Return the ids of a deployment and of its job; None if there is no such deployment."""
    row = await connection.fetchrow(_FIND, tenant_id, slug)
    return (row["deployment_id"], row["job_id"]) if row is not None else None


async def lock_to_delete(
    connection: Connection, tenant_id: uuid.UUID, deployment_id: uuid.UUID
) -> DeploymentToDelete | None:
    """Lock a deployment and read it; return None if it was deleted. Its job must be locked."""
    await locks.lock_deployment_to_delete(connection, tenant_id, deployment_id)
    row = await connection.fetchrow(_STATE, tenant_id, deployment_id)
    if row is None:
        return None
    return DeploymentToDelete(
        row["slug"],
        DeploymentStatus(row["status"]),
        row["revision"],
        row["version"],
        row["run_active"],
    )


async def unsettled_runs(
    connection: Connection, tenant_id: uuid.UUID, deployment_id: uuid.UUID
) -> list[uuid.UUID]:
    """Return the unsettled runs of a locked deployment."""
    rows = await connection.fetch(_UNSETTLED, tenant_id, deployment_id)
    return [row["run_id"] for row in rows]


async def soft_delete(
    connection: Connection, tenant_id: uuid.UUID, deployment_id: uuid.UUID, *, keep_s: float
) -> None:
    """Mark a locked deployment as deleted and remove its mapping.

    The deployment and its runs can be read for ``keep_s`` more seconds.
    """
    await connection.execute(_SOFT_DELETE, tenant_id, deployment_id, keep_s)
    await connection.execute(_UNMAP, tenant_id, deployment_id)


async def delete(connection: Connection, tenant_id: uuid.UUID, deployment_id: uuid.UUID) -> None:
    """Delete the row of a locked deployment, with its mapping and runs. Its events stay."""
    await connection.execute(_DELETE, tenant_id, deployment_id)


async def forget_request(
    connection: Connection,
    *,
    tenant_id: uuid.UUID,
    caller: str,
    method: str,
    request_id: uuid.UUID,
    deployment_id: uuid.UUID,
) -> None:
    """Delete the idempotency record of a creation that is undone, so that the caller can repeat it."""
    await connection.execute(_DELETE_REQUEST, tenant_id, caller, method, request_id, deployment_id)
