"""The life of the store that is being read: it changes with a restore and with a failover."""

from __future__ import annotations

from deployment_service.watch.ports import EventLog


class StoreEpoch:
    """The epoch as last seen. Every read of the hub refreshes it, at least once a second."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log
        self._seen: bytes | None = None

    async def current(self) -> bytes:
        """The epoch for tokens. Ask *before* the transaction or read whose sequence goes into the token.

        A value that is out of date makes tokens that lead to a reset, never to a gap. Reads the store only if
        nothing has been read yet.
        """
        if self._seen is None:
            epoch, _ = await self._event_log.heads(())
            # Never over what was observed meanwhile: that a change is noticed depends on it.
            if self._seen is None:
                self._seen = epoch
        return self._seen

    def observe(self, epoch: bytes) -> bool:
        """Take note of the epoch that came with a read; whether it is another one than before."""
        changed = self._seen is not None and self._seen != epoch
        self._seen = epoch
        return changed
