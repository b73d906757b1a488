"""What changes of a job that is READY: how its builds are tied to runs."""

from __future__ import annotations

import uuid

from deployment_service.domain.jobs import Correlation
from deployment_service.storage.database import Connection

_CHANGE_CORRELATION = """
    UPDATE cicd_jobs SET correlation = $3, update_time = now()
    WHERE tenant_id = $1 AND job_id = $2 AND correlation IS DISTINCT FROM $3
"""


async def change_correlation(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, correlation: Correlation
) -> bool:
    """Write down how a locked job's builds are tied to runs; False if it is so already."""
    status = await connection.execute(_CHANGE_CORRELATION, tenant_id, job_id, correlation)
    return status != "UPDATE 0"
