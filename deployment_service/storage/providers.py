"""CICD providers: the address of a Jenkins and the account for it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, fields
from datetime import datetime

import asyncpg

from deployment_service.domain.problems import ObservationProblem
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.problems import problem_in


@dataclass(frozen=True, slots=True)
class ProviderFields:
    """The fields that operators set."""

    base_url: str
    display_name: str = ""
    username: str = ""
    api_token_encrypted: bytes | None = field(default=None, repr=False)
    reporting: str = "AUTO"
    webhook_base_url: str = ""
    ca_certificate_pem: str = field(default="", repr=False)
    job_folder: str = ""
    allowed_folders: tuple[str, ...] = ()
    allowed_job_kinds: tuple[str, ...] = ()
    private_console: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(ProviderFields):
    """A row of ``cicd_providers``. Each change increments ``version``."""

    tenant_id: uuid.UUID
    provider_id: uuid.UUID
    slug: str
    version: int
    create_time: datetime
    update_time: datetime
    problem: ObservationProblem | None = None


_SETTABLE = tuple(f.name for f in fields(ProviderFields))
_COLUMNS = tuple(f.name for f in fields(Provider) if f.name != "problem")

_INSERT = """
    INSERT INTO cicd_providers (tenant_id, slug, base_url, display_name, username, api_token_encrypted, reporting,
        webhook_base_url, ca_certificate_pem, job_folder, allowed_folders, allowed_job_kinds, private_console)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (tenant_id, slug) DO NOTHING
    RETURNING *
"""
_BY_ID = "SELECT * FROM cicd_providers WHERE tenant_id = $1 AND provider_id = $2"
_BY_SLUG = "SELECT * FROM cicd_providers WHERE tenant_id = $1 AND slug = $2"
_PAGE = "SELECT * FROM cicd_providers WHERE tenant_id = $1 AND slug > $2 ORDER BY slug LIMIT $3"
_UPDATE = """
    UPDATE cicd_providers SET base_url = $3, display_name = $4, username = $5, api_token_encrypted = $6,
        reporting = $7, webhook_base_url = $8, ca_certificate_pem = $9, job_folder = $10, allowed_folders = $11,
        allowed_job_kinds = $12, private_console = $13, version = version + 1, update_time = now()
    WHERE tenant_id = $1 AND provider_id = $2
"""
_IS_USED = """
    SELECT EXISTS (SELECT FROM deployments WHERE tenant_id = $1 AND provider_id = $2 AND delete_time IS NULL)
        OR EXISTS (SELECT FROM cicd_jobs WHERE tenant_id = $1 AND provider_id = $2)
"""
_DELETE = "DELETE FROM cicd_providers WHERE tenant_id = $1 AND provider_id = $2"


async def insert(
    connection: Connection, tenant_id: uuid.UUID, slug: str, new: ProviderFields
) -> Provider | None:
    """Insert a provider; return None if the name is taken."""
    row = await connection.fetchrow(_INSERT, tenant_id, slug, *_values(new))
    return _provider(row) if row is not None else None


async def by_id(
    connection: Connection, tenant_id: uuid.UUID, provider_id: uuid.UUID
) -> Provider | None:
    row = await connection.fetchrow(_BY_ID, tenant_id, provider_id)
    return _provider(row) if row is not None else None


async def by_slug(connection: Connection, tenant_id: uuid.UUID, slug: str) -> Provider | None:
    row = await connection.fetchrow(_BY_SLUG, tenant_id, slug)
    return _provider(row) if row is not None else None


async def page(
    connection: Connection, tenant_id: uuid.UUID, *, after_slug: str, limit: int
) -> list[Provider]:
    """Return at most ``limit`` providers after ``after_slug``, by slug."""
    return [_provider(row) for row in await connection.fetch(_PAGE, tenant_id, after_slug, limit)]


async def update(
    connection: Connection, tenant_id: uuid.UUID, provider_id: uuid.UUID, new: ProviderFields
) -> None:
    """Update a locked provider."""
    await connection.execute(_UPDATE, tenant_id, provider_id, *_values(new))


async def is_used(connection: Connection, tenant_id: uuid.UUID, provider_id: uuid.UUID) -> bool:
    """Return whether deployments or jobs use a provider. A job may still have to be deleted in Jenkins."""
    return bool(await connection.fetchval(_IS_USED, tenant_id, provider_id))


async def delete(connection: Connection, tenant_id: uuid.UUID, provider_id: uuid.UUID) -> None:
    """Delete a locked, unused provider."""
    await connection.execute(_DELETE, tenant_id, provider_id)


def _values(new: ProviderFields) -> list[object]:
    return [getattr(new, name) for name in _SETTABLE]


def _provider(row: asyncpg.Record) -> Provider:
    values = {name: row[name] for name in _COLUMNS}
    values["allowed_folders"] = tuple(values["allowed_folders"])
    values["allowed_job_kinds"] = tuple(values["allowed_job_kinds"])
    return Provider(**values, problem=problem_in(row))
