"""Leases of controllers, each for one read cycle.

A controller is a provider of a tenant. Data that was read with its credential is never written to another controller.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from deployment_service.domain.sessions import SessionSeen, alternate
from deployment_service.storage.database.pool import Connection

_ENROL = """
    INSERT INTO cicd_controllers (tenant_id, provider_id)
    SELECT tenant_id, provider_id FROM cicd_providers AS p
    WHERE NOT EXISTS (
        SELECT FROM cicd_controllers AS c WHERE c.tenant_id = p.tenant_id AND c.provider_id = p.provider_id)
    ON CONFLICT DO NOTHING
"""
# A refresh request makes a controller due at once, but at most twice a second: a caller with an exposed token could
# send requests without end.
CLAIM = """
    WITH busy AS (
        SELECT tenant_id, count(*) AS leases FROM cicd_controllers WHERE lease_until >= now() GROUP BY tenant_id
    ), ranked AS (
        -- Fair between tenants: each tenant's first controller comes before any second one, leased ones included.
        SELECT k.tenant_id, k.provider_id, k.next_cycle_time, coalesce(b.leases, 0)
            + row_number() OVER (PARTITION BY k.tenant_id ORDER BY k.next_cycle_time) AS place
        FROM cicd_controllers AS k LEFT JOIN busy AS b ON b.tenant_id = k.tenant_id
        WHERE (k.lease_until IS NULL OR k.lease_until < now())
            AND (k.next_cycle_time <= now() OR k.next_poked_cycle_time <= now()
                AND (k.tenant_id, k.provider_id) IN (
                    SELECT j.tenant_id, j.provider_id FROM cicd_jobs AS j WHERE j.refresh_request_time IS NOT NULL))
    ), due AS (
        SELECT k.tenant_id, k.provider_id
        FROM ranked AS r JOIN cicd_controllers AS k ON k.tenant_id = r.tenant_id AND k.provider_id = r.provider_id
        WHERE r.place <= $4 AND (k.lease_until IS NULL OR k.lease_until < now())
        ORDER BY r.place, r.next_cycle_time LIMIT $3 FOR UPDATE OF k SKIP LOCKED
    )
    UPDATE cicd_controllers AS c SET lease_owner = $1, lease_until = now() + $2::interval, base_url = p.base_url,
        -- A Jenkins at another address has other sessions: that is no restart.
        sessions = CASE WHEN c.base_url = p.base_url THEN c.sessions ELSE '[]' END,
        sessions_alternate = c.sessions_alternate AND c.base_url = p.base_url
    FROM due JOIN cicd_providers AS p ON p.tenant_id = due.tenant_id AND p.provider_id = due.provider_id
    WHERE c.tenant_id = due.tenant_id AND c.provider_id = due.provider_id
    RETURNING c.tenant_id, c.provider_id, c.sessions, now()
"""
_RENEW = """
    UPDATE cicd_controllers SET lease_until = now() + $4::interval
    WHERE tenant_id = $1 AND provider_id = $2 AND lease_owner = $3
"""
_GIVE_BACK_ALL = (
    "UPDATE cicd_controllers SET lease_owner = NULL, lease_until = NULL WHERE lease_owner = $1"
)
_END_CYCLE = """
    UPDATE cicd_controllers SET lease_owner = NULL, lease_until = NULL, next_cycle_time = now() + $4::interval,
        next_poked_cycle_time = now() + interval '0.5 s', sessions = $5, sessions_alternate = $6
    WHERE tenant_id = $1 AND provider_id = $2 AND lease_owner = $3
"""


@dataclass(frozen=True, slots=True)
class ControllerLease:
    """A controller that this replica has leased. ``now``: time of the claim, by the database's clock."""

    tenant_id: uuid.UUID
    provider_id: uuid.UUID
    sessions: tuple[SessionSeen, ...]
    now: datetime

    @property
    def key(self) -> tuple[uuid.UUID, uuid.UUID]:
        """Return the tenant and provider."""
        return self.tenant_id, self.provider_id


async def claim_controllers(
    connection: Connection, owner: uuid.UUID, *, lease_s: float, limit: int, per_tenant: int
) -> list[ControllerLease]:
    """Claim controllers whose cycle is due. ``per_tenant``: maximum number of leases of one tenant."""
    # A provider was deleted concurrently. The next call inserts the others.
    with contextlib.suppress(asyncpg.ForeignKeyViolationError):
        await connection.execute(_ENROL)
    rows = await connection.fetch(CLAIM, owner, timedelta(seconds=lease_s), limit, per_tenant)
    return [
        ControllerLease(
            row["tenant_id"],
            row["provider_id"],
            tuple(map(_session, row["sessions"])),
            row["now"],
        )
        for row in rows
    ]


async def renew(
    connection: Connection, lease: ControllerLease, owner: uuid.UUID, *, lease_s: float
) -> None:
    """Extend a lease during its cycle."""
    await connection.execute(_RENEW, *lease.key, owner, timedelta(seconds=lease_s))


async def give_back_all(connection: Connection, owner: uuid.UUID) -> None:
    """Release all leases of ``owner``, so that other replicas need not wait until they expire."""
    await connection.execute(_GIVE_BACK_ALL, owner)


async def end_cycle(
    connection: Connection,
    lease: ControllerLease,
    owner: uuid.UUID,
    *,
    next_in_s: float,
    sessions: Sequence[SessionSeen],
) -> None:
    """Release the lease until the next cycle. ``sessions``: the sessions after this cycle."""
    shown = [
        {"session": s.session, "first": s.first.isoformat(), "last": s.last.isoformat()}
        for s in sessions
    ]
    interval = timedelta(seconds=next_in_s)
    await connection.execute(_END_CYCLE, *lease.key, owner, interval, shown, alternate(sessions))


def _session(row: dict[str, str]) -> SessionSeen:
    times = (datetime.fromisoformat(row[name]) for name in ("first", "last"))
    return SessionSeen(row["session"], *times)
