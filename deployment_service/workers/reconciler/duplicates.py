"""Finds second builds of our runs; stops those that P9 allows to stop (``domain/duplicates.py``)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import structlog

from deployment_service.cicd.errors import ProviderError
from deployment_service.cicd.port import BuildView
from deployment_service.domain.duplicates import DuplicateBuild
from deployment_service.storage.database.pool import Database
from deployment_service.storage.runs.reconcile import Unconfirmed
from deployment_service.workers.controllers.controllers import Controller
from deployment_service.workers.reconciler.duplicate_steps import (
    names_another_run,
    own_build_of,
    stop_duplicate,
)

_log = structlog.get_logger(__name__)

_REMEMBERED = 10_000
_ANONYMOUS = ("", "anonymous")


class DuplicateBuilds:
    """Judges each external build that carries a run's id once."""

    def __init__(self, database: Database, committed: Callable[[uuid.UUID], None]) -> None:
        self._database = database
        self._committed = committed
        self._judged: set[uuid.UUID] = set()

    async def stop_ours(self, items: Sequence[Unconfirmed], controller: Controller) -> None:
        """Read the builds among ``items`` that carry another run's id; stop those of late requests of ours."""
        for item in items:
            run = item.run
            if run.active and run.run_id not in self._judged and names_another_run(run):
                try:
                    await self._judge(item, controller)
                except ProviderError as error:
                    _log.warning(
                        "duplicate_build.not_read", job=item.job.full_name, error=str(error)
                    )

    async def _judge(self, item: Unconfirmed, controller: Controller) -> None:
        own = await own_build_of(self._database, item)
        if own is None or own.build is None or item.run.build is None:
            return
        async with controller.slot() as client:
            second = await client.read_build(item.job.full_name, item.run.build.number)
            first = await client.read_build(item.job.full_name, own.build.number)
        if second is None or first is None or not _is_shown(own.build_timestamp_ms, first):
            return  # read again in the next cycle
        if second.building:
            build = DuplicateBuild(
                only_our_cause=_only_ours(second, controller.account),
                started_ms=second.timestamp_ms,
                own_end_ms=_end_ms(first),
            )
            if await stop_duplicate(self._database, item, own, build):
                _log.warning(
                    "duplicate_build.stopping", job=item.job.full_name, build=second.number
                )
                self._committed(item.job.tenant_id)
        if len(self._judged) >= _REMEMBERED:
            self._judged.clear()  # reading each once more costs two requests
        self._judged.add(item.run.run_id)


def _is_shown(stored_ms: int | None, build: BuildView) -> bool:
    """Whether Jenkins has shown this very build as the run's own."""
    return stored_ms is not None and stored_ms == build.timestamp_ms


def _only_ours(build: BuildView, account: str) -> bool:
    """Whether the one cause of its start is our account, by name."""
    if account.casefold() in _ANONYMOUS or len(build.causes) != 1:
        return False
    (cause,) = build.causes
    return cause.by_user and cause.user_id.casefold() == account.casefold()


def _end_ms(build: BuildView) -> int | None:
    """Return when the build ended; its start if the duration is unknown, so that nothing is stopped."""
    if build.building:
        return None
    return (build.timestamp_ms or 0) + (build.duration_ms or 0)
