"""Whether the service takes our calls: asked once for all who want to know, and not more often than needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

FRESH_S = 1.0


class Readiness:
    """Remembers for a second what ``ask`` said: None if all is well, else why not."""

    def __init__(self, ask: Callable[[], Awaitable[str | None]]) -> None:
        self._ask = ask
        self._why: str | None = None
        self._asked_s = float("-inf")
        self._flight: asyncio.Task[None] | None = None

    async def why_not(self) -> str | None:
        """Return None if the service can be reached, else why not."""
        if self._flight is None and time.monotonic() - self._asked_s >= FRESH_S:
            self._flight = asyncio.create_task(self._find_out())
        if self._flight is not None:
            # Not awaited itself: whoever asked may go away, and the others still want to know.
            await asyncio.wait([self._flight])
        return self._why

    async def _find_out(self) -> None:
        try:
            self._why = await self._ask()
        finally:
            self._asked_s = time.monotonic()
            self._flight = None
