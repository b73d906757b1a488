"""Jobs drift: a Jenkinsfile can drop our parameter, somebody can add it. What that changes is told to watchers."""

from __future__ import annotations

import uuid

from deployment_service.actions.keep_job import job_update
from deployment_service.domain.jobs import Correlation
from deployment_service.storage import events, job_drift, jobs, runs
from deployment_service.storage.database import Connection

_DRIFTED = {
    Correlation.RUN_ID: "JOB_DRIFTED: the job defines DEPLOYMENT_RUN_ID now, so that its builds name their runs.",
    Correlation.QUEUE_ITEM: "JOB_DRIFTED: the job no longer defines DEPLOYMENT_RUN_ID. Its builds are tied to runs "
    "by their queue items, and a trigger whose answer is lost can't be repeated. Add the parameter again.",
}


async def note_correlation(
    connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID, correlation: Correlation
) -> bool:
    """Write down how a locked job's builds are tied to runs. True: it has changed, and events say so.

    The last step of its transaction, as it appends events.
    """
    if not await job_drift.change_correlation(connection, tenant_id, job_id, correlation):
        return False
    mapped = await jobs.mapped_deployments(connection, tenant_id, job_id)
    await runs.lock_deployments(connection, tenant_id, mapped)
    revised = await jobs.revise(connection, tenant_id, mapped)
    if revised:
        news = [job_update(one, job_id, _DRIFTED[correlation]) for one in revised]
        await events.append(connection, tenant_id, news)
    return True
