"""The dispatcher: claims each pending run and has it triggered once (promise P3).

``attempt.py`` has the story of one attempt, ``steps.py`` what it commits. docs/explanation/runs.md has the reasons.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import structlog

from deployment_service.runtime.secret_box import SecretBox
from deployment_service.storage import restore
from deployment_service.storage.database.pool import Database
from deployment_service.storage.runs import dispatch
from deployment_service.storage.runs.dispatch import Claimed
from deployment_service.workers.controllers.finder import FindController
from deployment_service.workers.dispatcher.attempt import TriggerAttempts
from deployment_service.workers.dispatcher.run_secrets import RunSecrets
from deployment_service.workers.dispatcher.settings import DispatcherSettings
from deployment_service.workers.dispatcher.steps import LeaseLost, TriggerSteps
from deployment_service.workers.leased_worker import LeasedWorker, Limits, Room

_log = structlog.get_logger(__name__)


class Dispatcher:
    """Claims due runs and makes an attempt for each. One per process."""

    def __init__(
        self,
        database: Database,
        find_controller: FindController,
        box: SecretBox,
        *,
        committed: Callable[[uuid.UUID], None],
        settled: Callable[[uuid.UUID], None],
        settings: DispatcherSettings,
    ) -> None:
        """``committed(tenant_id)`` is called after new events, ``settled(run_id)`` after each attempt."""
        self._database = database
        self._settled = settled
        self._settings = settings
        self._owner = uuid.uuid4()
        self._worker = LeasedWorker(
            "dispatcher",
            self._claim,
            self._attempt,
            lambda run: {"tenant_id": str(run.tenant_id), "run_id": str(run.run_id)},
            limits=Limits(
                settings.at_once,
                per_tenant=settings.per_tenant,
                per_provider=settings.per_provider,
                per_claim=settings.per_provider,
            ),
            every_s=1.0,
            stop_grace_s=settings.request_timeout_s + 5,
        )
        steps = TriggerSteps(database, self._owner, committed)
        self._attempts = TriggerAttempts(
            find_controller, steps, RunSecrets(box, steps), settings, wake=self._worker.wake
        )

    def wake(self) -> None:
        """Claim now: a run has just been committed."""
        self._worker.wake()

    async def start(self) -> None:
        """Begin to claim runs."""
        await self._worker.start()

    async def stop(self) -> None:
        """Claim nothing more; let the attempts under way settle, which takes no longer than their timeouts."""
        await self._worker.stop()

    async def _claim(self, room: Room) -> Sequence[Claimed]:
        async with self._database.acquire() as connection:
            if await restore.is_settled(connection):
                return await dispatch.claim(
                    connection,
                    self._owner,
                    lease_s=self._settings.lease_s,
                    limit=room.limit,
                    without_providers=room.full_providers,
                    without_tenants=room.full_tenants,
                )
        await self._settle_epoch()
        return ()

    async def _settle_epoch(self) -> None:
        """Make pending runs be probed in Jenkins: a restored store may lack requests that were sent."""
        unclear_s = self._settings.unclear_s
        changed = await self._database.transaction(
            lambda connection: restore.settle(connection, unclear_s=unclear_s)
        )
        if changed:
            _log.warning("dispatcher.store_restored", effect="pending runs are probed in Jenkins")
        self._worker.wake()

    async def _attempt(self, run: Claimed) -> None:
        try:
            await self._attempts.make(run)
        except LeaseLost:
            _log.info("dispatcher.lease_lost", attempt=run.attempt)
        finally:
            self._settled(run.run_id)
