"""What a reading cycle commits about problems: on provider and jobs, where they differ from what is stored."""

from __future__ import annotations

import uuid

from deployment_service.domain.observation import Verdicts
from deployment_service.domain.problems import Problem
from deployment_service.storage import problems, reports
from deployment_service.storage.database import Connection, Database
from deployment_service.storage.problems import StoredProblems


async def note_problems(
    database: Database,
    tenant_id: uuid.UUID,
    provider_id: uuid.UUID,
    stored: StoredProblems,
    verdicts: Verdicts,
) -> None:
    """Write what a cycle found; nothing if all is as it was stored when the cycle began."""
    changed: list[tuple[uuid.UUID, Problem | None]] = [
        (job_id, problem)
        for job_id, problem in verdicts.jobs.items()
        if problem != stored.jobs.get(job_id)
    ]
    provider_changed = verdicts.asked and verdicts.provider != stored.provider
    if not changed and not provider_changed:
        return

    async def work(connection: Connection) -> None:
        if changed:
            await reports.lock_jobs(connection, tenant_id, {job_id for job_id, _ in changed})
            await problems.note_jobs(connection, tenant_id, changed)
        if provider_changed:
            await problems.note_provider(connection, tenant_id, provider_id, verdicts.provider)

    await database.transaction(work)
