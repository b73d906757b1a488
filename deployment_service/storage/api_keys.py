"""API keys. Only hashes of their secrets are stored."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from deployment_service.domain.access import Caller, Role, TenantRef
from deployment_service.storage.database.pool import Connection


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A row of ``api_keys`` without the hash. ``tenant`` is None for a key of all tenants."""

    key_id: uuid.UUID
    role: Role
    tenant: TenantRef | None
    display_name: str
    create_time: datetime
    revoke_time: datetime | None


_INSERT = """
    INSERT INTO api_keys (tenant_id, secret_sha256, role, display_name) VALUES ($1, $2, $3, $4) RETURNING key_id
"""
_SELECT = """
    SELECT k.key_id, k.role, k.display_name, k.create_time, k.revoke_time, k.tenant_id, t.slug
    FROM api_keys AS k LEFT JOIN tenants AS t USING (tenant_id)
"""
_VALID_BY_HASH = _SELECT + " WHERE k.secret_sha256 = $1 AND k.revoke_time IS NULL"
_BY_ID = _SELECT + " WHERE k.key_id = $1 AND ($2::uuid IS NULL OR k.tenant_id = $2)"
# Newest first. key_id makes the order total, in the direction of the index.
_FILTER = " WHERE ($1::uuid IS NULL OR k.tenant_id = $1)"
_ORDER = " ORDER BY k.create_time DESC, k.key_id LIMIT $2"
_FIRST_PAGE = _SELECT + _FILTER + _ORDER
_LATER_PAGE = (
    _SELECT
    + _FILTER
    + " AND k.create_time <= $3 AND (k.create_time < $3 OR k.key_id > $4)"
    + _ORDER
)
# A repeated revocation keeps the first time.
_REVOKE = """
    UPDATE api_keys SET revoke_time = coalesce(revoke_time, now())
    WHERE key_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)
"""
_VALID_OF = "SELECT key_id FROM api_keys WHERE key_id = ANY($1::uuid[]) AND revoke_time IS NULL"


async def insert(
    connection: Connection,
    *,
    tenant_id: uuid.UUID | None,
    secret_sha256: bytes,
    role: Role,
    display_name: str,
) -> uuid.UUID:
    """Insert a key; return its id."""
    key_id: uuid.UUID = await connection.fetchval(
        _INSERT, tenant_id, secret_sha256, role.value, display_name
    )
    return key_id


async def find_caller(connection: Connection, secret_sha256: bytes) -> Caller | None:
    """Return the caller whose key has this hash; None if no valid key has it."""
    row = await connection.fetchrow(_VALID_BY_HASH, secret_sha256)
    if row is None:
        return None
    key = _key(row)
    return Caller(key.key_id, key.role, key.tenant, key.display_name)


async def by_id(
    connection: Connection, key_id: uuid.UUID, *, of_tenant: uuid.UUID | None
) -> ApiKey | None:
    """Return a key, with ``of_tenant`` only a key of that tenant; None if there is none."""
    row = await connection.fetchrow(_BY_ID, key_id, of_tenant)
    return _key(row) if row is not None else None


async def page(
    connection: Connection,
    *,
    of_tenant: uuid.UUID | None,
    after: tuple[datetime, uuid.UUID] | None,
    limit: int,
) -> list[ApiKey]:
    """Return keys, newest first, with ``of_tenant`` only keys of that tenant."""
    if after is None:
        rows = await connection.fetch(_FIRST_PAGE, of_tenant, limit)
    else:
        rows = await connection.fetch(_LATER_PAGE, of_tenant, limit, *after)
    return [_key(row) for row in rows]


async def revoke(connection: Connection, key_id: uuid.UUID, *, of_tenant: uuid.UUID | None) -> None:
    """Revoke a key if it exists, with ``of_tenant`` only a key of that tenant."""
    await connection.execute(_REVOKE, key_id, of_tenant)


async def valid_of(connection: Connection, key_ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """Return the keys that are still valid."""
    return {row["key_id"] for row in await connection.fetch(_VALID_OF, list(key_ids))}


def _key(row: asyncpg.Record) -> ApiKey:
    tenant_id = row["tenant_id"]
    return ApiKey(
        key_id=row["key_id"],
        role=Role(row["role"]),
        tenant=TenantRef(tenant_id, row["slug"]) if tenant_id is not None else None,
        display_name=row["display_name"],
        create_time=row["create_time"],
        revoke_time=row["revoke_time"],
    )
