"""Settings of a provider from a caller: validation, normal form, and the addresses that they may name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from cryptography import x509

from deployment_service.actions.egress import AllowedOrigins
from deployment_service.domain.definition import check_display_name, check_full_name
from deployment_service.domain.egress import check_http_url, check_visible, origin_of
from deployment_service.domain.errors import FailedPrecondition, InvalidArgument
from deployment_service.runtime.secret_box import SecretBox
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.providers import Provider, ProviderFields


@dataclass(frozen=True, slots=True)
class ProviderInput:
    """Settings from a caller. An empty ``api_token`` keeps the stored one."""

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
    """The addresses that a caller's settings may name. ``caller_decides``: the caller is an admin of all tenants."""

    allowed: AllowedOrigins
    caller_decides: bool

    async def check(
        self, connection: Connection, given: ProviderInput, *, stored: Provider | None = None
    ) -> None:
        """Raise ``InvalidArgument`` if a changed URL names an address that is not allowed."""
        for name in ("base_url", "webhook_base_url"):
            url = getattr(given, name)
            if url and (stored is None or url != getattr(stored, name)):
                await self.allowed.check(
                    connection, url, field=f"provider.{name}", caller_decides=self.caller_decides
                )

    async def permits_private(
        self, connection: Connection, given: ProviderInput, *, stored: Provider | None = None
    ) -> bool:
        """Return whether ``base_url`` may name a private address. Raises like ``check``; allows no new origin."""
        if self.caller_decides:
            return True
        await self.check(connection, given, stored=stored)
        return origin_of(given.base_url) in await self.allowed.read(connection)


def as_input(provider: Provider) -> ProviderInput:
    """Return the settings of a stored provider, without its token."""
    values = {name: getattr(provider, name) for name in CHANGEABLE - {"api_token"}}
    return ProviderInput(**values)


def provider_with(provider: Provider, given: ProviderInput, paths: frozenset[str]) -> ProviderInput:
    """Return the settings of a stored provider with the fields in ``paths`` as given, in normal form."""
    changes = {path: getattr(given, path) for path in paths}
    return in_normal_form(replace(as_input(provider), **changes))


def row_fields(
    given: ProviderInput, box: SecretBox, *, stored_token: bytes | None
) -> ProviderFields:
    """Return the row's fields, with the given token, else ``stored_token``."""
    values = {name: getattr(given, name) for name in CHANGEABLE - {"api_token"}}
    token = box.encrypt(given.api_token.encode()) if given.api_token else stored_token
    return ProviderFields(**values, api_token_encrypted=token)


def check_bound(stored: Provider, merged: ProviderInput) -> None:
    """Raise ``FailedPrecondition`` if the stored token would be sent to another address or account.

    Otherwise a caller without access to the token could have it sent to a server of their own.
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


def in_normal_form(given: ProviderInput) -> ProviderInput:
    """Return the settings in normal form. Raises ``InvalidArgument``."""
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
    # An empty folder means the root, and would allow everything.
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
