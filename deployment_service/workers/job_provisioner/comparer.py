"""Compares the jobs that we created with what was written into them: a few at once, the longest due first."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.cicd.errors import ProviderError
from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS
from deployment_service.storage.database.pool import Database
from deployment_service.storage.jobs import job_drift, jobs
from deployment_service.storage.jobs.jobs import Claimed
from deployment_service.workers.controllers.controllers import Controllers
from deployment_service.workers.job_provisioner import attempt
from deployment_service.workers.job_provisioner.compare import compare_job
from deployment_service.workers.loop import Loop

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobComparerSettings:
    """``every_s``: how often each job is compared; ``per_provider`` (about) keeps a slow Jenkins from taking all.

    A replica begins at most ``at_once`` comparisons per ``poll_s``, each of about four requests.
    """

    locale: str = "en"
    every_s: float = 900.0
    poll_s: float = 2.0
    at_once: int = 4
    per_provider: int = 2
    slot_wait_s: float = 5.0
    longest_s: float = 60.0


class JobComparer:
    """One per process. ``committed(tenant_id)`` is called after new events."""

    def __init__(
        self,
        database: Database,
        controllers: Controllers,
        keys: WebhookKeys,
        *,
        committed: Callable[[uuid.UUID], None],
        settings: JobComparerSettings | None = None,
    ) -> None:
        self._database = database
        self._controllers = controllers
        self._keys = keys
        self._committed = committed
        self._settings = settings or JobComparerSettings()
        self._under_way: dict[asyncio.Task[None], uuid.UUID] = {}
        self._loop = Loop("job-comparer", self._claim, every_s=self._settings.poll_s)

    async def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        """Cut the comparisons under way: a repair that was counted and not made is found by the next."""
        await self._loop.stop()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _claim(self) -> None:
        settings = self._settings
        room = settings.at_once - len(self._under_way)
        if room <= 0:
            return
        busy = Counter(self._under_way.values())
        full = [provider for provider, count in busy.items() if count >= settings.per_provider]
        async with self._database.acquire() as connection:
            claimed = await job_drift.claim_comparisons(
                connection,
                limit=room,
                every_s=settings.every_s,
                without_providers=full,
            )
        for one in claimed:
            task = asyncio.create_task(self._compare(one), name=f"job-comparison-{one.job_id}")
            self._under_way[task] = one.provider_id
            task.add_done_callback(self._under_way.pop)

    async def _compare(self, claimed: Claimed) -> None:
        """Never raises: the next comparison is another try."""
        try:
            async with self._database.acquire() as connection:
                task = await jobs.task(connection, claimed)
                if task is None:
                    return
                webhook = await attempt.webhook_of(
                    connection, self._keys, task, self._settings.locale
                )
            controller = await self._controllers.get(task)
            async with (
                asyncio.timeout(self._settings.longest_s),
                controller.slot(self._settings.slot_wait_s) as client,
            ):
                restored = await compare_job(self._database, task, client, webhook)
            if restored:
                _log.warning(
                    "job.restored", tenant=task.tenant_slug, job=task.full_name, lost=restored
                )
            self._committed(task.tenant_id)
        except (TimeoutError, ProviderError) as error:
            _log.info("job.not_compared", job_id=str(claimed.job_id), error=str(error))
        except UNAVAILABLE_ERRORS as error:
            _log.warning("database away", worker="job-comparer", error=type(error).__name__)
        except Exception:
            _log.exception("job.comparison_failed", job_id=str(claimed.job_id))
