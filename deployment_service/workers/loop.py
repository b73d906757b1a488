"""A background loop: one round when woken and at least every so often, whatever a round may raise."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

import structlog

from deployment_service.storage.database.failures import OutageLog

_log = structlog.get_logger(__name__)

_PAUSE_AFTER_ERROR_S = 1.0
# No round takes longer by itself: every statement and every request has a bound of its own.
_ROUND_DEADLINE_S = 120.0


class Loop:
    """Runs ``one_round`` again and again. Waits while the database is unavailable; logs a defect and continues."""

    def __init__(
        self,
        name: str,
        one_round: Callable[[], Awaitable[None]],
        *,
        every_s: float,
        at_least_s: float = 0.0,
        deadline_s: float | None = _ROUND_DEADLINE_S,
    ) -> None:
        """``every_s``: the longest pause between two rounds; ``at_least_s``: the shortest, even if woken."""
        self._name = name
        self._one_round = one_round
        self._every_s = every_s
        self._at_least_s = at_least_s
        self._deadline_s = deadline_s
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._in_round = False
        self._stopping = False
        self._outage = OutageLog(name)

    def start(self) -> None:
        """Begin the rounds."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name=self._name)

    def wake(self) -> None:
        """Begin the next round now, or after the one under way."""
        self._woken.set()

    async def stop(self, grace_s: float = 0.0) -> None:
        """End the loop. A round under way has ``grace_s`` seconds to finish, then its transaction is rolled back."""
        self._stopping = True
        if self._task is None:
            return
        if self._in_round and grace_s > 0:
            await asyncio.wait({self._task}, timeout=grace_s)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            self._in_round = True
            succeeded = await self._round()
            self._in_round = False
            if not self._stopping:
                await self._pause(succeeded=succeeded)

    async def _pause(self, *, succeeded: bool) -> None:
        if not succeeded:
            await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            return
        await asyncio.sleep(self._at_least_s)
        # With jitter: the replicas of a service that was just started don't poll in step.
        longest_s = max(0.0, self._every_s - self._at_least_s) * random.uniform(0.8, 1.0)  # noqa: S311
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._woken.wait()

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
            self._outage.report_error(error, "worker.round_failed", worker=self._name)
            return False
        self._outage.over()
        return True
