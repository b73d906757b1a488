"""Removing what is older than it must be kept, a small batch at a time.

Events and deliveries of one tenant lie in their primary keys in the order of time. So what is old is found by
walking each tenant's rows from the oldest on, until one is young: that takes no index by time, which every append
would pay for. (BRIN costs little, but rows that go leave room that later rows fill: soon each range holds all ages.)
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from deployment_service.storage.database.pool import Connection

# Any number nobody else uses. A lock on the rows would take the right to update events, which nobody has.
_LOCK = 7_301_225_104
_TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1)"

_TENANTS = "SELECT tenant_id FROM tenants WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2"

# A row that has been updated since it was looked at is elsewhere: it stays until the next round.
_TRIM = """
    WITH looked_at AS MATERIALIZED (
        SELECT one.*, one.create_time < now() - make_interval(secs => $4) AS is_old
        FROM unnest($1::uuid[], $2::bigint[]) AS asked (tenant_id, after)
        CROSS JOIN LATERAL (
            SELECT ctid AS place, {columns} FROM {table}
            WHERE tenant_id = asked.tenant_id AND {key} > asked.after ORDER BY {key} LIMIT $3
        ) AS one
    ), gone AS (
        DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT place FROM looked_at WHERE is_old AND {may_go}))
        RETURNING tenant_id
    )
    SELECT tenant_id, max({key}) AS last, count(*) = $3 AND bool_and(is_old) AS more,
        (SELECT count(*) FROM gone) AS gone
    FROM looked_at GROUP BY tenant_id
"""
# Each deployment's newest event stays, also a deleted one's: the fold of what is left is the present. The tenant's
# newest is always one of them; that the next sequence is numbered from it makes it worth another look.
_EVENTS = _TRIM.format(
    table="deployment_events",
    key="sequence",
    columns="tenant_id, sequence, deployment_id, revision, create_time",
    may_go="""
        EXISTS (SELECT FROM deployment_events AS newer WHERE newer.tenant_id = looked_at.tenant_id
            AND newer.deployment_id = looked_at.deployment_id AND newer.revision > looked_at.revision)
        AND sequence < (SELECT max(head.sequence) FROM deployment_events AS head
            WHERE head.tenant_id = looked_at.tenant_id)
    """,
)
# Reports that wait for attribution stay for a day: by then reads of Jenkins have shown their builds.
_DELIVERIES = _TRIM.format(
    table="webhook_deliveries",
    key="delivery_id",
    columns="tenant_id, delivery_id, verdict, create_time",
    may_go="(verdict <> 'PENDING_ATTRIBUTION' OR create_time < now() - interval '1 day')",
)
_REQUEST_IDS = """
    DELETE FROM request_ids WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM request_ids WHERE create_time < now() - interval '24 hours' ORDER BY create_time LIMIT $1))
"""
# A gateway that was away for longer reads everything anew.
_VERIFIERS = """
    DELETE FROM webhook_verifiers WHERE (tenant_id, job_id) IN (
        SELECT tenant_id, job_id FROM webhook_verifiers WHERE gone AND update_time < now() - interval '7 days'
        ORDER BY update_time LIMIT $1) AND gone
"""
# A deployment takes its runs along: few in one transaction, as each may have thousands.
_MOST_DEPLOYMENTS = 10
_PURGE = """
    DELETE FROM deployments WHERE (tenant_id, deployment_id) IN (
        SELECT tenant_id, deployment_id FROM deployments WHERE purge_time < now() ORDER BY purge_time LIMIT $1)
"""


class Retained(Enum):
    """What is walked, tenant by tenant."""

    EVENTS = _EVENTS
    DELIVERIES = _DELIVERIES


@dataclass(frozen=True, slots=True)
class Trimmed:
    """``positions``: where to go on, for the tenants of which more is old."""

    rows: int
    positions: dict[uuid.UUID, int]


async def tenants_after(connection: Connection, after: uuid.UUID, limit: int) -> list[uuid.UUID]:
    """The next tenants, in an order that doesn't change."""
    rows = await connection.fetch(_TENANTS, after, limit)
    return [row["tenant_id"] for row in rows]


async def is_mine(connection: Connection) -> bool:
    """Whether nobody else is removing anything right now: then nobody will until this transaction ends."""
    return bool(await connection.fetchval(_TRY_LOCK, _LOCK))


async def trim(
    connection: Connection,
    kept: Retained,
    positions: Mapping[uuid.UUID, int],
    *,
    older_than_s: float,
    each: int,
) -> Trimmed:
    """Look at the next rows of each tenant, at most ``each``, and remove those that may go."""
    rows = await connection.fetch(
        kept.value, list(positions), list(positions.values()), each, older_than_s
    )
    more = {row["tenant_id"]: row["last"] for row in rows if row["more"]}
    return Trimmed(rows[0]["gone"] if rows else 0, more)


async def forget_request_ids(connection: Connection, limit: int) -> int:
    """Remove ids that were used more than a day ago; how many there were, at most ``limit``."""
    status = await connection.execute(_REQUEST_IDS, limit)
    return int(status.rpartition(" ")[2])


async def forget_verifiers(connection: Connection, limit: int) -> int:
    """Remove the traces of jobs that went a week ago; return how many there were, at most ``limit``."""
    status = await connection.execute(_VERIFIERS, limit)
    return int(status.rpartition(" ")[2])


async def purge_deployments(connection: Connection, limit: int) -> int:
    """Remove deleted deployments whose purge time is over, with their runs; how many there were."""
    status = await connection.execute(_PURGE, min(limit, _MOST_DEPLOYMENTS))
    return int(status.rpartition(" ")[2])
