"""API keys: making, finding, listing and revoking them."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from datetime import datetime
from typing import cast

from deployment_service.actions.idempotency import RequestKey, begin_request, remember
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
    database: Database,
    *,
    role: Role,
    tenant: TenantRef | None,
    display_name: str,
    request: RequestKey | None = None,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which is stored nowhere.

    A repeated call returns the key of the first one and an empty secret: only the answer to the first call had it.
    """
    secret = _PREFIX + secrets.token_urlsafe(32)

    async def work(connection: Connection) -> tuple[ApiKey, str]:
        known = await begin_request(connection, request)
        if known is not None:
            assert known.resource_id is not None
            return await _find(connection, known.resource_id, of_tenant=None), ""
        key_id = await api_keys.insert(
            connection,
            tenant_id=tenant.tenant_id if tenant else None,
            secret_sha256=_sha256(secret),
            role=role,
            display_name=display_name,
        )
        await remember(connection, request, key_id)
        return await _find(connection, key_id, of_tenant=None), secret

    return await database.transaction(work)


async def find_caller(database: Database, secret: str) -> Caller | None:
    """Return the caller that ``secret`` authenticates; None if no valid key has it."""
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


async def revoke_api_key(
    database: Database, caller: Caller, key_id: uuid.UUID, *, request: RequestKey | None = None
) -> ApiKey:
    """Revoke a key of the caller's tenant (any, if the caller's scope is all of them).

    Revoking a revoked key changes nothing, so a repeated call takes the same path.
    """
    own = caller.tenant.tenant_id if caller.tenant else None

    async def work(connection: Connection) -> ApiKey:
        known = await begin_request(connection, request)
        await api_keys.revoke(connection, key_id, of_tenant=own)
        key = await _find(connection, key_id, of_tenant=own)
        if known is None:
            await remember(connection, request, key_id)
        return key

    return await database.transaction(work)


async def _find(
    connection: Connection, key_id: uuid.UUID, *, of_tenant: uuid.UUID | None
) -> ApiKey:
    key = await api_keys.by_id(connection, key_id, of_tenant=of_tenant)
    if key is None:
        raise NotFound("API key", f"apiKeys/{key_id}")
    return key


def check_may_create(caller: Caller, tenant: TenantRef | None) -> None:
    """A key for one tenant must not make one for all."""
    if caller.tenant is not None and tenant is None:
        raise PermissionDenied(
            "SCOPE_INSUFFICIENT",
            "This key is for one tenant; name that tenant in api_key.tenant.",
        )


def _sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
