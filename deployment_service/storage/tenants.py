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
    """A row of ``tenants``. Each change increments ``version``."""

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
_UPDATE = """
    UPDATE tenants SET display_name = $2, version = version + 1, update_time = now()
    WHERE tenant_id = $1
"""
_IS_USED = """
    SELECT EXISTS (SELECT FROM deployments WHERE tenant_id = $1 AND delete_time IS NULL)
        OR EXISTS (SELECT FROM cicd_providers WHERE tenant_id = $1)
        OR EXISTS (SELECT FROM cicd_jobs WHERE tenant_id = $1)
"""
# The remaining rows of a tenant without deployments and providers, in an order that the foreign keys allow.
_DELETE_ALL_ROWS = (
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
    """Insert a tenant; return None if the name is taken."""
    row = await connection.fetchrow(_INSERT, slug, display_name)
    return _tenant(row) if row is not None else None


async def by_id(connection: Connection, tenant_id: uuid.UUID) -> Tenant | None:
    row = await connection.fetchrow(_BY_ID, tenant_id)
    return _tenant(row) if row is not None else None


async def by_slug(connection: Connection, slug: str) -> Tenant | None:
    row = await connection.fetchrow(_BY_SLUG, slug)
    return _tenant(row) if row is not None else None


async def ids_by_slug(connection: Connection, slugs: Iterable[str]) -> dict[str, uuid.UUID]:
    """Return the ids of the existing tenants, by slug."""
    rows = await connection.fetch(_IDS_BY_SLUG, list(slugs))
    return {row["slug"]: row["tenant_id"] for row in rows}


async def page(connection: Connection, *, after_slug: str, limit: int) -> list[Tenant]:
    """Return at most ``limit`` tenants after ``after_slug``, by slug."""
    return [_tenant(row) for row in await connection.fetch(_PAGE, after_slug, limit)]


async def update(connection: Connection, tenant_id: uuid.UUID, display_name: str) -> None:
    """Update a locked tenant."""
    await connection.execute(_UPDATE, tenant_id, display_name)


async def is_used(connection: Connection, tenant_id: uuid.UUID) -> bool:
    """Return whether a tenant has deployments, providers or jobs. A job may still have to be deleted in Jenkins."""
    return bool(await connection.fetchval(_IS_USED, tenant_id))


async def delete(connection: Connection, tenant_id: uuid.UUID) -> None:
    """Delete a locked, unused tenant with its events and keys."""
    for statement in _DELETE_ALL_ROWS:
        await connection.execute(statement, tenant_id)


async def webhook_keys(connection: Connection, tenant_id: uuid.UUID) -> list[tuple[str, bytes]]:
    """Return the ids and encrypted secrets of the valid keys, newest first."""
    rows = await connection.fetch(_WEBHOOK_KEYS, tenant_id)
    return [(row["key_id"], row["secret_encrypted"]) for row in rows]


async def add_webhook_key(
    connection: Connection, tenant_id: uuid.UUID, key_id: str, encrypted: bytes
) -> None:
    await connection.execute(_ADD_WEBHOOK_KEY, tenant_id, key_id, encrypted)


_FIELDS = tuple(field.name for field in fields(Tenant))


def _tenant(row: asyncpg.Record) -> Tenant:
    return Tenant(**{name: row[name] for name in _FIELDS})
