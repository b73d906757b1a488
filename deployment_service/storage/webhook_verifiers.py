"""Changes of webhook verifiers, in an order in which no change can be missed.

Each row has the id of the transaction that changed it. Transactions do not commit in the order of their ids. So a walk
stores the oldest transaction that was open when it began (``floor``), and the next walk begins there. Later changes
may be returned twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass

from deployment_service.storage.database.pool import Connection
from deployment_service.storage.events.event_log import usable_epoch_source

# Two statements, so that each can use its own index. Within one tenant the tenant of a position is irrelevant.
CHANGES_OF_ALL = """
    SELECT tenant_id, job_id, tenant_slug, changed, gone FROM webhook_verifiers
    WHERE (changed, tenant_id, job_id) > ($1::bigint, $2::uuid, $3::uuid)
    ORDER BY changed, tenant_id, job_id LIMIT $4
"""
CHANGES_OF_TENANT = """
    SELECT tenant_id, job_id, tenant_slug, changed, gone FROM webhook_verifiers
    WHERE tenant_id = $2 AND (changed, job_id) > ($1::bigint, $3::uuid)
    ORDER BY changed, job_id LIMIT $4
"""
# The epoch and the floor are on the left of the join, so that they are returned even without rows. They are in the same
# statement as the rows, because another statement may reach another server.
_PAGE = """
    WITH store AS MATERIALIZED (
        SELECT {epoch} AS epoch, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS floor)
    SELECT store.epoch, store.floor, v.*, j.signing_since IS NOT NULL AS signs
    FROM store LEFT JOIN ({changes}) AS v ON true
    LEFT JOIN cicd_jobs AS j ON j.tenant_id = v.tenant_id AND j.job_id = v.job_id
    ORDER BY v.changed, v.tenant_id, v.job_id
"""
_KEYS = """
    SELECT tenant_id, key_id, secret_encrypted FROM webhook_keys
    WHERE tenant_id = ANY($1) AND (retire_time IS NULL OR retire_time > now())
    ORDER BY tenant_id, create_time DESC, key_id DESC
"""

_NO_ID = uuid.UUID(int=0)


@dataclass(frozen=True, slots=True)
class Position:
    """The row after which a page begins."""

    changed: int = 0
    tenant_id: uuid.UUID = _NO_ID
    job_id: uuid.UUID = _NO_ID


@dataclass(frozen=True, slots=True)
class ChangedJob:
    """A job whose verifiers changed. ``signs``: a caller has read its signing secret."""

    position: Position
    tenant_slug: str
    gone: bool
    signs: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of changes. ``epoch``: of the store. ``floor``: where the next walk begins."""

    epoch: str
    floor: int
    jobs: list[ChangedJob]


async def page(
    connection: Connection, tenant_id: uuid.UUID | None, after: Position, limit: int
) -> Changes:
    """Return the next changes after a position, of one tenant, or of all (None)."""
    changes = CHANGES_OF_ALL if tenant_id is None else CHANGES_OF_TENANT
    source = await usable_epoch_source(connection)
    rows = await connection.fetch(
        _PAGE.format(epoch=source, changes=changes),
        after.changed,
        tenant_id or after.tenant_id,
        after.job_id,
        limit,
    )
    jobs = [
        ChangedJob(
            Position(row["changed"], row["tenant_id"], row["job_id"]),
            row["tenant_slug"],
            row["gone"] or False,
            row["signs"],
        )
        for row in rows
        if row["changed"] is not None
    ]
    return Changes(rows[0]["epoch"], rows[0]["floor"], jobs)


async def keys_of(
    connection: Connection, tenant_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, list[tuple[str, bytes]]]:
    """Return the ids and encrypted secrets of the tenants' valid keys, newest first.

    Call it after ``page``: a key that is added between the two calls is in the result, and its change comes later.
    """
    found: dict[uuid.UUID, list[tuple[str, bytes]]] = {}
    for row in await connection.fetch(_KEYS, list(tenant_ids)):
        found.setdefault(row["tenant_id"], []).append((row["key_id"], row["secret_encrypted"]))
    return found
