"""Waking those who wait, in this process, for a row to change. Only a hint: they read again, and poll too."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Iterator

from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS
from deployment_service.storage.database.pool import Connection, Database

# This replica's workers say when they are done; another replica's are noticed by looking.
_LOOK_EVERY_S = 0.25


class RowSignals:
    """Who waits for what. For one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[uuid.UUID, set[asyncio.Event]] = {}

    @contextlib.contextmanager
    def subscribe(self, row_id: uuid.UUID) -> Iterator[asyncio.Event]:
        """An event that is set at each change of the row while the block is entered."""
        event = asyncio.Event()
        self._waiting.setdefault(row_id, set()).add(event)
        try:
            yield event
        finally:
            events = self._waiting[row_id]
            events.discard(event)
            if not events:
                del self._waiting[row_id]

    def notify(self, row_id: uuid.UUID) -> None:
        """Say that a change of the row has been committed."""
        for event in self._waiting.get(row_id, ()):
            event.set()

    async def wait(
        self,
        database: Database,
        row_id: uuid.UUID,
        done: Callable[[Connection], Awaitable[bool]],
        wait_s: float,
    ) -> None:
        """Return when ``done`` is true of the row, the time is over, or the database is away."""
        with (
            self.subscribe(row_id) as changed,
            contextlib.suppress(TimeoutError, *UNAVAILABLE_ERRORS),
        ):
            async with asyncio.timeout(wait_s):
                while True:
                    async with database.acquire() as connection:
                        if await done(connection):
                            return
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_EVERY_S):
                            await changed.wait()
                    changed.clear()
