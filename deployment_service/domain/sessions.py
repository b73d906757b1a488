"""Sessions of a Jenkins (`X-Jenkins-Session`): detect a restart, and several replicas behind one address. Pure.

Each start of Jenkins begins a new session. Several replicas of a highly available controller answer in turn, each
with its own session. So a new session alone is no restart: the old sessions must be absent for some time.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

ABSENT = timedelta(seconds=60)
"""How long all old sessions must be absent before a new session counts as a restart."""
_MAX_SESSIONS = 8


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """The first and last time of a session in an answer, by the database's clock."""

    session: str
    first: datetime
    last: datetime


def note_sessions(
    known: Sequence[SessionSeen], shown: Collection[str | None], now: datetime
) -> tuple[SessionSeen, ...]:
    """Return the updated sessions after a cycle, oldest first. Only the latest few are kept.

    ``shown``: the sessions in the answers of the cycle.
    """
    by_name = {one.session: one for one in known}
    for session in filter(None, shown):
        first = by_name[session].first if session in by_name else now
        by_name[session] = SessionSeen(session, first, now)
    latest = sorted(by_name.values(), key=lambda one: one.last)[-_MAX_SESSIONS:]
    return tuple(sorted(latest, key=lambda one: one.first))


def restart_time(known: Sequence[SessionSeen], now: datetime) -> datetime | None:
    """Return when the newest session first answered, if it replaced all others; None otherwise."""
    if len(known) < 2:
        return None
    newest = max(known, key=lambda one: one.first)
    others = (one for one in known if one is not newest)
    return newest.first if all(other.last < now - ABSENT for other in others) else None


def alternate(known: Sequence[SessionSeen]) -> bool:
    """Return whether two sessions overlap in time, which means that several replicas share the address."""
    return any(
        max(a.first, b.first) < min(a.last, b.last) for a, b in itertools.combinations(known, 2)
    )
