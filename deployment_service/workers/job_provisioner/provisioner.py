"""The job provisioner: claims CICD jobs that are due to be created, adopted, rewritten or deleted in Jenkins.

Replicas share the jobs by leases in the database. After any failure the next attempt begins with a read of the job;
``attempt.py`` has the rules of an attempt.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.cicd.errors import ProviderError
from deployment_service.domain.jobs import JobState
from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS
from deployment_service.storage.database.pool import Database
from deployment_service.storage.jobs import jobs
from deployment_service.storage.jobs.jobs import Claimed, JobTask
from deployment_service.storage.row_signals import RowSignals
from deployment_service.workers.controllers.controllers import Controllers, ControllerUnavailable
from deployment_service.workers.job_provisioner import attempt
from deployment_service.workers.job_provisioner.attempt import AttemptLimits, Failed, Outcome, Ready
from deployment_service.workers.job_provisioner.job_endpoint import (
    RetryLater,
    Rewritten,
    retry_later,
)
from deployment_service.workers.leased_worker import LeasedWorker, Limits, Room

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobProvisionerSettings:
    """``lease_s`` must leave room for an attempt: about seven requests, each with its timeout.

    ``per_provider`` (about) keeps one dead Jenkins from taking all of ``concurrency``. ``quarantine_s``: for how long
    Jenkins may still carry out a request to create whose answer was lost.
    """

    locale: str = "en"
    poll_s: float = 1.0
    concurrency: int = 32
    per_provider: int = 8
    lease_s: float = 90.0
    quarantine_s: float = 60.0
    slot_wait_s: float = 5.0
    stop_grace_s: float = 5.0


class JobProvisioner:
    """One per process. ``committed(tenant_id)`` is called after new events, ``signals`` notified of changed jobs."""

    def __init__(
        self,
        database: Database,
        controllers: Controllers,
        keys: WebhookKeys,
        signals: RowSignals,
        *,
        committed: Callable[[uuid.UUID], None],
        settings: JobProvisionerSettings | None = None,
    ) -> None:
        self._database = database
        self._controllers = controllers
        self._keys = keys
        self._signals = signals
        self._committed = committed
        self._settings = settings = settings or JobProvisionerSettings()
        # Of this start of this process: the leases of the process before it are not its own.
        self._owner = uuid.uuid4()
        self._worker = LeasedWorker(
            "job-provisioner",
            self._claim,
            self._attempt,
            lambda job: {"tenant_id": str(job.tenant_id), "job_id": str(job.job_id)},
            limits=Limits(
                settings.concurrency,
                per_provider=settings.per_provider,
                per_claim=settings.per_provider,
            ),
            every_s=settings.poll_s,
            stop_grace_s=settings.stop_grace_s,
        )

    def wake(self) -> None:
        """Claim now: a job has become due. Without it, the job is found within ``poll_s``."""
        self._worker.wake()

    async def start(self) -> None:
        """Begin to claim jobs."""
        await self._worker.start()

    async def stop(self) -> None:
        """Claim nothing more; let attempts end for a few seconds, then cancel them."""
        await self._worker.stop()

    async def _claim(self, room: Room) -> Sequence[Claimed]:
        async with self._database.acquire() as connection:
            return await jobs.claim(
                connection,
                owner=self._owner,
                limit=room.limit,
                lease_s=self._settings.lease_s,
                without_providers=room.full_providers,
            )

    async def _attempt(self, claimed: Claimed) -> None:
        """Make one attempt. If it raises, the job is claimed again when the lease ends."""
        begun = asyncio.get_running_loop().time()
        async with self._database.acquire() as connection:
            task = await jobs.task(connection, claimed)
        if task is None:
            return
        outcome = await self._outcome(task, begun)
        recorded = await self._record(task, outcome, begun + self._settings.lease_s)
        if recorded:
            self._announce(task, outcome)
        elif isinstance(outcome, Ready) and outcome.created:
            await self._undo_creation(task)

    async def _undo_creation(self, task: JobTask) -> None:
        """Delete the job that this attempt created after its deployment was deleted."""
        try:
            controller = await self._controllers.get(task)
            async with controller.slot(ahead=True) as client:
                await attempt.undo_creation(self._database, task, client)
        except ProviderError as error:
            _log.warning("job.creation_not_undone", error=str(error))

    async def _outcome(self, task: JobTask, begun: float) -> Outcome:
        settings = self._settings
        limits = AttemptLimits(begun + settings.lease_s / 2, settings.quarantine_s)
        try:
            webhook = None
            if task.state is not JobState.DELETING:
                async with self._database.acquire() as connection:
                    webhook = await attempt.webhook_of(
                        connection, self._keys, task, settings.locale
                    )
            controller = await self._controllers.get(task)
            async with (
                asyncio.timeout_at(begun + settings.lease_s * 0.9),
                controller.slot(settings.slot_wait_s, ahead=True) as client,
            ):
                return await attempt.work_on(task, client, webhook, limits)
        except ControllerUnavailable as error:
            return retry_later(0, error.message, at_least_s=error.wait_s)
        except ProviderError as error:
            return attempt.outcome_of(task, error)
        except TimeoutError:
            return retry_later(task.state_age_s, "Jenkins answers too slowly")
        except UNAVAILABLE_ERRORS:
            raise
        except Exception:
            _log.exception("job.attempt_failed")
            return retry_later(
                task.state_age_s, "Internal error while provisioning the job; see the service log"
            )

    async def _record(self, task: JobTask, outcome: Outcome, until: float) -> bool:
        """Commit the outcome; retry until the lease ends while the database is unavailable."""
        while True:
            try:
                return await attempt.record(self._database, task, outcome)
            except UNAVAILABLE_ERRORS:
                if asyncio.get_running_loop().time() >= until:
                    raise
                await asyncio.sleep(self._settings.poll_s / 2)

    def _announce(self, task: JobTask, outcome: Outcome) -> None:
        """Log the outcome; wake those that wait for the job if its state has changed."""
        fields = {"tenant": task.tenant_slug, "job": task.full_name, "attempt": task.attempt}
        match outcome:
            case RetryLater():
                _log.info("job.retry_later", state=task.state, reason=outcome.message, **fields)
                return
            case Failed():
                _log.warning("job.failed", reason=str(outcome.failure), **fields)
            case Rewritten():
                _log.info("job.endpoint_rewritten", key=outcome.key_id, **fields)
                return
            case Ready():
                _log.info("job.ready", created=outcome.created, **fields)
            case _:
                _log.info("job.deleted", **fields)
        self._signals.notify(task.job_id)
        self._committed(task.tenant_id)
