"""The simulator's wall clock, which tests can push forward."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Wall time plus an offset: `advance` makes minutes pass at once and wakes every sleeper."""

    def __init__(self) -> None:
        self._offset_s = 0.0
        self._sleepers: set[asyncio.Future[None]] = set()

    def now(self) -> float:
        """Seconds since the epoch, as this Jenkins sees them."""
        return time.time() + self._offset_s

    def now_ms(self) -> int:
        """Milliseconds since the epoch, the unit of every Jenkins timestamp."""
        return int(self.now() * 1000)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self._offset_s += seconds
        for sleeper in list(self._sleepers):
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep_until(self, deadline: float) -> None:
        """Return when `now()` has reached `deadline`, by waiting or by `advance`."""
        while (left_s := deadline - self.now()) > 0:
            sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._sleepers.add(sleeper)
            try:
                async with asyncio.timeout(left_s):
                    await sleeper
            except TimeoutError:
                pass
            finally:
                self._sleepers.discard(sleeper)

    async def sleep(self, seconds: float) -> None:
        """Sleep for `seconds` of this clock's time."""
        await self.sleep_until(self.now() + seconds)
