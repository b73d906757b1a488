"""Compares a job of ours with what was written into Jenkins, and restores what it has lost.

People edit jobs, seed jobs overwrite them, clean-ups delete secret texts. A job is rewritten only while it is still
recognised as ours, and at most three times an hour; otherwise an event reports the drift (``DEPLOYMENT_JOB_DRIFTED``).
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from deployment_service.actions.webhook_keys import JobWebhook
from deployment_service.cicd.jenkins import job_xml
from deployment_service.cicd.job_rules import is_owned, lacks_parameters
from deployment_service.cicd.port import CicdProvider, JobView, OwnState, WebhookEndpoint
from deployment_service.domain.definition import JobKind
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.jobs.jobs import JobTask
from deployment_service.workers.job_provisioner.drift import grant_restoring, note_unrepaired

T = TypeVar("T")

_GONE = (
    "Jenkins shows no such job to the provider's account: it was deleted, renamed or hidden. Runs end as JOB_MISSING "
    "until it is there again."
)
_SECRET = "the secret text with its webhook URL"  # noqa: S105 - for people


async def compare_job(
    database: Database, task: JobTask, client: CicdProvider, webhook: JobWebhook | None
) -> tuple[str, ...]:
    """Compare a READY job that we created, and restore it if that may be done; return what was restored.

    Raises ProviderError: the next comparison is the retry.
    """
    view = await client.read_job(task.full_name)
    if view is None:
        await _commit(database, task, lambda c: note_unrepaired(c, *_key(task), _GONE))
        return ()
    wanted = _wanted(task, view, webhook)
    if wanted is None:
        return ()
    lost = list(await client.lost_state(task.full_name, wanted) or ())
    secret_id = wanted.webhook.secret_id if wanted.webhook is not None else ""
    if secret_id and await client.has_secret(secret_id) is False:
        lost.append(_SECRET)
    if not lost:
        await _commit(database, task, lambda c: note_unrepaired(c, *_key(task), ""))
        return ()
    if not await is_owned(client, view, task.owner_deployment_id, task.job_id):
        message = (
            f"The job no longer has what this service wrote into it: {', '.join(lost)}. Too little is left to show "
            "that it is still the deployment's, so it is not rewritten. Delete it or rename it to have it made again."
        )
        await _commit(database, task, lambda c: note_unrepaired(c, *_key(task), message))
        return ()
    if not await _commit(database, task, lambda c: grant_restoring(c, *_key(task), lost)):
        return ()
    if _SECRET in lost and webhook is not None:
        await client.put_secret(secret_id, webhook.url)
    await client.restore_state(task.full_name, wanted)
    return tuple(lost)


def _wanted(task: JobTask, view: JobView, webhook: JobWebhook | None) -> OwnState | None:
    """Return what the job must have; None if its owner is deleted or its endpoint is about to get another key."""
    if task.owner_deployment_id is None or task.definition is None:
        return None
    endpoint = None
    if webhook is not None:
        if task.endpoint_key_id not in (None, webhook.key_id):
            return None
        job_id = str(task.job_id)
        secret_id = "" if task.token_exposed else job_xml.secret_id_of(job_id)
        endpoint = WebhookEndpoint(job_id, webhook.key_id, webhook.url, secret_id)
    given = task.definition.kind is JobKind.CONFIG_XML
    lacks = lacks_parameters(task.parameters, view, keeps_kinds=given)
    return OwnState(
        owner=str(task.owner_deployment_id),
        parameters=task.parameters if lacks else None,
        replace=not given,
        webhook=endpoint,
    )


def _key(task: JobTask) -> tuple[uuid.UUID, uuid.UUID]:
    return task.tenant_id, task.job_id


async def _commit(
    database: Database, task: JobTask, work: Callable[[Connection], Awaitable[T]]
) -> T:
    async def locked(connection: Connection) -> T:
        await locks.lock_jobs(connection, task.tenant_id, [task.job_id])
        return await work(connection)

    return await database.transaction(locked)
