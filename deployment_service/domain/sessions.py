"""Sessions of a Jenkins (`X-Jenkins-Session`): whether it was restarted, or several replicas answer. Pure.

Each start of a Jenkins has a new session. Behind the address of a highly available controller several replicas
answer by turns, each with its own. So a new session alone is no restart: the old ones must be absent for a while.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

ABSENT = timedelta(seconds=60)
"""For how long the old sessions must not have been seen before a new one counts as a restart."""
_KEPT = 8


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """When a session was first and last in an answer, by the database's clock."""

    session: str
    first: datetime
    last: datetime


def note_sessions(
    known: Sequence[SessionSeen], shown: Collection[str | None], now: datetime
) -> tuple[SessionSeen, ...]:
    """Return what is known after a cycle in which these sessions answered, oldest first, the latest few."""
    by_name = {seen.session: seen for seen in known}
    for session in filter(None, shown):
        first = by_name[session].first if session in by_name else now
        by_name[session] = SessionSeen(session, first, now)
    latest = sorted(by_name.values(), key=lambda seen: seen.last)[-_KEPT:]
    return tuple(sorted(latest, key=lambda seen: seen.first))


def restart_time(known: Sequence[SessionSeen], now: datetime) -> datetime | None:
    """Return when the session that answers now was first seen, if it replaced all others; None if none did."""
    if len(known) < 2:
        return None
    newest = max(known, key=lambda seen: seen.first)
    others = (seen for seen in known if seen is not newest)
    return newest.first if all(seen.last < now - ABSENT for seen in others) else None


def alternate(known: Sequence[SessionSeen]) -> bool:
    """Return whether two sessions answered over the same time: several replicas share the address."""
    return any(
        max(a.first, b.first) < min(a.last, b.last) for a, b in itertools.combinations(known, 2)
    )
