"""The epoch of the store: it changes with a restore and with a failover."""

from __future__ import annotations

from deployment_service.watch.ports import EventLog


class StoreEpoch:
    """The epoch of the latest read. Every read of the hub updates it, at least once a second."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log
        self._latest: bytes | None = None

    async def current(self) -> bytes:
        """Return the epoch for tokens. Call it *before* the transaction or read that yields the token's sequence.

        A stale epoch makes a token that leads to a reset, never to a gap. Reads the store only if no read has
        returned an epoch yet.
        """
        if self._latest is None:
            epoch, _ = await self._event_log.heads(())
            # Never overwrite an epoch that was observed during the read: its change would go unnoticed.
            if self._latest is None:
                self._latest = epoch
        return self._latest

    def observe(self, epoch: bytes) -> bool:
        """Record the epoch of a read; return whether it has changed."""
        changed = self._latest is not None and self._latest != epoch
        self._latest = epoch
        return changed
