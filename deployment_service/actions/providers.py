"""Providers: a Jenkins and the account to use there. Jenkins is not contacted here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast
from urllib.parse import urlsplit

from cryptography import x509

from deployment_service.actions.egress import AllowedOrigins
from deployment_service.actions.idempotency import RequestKey, claim, remember
from deployment_service.domain.access import TenantRef
from deployment_service.domain.definition import check_display_name, check_full_name
from deployment_service.domain.egress import check_http_url, check_visible, origin_of
from deployment_service.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from deployment_service.domain.etags import check_etag
from deployment_service.domain.names import ProviderName, check_id
from deployment_service.secrets import SecretBox
from deployment_service.storage import providers
from deployment_service.storage.database import Connection, Database
from deployment_service.storage.pages import Page, Paging
from deployment_service.storage.providers import Provider, ProviderFields


@dataclass(frozen=True, slots=True)
class ProviderInput:
    """What a caller sets. An empty ``api_token`` leaves the stored one as it is."""

    base_url: str
    display_name: str = ""
    username: str = ""
    api_token: str = field(default="", repr=False)
    reporting: str = "AUTO"
    webhook_base_url: str = ""
    ca_certificate_pem: str = ""
    job_folder: str = ""
    allowed_folders: tuple[str, ...] = ()
    allowed_job_kinds: tuple[str, ...] = ()
    private_console: bool = False


CHANGEABLE = frozenset(ProviderInput.__dataclass_fields__)
"""The fields of a provider that an update may name."""


@dataclass(frozen=True, slots=True)
class EgressRule:
    """Where the caller may have the service connect to. ``caller_decides``: an admin of all tenants."""

    allowed: AllowedOrigins
    caller_decides: bool

    async def check(
        self, connection: Connection, given: ProviderInput, *, stored: Provider | None = None
    ) -> None:
        """Raise InvalidArgument if a URL that changes leads to an address that isn't allowed."""
        for name in ("base_url", "webhook_base_url"):
            url = getattr(given, name)
            if url and (stored is None or url != getattr(stored, name)):
                await self.allowed.check(
                    connection, url, field=f"provider.{name}", caller_decides=self.caller_decides
                )


async def create_provider(
    database: Database,
    box: SecretBox,
    tenant: TenantRef,
    *,
    provider_id: str,
    given: ProviderInput,
    egress: EgressRule,
    key: RequestKey | None = None,
) -> Provider:
    """Create a provider."""
    name = ProviderName(tenant.slug, check_id(provider_id, field="provider_id"))
    checked = _checked(given)
    new = _fields(checked, box, stored_token=None)

    async def work(connection: Connection) -> Provider:
        known = await claim(connection, key)
        if known is not None:
            assert known.resource_id is not None
            again = await providers.by_id(connection, tenant.tenant_id, known.resource_id)
            if again is None:
                raise _not_found(name)
            return again
        await egress.check(connection, checked)
        provider = await providers.insert(connection, tenant.tenant_id, name.provider, new)
        if provider is None:
            raise AlreadyExists("provider", str(name))
        await remember(connection, key, provider.provider_id)
        return provider

    return await database.transaction(work)


async def get_provider(database: Database, tenant: TenantRef, slug: str) -> Provider:
    """Return a provider; raises NotFound."""
    async with database.acquire() as connection:
        return await _find(connection, tenant, slug)


async def list_providers(
    database: Database, tenant: TenantRef, *, page_size: int, page_token: str
) -> Page[Provider]:
    """List a tenant's providers by id."""
    paging = Paging(("providers", tenant.tenant_id), (str,))
    size = paging.size(page_size)
    (after,) = cast("tuple[str]", paging.cursor(page_token) or ("",))
    async with database.acquire() as connection:
        rows = await providers.page(connection, tenant.tenant_id, after_slug=after, limit=size + 1)
    return paging.page(rows, size, lambda provider: (provider.slug,))


async def update_provider(
    database: Database,
    box: SecretBox,
    tenant: TenantRef,
    slug: str,
    *,
    given: ProviderInput,
    paths: frozenset[str],
    etag: str,
    egress: EgressRule,
    key: RequestKey | None = None,
) -> Provider:
    """Change the fields in ``paths`` to what is given."""

    async def work(connection: Connection) -> Provider:
        known = await claim(connection, key)
        if known is not None:
            return await _find(connection, tenant, slug)
        provider_id = await providers.lock(connection, tenant.tenant_id, slug)
        if provider_id is None:
            raise _not_found(ProviderName(tenant.slug, slug))
        provider = await _find(connection, tenant, slug)
        check_etag(etag, provider_id, provider.version, name=str(ProviderName(tenant.slug, slug)))
        changes = {path: getattr(given, path) for path in paths}
        merged = _checked(replace(_as_input(provider), **changes))
        _check_bound(provider, merged)
        await egress.check(connection, merged, stored=provider)
        await providers.update(
            connection,
            tenant.tenant_id,
            provider_id,
            # Without an account a token is of no use, and must not wait for another one.
            _fields(
                merged,
                box,
                stored_token=provider.api_token_encrypted if merged.username else None,
            ),
        )
        await remember(connection, key, provider_id)
        return await _find(connection, tenant, slug)

    return await database.transaction(work)


async def delete_provider(database: Database, tenant: TenantRef, slug: str, *, etag: str) -> None:
    """Delete a provider that no deployment and no job uses."""
    name = str(ProviderName(tenant.slug, slug))

    async def work(connection: Connection) -> None:
        provider_id = await providers.lock(connection, tenant.tenant_id, slug, to_delete=True)
        if provider_id is None:
            raise _not_found(ProviderName(tenant.slug, slug))
        provider = await _find(connection, tenant, slug)
        check_etag(etag, provider_id, provider.version, name=name)
        if await providers.is_used(connection, tenant.tenant_id, provider_id):
            raise FailedPrecondition(
                "PROVIDER_IN_USE",
                f"Deployments or jobs use '{name}': delete those first. "
                "(A deleted deployment's job may take a moment to go from Jenkins.)",
                metadata={"name": name},
            )
        await providers.delete(connection, tenant.tenant_id, provider_id)

    await database.transaction(work)


async def _find(connection: Connection, tenant: TenantRef, slug: str) -> Provider:
    provider = await providers.by_slug(connection, tenant.tenant_id, slug)
    if provider is None:
        raise _not_found(ProviderName(tenant.slug, slug))
    return provider


def _not_found(name: ProviderName) -> NotFound:
    return NotFound("provider", str(name))


def _as_input(provider: Provider) -> ProviderInput:
    values = {name: getattr(provider, name) for name in CHANGEABLE - {"api_token"}}
    return ProviderInput(**values)


def _fields(given: ProviderInput, box: SecretBox, *, stored_token: bytes | None) -> ProviderFields:
    values = {name: getattr(given, name) for name in CHANGEABLE - {"api_token"}}
    token = box.encrypt(given.api_token.encode()) if given.api_token else stored_token
    return ProviderFields(**values, api_token_encrypted=token)


def _check_bound(stored: Provider, merged: ProviderInput) -> None:
    """Raise FailedPrecondition if the stored token would go elsewhere than where it was meant for.

    Else a caller who can't read the token could have it sent to an address of their own.
    """
    if stored.api_token_encrypted is None or merged.api_token or not merged.username:
        return
    moved = [
        name
        for name in ("username", "ca_certificate_pem")
        if getattr(stored, name) != getattr(merged, name)
    ]
    if _place(stored.base_url) != _place(merged.base_url):
        moved.insert(0, "base_url")
    if moved:
        raise FailedPrecondition(
            "CREDENTIAL_REQUIRED",
            f"The stored API token is for the {', '.join(moved)} that the provider has. To change that, give "
            "api_token in the same call (and name it in update_mask, if there is one).",
            metadata={"fields": ",".join(moved)},
        )


def _place(base_url: str) -> tuple[str, str]:
    return origin_of(base_url), urlsplit(base_url).path.rstrip("/")


def _checked(given: ProviderInput) -> ProviderInput:
    """The provider in normal form; raises InvalidArgument."""
    if ":" in given.username:
        raise InvalidArgument("provider.username", "must not contain ':'")
    check_visible(given.username, field="provider.username")
    if given.api_token and not given.username:
        raise InvalidArgument("provider.username", "is required with api_token: whose token is it?")
    webhook_base_url = given.webhook_base_url
    if webhook_base_url:
        webhook_base_url = check_http_url(
            webhook_base_url, field="provider.webhook_base_url"
        ).rstrip("/")
    _check_pem(given.ca_certificate_pem)
    return replace(
        given,
        base_url=check_http_url(given.base_url, field="provider.base_url"),
        display_name=check_display_name(given.display_name, field="provider.display_name"),
        webhook_base_url=webhook_base_url,
        job_folder=_folder(given.job_folder, "provider.job_folder"),
        allowed_folders=_each(given.allowed_folders, _folder, "provider.allowed_folders"),
        allowed_job_kinds=tuple(dict.fromkeys(given.allowed_job_kinds)),
    )


def _folder(text: str, where: str) -> str:
    text = text.strip("/")
    return check_full_name(text, field=where, to_create=False) if text else ""


def _each(texts: tuple[str, ...], check: Callable[[str, str], str], where: str) -> tuple[str, ...]:
    checked = [check(text, f"{where}[{index}]") for index, text in enumerate(texts)]
    # An empty one would stand for the root, that is for everything.
    if "" in checked:
        raise InvalidArgument(where, "must not contain the root; leave it empty to allow all")
    return tuple(dict.fromkeys(checked))


def _check_pem(text: str) -> None:
    if not text:
        return
    try:
        x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise InvalidArgument(
            "provider.ca_certificate_pem", "must be one or more certificates in PEM form"
        ) from None
