"""Finds second builds of our runs that our own account has started (``actions/repeats.py`` says why)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import structlog

from deployment_service.actions.repeats import names_another_run, stop_repeat
from deployment_service.cicd.errors import ProviderError
from deployment_service.storage.database import Database
from deployment_service.storage.reconcile import Unconfirmed
from deployment_service.workers.controllers import Controller

_log = structlog.get_logger(__name__)

_REMEMBERED = 10_000


class Repeats:
    """Each external build that carries a run's id is looked at once."""

    def __init__(self, database: Database, committed: Callable[[uuid.UUID], None]) -> None:
        self._database = database
        self._committed = committed
        self._judged: set[uuid.UUID] = set()

    async def stop_ours(self, items: Sequence[Unconfirmed], controller: Controller) -> None:
        """Ask who started the builds among ``items`` that repeat a run's id; have ours stopped."""
        for item in items:
            run = item.run
            if run.active and run.run_id not in self._judged and names_another_run(run):
                try:
                    await self._judge(item, controller)
                except ProviderError as error:
                    _log.warning("reading failed", error=str(error))

    async def _judge(self, item: Unconfirmed, controller: Controller) -> None:
        build = item.run.build
        if build is None:
            return
        async with controller.slot() as client:
            view = await client.read_build(item.job.full_name, build.number)
        if view is None:
            return
        ours = controller.account.casefold() in (user.casefold() for user in view.user_ids)
        if ours and view.building:
            stopped = await stop_repeat(self._database, item)
            if stopped is None:
                return
            if stopped:
                _log.warning(
                    "second build of a run is stopped", job=item.job.full_name, number=build.number
                )
                self._committed(item.job.tenant_id)
        if len(self._judged) >= _REMEMBERED:
            self._judged.clear()  # looking once more costs one read for each
        self._judged.add(item.run.run_id)
