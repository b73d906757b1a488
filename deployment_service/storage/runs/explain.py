"""The trail of a run: its attempts, reports, events and resolutions."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from deployment_service.domain.events import Event
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.events.events import from_row
from deployment_service.storage.runs import resolutions

_ATTEMPTS = "SELECT * FROM run_attempts WHERE tenant_id = $1 AND run_id = $2 ORDER BY attempt"
REPORTS = """
    -- Reports that were applied to the run, and reports about its build that were not.
    SELECT * FROM (
        SELECT w.* FROM deployment_runs AS r
        JOIN webhook_deliveries AS w ON w.tenant_id = r.tenant_id AND w.job_id = r.job_id
            AND w.build_number = r.build_number
        WHERE r.tenant_id = $1 AND r.run_id = $2 AND (w.run_id = r.run_id OR w.run_id IS NULL)
        ORDER BY w.delivery_id DESC LIMIT 1000
    ) AS newest ORDER BY delivery_id
"""
EVENTS = """
    SELECT * FROM (
        SELECT e.* FROM deployment_runs AS r
        JOIN deployment_events AS e ON e.tenant_id = r.tenant_id AND e.deployment_id = r.deployment_id
            AND e.run_number = r.number
        WHERE r.tenant_id = $1 AND r.run_id = $2
        ORDER BY e.sequence DESC LIMIT 1000
    ) AS newest ORDER BY sequence
"""


@dataclass(frozen=True, slots=True)
class Trail:
    """Rows of ``run_attempts``, ``webhook_deliveries`` and ``run_resolutions``, and events, each oldest first."""

    attempts: Sequence[asyncpg.Record]
    reports: Sequence[asyncpg.Record]
    events: Sequence[Event]
    resolutions: Sequence[asyncpg.Record]


async def trail(connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID) -> Trail:
    """Read the trail of a run."""
    attempts = await connection.fetch(_ATTEMPTS, tenant_id, run_id)
    reports = await connection.fetch(REPORTS, tenant_id, run_id)
    events = await connection.fetch(EVENTS, tenant_id, run_id)
    resolved = await resolutions.of_run(connection, tenant_id, run_id)
    return Trail(attempts, reports, [from_row(row) for row in events], resolved)
