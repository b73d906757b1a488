"""The tail of one tenant on this replica: its ring, and the streams that wait for new events."""

from __future__ import annotations

import structlog

from deployment_service.domain.access import TenantRef
from deployment_service.domain.events import Event
from deployment_service.watch import frames
from deployment_service.watch.auto_reset_event import AutoResetEvent
from deployment_service.watch.frames import ResetReason
from deployment_service.watch.ports import EventSerializer
from deployment_service.watch.ring import Entry, HistoryGap, Ring
from deployment_service.watch.tokens import ResumeTokens

_log = structlog.get_logger(__name__)


class Entries:
    """Serialises each event once, for all streams."""

    def __init__(self, serialize: EventSerializer, tokens: ResumeTokens) -> None:
        self._serialize = serialize
        self._tokens = tokens

    def of(self, tenant: TenantRef, epoch: bytes, events: list[Event]) -> list[Entry]:
        return [
            Entry(
                event.sequence,
                event.deployment_slug,
                event.type,
                frames.shared_event(
                    self._serialize(tenant.slug, event),
                    self._tokens.position(tenant.tenant_id, epoch, event.sequence),
                ),
                tuple(
                    frozenset(one.items())
                    for one in (event.labels, event.old_labels)
                    if one is not None
                ),
            )
            for event in events
        ]


class Tail:
    """The newest events of a tenant, read once for all its streams.

    ``ring`` is None until the tenant's head was read: at the beginning, and after a change of the epoch.
    """

    def __init__(self, tenant: TenantRef) -> None:
        self.tenant = tenant
        self.ring: Ring | None = None
        self.head = 0
        self.streams = 0
        self.idle_since = 0.0
        self._wakes: set[AutoResetEvent] = set()

    def attach(self, wake: AutoResetEvent) -> None:
        """Register a stream that is woken by each change of the tail."""
        self._wakes.add(wake)

    def detach(self, wake: AutoResetEvent) -> None:
        self._wakes.discard(wake)

    def wake_all(self) -> None:
        for wake in self._wakes:
            wake.set()

    def anchor(self, ring: Ring) -> None:
        """Follow the store from the position of the ring."""
        self.ring = ring
        self.wake_all()

    def extend(self, ring: Ring, entries: list[Entry]) -> bool:
        """Append events that were read after the ring's last event; return False on a gap."""
        try:
            ring.append(entries)
        except HistoryGap as gap:
            # Trimming overtook a long stall, or a transaction appended events without the tenant's lock.
            _log.error("watch.history_gap", tenant=self.tenant.slug, gap=str(gap))
            self.restart(ResetReason.HISTORY_TRIMMED)
            return False
        self.wake_all()
        return True

    def restart(self, reason: ResetReason) -> None:
        """Send a reset to every stream, because the next events do not continue the sent ones."""
        if self.ring is not None:
            self.ring.end(reason)
            self.ring = None
        self.wake_all()
