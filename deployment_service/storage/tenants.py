"""Tenants and their webhook keys."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime

import asyncpg

from deployment_service.storage.database.pool import Connection


@dataclass(frozen=True, slots=True)
class Tenant:
    """A row of ``tenants``. ``version`` rises with each change."""

    tenant_id: uuid.UUID
    slug: str
    display_name: str
    version: int
    create_time: datetime
    update_time: datetime


_INSERT = """
    INSERT INTO tenants (slug, display_name) VALUES ($1, $2)
    ON CONFLICT (slug) DO NOTHING
    RETURNING *
"""
_BY_ID = "SELECT * FROM tenants WHERE tenant_id = $1"
_BY_SLUG = "SELECT * FROM tenants WHERE slug = $1"
_IDS_BY_SLUG = "SELECT slug, tenant_id FROM tenants WHERE slug = ANY($1::text[])"
_PAGE = "SELECT * FROM tenants WHERE slug > $1 ORDER BY slug LIMIT $2"
_LOCK = "SELECT FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE"
# Deleting waits for whoever refers to the row; nothing can start to refer to it meanwhile.
_LOCK_WHOLLY = "SELECT FROM tenants WHERE tenant_id = $1 FOR UPDATE"
_UPDATE = """
    UPDATE tenants SET display_name = $2, version = version + 1, update_time = now()
    WHERE tenant_id = $1
"""
_IS_USED = """
    SELECT EXISTS (SELECT FROM deployments WHERE tenant_id = $1 AND delete_time IS NULL)
        OR EXISTS (SELECT FROM cicd_providers WHERE tenant_id = $1)
        OR EXISTS (SELECT FROM cicd_jobs WHERE tenant_id = $1)
"""
# What belongs to a tenant without deployments and providers: its history, keys and remembered requests.
_DELETE_BELONGINGS = (
    "DELETE FROM deployments WHERE tenant_id = $1",
    "DELETE FROM deployment_events WHERE tenant_id = $1",
    "DELETE FROM webhook_deliveries WHERE tenant_id = $1",
    "DELETE FROM request_ids WHERE tenant_id = $1",
    "DELETE FROM api_keys WHERE tenant_id = $1",
    "DELETE FROM webhook_keys WHERE tenant_id = $1",
    "DELETE FROM tenants WHERE tenant_id = $1",
)
_WEBHOOK_KEYS = """
    SELECT key_id, secret_encrypted FROM webhook_keys
    WHERE tenant_id = $1 AND (retire_time IS NULL OR retire_time > now())
    ORDER BY create_time DESC, key_id DESC
"""
_ADD_WEBHOOK_KEY = (
    "INSERT INTO webhook_keys (tenant_id, key_id, secret_encrypted) VALUES ($1, $2, $3)"
)


async def insert(connection: Connection, slug: str, display_name: str) -> Tenant | None:
    """Add a tenant; None if there is one of that name."""
    row = await connection.fetchrow(_INSERT, slug, display_name)
    return _tenant(row) if row is not None else None


async def by_id(connection: Connection, tenant_id: uuid.UUID) -> Tenant | None:
    row = await connection.fetchrow(_BY_ID, tenant_id)
    return _tenant(row) if row is not None else None


async def by_slug(connection: Connection, slug: str) -> Tenant | None:
    row = await connection.fetchrow(_BY_SLUG, slug)
    return _tenant(row) if row is not None else None


async def ids_by_slug(connection: Connection, slugs: Iterable[str]) -> dict[str, uuid.UUID]:
    """The ids of those of the tenants that exist."""
    rows = await connection.fetch(_IDS_BY_SLUG, list(slugs))
    return {row["slug"]: row["tenant_id"] for row in rows}


async def page(connection: Connection, *, after_slug: str, limit: int) -> list[Tenant]:
    """Tenants by slug, those after ``after_slug``."""
    return [_tenant(row) for row in await connection.fetch(_PAGE, after_slug, limit)]


async def lock(connection: Connection, tenant_id: uuid.UUID, *, to_delete: bool = False) -> None:
    """Hold the tenant until the commit. Read what the decision needs in a later statement."""
    await connection.execute(_LOCK_WHOLLY if to_delete else _LOCK, tenant_id)


async def update(connection: Connection, tenant_id: uuid.UUID, display_name: str) -> None:
    """Change a tenant that is locked."""
    await connection.execute(_UPDATE, tenant_id, display_name)


async def is_used(connection: Connection, tenant_id: uuid.UUID) -> bool:
    """Whether it has deployments, providers or jobs (one may still have to be deleted in Jenkins)."""
    return bool(await connection.fetchval(_IS_USED, tenant_id))


async def delete(connection: Connection, tenant_id: uuid.UUID) -> None:
    """Delete a tenant that is locked and not used, with its history and keys."""
    for statement in _DELETE_BELONGINGS:
        await connection.execute(statement, tenant_id)


async def webhook_keys(connection: Connection, tenant_id: uuid.UUID) -> list[tuple[str, bytes]]:
    """Ids and encrypted secrets of the keys that are valid now, newest first."""
    rows = await connection.fetch(_WEBHOOK_KEYS, tenant_id)
    return [(row["key_id"], row["secret_encrypted"]) for row in rows]


async def add_webhook_key(
    connection: Connection, tenant_id: uuid.UUID, key_id: str, encrypted: bytes
) -> None:
    await connection.execute(_ADD_WEBHOOK_KEY, tenant_id, key_id, encrypted)


_FIELDS = tuple(field.name for field in fields(Tenant))


def _tenant(row: asyncpg.Record) -> Tenant:
    return Tenant(**{name: row[name] for name in _FIELDS})
