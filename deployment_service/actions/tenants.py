"""Tenants: creating, changing, deleting them."""

from __future__ import annotations

from typing import cast

from deployment_service.actions.idempotency import RequestKey, begin_request, remember
from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.domain.definition import check_display_name
from deployment_service.domain.errors import AlreadyExists, FailedPrecondition, NotFound
from deployment_service.domain.etags import check_etag
from deployment_service.domain.names import TenantName, check_id
from deployment_service.storage import locks, tenants
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.pages import Page, Paging
from deployment_service.storage.tenants import Tenant


async def create_tenant(
    database: Database,
    webhook_keys: WebhookKeys,
    *,
    tenant_id: str,
    display_name: str,
    key: RequestKey | None = None,
) -> Tenant:
    """Create a tenant with its first webhook key."""
    slug = check_id(tenant_id, field="tenant_id")
    display_name = check_display_name(display_name, field="tenant.display_name")

    async def work(connection: Connection) -> Tenant:
        known = await begin_request(connection, key)
        if known is not None:
            assert known.resource_id is not None
            again = await tenants.by_id(connection, known.resource_id)
            if again is None:
                raise _not_found(TenantName(slug))
            return again
        tenant = await tenants.insert(connection, slug, display_name)
        if tenant is None:
            raise AlreadyExists("tenant", str(TenantName(slug)))
        await webhook_keys.add_first(connection, tenant.tenant_id)
        await remember(connection, key, tenant.tenant_id)
        return tenant

    return await database.transaction(work)


async def get_tenant(database: Database, name: TenantName) -> Tenant:
    """Return a tenant; raises NotFound."""
    async with database.acquire() as connection:
        return await _find(connection, name)


async def list_tenants(database: Database, *, page_size: int, page_token: str) -> Page[Tenant]:
    """List tenants by id."""
    paging = Paging(("tenants",), (str,))
    size = paging.size(page_size)
    (after,) = cast("tuple[str]", paging.cursor(page_token) or ("",))
    async with database.acquire() as connection:
        rows = await tenants.page(connection, after_slug=after, limit=size + 1)
    return paging.page(rows, size, lambda tenant: (tenant.slug,))


async def update_tenant(
    database: Database,
    name: TenantName,
    *,
    display_name: str,
    etag: str,
    key: RequestKey | None = None,
) -> Tenant:
    """Change a tenant's display name."""
    display_name = check_display_name(display_name, field="tenant.display_name")

    async def work(connection: Connection) -> Tenant:
        known = await begin_request(connection, key)
        tenant = await _find(connection, name)
        if known is not None:
            return tenant
        await locks.lock_tenant(connection, tenant.tenant_id)
        tenant = await _find(connection, name)
        check_etag(etag, tenant.tenant_id, tenant.version, name=str(name))
        await tenants.update(connection, tenant.tenant_id, display_name)
        await remember(connection, key, tenant.tenant_id)
        return await _find(connection, name)

    return await database.transaction(work)


async def delete_tenant(
    database: Database, name: TenantName, *, etag: str, key: RequestKey | None = None
) -> None:
    """Delete a tenant that has neither deployments nor providers, with its history and keys.

    The id of the request is remembered without the tenant, so that a repeated call deletes no later tenant of the
    same name.
    """

    async def work(connection: Connection) -> None:
        if await begin_request(connection, key) is not None:
            return
        tenant = await _find(connection, name)
        await locks.lock_tenant_to_delete(connection, tenant.tenant_id)
        tenant = await _find(connection, name)
        check_etag(etag, tenant.tenant_id, tenant.version, name=str(name))
        if await tenants.is_used(connection, tenant.tenant_id):
            raise FailedPrecondition(
                "TENANT_NOT_EMPTY",
                f"'{name}' still has deployments or providers: delete those first. "
                "(A deleted deployment's job may take a moment to go from Jenkins.)",
                metadata={"name": str(name)},
            )
        await tenants.delete(connection, tenant.tenant_id)
        await remember(connection, key, tenant.tenant_id)

    await database.transaction(work)


async def _find(connection: Connection, name: TenantName) -> Tenant:
    tenant = await tenants.by_slug(connection, name.tenant)
    if tenant is None:
        raise _not_found(name)
    return tenant


def _not_found(name: TenantName) -> NotFound:
    return NotFound("tenant", str(name))
