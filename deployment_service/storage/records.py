"""Read rows as records, as many as fit into one answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import asyncpg

from deployment_service.storage.database.pool import Connection
from deployment_service.storage.pages import Chunk

Kind = TypeVar("Kind")

# A definition may have megabytes. A page ends before it exceeds the default limit of a gRPC client, 4 MiB.
MAX_CHUNK_BYTES = 3_500_000
# Size of a row on the wire beyond its texts: derived names and URLs, numbers, times.
_ROW_OVERHEAD_BYTES = 2_000
_ENTRY_OVERHEAD_BYTES = 10
_ROWS_AT_ONCE = 25


async def chunk(
    connection: Connection,
    to_record: Callable[[asyncpg.Record], Kind],
    limit: int,
    query: str,
    *arguments: object,
) -> Chunk[Kind]:
    """Return at most ``limit`` rows of a query, fewer if they are large, but at least one.

    The query must select one row more than ``limit``.
    """
    rows: list[Kind] = []
    room_bytes = MAX_CHUNK_BYTES
    async with connection.transaction():
        async for row in connection.cursor(query, *arguments, prefetch=_ROWS_AT_ONCE):
            room_bytes -= _ROW_OVERHEAD_BYTES + sum(map(_size_bytes, row.values()))
            if len(rows) == limit or (rows and room_bytes < 0):
                return Chunk(rows, more=True)
            rows.append(to_record(row))
    return Chunk(rows, more=False)


def _size_bytes(value: object) -> int:
    """Return the UTF-8 size of a text, or of a map or list of texts. The row's overhead covers other values."""
    match value:
        case str():
            return len(value.encode())
        case Mapping():
            inner = (_size_bytes(key) + _size_bytes(one) for key, one in value.items())
            return sum(inner) + _ENTRY_OVERHEAD_BYTES * len(value)
        case list():
            return sum(map(_size_bytes, value)) + _ENTRY_OVERHEAD_BYTES * len(value)
        case _:
            return 0
