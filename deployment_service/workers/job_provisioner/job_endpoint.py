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
# Whoever mends an account's permissions doesn't tell us, and an account that is refused often may get locked.
LONGEST_PAUSE_REFUSED_S = 300.0


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Nothing is known, or nothing can be done, yet."""

    message: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The endpoint has the newest key, or there is none of ours to rewrite."""

    key_id: str | None
    token_exposed: bool


def retry_later(
    trying_s: float,
    message: str,
    *,
    at_least_s: float = 0.0,
    longest_s: float = _LONGEST_PAUSE_S,
) -> RetryLater:
    """The next try, after ``trying_s`` of trying: later each time, and not all at once when a Jenkins comes back."""
    pause = min(max(trying_s / 2, _FIRST_PAUSE_S), longest_s)
    delay = at_least_s + pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    return RetryLater(f"{message.rstrip('.')}; next try in {math.ceil(delay)} s", delay)


async def prepare(task: JobTask, client: CicdProvider, webhook: JobWebhook) -> WebhookEndpoint:
    """Say what the job's endpoint is to be, with its URL kept secret if that matters and can be had."""
    job_id = str(task.job_id)
    secret_id = job_xml.secret_id_of(job_id)
    kept = not task.private_console and await client.put_secret(secret_id, webhook.url)
    return WebhookEndpoint(job_id, webhook.key_id, webhook.url, secret_id if kept else "")


async def rewrite(
    task: JobTask, client: CicdProvider, webhook: JobWebhook | None
) -> Rewritten | RetryLater:
    """Bring the newest key into the endpoint of a job that is there."""
    if webhook is None:
        return Rewritten(None, task.token_exposed)
    endpoint = await prepare(task, client, webhook)
    if not task.token_exposed:
        if endpoint.secret_id:
            return Rewritten(endpoint.key_id, False)
        if not task.private_console:
            # Never from secret to public: rather the old key for longer.
            return retry_later(
                task.state_age_s,
                "The account may no longer change the credential that holds the job's webhook URL",
                longest_s=LONGEST_PAUSE_REFUSED_S,
            )
    if await client.set_webhook(task.full_name, endpoint):
        return Rewritten(endpoint.key_id, not endpoint.secret_id)
    return Rewritten(None, True)


async def remove(task: JobTask, client: CicdProvider) -> None:
    """Leave no secret behind. Not worth keeping a deletion from its end: without its job it proves nothing."""
    with contextlib.suppress(ProviderError):
        await client.delete_secret(job_xml.secret_id_of(str(task.job_id)))
