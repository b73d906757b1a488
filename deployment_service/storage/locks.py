"""Every statement that locks rows for a transaction, in lock order.

A transaction locks in this order: store epoch, CICD provider, jobs, runs, deployments, tenant. Within one table it
locks in the order of the ids. Two transactions with the same order cannot deadlock.

* A job lock serialises all changes of the job's runs. So a webhook, a read and the dispatcher never decide on the same
  run at the same time.
* The tenant comes last and is held shortest, because every event of the tenant needs it (``events.append``).
* Read what a decision needs in a later statement than its lock. Under READ COMMITTED each statement has its own
  snapshot, so the later statement sees what the previous holder of the lock committed. A joined ``SELECT ... FOR
  UPDATE`` would show other tables as they were before the wait (PostgreSQL manual, section 13.2.1).
* No network I/O while a transaction holds a lock.

Exceptions, each of them safe:

* A deletion locks the deployment before its runs. Every transaction that locks runs and then their deployment holds
  the job's lock first, so the deletion cannot meet one.
* Key rotation locks the tenant before it updates jobs. A deadlock with a job's transaction is possible and rare:
  PostgreSQL aborts one of the two, and ``Database.transaction`` retries it.

``FOR NO KEY UPDATE`` lets other transactions insert rows with a foreign key to the locked row. ``FOR UPDATE``, for
deletions, also waits for those transactions and blocks new ones. Claims of work (``SKIP LOCKED``) are with the tables
that they claim from: they never wait, so they need no order.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence

import asyncpg

from deployment_service.storage.database.pool import Connection

# {epoch}: the SQL expression for the current epoch (``event_log.usable_epoch_source``).
_EPOCH = "SELECT settled, {epoch} AS epoch FROM store_epoch FOR UPDATE"

_PROVIDER = """
    SELECT provider_id FROM cicd_providers WHERE tenant_id = $1 AND slug = $2 FOR NO KEY UPDATE
"""
_PROVIDER_TO_DELETE = """
    SELECT provider_id FROM cicd_providers WHERE tenant_id = $1 AND slug = $2 FOR UPDATE
"""

_JOBS = """
    SELECT job_id FROM cicd_jobs WHERE tenant_id = $1 AND job_id = ANY($2) ORDER BY job_id FOR NO KEY UPDATE
"""
# One blocked job must not delay a batch: the caller handles the other jobs now, and this one in its own transaction.
_FREE_JOBS = f"{_JOBS} SKIP LOCKED"

_AFFECTED_RUNS = """
    -- The report names the build,
    SELECT run_id FROM deployment_runs
        WHERE tenant_id = $1 AND job_id = ANY($2) AND build_number = ANY($3)
    -- or the run,
    UNION SELECT run_id FROM deployment_runs
        WHERE tenant_id = $1 AND run_id = ANY($4) AND job_id = ANY($2)
    -- or neither: then it may concern each run that was sent and has no build yet.
    UNION SELECT run_id FROM deployment_runs
        WHERE tenant_id = $1 AND job_id = ANY($2) AND source = 'SERVICE' AND build_number IS NULL
            AND end_time IS NULL
"""
_RUNS = """
    SELECT run_id FROM deployment_runs WHERE tenant_id = $1 AND run_id = ANY($2) ORDER BY run_id FOR NO KEY UPDATE
"""

_DEPLOYMENTS = """
    SELECT FROM deployments WHERE tenant_id = $1 AND deployment_id = ANY($2)
    ORDER BY deployment_id FOR NO KEY UPDATE
"""
_DEPLOYMENT_BY_SLUG = """
    SELECT deployment_id FROM deployments WHERE tenant_id = $1 AND resource_id = $2 AND delete_time IS NULL
    FOR NO KEY UPDATE
"""
# FOR UPDATE also waits for a transaction that adds a run, because the run has a foreign key to the deployment.
_DEPLOYMENT_TO_DELETE = """
    SELECT FROM deployments WHERE tenant_id = $1 AND deployment_id = $2 FOR UPDATE
"""

_TENANT = "SELECT slug FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE"
_TENANT_TO_DELETE = "SELECT FROM tenants WHERE tenant_id = $1 FOR UPDATE"


async def lock_epoch(connection: Connection, epoch_source: str) -> asyncpg.Record | None:
    """Lock the store's epoch; return ``settled`` (the epoch whose pending runs are known) and the current ``epoch``."""
    return await connection.fetchrow(_EPOCH.format(epoch=epoch_source))


async def lock_provider(
    connection: Connection, tenant_id: uuid.UUID, slug: str
) -> uuid.UUID | None:
    """Lock a CICD provider against changes; return its id, None if there is none."""
    provider_id: uuid.UUID | None = await connection.fetchval(_PROVIDER, tenant_id, slug)
    return provider_id


async def lock_provider_to_delete(
    connection: Connection, tenant_id: uuid.UUID, slug: str
) -> uuid.UUID | None:
    """Lock a CICD provider against changes and new references; return its id, None if there is none."""
    provider_id: uuid.UUID | None = await connection.fetchval(_PROVIDER_TO_DELETE, tenant_id, slug)
    return provider_id


async def lock_jobs(
    connection: Connection, tenant_id: uuid.UUID, job_ids: Collection[uuid.UUID]
) -> set[uuid.UUID]:
    """Lock jobs against other writers of their runs; return those that exist."""
    rows = await connection.fetch(_JOBS, tenant_id, list(job_ids))
    return {row["job_id"] for row in rows}


async def try_lock_jobs(
    connection: Connection, tenant_id: uuid.UUID, job_ids: Collection[uuid.UUID]
) -> set[uuid.UUID]:
    """Lock those of the jobs that no other transaction holds, without waiting; return them."""
    rows = await connection.fetch(_FREE_JOBS, tenant_id, list(job_ids))
    return {row["job_id"] for row in rows}


async def lock_affected_runs(
    connection: Connection,
    tenant_id: uuid.UUID,
    job_ids: Sequence[uuid.UUID],
    numbers: Sequence[int],
    run_ids: Sequence[uuid.UUID],
) -> list[uuid.UUID]:
    """Lock the runs that reports about these builds or runs can change; return their ids. The jobs must be locked."""
    rows = await connection.fetch(_AFFECTED_RUNS, tenant_id, job_ids, numbers, run_ids)
    affected = [row["run_id"] for row in rows]
    await connection.execute(_RUNS, tenant_id, affected)
    return affected


async def lock_deployments(
    connection: Connection, tenant_id: uuid.UUID, deployment_ids: Collection[uuid.UUID]
) -> None:
    """Lock deployments against other changes of their status and revision."""
    await connection.execute(_DEPLOYMENTS, tenant_id, list(deployment_ids))


async def lock_deployment_by_slug(
    connection: Connection, tenant_id: uuid.UUID, slug: str
) -> uuid.UUID | None:
    """Lock a deployment that is not deleted; return its id, None if there is none."""
    deployment_id: uuid.UUID | None = await connection.fetchval(
        _DEPLOYMENT_BY_SLUG, tenant_id, slug
    )
    return deployment_id


async def lock_deployment_to_delete(
    connection: Connection, tenant_id: uuid.UUID, deployment_id: uuid.UUID
) -> None:
    """Lock a deployment against changes and new runs. Its job must be locked."""
    await connection.execute(_DEPLOYMENT_TO_DELETE, tenant_id, deployment_id)


async def lock_tenant(connection: Connection, tenant_id: uuid.UUID) -> str | None:
    """Lock a tenant against changes and new events; return its slug, None if there is none."""
    slug: str | None = await connection.fetchval(_TENANT, tenant_id)
    return slug


async def lock_tenant_to_delete(connection: Connection, tenant_id: uuid.UUID) -> None:
    """Lock a tenant against changes and new references."""
    await connection.execute(_TENANT_TO_DELETE, tenant_id)
