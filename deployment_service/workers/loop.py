"""A background loop: one round when woken and at least every so often, whatever a round may throw."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from deployment_service.storage.database import AWAY

_log = structlog.get_logger(__name__)

_PAUSE_AFTER_ERROR_S = 1.0


class Loop:
    """Runs ``one_round`` again and again. A database that is away is waited for; a defect is logged."""

    def __init__(
        self, name: str, one_round: Callable[[], Awaitable[None]], *, every_s: float
    ) -> None:
        self._name = name
        self._one_round = one_round
        self._every_s = every_s
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False

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
        """Say whether it went well."""
        try:
            await self._one_round()
        except AWAY as error:
            if not self._away:
                _log.warning("database away", worker=self._name, error=type(error).__name__)
            self._away = True
            return False
        except Exception:
            _log.exception("round failed", worker=self._name)
            return False
        if self._away:
            _log.info("database back", worker=self._name)
        self._away = False
        return True
