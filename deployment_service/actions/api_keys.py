"""API keys: making, finding, listing and revoking them."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from datetime import datetime
from typing import cast

from deployment_service.domain.access import Caller, Role, TenantRef
from deployment_service.domain.errors import NotFound, PermissionDenied
from deployment_service.storage import api_keys
from deployment_service.storage.api_keys import ApiKey
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.pages import Page, Paging

# The prefix lets scanners of source code and logs recognise a leaked key.
_PREFIX = "dsk_"
_SHAPE = re.compile(r"dsk_[A-Za-z0-9_-]{43}", re.ASCII)


async def create_api_key(
    database: Database, *, role: Role, tenant: TenantRef | None, display_name: str
) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which is stored nowhere."""
    secret = _PREFIX + secrets.token_urlsafe(32)

    async def work(connection: Connection) -> ApiKey:
        key_id = await api_keys.insert(
            connection,
            tenant_id=tenant.tenant_id if tenant else None,
            secret_sha256=_sha256(secret),
            role=role,
            display_name=display_name,
        )
        key = await api_keys.by_id(connection, key_id, of_tenant=None)
        assert key is not None
        return key

    return await database.transaction(work), secret


async def find_caller(database: Database, secret: str) -> Caller | None:
    """Return who holds ``secret``; None if it is no valid key's."""
    if not _SHAPE.fullmatch(secret):
        return None
    async with database.acquire() as connection:
        return await api_keys.find_caller(connection, _sha256(secret))


async def list_api_keys(
    database: Database, *, of_tenant: uuid.UUID | None, page_size: int, page_token: str
) -> Page[ApiKey]:
    """List keys, newest first; with ``of_tenant`` only that tenant's."""
    paging = Paging(("api_keys", of_tenant), (datetime, uuid.UUID))
    size = paging.size(page_size)
    after = cast("tuple[datetime, uuid.UUID] | None", paging.cursor(page_token))
    async with database.acquire() as connection:
        rows = await api_keys.page(connection, of_tenant=of_tenant, after=after, limit=size + 1)
    return paging.page(rows, size, lambda key: (key.create_time, key.key_id))


async def revoke_api_key(database: Database, caller: Caller, key_id: uuid.UUID) -> ApiKey:
    """Revoke a key of the caller's tenant (any, if the caller's scope is all of them)."""
    own = caller.tenant.tenant_id if caller.tenant else None

    async def work(connection: Connection) -> ApiKey:
        await api_keys.revoke(connection, key_id, of_tenant=own)
        key = await api_keys.by_id(connection, key_id, of_tenant=own)
        if key is None:
            raise NotFound("API key", f"apiKeys/{key_id}")
        return key

    return await database.transaction(work)


def check_may_create(caller: Caller, tenant: TenantRef | None) -> None:
    """A key for one tenant must not make one for all."""
    if caller.tenant is not None and tenant is None:
        raise PermissionDenied(
            "SCOPE_INSUFFICIENT",
            "This key is for one tenant; name that tenant in api_key.tenant.",
        )


def _sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
