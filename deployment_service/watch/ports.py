"""What watching needs from the rest of the service; ``server.py`` hands it in."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from deployment_service.domain.access import TenantRef
from deployment_service.domain.events import End, Event


class EventLog(Protocol):
    """Reads of committed events. Implemented by ``storage.events.event_log.EventLog``.

    Each answer comes with the epoch of the store that gave it, read in the same statement: after a failover the
    next connection may lead to another history. Any exception means that the store can't be read now.
    """

    async def heads(self, tenant_ids: Sequence[uuid.UUID]) -> tuple[bytes, dict[uuid.UUID, int]]:
        """The epoch and each tenant's last committed sequence, 0 if it has none."""

    async def news(
        self, positions: Mapping[uuid.UUID, int], limit: int
    ) -> tuple[bytes, dict[uuid.UUID, list[Event]]]:
        """The epoch and the events after each tenant's position, oldest first, at most ``limit`` of each tenant."""

    async def page(
        self, tenant_id: uuid.UUID, after: int, through: int
    ) -> tuple[bytes, list[Event]]:
        """The epoch and what is kept of the events in ``(after, through]``, oldest first."""

    async def ends(
        self, names: Sequence[tuple[uuid.UUID, str]]
    ) -> tuple[bytes, dict[tuple[uuid.UUID, str], End]]:
        """The epoch and how far each deployment, by tenant and id, has come; all of it at one moment."""

    async def notify(self, channel: str, payload: str) -> None:
        """Send a notification, outside of any business transaction."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which deployments: those with these ids (None: any) that have all of these labels."""

    slugs: frozenset[str] | None = None
    labels: frozenset[tuple[str, str]] = frozenset()


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class SnapshotPage:
    """Deployments as they are now, each a serialised ``deployment_service.v1.Deployment``."""

    deployments: Sequence[bytes]
    next: str = ""
    """Where the next page begins, to be handed back as ``after``; empty: this is the last."""


class SnapshotReader(Protocol):
    """Reads of the present."""

    async def page(self, tenant: TenantRef, selection: Selection, after: str) -> SnapshotPage:
        """A page of the deployments that are selected, ordered; ``after`` is "" at first.

        Each call reads the present by itself and holds nothing afterwards: between two calls a slow client may
        let minutes pass.
        """


class EventSerializer(Protocol):
    def __call__(self, tenant_slug: str, event: Event) -> bytes:
        """A serialised ``deployment_service.v1.DeploymentEvent``."""
