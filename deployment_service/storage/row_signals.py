"""Signals within this process that a row has changed. They are only hints: waiters read the row and also poll."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Iterator

from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS
from deployment_service.storage.database.pool import Connection, Database

# Workers of this replica send a signal; changes by other replicas are found by polling.
_POLL_INTERVAL_S = 0.25


class RowSignals:
    """The waiters for each row. For one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[uuid.UUID, set[asyncio.Event]] = {}

    @contextlib.contextmanager
    def subscribe(self, row_id: uuid.UUID) -> Iterator[asyncio.Event]:
        """Return a context manager with an event that is set at each change of the row."""
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
        """Signal a committed change of the row."""
        for event in self._waiting.get(row_id, ()):
            event.set()

    async def wait(
        self,
        database: Database,
        row_id: uuid.UUID,
        done: Callable[[Connection], Awaitable[bool]],
        wait_s: float,
    ) -> None:
        """Return when ``done`` is true, after ``wait_s`` seconds, or when the database is unavailable."""
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
                        async with asyncio.timeout(_POLL_INTERVAL_S):
                            await changed.wait()
                    changed.clear()
