"""The interfaces that watching needs. ``server.py`` passes the implementations."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from deployment_service.domain.access import TenantRef
from deployment_service.domain.events import End, Event


class EventLog(Protocol):
    """Reads of committed events. Implemented by ``storage.events.event_log.EventLog``.

    Each result includes the epoch of the store, read in the same statement: after a failover the next connection may
    lead to another history. Every exception means that the store is unavailable.
    """

    async def heads(self, tenant_ids: Sequence[uuid.UUID]) -> tuple[bytes, dict[uuid.UUID, int]]:
        """Return the epoch and each tenant's last committed sequence, 0 without events."""

    async def news(
        self, positions: Mapping[uuid.UUID, int], limit: int
    ) -> tuple[bytes, dict[uuid.UUID, list[Event]]]:
        """Return the epoch and at most ``limit`` events of each tenant after its position, oldest first."""

    async def page(
        self, tenant_id: uuid.UUID, after: int, through: int
    ) -> tuple[bytes, list[Event]]:
        """Return the epoch and the remaining events in ``(after, through]``, oldest first."""

    async def ends(
        self, names: Sequence[tuple[uuid.UUID, str]]
    ) -> tuple[bytes, dict[tuple[uuid.UUID, str], End]]:
        """Return the epoch and the end state of each deployment, by tenant and id, in one snapshot."""

    async def notify(self, channel: str, payload: str) -> None:
        """Send a notification, outside of any business transaction."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The deployments with these ids (None: any) that have all of these labels."""

    slugs: frozenset[str] | None = None
    labels: frozenset[tuple[str, str]] = frozenset()


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class SnapshotPage:
    """Current deployments, each a serialised ``deployment_service.v1.Deployment``."""

    deployments: Sequence[bytes]
    next: str = ""
    """The value of ``after`` for the next page; empty on the last page."""


class SnapshotReader(Protocol):
    """Reads of current deployments."""

    async def page(self, tenant: TenantRef, selection: Selection, after: str) -> SnapshotPage:
        """Return an ordered page of the selected deployments. ``after`` is "" for the first page.

        Each call is an independent read that holds no resources afterwards, because a slow client may wait minutes
        between two pages.
        """


class EventSerializer(Protocol):
    def __call__(self, tenant_slug: str, event: Event) -> bytes:
        """Return a serialised ``deployment_service.v1.DeploymentEvent``."""
