"""Remove old rows, in small batches.

The primary keys of events and deliveries are in the order of time within a tenant. So each tenant is walked from its
oldest row until a row is young. That needs no index by time, which would slow down every append. (A BRIN index is
cheap, but new rows fill the space of removed rows: soon each of its ranges would contain all ages.)
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from deployment_service.storage.database.pool import Connection

# The key of the advisory lock, unique in the database. Row locks on events need UPDATE, which no role has.
_LOCK = 7_301_225_104
_TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1)"

_TENANTS = "SELECT tenant_id FROM tenants WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2"

# A row that is updated concurrently has another ctid: it stays until the next round.
_TRIM = """
    WITH oldest AS MATERIALIZED (
        SELECT one.*, one.create_time < now() - make_interval(secs => $4) AS is_old
        FROM unnest($1::uuid[], $2::bigint[]) AS asked (tenant_id, after)
        CROSS JOIN LATERAL (
            SELECT ctid AS place, {columns} FROM {table}
            WHERE tenant_id = asked.tenant_id AND {key} > asked.after ORDER BY {key} LIMIT $3
        ) AS one
    ), removed AS (
        DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT place FROM oldest WHERE is_old AND {removable}))
        RETURNING tenant_id
    )
    SELECT tenant_id, max({key}) AS last, count(*) = $3 AND bool_and(is_old) AS more,
        (SELECT count(*) FROM removed) AS removed
    FROM oldest GROUP BY tenant_id
"""
# The newest event of each deployment stays, also of a deleted one, so the fold of the remaining events is the current
# state. The tenant's newest event stays in any case, because the next sequence is computed from it.
_EVENTS = _TRIM.format(
    table="deployment_events",
    key="sequence",
    columns="tenant_id, sequence, deployment_id, revision, create_time",
    removable="""
        EXISTS (SELECT FROM deployment_events AS newer WHERE newer.tenant_id = oldest.tenant_id
            AND newer.deployment_id = oldest.deployment_id AND newer.revision > oldest.revision)
        AND sequence < (SELECT max(head.sequence) FROM deployment_events AS head
            WHERE head.tenant_id = oldest.tenant_id)
    """,
)
# Pending reports stay for a day: by then reads of Jenkins have shown their builds.
_DELIVERIES = _TRIM.format(
    table="webhook_deliveries",
    key="delivery_id",
    columns="tenant_id, delivery_id, verdict, create_time",
    removable="(verdict <> 'PENDING_ATTRIBUTION' OR create_time < now() - interval '1 day')",
)
_REQUEST_IDS = """
    DELETE FROM request_ids WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM request_ids WHERE create_time < now() - interval '24 hours' ORDER BY create_time LIMIT $1))
"""
# A gateway that was offline for longer reads everything again.
_VERIFIERS = """
    DELETE FROM webhook_verifiers WHERE (tenant_id, job_id) IN (
        SELECT tenant_id, job_id FROM webhook_verifiers WHERE gone AND update_time < now() - interval '7 days'
        ORDER BY update_time LIMIT $1) AND gone
"""
# The runs of a deployment are deleted with it, and may be thousands: so only few deployments in one transaction.
_MOST_DEPLOYMENTS = 10
_PURGE = """
    DELETE FROM deployments WHERE (tenant_id, deployment_id) IN (
        SELECT tenant_id, deployment_id FROM deployments WHERE purge_time < now() ORDER BY purge_time LIMIT $1)
"""


class Retained(Enum):
    """The tables that are walked, tenant by tenant."""

    EVENTS = _EVENTS
    DELIVERIES = _DELIVERIES


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The result of ``trim``. ``positions``: where to continue, for tenants that may have more old rows."""

    rows: int
    positions: dict[uuid.UUID, int]


async def tenants_after(connection: Connection, after: uuid.UUID, limit: int) -> list[uuid.UUID]:
    """Return the next tenants, in a stable order."""
    rows = await connection.fetch(_TENANTS, after, limit)
    return [row["tenant_id"] for row in rows]


async def is_mine(connection: Connection) -> bool:
    """Try to get the advisory lock of retention until the end of the transaction; return whether it succeeded."""
    return bool(await connection.fetchval(_TRY_LOCK, _LOCK))


async def trim(
    connection: Connection,
    table: Retained,
    positions: Mapping[uuid.UUID, int],
    *,
    older_than_s: float,
    each: int,
) -> Trimmed:
    """Remove the old rows among the next ``each`` rows of each tenant."""
    rows = await connection.fetch(
        table.value, list(positions), list(positions.values()), each, older_than_s
    )
    more = {row["tenant_id"]: row["last"] for row in rows if row["more"]}
    return Trimmed(rows[0]["removed"] if rows else 0, more)


async def forget_request_ids(connection: Connection, limit: int) -> int:
    """Remove at most ``limit`` request ids that are older than a day; return how many were removed."""
    status = await connection.execute(_REQUEST_IDS, limit)
    return int(status.rpartition(" ")[2])


async def forget_verifiers(connection: Connection, limit: int) -> int:
    """Remove at most ``limit`` rows of jobs that were deleted a week ago; return how many were removed."""
    status = await connection.execute(_VERIFIERS, limit)
    return int(status.rpartition(" ")[2])


async def purge_deployments(connection: Connection, limit: int) -> int:
    """Remove deleted deployments after their purge time, with their runs; return how many were removed."""
    status = await connection.execute(_PURGE, min(limit, _MOST_DEPLOYMENTS))
    return int(status.rpartition(" ")[2])
