"""Create, read, change and delete providers. Settings are checked against Jenkins before they are stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from deployment_service.actions.check_provider import (
    NOT_CHECKED,
    CheckResult,
    ProviderChecker,
    refuse_wrong,
    unreadable_token,
)
from deployment_service.actions.idempotency import RequestKey, begin_request, find, remember
from deployment_service.actions.provider_settings import (
    EgressRule,
    ProviderInput,
    as_input,
    check_bound,
    in_normal_form,
    provider_with,
    row_fields,
)
from deployment_service.cicd.address import ControllerAddress
from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    NotFound,
)
from deployment_service.domain.etags import check_etag
from deployment_service.domain.names import ProviderName, check_id
from deployment_service.runtime.secret_box import SecretBox, SecretUnreadableError
from deployment_service.storage import locks, providers
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.pages import Page, Paging
from deployment_service.storage.providers import Provider

# The fields that a finding can prove wrong. An update that changes none of them is not refused for an old defect.
_PROVABLE = (
    "base_url",
    "username",
    "ca_certificate_pem",
    "job_folder",
    "allowed_folders",
)
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Stored:
    """A provider in its current state, and the findings of the check of its settings."""

    provider: Provider
    check: CheckResult


@dataclass(frozen=True, slots=True)
class Trial:
    """Checks a caller's settings within ``left_s()`` seconds. Never in a transaction, as it calls Jenkins."""

    checker: ProviderChecker
    box: SecretBox
    egress: EgressRule
    left_s: Callable[[], float]

    async def check(
        self,
        tenant: TenantRef,
        given: ProviderInput,
        stored_token: bytes | None,
        *,
        private_allowed: bool,
    ) -> CheckResult:
        """Check settings in normal form, with ``stored_token`` if they have no token."""
        token = given.api_token
        if not token and stored_token is not None and given.username:
            try:
                token = self.box.decrypt(stored_token).decode()
            except SecretUnreadableError:
                return unreadable_token()
        address = ControllerAddress(
            given.base_url,
            given.username,
            token,
            given.ca_certificate_pem,
            private_allowed=private_allowed,
        )
        return await self.checker.check(
            tenant,
            given,
            address,
            coarse=not self.egress.caller_decides,
            within_s=self.left_s(),
        )


async def create_provider(
    database: Database,
    tenant: TenantRef,
    *,
    provider_id: str,
    given: ProviderInput,
    trial: Trial,
    key: RequestKey | None = None,
) -> Stored:
    """Create a provider. Raises ``FailedPrecondition`` if the check proves its settings wrong."""
    name = ProviderName(tenant.slug, check_id(provider_id, field="provider_id"))
    settings = in_normal_form(given)
    new = row_fields(settings, trial.box, stored_token=None)

    async def work(connection: Connection) -> Provider:
        known = await begin_request(connection, key)
        if known is not None:
            assert known.resource_id is not None
            again = await providers.by_id(connection, tenant.tenant_id, known.resource_id)
            if again is None:
                raise _not_found(name)
            return again
        await trial.egress.check(connection, settings)
        provider = await providers.insert(connection, tenant.tenant_id, name.provider, new)
        if provider is None:
            raise AlreadyExists("provider", str(name))
        await remember(connection, key, provider.provider_id)
        return provider

    private = False
    async with database.acquire() as connection:
        repeated = await find(connection, key) is not None
        if not repeated:
            if await providers.by_slug(connection, tenant.tenant_id, name.provider) is not None:
                raise AlreadyExists("provider", str(name))
            private = await trial.egress.permits_private(connection, settings)
    check = NOT_CHECKED
    if not repeated:
        check = await trial.check(tenant, settings, None, private_allowed=private)
        refuse_wrong(check, str(name))
    return Stored(await database.transaction(work), check)


async def check_provider(
    database: Database,
    tenant: TenantRef,
    slug: str,
    *,
    given: ProviderInput | None,
    trial: Trial,
) -> CheckResult:
    """Check the given settings, or the stored ones. Stores nothing."""
    async with database.acquire() as connection:
        provider = await providers.by_slug(connection, tenant.tenant_id, slug)
        if given is not None:
            settings = in_normal_form(given)
            if provider is not None:
                check_bound(provider, settings)
        elif provider is not None:
            settings = as_input(provider)
        else:
            raise _not_found(ProviderName(tenant.slug, slug))
        private = await trial.egress.permits_private(connection, settings, stored=provider)
    token = provider.api_token_encrypted if provider is not None else None
    return await trial.check(tenant, settings, token, private_allowed=private)


async def get_provider(database: Database, tenant: TenantRef, slug: str) -> Provider:
    """Return a provider. Raises ``NotFound``."""
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
    tenant: TenantRef,
    slug: str,
    *,
    given: ProviderInput,
    paths: frozenset[str],
    etag: str,
    trial: Trial,
    key: RequestKey | None = None,
) -> Stored:
    """Change the fields in ``paths`` to the given values.

    Raises: ``FailedPrecondition`` if the check proves the changed settings wrong.
    """
    name = str(ProviderName(tenant.slug, slug))
    private = False
    for _ in range(_TRIES):
        async with database.acquire() as connection:
            repeated = await find(connection, key) is not None
            provider = await _find(connection, tenant, slug)
            settings = provider_with(provider, given, paths)
            if not repeated:
                check_etag(etag, provider.provider_id, provider.version, name=name)
                check_bound(provider, settings)
                private = await trial.egress.permits_private(connection, settings, stored=provider)
        check = NOT_CHECKED
        if not repeated:
            token = provider.api_token_encrypted
            check = await trial.check(tenant, settings, token, private_allowed=private)
            if _changes_what_is_provable(provider, settings):
                refuse_wrong(check, name)
        change = _Change(tenant, slug, given, paths, etag, trial, key)
        stored = await change.store(
            database, checked_version=None if repeated else provider.version
        )
        if stored is not None:
            return Stored(stored, check)
    raise Aborted(
        "CONCURRENT_CHANGE", f"Others keep changing '{name}' while it is checked; try again."
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """The transaction of an update."""

    tenant: TenantRef
    slug: str
    given: ProviderInput
    paths: frozenset[str]
    etag: str
    trial: Trial
    key: RequestKey | None

    async def store(self, database: Database, *, checked_version: int | None) -> Provider | None:
        """Return the changed provider; None, without a change, if its version is not the checked one."""
        tenant, slug, key = self.tenant, self.slug, self.key

        async def work(connection: Connection) -> Provider | None:
            known = await begin_request(connection, key)
            if known is not None:
                return await _find(connection, tenant, slug)
            provider_id = await locks.lock_provider(connection, tenant.tenant_id, slug)
            if provider_id is None:
                raise _not_found(ProviderName(tenant.slug, slug))
            provider = await _find(connection, tenant, slug)
            name = str(ProviderName(tenant.slug, slug))
            check_etag(self.etag, provider_id, provider.version, name=name)
            if checked_version is not None and provider.version != checked_version:
                raise _Overtaken
            merged = provider_with(provider, self.given, self.paths)
            check_bound(provider, merged)
            await self.trial.egress.check(connection, merged, stored=provider)
            # Without an account the token is useless, and must not be used for a later account.
            token = provider.api_token_encrypted if merged.username else None
            new = row_fields(merged, self.trial.box, stored_token=token)
            await providers.update(connection, tenant.tenant_id, provider_id, new)
            await remember(connection, key, provider_id)
            return await _find(connection, tenant, slug)

        try:
            return await database.transaction(work)
        except _Overtaken:
            return None


class _Overtaken(Exception):
    """Rolls a transaction back, the claimed request id too."""


def _changes_what_is_provable(stored: Provider, settings: ProviderInput) -> bool:
    return bool(settings.api_token) or any(
        getattr(stored, name) != getattr(settings, name) for name in _PROVABLE
    )


async def delete_provider(
    database: Database,
    tenant: TenantRef,
    slug: str,
    *,
    etag: str,
    key: RequestKey | None = None,
) -> None:
    """Delete a provider that no deployment and no job uses."""
    name = str(ProviderName(tenant.slug, slug))

    async def work(connection: Connection) -> None:
        if await begin_request(connection, key) is not None:
            return
        provider_id = await locks.lock_provider_to_delete(connection, tenant.tenant_id, slug)
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
        await remember(connection, key, provider_id)

    await database.transaction(work)


async def _find(connection: Connection, tenant: TenantRef, slug: str) -> Provider:
    provider = await providers.by_slug(connection, tenant.tenant_id, slug)
    if provider is None:
        raise _not_found(ProviderName(tenant.slug, slug))
    return provider


def _not_found(name: ProviderName) -> NotFound:
    return NotFound("provider", str(name))
