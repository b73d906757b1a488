"""Convert a range of times to a range of keys, for rows that are numbered in the order of their creation.

Run numbers and event sequences increase with ``create_time``, because both are assigned under a lock. A binary search
over the primary key needs about 40 probes. An index on the time would slow down each write.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from deployment_service.domain.lists import ALWAYS, NEVER, TimeRange
from deployment_service.storage.database.pool import Connection

# How much earlier the time of a row may be than that of the row before: its transaction waited for the lock, or the
# clock was set back. The exact filter on the time comes after this search.
_MARGIN = timedelta(minutes=5)

_FIRST_AT = """
    WITH RECURSIVE search AS (
        SELECT 0::bigint AS low, (SELECT coalesce(max({key}), 0) + 1 FROM {table} WHERE {scope})::bigint AS high
        UNION ALL
        SELECT CASE WHEN probe.create_time < $1 THEN probe.key + 1 ELSE low END,
            CASE WHEN probe.create_time < $1 THEN high ELSE (low + high) / 2 END
        FROM search CROSS JOIN LATERAL (
            SELECT {key}::bigint AS key, create_time FROM {table}
            WHERE {scope} AND {key} >= (low + high) / 2 ORDER BY {key} LIMIT 1
        ) AS probe
        WHERE low < high
    )
    SELECT max(low) FROM search
"""


@dataclass(frozen=True, slots=True)
class Numbering:
    """A table with increasing keys. ``first_at``: the statement that finds the first key at or after a time."""

    first_at: str
    end: int


def _numbering(table: str, key: str, scope: str, end: int) -> Numbering:
    return Numbering(_FIRST_AT.format(table=table, key=key, scope=scope), end)


RUN_NUMBERS = _numbering(
    "deployment_runs", "number", "tenant_id = $2 AND deployment_id = $3", 2**31 - 1
)
EVENT_SEQUENCES = _numbering("deployment_events", "sequence", "tenant_id = $2", 2**63 - 1)


async def keys_in(
    connection: Connection, numbering: Numbering, scope: tuple[object, ...], times: TimeRange
) -> tuple[int, int]:
    """Return a range of keys (first, end) that contains all rows of these times. It may contain others too."""
    first, end = 0, numbering.end
    if times.start > ALWAYS + _MARGIN:
        first = await connection.fetchval(numbering.first_at, times.start - _MARGIN, *scope)
    if times.end < NEVER - _MARGIN:
        end = await connection.fetchval(numbering.first_at, times.end + _MARGIN, *scope)
    return first, end
