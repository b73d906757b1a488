"""A background loop: one round when woken and at least every so often, whatever a round may throw."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from deployment_service.storage.database.failures import Kind, OutageLog, failure_of

_log = structlog.get_logger(__name__)

_PAUSE_AFTER_ERROR_S = 1.0
# No round takes longer by itself: every statement and every request has a bound of its own.
_ROUND_DEADLINE_S = 120.0


class Loop:
    """Runs ``one_round`` again and again. An unavailable database is waited for; a defect is logged."""

    def __init__(
        self,
        name: str,
        one_round: Callable[[], Awaitable[None]],
        *,
        every_s: float,
        deadline_s: float | None = _ROUND_DEADLINE_S,
    ) -> None:
        self._name = name
        self._one_round = one_round
        self._every_s = every_s
        self._deadline_s = deadline_s
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._outage = OutageLog(name)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self._name)

    def wake(self) -> None:
        """Have a round soon: there is something to do."""
        self._woken.set()

    async def stop(self) -> None:
        """Cut the round under way: its transaction is rolled back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            if await self._round():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._every_s):
                        await self._woken.wait()
            else:
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)

    async def _round(self) -> bool:
        """Return whether the round succeeded."""
        deadline = asyncio.timeout(self._deadline_s)
        try:
            async with deadline:
                await self._one_round()
        except Exception as error:
            if deadline.expired():
                _log.error("worker.round_cut_off", worker=self._name, deadline_s=self._deadline_s)
                return False
            failure = failure_of(error)
            if failure.kind is Kind.OURS:
                _log.exception("round failed", worker=self._name)
            else:
                self._outage.report(failure)
            return False
        self._outage.over()
        return True
