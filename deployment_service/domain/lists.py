"""What lists can be asked for: which entries, in which order."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

ALWAYS = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)


class View(StrEnum):
    """How much of a deployment or run an answer holds. BASIC: no scripts, no parameters, no secrets of webhooks."""

    BASIC = "BASIC"
    FULL = "FULL"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The times from ``start`` on and before ``end``."""

    start: datetime = ALWAYS
    end: datetime = NEVER

    @property
    def scope(self) -> tuple[str, ...]:
        """Return a text that differs between filters."""
        return self.start.isoformat(), self.end.isoformat()


ANY_TIME = TimeRange()


class DeploymentOrder(StrEnum):
    """In which order deployments are listed."""

    NAME = "NAME"
    OLDEST_FIRST = "OLDEST_FIRST"
    NEWEST_FIRST = "NEWEST_FIRST"


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs, and in which order; an empty filter lets all pass, newest first."""

    statuses: Collection[str] = ()
    sources: Collection[str] = ()
    created: TimeRange = ANY_TIME
    show_deleted: bool = False
    newest_first: bool = True

    @property
    def scope(self) -> tuple[object, ...]:
        """Return a text that differs between filters and orders."""
        return (
            *sorted(self.statuses),
            "sources",
            *sorted(self.sources),
            "created",
            *self.created.scope,
            self.show_deleted,
            self.newest_first,
        )


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events, and in which order; an empty filter lets all pass, oldest first."""

    types: Collection[str] = ()
    sources: Collection[str] = ()
    created: TimeRange = ANY_TIME
    newest_first: bool = False

    @property
    def scope(self) -> tuple[object, ...]:
        """Return a text that differs between filters and orders."""
        return (
            *sorted(self.types),
            "sources",
            *sorted(self.sources),
            "created",
            *self.created.scope,
            self.newest_first,
        )
