"""The webhook endpoint of a job that we created: written with it, rewritten when the key changes, removed with it.

Where our account may keep a secret text in Jenkins, the endpoint names that text, and no console shows the
token. Where it may not, the URL is in the job, Jenkins prints it, and the job is marked ``token_exposed``.
"""

from __future__ import annotations

import contextlib
import math
import random
from dataclasses import dataclass

from deployment_service.actions.webhook_keys import JobWebhook
from deployment_service.cicd.errors import ProviderError
from deployment_service.cicd.jenkins import job_xml
from deployment_service.cicd.port import CicdProvider, WebhookEndpoint
from deployment_service.storage.jobs.jobs import JobTask

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
# We do not learn when permissions are granted, and Jenkins may lock an account that is refused often.
LONGEST_PAUSE_REFUSED_S = 300.0


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The attempt has no result yet: the next one is due in ``delay_s`` seconds."""

    message: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The endpoint has the newest key, or the job has no endpoint of ours."""

    key_id: str | None
    token_exposed: bool


def retry_later(
    trying_s: float,
    message: str,
    *,
    at_least_s: float = 0.0,
    longest_s: float = _LONGEST_PAUSE_S,
) -> RetryLater:
    """Return when to retry, after ``trying_s`` seconds of attempts: later each time, with jitter."""
    pause = min(max(trying_s / 2, _FIRST_PAUSE_S), longest_s)
    delay = at_least_s + pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    return RetryLater(f"{message.rstrip('.')}; next try in {math.ceil(delay)} s", delay)


async def prepare(task: JobTask, client: CicdProvider, webhook: JobWebhook) -> WebhookEndpoint:
    """Return the endpoint that the job is to have. Its URL is put into a secret text if the account may do that."""
    job_id = str(task.job_id)
    secret_id = job_xml.secret_id_of(job_id)
    is_secret = not task.private_console and await client.put_secret(secret_id, webhook.url)
    return WebhookEndpoint(job_id, webhook.key_id, webhook.url, secret_id if is_secret else "")


async def rewrite(
    task: JobTask, client: CicdProvider, webhook: JobWebhook | None
) -> Rewritten | RetryLater:
    """Write the newest key into the endpoint of an existing job."""
    if webhook is None:
        return Rewritten(None, task.token_exposed)
    endpoint = await prepare(task, client, webhook)
    if not task.token_exposed:
        if endpoint.secret_id:
            return Rewritten(endpoint.key_id, False)
        if not task.private_console:
            # Never from secret to public: the old key is used for longer instead.
            return retry_later(
                task.state_age_s,
                "The account may no longer change the credential that holds the job's webhook URL",
                longest_s=LONGEST_PAUSE_REFUSED_S,
            )
    if await client.set_webhook(task.full_name, endpoint):
        return Rewritten(endpoint.key_id, not endpoint.secret_id)
    return Rewritten(None, True)


async def remove(task: JobTask, client: CicdProvider) -> None:
    """Delete the secret text, if possible. A failure delays no deletion: without its job the token is useless."""
    with contextlib.suppress(ProviderError):
        await client.delete_secret(job_xml.secret_id_of(str(task.job_id)))
