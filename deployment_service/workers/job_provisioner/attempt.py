"""One attempt at bringing a CICD job to where it should be: in Jenkins, or gone from there.

Read, act, read again. The next attempt finds the effect of a request whose answer was lost: a job of ours has its
owner's mark, and Jenkins accepts a name only once. ``work_on`` calls Jenkins and ``record`` commits the outcome, so
nothing is locked during a call.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, replace
from typing import assert_never

import asyncpg

from deployment_service.actions.webhook_keys import JobWebhook, WebhookKeys, job_webhook
from deployment_service.cicd.errors import (
    CreationFailed,
    DefinitionInvalid,
    FolderMissing,
    JobExists,
    ProviderError,
    ProviderRefused,
)
from deployment_service.cicd.jenkins import job_xml
from deployment_service.cicd.job_rules import correlation_of, is_owned, render
from deployment_service.cicd.port import CicdProvider, JobView
from deployment_service.domain.events import EventSource, EventType, NewEvent
from deployment_service.domain.job_parameters import secret_names
from deployment_service.domain.jobs import (
    JobFailure,
    JobFault,
    JobOrigin,
    JobState,
)
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.events import events
from deployment_service.storage.jobs import jobs
from deployment_service.storage.jobs.jobs import JobTask
from deployment_service.workers.job_provisioner import job_endpoint
from deployment_service.workers.job_provisioner.job_endpoint import (
    LONGEST_PAUSE_REFUSED_S,
    RetryLater,
    Rewritten,
    retry_later,
)

_BUILD_PAUSE_S = 30.0
_STOP_PAUSE_S = 5.0
_RECENT_BUILDS = 20


@dataclass(frozen=True, slots=True)
class Ready:
    """Jenkins has the job. ``created``: by this attempt."""

    view: JobView
    created: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """Jenkins refuses the job, and would refuse it again."""

    failure: JobFailure


@dataclass(frozen=True, slots=True)
class Deleted:
    """Nothing of ours is in Jenkins under the job's name."""


Outcome = Ready | Failed | Deleted | RetryLater | Rewritten


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """``send_by`` (the event loop's time): nothing is created after it, because the lease might end.

    Jenkins may carry out a request to create that got no answer for ``quarantine_s``: a deletion waits for that.
    ``second_try_s``: the pause before a creation that failed without a reason is tried again.
    """

    send_by: float
    quarantine_s: float = 60.0
    second_try_s: float = 1.0


async def webhook_of(
    connection: Connection, keys: WebhookKeys, task: JobTask, locale: str
) -> JobWebhook | None:
    """Return where the job must send its webhooks; None if its provider has no address for them."""
    if not task.webhook_base_url:
        return None
    key = await keys.newest(connection, task.tenant_id)
    if key is None:
        return None
    return job_webhook(
        task.webhook_base_url,
        locale=locale,
        tenant=task.tenant_slug,
        tenant_id=task.tenant_id,
        job_id=task.job_id,
        key=key,
    )


async def work_on(
    task: JobTask, client: CicdProvider, webhook: JobWebhook | None, limits: AttemptLimits
) -> Outcome:
    """Do in Jenkins what the job's state requires. Raises ProviderError: see ``outcome_of``."""
    if task.state is JobState.DELETING:
        return await _delete(task, client, limits)
    if task.state is JobState.READY:
        return await job_endpoint.rewrite(task, client, webhook)
    if task.origin is JobOrigin.ADOPTED:
        return _adopted(task, await client.read_job(task.full_name))
    return await _create(task, client, webhook, limits)


def outcome_of(task: JobTask, error: ProviderError) -> Outcome:
    """Return the outcome of an attempt that ended with an error."""
    creating = task.state is JobState.CREATING
    match error:
        case FolderMissing() if creating:
            return Failed(JobFailure(JobFault.FOLDER_NOT_FOUND, error.message))
        case DefinitionInvalid() | CreationFailed() | ProviderRefused() if creating:
            return Failed(JobFailure(JobFault.PROVIDER_REFUSED, error.message))
        case ProviderRefused():
            return retry_later(task.state_age_s, error.message, longest_s=LONGEST_PAUSE_REFUSED_S)
        case _:
            return retry_later(task.state_age_s, error.message)


async def record(database: Database, task: JobTask, outcome: Outcome) -> bool:
    """Commit the outcome of an attempt; return False if another attempt has claimed the job since."""
    match outcome:
        case RetryLater():
            async with database.acquire() as connection:
                return await jobs.try_later(connection, task, outcome.message, outcome.delay_s)
        case Rewritten():
            async with database.acquire() as connection:
                return await jobs.endpoint_written(
                    connection, task, outcome.key_id, token_exposed=outcome.token_exposed
                )
        case Deleted():
            async with database.acquire() as connection:
                return await jobs.delete_attempted(connection, task)
        case Ready() | Failed():
            try:
                return await database.transaction(lambda c: _settle(c, task, outcome))
            except asyncpg.UniqueViolationError:
                # Jenkins spells a folder differently than the request, and another row has that name.
                as_requested = _with_name(outcome, task.full_name)
                return await database.transaction(lambda c: _settle(c, task, as_requested))
        case _:
            assert_never(outcome)


async def undo_creation(database: Database, task: JobTask, client: CicdProvider) -> None:
    """Delete a job that was created for a deployment whose rows have been deleted since.

    Only an attempt that was stalled for longer than any quarantine gets here.
    """
    async with database.acquire() as connection:
        if await jobs.read(connection, task.tenant_id, task.job_id) is not None:
            return  # the next attempt for the row finds the job
    view = await client.read_job(task.full_name)
    if view is not None and await _is_ours(task, view, client):
        await client.delete_job(task.full_name)


def _adopted(task: JobTask, view: JobView | None) -> Outcome:
    name = task.full_name
    if view is None:
        message = f"Jenkins has no job '{name}', or the provider's account can't see it."
    elif view.full_name != name:
        # Webhooks and reads name it as Jenkins does.
        message = f"Jenkins has no job '{name}', but one that it spells '{view.full_name}'."
    elif view.next_build_number < 1:
        message = f"'{name}' is a folder in Jenkins, not a job that can be built."
    else:
        return Ready(view)
    return Failed(JobFailure(JobFault.JOB_NOT_FOUND, message))


async def _create(
    task: JobTask, client: CicdProvider, webhook: JobWebhook | None, limits: AttemptLimits
) -> Outcome:
    view = await client.read_job(task.full_name)
    if view is not None:
        return await _ours(task, view, client)
    assert task.definition is not None
    assert task.owner_deployment_id is not None
    endpoint = await job_endpoint.prepare(task, client, webhook) if webhook else None
    xml = render(
        task.definition,
        owner=task.owner_deployment_id,
        parameters=task.parameters,
        webhook=endpoint,
    )
    created = True
    for last in (False, True):
        if asyncio.get_running_loop().time() > limits.send_by:
            return retry_later(0, "Jenkins answers too slowly")
        try:
            await client.create_job(task.full_name, xml)
        except JobExists:
            # Created by another party, or by an earlier request of ours that was carried out late: the mark decides.
            created = False
        except CreationFailed:
            # Jenkins' answer to a bad definition, but also to any request while it starts.
            if last:
                raise
            await asyncio.sleep(limits.second_try_s)
            continue
        break
    view = await client.read_job(task.full_name)
    if view is not None:
        return await _ours(task, view, client, created=created)
    if created:
        message = (
            f"Jenkins created the job '{task.full_name}', but doesn't let the provider's account "
            "see it. Grant it Job/Read."
        )
        return Failed(JobFailure(JobFault.PROVIDER_REFUSED, message))
    message = (
        f"Jenkins has a job '{task.full_name}', or one whose name differs only in case, "
        "that the provider's account can't see."
    )
    return Failed(JobFailure(JobFault.JOB_EXISTS, message))


async def _ours(
    task: JobTask, view: JobView, client: CicdProvider, *, created: bool = False
) -> Outcome:
    if await _is_ours(task, view, client):
        return Ready(view, created)
    origin = (
        "which bears the mark of another deployment of this or another installation"
        if view.owner
        else "which this service didn't make"
    )
    message = (
        f"Jenkins has a job '{view.full_name}' already, {origin}. Choose another full_name, remove "
        "that job, or take it as it is with existing_job."
    )
    return Failed(JobFailure(JobFault.JOB_EXISTS, message))


async def _delete(task: JobTask, client: CicdProvider, limits: AttemptLimits) -> Outcome:
    if task.is_stopping:
        return RetryLater("Builds of a deleted deployment are being stopped.", _STOP_PAUSE_S)
    view = await client.read_job(task.full_name)
    if view is not None and await _is_ours(task, view, client):
        # Deleting a job aborts its builds, and DeleteDeployment promises to stop none.
        builds = await client.list_builds(task.full_name, limit=_RECENT_BUILDS)
        if view.in_queue or (builds and not all(build.finished for build in builds.builds)):
            return RetryLater("A build is queued or running.", _BUILD_PAUSE_S)
        await client.delete_job(task.full_name)
    if task.origin is JobOrigin.CREATED and task.webhook_base_url:
        await job_endpoint.remove(task, client)
    if not task.was_ready and task.state_age_s < limits.quarantine_s:
        remaining_s = limits.quarantine_s - task.state_age_s
        return RetryLater("A request to create it may still be under way.", remaining_s)
    return Deleted()


async def _is_ours(task: JobTask, view: JobView, client: CicdProvider) -> bool:
    return await is_owned(client, view, task.owner_deployment_id, task.job_id)


def _with_name(outcome: Ready | Failed, full_name: str) -> Ready | Failed:
    if isinstance(outcome, Failed):
        return outcome
    return replace(outcome, view=replace(outcome.view, full_name=full_name))


async def _settle(connection: Connection, task: JobTask, outcome: Ready | Failed) -> bool:
    await locks.lock_jobs(connection, task.tenant_id, [task.job_id])
    job = await jobs.read(connection, task.tenant_id, task.job_id)
    if job is None or job.attempt != task.attempt or job.state is not JobState.CREATING:
        return False
    mapped = await jobs.mapped_deployments(connection, task.tenant_id, task.job_id)
    await locks.lock_deployments(connection, task.tenant_id, mapped)
    if isinstance(outcome, Ready):
        view = outcome.view
        secret, key_id = job_xml.parse_webhook(view.description) or (False, None)
        done = "created" if task.origin is JobOrigin.CREATED else "found"
        message = f"The job '{view.full_name}' was {done} in Jenkins."
        await jobs.make_ready(
            connection,
            task,
            full_name=view.full_name,
            correlation=correlation_of(view),
            # Without a URL of ours in the job, its webhooks go elsewhere.
            sends_webhooks=view.has_notification_property and bool(task.webhook_base_url),
            next_build_number=view.next_build_number,
            # The endpoint of an adopted job is not ours: its token may be where Jenkins prints it.
            token_exposed=not secret or task.origin is JobOrigin.ADOPTED,
            endpoint_key_id=key_id if task.origin is JobOrigin.CREATED else None,
            secret_parameters=secret_names(view.parameters),
        )
    else:
        message = str(outcome.failure)
        await jobs.make_failed(connection, task, outcome.failure)
    revised = await jobs.revise(connection, task.tenant_id, mapped)
    if revised:
        updates = [job_update(one, task.job_id, message) for one in revised]
        await events.append(connection, task.tenant_id, updates)
    return True


def job_update(deployment: jobs.Revised, job_id: uuid.UUID, message: str) -> NewEvent:
    """Return the event that a mapped deployment gets about a change of its job."""
    return NewEvent(
        deployment_id=deployment.deployment_id,
        deployment_slug=deployment.slug,
        revision=deployment.revision,
        type=EventType.DEPLOYMENT_JOB_UPDATE,
        source=EventSource.READ,
        old_status=deployment.status,
        status=deployment.status,
        deployment_status=deployment.status,
        job_id=job_id,
        message=message,
    )
