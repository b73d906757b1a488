"""Hints to other replicas about commits: sent after the commit, with a limited rate."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection

import structlog

from deployment_service.watch.auto_reset_event import AutoResetEvent
from deployment_service.watch.ports import EventLog
from deployment_service.watch.settings import WatchSettings

_log = structlog.get_logger(__name__)

CHANNEL = "deployment_events"
# A payload has at most 8,000 bytes (PostgreSQL, NOTIFY). A hint about more tenants names none: read all.
_MOST_TENANTS = 200
_SEND_TIMEOUT_S = 5.0


def hint(sender: str, tenant_ids: Collection[uuid.UUID]) -> str:
    """Return the payload of a notification."""
    few = len(tenant_ids) <= _MOST_TENANTS
    return f"{sender}:{','.join(one.hex for one in tenant_ids) if few else ''}"


def read_hint(payload: str) -> tuple[str, list[uuid.UUID] | None]:
    """Return the sender and the tenants to read; None means all tenants, also for an unknown payload."""
    sender, _, tenants = payload.partition(":")
    try:
        return sender, [uuid.UUID(hex=one) for one in tenants.split(",")]
    except ValueError:
        return sender, None


class Notifier:
    """Collects tenants and notifies other replicas: at once, then after the interval at the earliest.

    A NOTIFY in every business transaction would serialise commits (PostgreSQL holds a database-wide lock until the
    commit), so each replica sends one per interval. Polling finds the commits of lost notifications.
    """

    def __init__(self, event_log: EventLog, sender: str, settings: WatchSettings) -> None:
        self._event_log = event_log
        self._sender = sender
        self._interval_s = settings.notify_interval_s
        self._tenants: set[uuid.UUID] = set()
        self._wake = AutoResetEvent()
        self._failing = False

    def notify(self, tenant_id: uuid.UUID) -> None:
        """Announce that events of this tenant were committed. Call it after the commit; it never blocks."""
        self._tenants.add(tenant_id)
        self._wake.set()

    async def run(self) -> None:
        """Send notifications for ever."""
        while True:
            await self._wake.wait()
            await self.flush()
            await asyncio.sleep(self._interval_s)

    async def flush(self) -> None:
        """Send one notification about the collected tenants."""
        tenants, self._tenants = self._tenants, set()
        if not tenants:
            return
        try:
            async with asyncio.timeout(_SEND_TIMEOUT_S):
                await self._event_log.notify(CHANNEL, hint(self._sender, tenants))
            self._failing = False
        except Exception as error:
            if not self._failing:
                _log.warning("watch.notify_failed", error=type(error).__name__)
            self._failing = True
