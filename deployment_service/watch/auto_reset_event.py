"""The event that a stream or loop waits for."""

from __future__ import annotations

import asyncio


class AutoResetEvent:
    """An event with one waiter. A ``set`` before the ``wait`` is not lost."""

    __slots__ = ("_set", "_waiter")

    def __init__(self) -> None:
        self._set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self, _: object = None) -> None:
        """Wake the waiter. The argument is ignored: it allows use as the callback of a future."""
        self._set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, until: float | None = None) -> bool:
        """Wait until the event is set, or until the loop time ``until``; return whether it was set. Reset it."""
        if not self._set:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout_at(until):
                    await self._waiter
            except TimeoutError:
                pass
            finally:
                self._waiter = None
        was_set, self._set = self._set, False
        return was_set
