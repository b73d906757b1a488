"""The job comparer: compares created jobs with what was written into them, a few at once, the longest due first."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.cicd.errors import ProviderError
from deployment_service.storage.database.pool import Database
from deployment_service.storage.jobs import job_drift, jobs
from deployment_service.storage.jobs.jobs import Claimed
from deployment_service.workers.controllers.controllers import Controllers
from deployment_service.workers.job_provisioner import attempt
from deployment_service.workers.job_provisioner.compare import compare_job
from deployment_service.workers.leased_worker import LeasedWorker, Limits, Room

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
        self._settings = settings = settings or JobComparerSettings()
        self._worker = LeasedWorker(
            "job-comparer",
            self._claim,
            self._compare,
            lambda job: {"tenant_id": str(job.tenant_id), "job_id": str(job.job_id)},
            limits=Limits(settings.at_once, per_provider=settings.per_provider),
            every_s=settings.poll_s,
            at_least_s=settings.poll_s,
        )

    async def start(self) -> None:
        """Begin to claim comparisons."""
        await self._worker.start()

    async def stop(self) -> None:
        """Cancel the comparisons under way. The next one finds a repair that was counted and not made."""
        await self._worker.stop()

    async def _claim(self, room: Room) -> Sequence[Claimed]:
        async with self._database.acquire() as connection:
            return await job_drift.claim_comparisons(
                connection,
                limit=room.limit,
                every_s=self._settings.every_s,
                without_providers=room.full_providers,
            )

    async def _compare(self, claimed: Claimed) -> None:
        """Compare a job, and restore what it lacks. The next comparison is the retry."""
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
            _log.info("job.not_compared", error=str(error))
