"""Read events: heads and new events of many tenants, pages, and the epoch of the store.

``EventLog`` serves the tails of a replica (role worker). The functions at the end serve ``ListEvents`` on the
caller's own connection.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from deployment_service.domain.events import End, Event
from deployment_service.domain.lists import EventFilter
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.events.events import from_row
from deployment_service.storage.time_bounds import EVENT_SEQUENCES, keys_in

EPOCH_BYTES = 8

# The system identifier changes when a dump is loaded into another server, the timeline with a failover or a
# point-in-time recovery, the marker by the restore runbook. Managed servers may deny some functions; then the others
# must suffice. The timeline is that of the current WAL, not of the last checkpoint, which may lag minutes behind.
# On a standby these functions fail until it is promoted. That is intended: a standby may lag behind events that were
# already sent.
_SYSTEM = "(SELECT system_identifier::text FROM pg_control_system())"
_TIMELINE = "left(pg_walfile_name(pg_current_wal_lsn()), 8)"
_MARKER = "(SELECT marker::text FROM store_epoch)"
_EPOCH_SOURCES = (
    f"concat_ws('/', {_SYSTEM}, {_TIMELINE}, {_MARKER})",
    f"concat_ws('/', {_TIMELINE}, {_MARKER})",
    _MARKER,
)

# Each statement returns the epoch with the rows, because another statement may reach another server. The epoch is on
# the left of the join, so that it is returned even without rows.
_HEADS = """
    WITH store AS MATERIALIZED (SELECT {epoch} AS epoch)
    SELECT store.epoch, asked.tenant_id, coalesce(head.sequence, 0) AS sequence
    FROM store LEFT JOIN (
        unnest($1::uuid[]) AS asked (tenant_id)
        LEFT JOIN LATERAL (
            SELECT sequence FROM deployment_events WHERE tenant_id = asked.tenant_id ORDER BY sequence DESC LIMIT 1
        ) AS head ON true
    ) ON true
"""
_NEWS = """
    WITH store AS MATERIALIZED (SELECT {epoch} AS epoch)
    SELECT store.epoch, new.*
    FROM store LEFT JOIN (
        unnest($1::uuid[], $2::bigint[]) AS asked (tenant_id, after)
        CROSS JOIN LATERAL (
            SELECT * FROM deployment_events
            WHERE tenant_id = asked.tenant_id AND sequence > asked.after ORDER BY sequence LIMIT $3
        ) AS new
    ) ON true
    ORDER BY new.tenant_id, new.sequence
"""
_PAGE = """
    WITH store AS MATERIALIZED (SELECT {epoch} AS epoch)
    SELECT store.epoch, event.*
    FROM store LEFT JOIN (
        SELECT * FROM deployment_events WHERE tenant_id = $1 AND sequence > $2 AND sequence <= $3
    ) AS event ON true
    ORDER BY event.sequence
"""
# By name, as in a watch: the deployment with that name, or whether the last deployment with it was deleted.
_ENDS = """
    WITH store AS MATERIALIZED (SELECT {epoch} AS epoch)
    SELECT store.epoch, asked.tenant_id, asked.slug, coalesce(head.sequence, 0) AS sequence,
        run.end_time IS NOT NULL OR coalesce(gone.is_gone, false) AS over,
        coalesce(run.settle_time IS NOT NULL, false) OR coalesce(gone.is_gone, false) AS settled
    FROM store LEFT JOIN (
        unnest($1::uuid[], $2::text[]) AS asked (tenant_id, slug)
        LEFT JOIN LATERAL (
            SELECT sequence FROM deployment_events WHERE tenant_id = asked.tenant_id ORDER BY sequence DESC LIMIT 1
        ) AS head ON true
        LEFT JOIN deployments AS deployment
            ON deployment.tenant_id = asked.tenant_id AND deployment.resource_id = asked.slug
        LEFT JOIN deployment_runs AS run
            ON run.tenant_id = deployment.tenant_id AND run.run_id = deployment.current_run_id
        LEFT JOIN LATERAL (
            SELECT type = 'DEPLOYMENT_DELETED' AS is_gone FROM deployment_events
            WHERE tenant_id = asked.tenant_id AND deployment_slug = asked.slug ORDER BY sequence DESC LIMIT 1
        ) AS gone ON deployment.deployment_id IS NULL
    ) ON true
"""
_LIST = """
    SELECT * FROM deployment_events
    WHERE tenant_id = $1 AND sequence > $2 AND sequence < $3 AND create_time >= $5 AND create_time < $6
        AND ($7::text[] IS NULL OR type = ANY ($7)) AND ($8::text[] IS NULL OR source = ANY ($8)) AND {subject}
    ORDER BY {order} DESC LIMIT $4
"""
_LIST_ALL = _LIST.format(subject="true", order="sequence")
_LIST_ONE = _LIST.format(subject="deployment_slug = $9", order="sequence")
# Of a deleted deployment, by its UUID: another one may have its name. Its revisions rise like the sequence.
_LIST_DELETED = _LIST.format(subject="deployment_id = $9", order="revision")
_LIST_RUN = _LIST.format(subject="deployment_id = $9 AND run_number = $10", order="sequence")
_OLDEST = "SELECT sequence FROM deployment_events WHERE tenant_id = $1 ORDER BY sequence LIMIT 1"
_NOTIFY = "SELECT pg_notify($1, $2)"
_FUNCTION_DENIED = (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedFunctionError)


class EventLog:
    """Reads for the tails; implements the port ``watch.ports.EventLog``. Raises the exceptions of asyncpg."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._epoch_source: str | None = None

    async def heads(self, tenant_ids: Sequence[uuid.UUID]) -> tuple[bytes, dict[uuid.UUID, int]]:
        """Return the epoch and each tenant's last committed sequence, in one statement."""
        rows = await self._fetch(_HEADS, list(tenant_ids))
        heads = {row["tenant_id"]: row["sequence"] for row in rows if row["tenant_id"] is not None}
        return epoch_of(rows[0]["epoch"]), heads

    async def news(
        self, positions: Mapping[uuid.UUID, int], limit: int
    ) -> tuple[bytes, dict[uuid.UUID, list[Event]]]:
        """Return the epoch and up to ``limit`` events after each tenant's position, in one statement."""
        rows = await self._fetch(_NEWS, list(positions), list(positions.values()), limit)
        news: dict[uuid.UUID, list[Event]] = {}
        for row in rows:
            if row["tenant_id"] is not None:
                news.setdefault(row["tenant_id"], []).append(from_row(row))
        return epoch_of(rows[0]["epoch"]), news

    async def page(
        self, tenant_id: uuid.UUID, after: int, through: int
    ) -> tuple[bytes, list[Event]]:
        """Return the epoch and the remaining events in ``(after, through]``."""
        rows = await self._fetch(_PAGE, tenant_id, after, through)
        events = [from_row(row) for row in rows if row["sequence"] is not None]
        return epoch_of(rows[0]["epoch"]), events

    async def ends(
        self, names: Sequence[tuple[uuid.UUID, str]]
    ) -> tuple[bytes, dict[tuple[uuid.UUID, str], End]]:
        """Return the epoch and the end state of each deployment, by tenant and id, in one snapshot."""
        tenant_ids, slugs = [name[0] for name in names], [name[1] for name in names]
        rows = await self._fetch(_ENDS, tenant_ids, slugs)
        ends = {
            (row["tenant_id"], row["slug"]): End(row["sequence"], row["over"], row["settled"])
            for row in rows
            if row["tenant_id"] is not None
        }
        return epoch_of(rows[0]["epoch"]), ends

    async def notify(self, channel: str, payload: str) -> None:
        """Send a notification, in a transaction of its own."""
        async with self._database.acquire() as connection:
            await connection.execute(_NOTIFY, channel, payload)

    async def _fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._database.acquire() as connection:
            if self._epoch_source is None:
                self._epoch_source = await usable_epoch_source(connection)
            return await connection.fetch(statement.format(epoch=self._epoch_source), *arguments)


async def usable_epoch_source(connection: Connection) -> str:
    """Return the best expression for the epoch that the server permits."""
    for source in _EPOCH_SOURCES[:-1]:
        try:
            await connection.fetchval(f"SELECT {source}")
        except _FUNCTION_DENIED:
            continue
        return source
    return _EPOCH_SOURCES[-1]


def epoch_of(source: str) -> bytes:
    """Return the epoch of tokens: a hash of the values that identify the history of the store."""
    return hashlib.blake2b(source.encode(), digest_size=EPOCH_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a list of events: a tenant, a name, one deployment, or one run.

    A name selects the events of all deployments that ever had it; ``deployment_id`` distinguishes them.
    """

    slug: str | None = None
    deployment_id: uuid.UUID | None = None
    run_number: int | None = None

    @property
    def arguments(self) -> tuple[object, ...]:
        """Return the last arguments of ``query_of_list``."""
        given = (self.slug if self.deployment_id is None else self.deployment_id, self.run_number)
        return tuple(one for one in given if one is not None)


async def list_events(
    connection: Connection,
    tenant_id: uuid.UUID,
    *,
    after: int | None = None,
    limit: int,
    subject: Subject | None = None,
    wanted: EventFilter | None = None,
) -> list[Event]:
    """Return the remaining events after the sequence ``after``, in the order of ``wanted``."""
    subject, wanted = subject or Subject(), wanted or EventFilter()
    first, end = await keys_in(connection, EVENT_SEQUENCES, (tenant_id,), wanted.created)
    low, high = first - 1, end
    if after is not None:
        low, high = (low, min(high, after)) if wanted.newest_first else (max(low, after), high)
    rows = await connection.fetch(
        query_of_list(subject, wanted),
        tenant_id,
        low,
        high,
        limit,
        wanted.created.start,
        wanted.created.end,
        list(wanted.types) or None,
        list(wanted.sources) or None,
        *subject.arguments,
    )
    return [from_row(row) for row in rows]


def query_of_list(subject: Subject, wanted: EventFilter) -> str:
    """Return the statement that reads a page of events."""
    if subject.run_number is not None:
        query = _LIST_RUN
    elif subject.deployment_id is not None:
        query = _LIST_DELETED
    else:
        query = _LIST_ALL if subject.slug is None else _LIST_ONE
    return query if wanted.newest_first else query.replace(" DESC", "")


async def oldest_kept(connection: Connection, tenant_id: uuid.UUID) -> int:
    """Return the smallest remaining sequence; 0 if the tenant has no events.

    Trimming keeps each deployment's newest event, so later sequences may have gaps. A caller that must not miss
    events checks that sequences increase by one.
    """
    return int(await connection.fetchval(_OLDEST, tenant_id) or 0)
