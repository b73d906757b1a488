"""Waking those who wait, in this process, for a row to change. Only a hint: they read again, and poll too."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator


class Changes:
    """Who waits for what. For one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[uuid.UUID, set[asyncio.Event]] = {}

    @contextlib.contextmanager
    def expect(self, row_id: uuid.UUID) -> Iterator[asyncio.Event]:
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

    def tell(self, row_id: uuid.UUID) -> None:
        """Say that a change of the row has been committed."""
        for event in self._waiting.get(row_id, ()):
            event.set()
