"""Single flight: concurrent callers that want the same thing share one task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class SingleFlight(Generic[Key, Value]):
    """At most one task for each key that callers can join. For one event loop."""

    def __init__(self) -> None:
        self._joinable: dict[Key, asyncio.Task[Value]] = {}
        self._tasks: set[asyncio.Task[Value]] = set()

    def task(
        self, key: Key, start: Callable[[], Coroutine[Any, Any, Value]]
    ) -> asyncio.Task[Value]:
        """Return the task of ``key``; start it if there is none to join.

        A caller must not cancel it, because others may wait for it: use ``asyncio.shield`` or ``asyncio.wait``.
        """
        task = self._joinable.get(key)
        if task is None:
            task = self._joinable[key] = asyncio.create_task(start())
            self._tasks.add(task)
            task.add_done_callback(lambda task: self._finished(key, task))
        return task

    def seal(self, key: Key) -> None:
        """Let no later caller join the task of ``key``: the next one starts its own."""
        del self._joinable[key]

    async def close(self) -> None:
        """Cancel all tasks."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, key: Key, task: asyncio.Task[Value]) -> None:
        self._tasks.discard(task)
        if self._joinable.get(key) is task:
            del self._joinable[key]
        if not task.cancelled():
            task.exception()  # All callers may have gone: then nothing else retrieves it.
