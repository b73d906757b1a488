"""Find where a range of times lies among rows that are numbered in the order of their creation.

Run numbers and event sequences rise with ``create_time``, both are given under a lock. A binary search over the key
finds the numbers of a range of times with some 40 probes of the primary key, where an index on the time would cost
each write.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from deployment_service.domain.lists import ALWAYS, NEVER, TimeRange
from deployment_service.storage.database.pool import Connection

# What a time may lag behind that of the row before: a transaction that waited for the lock, a clock that was set
# back. The exact filter on the time comes after this search.
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
    """Rows with a rising number. ``first_at``: the statement that finds the first number at a time or later."""

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
    """Return a first number and an end such that all rows of these times are in between; it may hold others too."""
    first, end = 0, numbering.end
    if times.start > ALWAYS + _MARGIN:
        first = await connection.fetchval(numbering.first_at, times.start - _MARGIN, *scope)
    if times.end < NEVER - _MARGIN:
        end = await connection.fetchval(numbering.first_at, times.end + _MARGIN, *scope)
    return first, end
