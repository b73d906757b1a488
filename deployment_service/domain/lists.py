"""Filters and orders of lists."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

ALWAYS = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)


class View(StrEnum):
    """The fields that an answer contains. BASIC omits scripts, parameters and webhook secrets."""

    BASIC = "BASIC"
    FULL = "FULL"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The times from ``start`` (inclusive) to ``end`` (exclusive)."""

    start: datetime = ALWAYS
    end: datetime = NEVER

    @property
    def scope(self) -> tuple[str, ...]:
        """Return a key that differs between filters, to bind page tokens to a filter."""
        return self.start.isoformat(), self.end.isoformat()


ANY_TIME = TimeRange()


class DeploymentOrder(StrEnum):
    """In which order deployments are listed."""

    NAME = "NAME"
    OLDEST_FIRST = "OLDEST_FIRST"
    NEWEST_FIRST = "NEWEST_FIRST"


@dataclass(frozen=True, slots=True)
class RunFilter:
    """A filter and order of runs. The default matches all runs, newest first."""

    statuses: Collection[str] = ()
    sources: Collection[str] = ()
    created: TimeRange = ANY_TIME
    show_deleted: bool = False
    newest_first: bool = True

    @property
    def scope(self) -> tuple[object, ...]:
        """Return a key that differs between filters and orders, to bind page tokens to them."""
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
    """A filter and order of events. The default matches all events, oldest first."""

    types: Collection[str] = ()
    sources: Collection[str] = ()
    created: TimeRange = ANY_TIME
    newest_first: bool = False

    @property
    def scope(self) -> tuple[object, ...]:
        """Return a key that differs between filters and orders, to bind page tokens to them."""
        return (
            *sorted(self.types),
            "sources",
            *sorted(self.sources),
            "created",
            *self.created.scope,
            self.newest_first,
        )
