"""Brings CICD jobs to where they should be: claims those that are due, one attempt for each.

Replicas share the work by leases in the database. Whatever goes wrong, the next attempt begins with
a look at Jenkins; the rules of an attempt are in ``workers.job_provisioner.attempt``.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.cicd.errors import ProviderError
from deployment_service.domain.jobs import JobState
from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS, OutageLog
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

_log = structlog.get_logger(__name__)

_CLAIM_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class JobProvisionerSettings:
    """``lease_s`` must leave room for an attempt: about seven requests, each with its timeout.

    ``per_provider`` (about) keeps one dead Jenkins from taking all of ``concurrency``. ``quarantine_s`` is
    how long a request to create, whose answer was lost, may still be carried out.
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
    """One per process. ``committed(tenant_id)`` is told of new events, ``signals`` of jobs that have moved."""

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
        self._settings = settings or JobProvisionerSettings()
        # Of this start of this process: its predecessor's leases are not its own.
        self._owner = uuid.uuid4()
        self._wake = asyncio.Event()
        self._outage = OutageLog("job-provisioner")
        self._stopping = False
        self._loop_task: asyncio.Task[None] | None = None
        self._attempts: dict[asyncio.Task[None], uuid.UUID] = {}

    def wake(self) -> None:
        """Say that there is work; without it, it is found within ``poll_s``."""
        self._wake.set()

    async def start(self) -> None:
        """Begin to work."""
        self._stopping = False
        self._loop_task = asyncio.create_task(self._run(), name="job-provisioner")

    async def stop(self) -> None:
        """Claim nothing more, let attempts end for a few seconds, then cut them off."""
        if self._loop_task is None:
            return
        # Not cancelled at once: a connection that is being made takes that badly.
        self._stopping = True
        self._wake.set()
        until = asyncio.get_running_loop().time() + self._settings.stop_grace_s
        await _end({self._loop_task}, until)
        await _end(set(self._attempts), until)
        self._loop_task = None

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            claimed: list[Claimed] = []
            try:
                async with asyncio.timeout(_CLAIM_DEADLINE_S):
                    claimed = await self._claim()
                self._outage.over()
            except Exception as error:
                self._outage.report_error(error, "job_keeper_could_not_claim")
            for one in claimed:
                self._begin(one)
            if not claimed:
                await self._pause()

    async def _claim(self) -> list[Claimed]:
        room = self._settings.concurrency - len(self._attempts)
        if room <= 0:
            return []
        per_provider = Counter(self._attempts.values())
        full = [p for p, count in per_provider.items() if count >= self._settings.per_provider]
        async with self._database.acquire() as connection:
            return await jobs.claim(
                connection,
                owner=self._owner,
                limit=min(room, self._settings.per_provider),
                lease_s=self._settings.lease_s,
                without_providers=full,
            )

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.poll_s * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter
                await self._wake.wait()

    def _begin(self, claimed: Claimed) -> None:
        task = asyncio.create_task(self._attempt(claimed), name=f"job-attempt-{claimed.job_id}")
        self._attempts[task] = claimed.provider_id
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._attempts[task]
        self._wake.set()  # there is room again

    async def _attempt(self, claimed: Claimed) -> None:
        """Never raises: what fails here is tried again when the lease ends."""
        begun = asyncio.get_running_loop().time()
        try:
            async with self._database.acquire() as connection:
                task = await jobs.task(connection, claimed)
            if task is None:
                return
            outcome = await self._outcome(task, begun)
            recorded = await self._record(task, outcome, begun + self._settings.lease_s)
            if recorded:
                self._tell(task, outcome)
            elif isinstance(outcome, Ready) and outcome.created:
                controller = await self._controllers.get(task)
                async with controller.slot(ahead=True) as client:
                    await attempt.undo_creation(self._database, task, client)
        except (*UNAVAILABLE_ERRORS, ProviderError) as error:
            _log.warning(
                "job_attempt_cut_off", job_id=str(claimed.job_id), error=type(error).__name__
            )
        except Exception:
            _log.exception("job_attempt_failed", job_id=str(claimed.job_id))

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
            _log.exception("job_attempt_failed", job_id=str(task.job_id))
            return retry_later(
                task.state_age_s, "The service failed at this job: its log says of what"
            )

    async def _record(self, task: JobTask, outcome: Outcome, until: float) -> bool:
        """Write the outcome down, also if the database is away for a while."""
        while True:
            try:
                return await attempt.record(self._database, task, outcome)
            except UNAVAILABLE_ERRORS:
                if asyncio.get_running_loop().time() >= until:
                    raise
                await asyncio.sleep(self._settings.poll_s / 2)

    def _tell(self, task: JobTask, outcome: Outcome) -> None:
        facts = {"tenant": task.tenant_slug, "job": task.full_name, "attempt": task.attempt}
        match outcome:
            case RetryLater():
                _log.info("job_waits", state=task.state, reason=outcome.message, **facts)
                return
            case Failed():
                _log.warning("job_failed", reason=str(outcome.failure), **facts)
            case Rewritten():
                _log.info("job_endpoint_rewritten", key=outcome.key_id, **facts)
                return
            case Ready():
                _log.info("job_ready", created=outcome.created, **facts)
            case _:
                _log.info("job_gone", **facts)
        self._signals.notify(task.job_id)
        self._committed(task.tenant_id)


async def _end(tasks: set[asyncio.Task[None]], until: float) -> None:
    """Wait for tasks that are about to end; cut off those that don't."""
    if tasks:
        left = until - asyncio.get_running_loop().time()
        await asyncio.wait(tasks, timeout=max(left, 0))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
