"""Reports that belong to no run. They show why a webhook changed nothing."""

from __future__ import annotations

import uuid

import asyncpg

from deployment_service.storage.database.pool import Connection
from deployment_service.storage.pages import Chunk

_JOB_OF_DEPLOYMENT = """
    SELECT m.job_id FROM deployments AS d
    JOIN deployment_cicd_mappings AS m ON m.tenant_id = d.tenant_id AND m.deployment_id = d.deployment_id
    WHERE d.tenant_id = $1 AND d.resource_id = $2 AND d.delete_time IS NULL
"""
_JOB = "SELECT job_id FROM cicd_jobs WHERE tenant_id = $1 AND job_id = $2"
PAGE = """
    SELECT delivery_id, receive_time, source, phase, status, build_number, queue_id, verdict, message, named_run_id
    FROM webhook_deliveries
    WHERE tenant_id = $1 AND job_id = $2 AND run_id IS NULL AND delivery_id < $3
    ORDER BY delivery_id DESC LIMIT $4
"""


async def job_of_deployment(
    connection: Connection, tenant_id: uuid.UUID, resource_id: str
) -> uuid.UUID | None:
    """Return the job of a deployment; None if there is no such deployment."""
    job_id: uuid.UUID | None = await connection.fetchval(_JOB_OF_DEPLOYMENT, tenant_id, resource_id)
    return job_id


async def find_job(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID
) -> uuid.UUID | None:
    """Return the job's id; None if the tenant has no such job."""
    found: uuid.UUID | None = await connection.fetchval(_JOB, tenant_id, job_id)
    return found


async def page(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, *, before: int, limit: int
) -> Chunk[asyncpg.Record]:
    """Return reports of a job without a run, with a delivery_id lower than ``before``, newest first."""
    rows = await connection.fetch(PAGE, tenant_id, job_id, before, limit + 1)
    return Chunk(rows[:limit], len(rows) > limit)
