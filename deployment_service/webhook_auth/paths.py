"""The path of webhook URLs, shared by the service, which writes them into jobs, and the gateway."""

from __future__ import annotations

import re

# A language, optionally with a script and a region (BCP 47): en, pt-BR, es-419, zh-Hans, zh-Hant-TW.
LOCALE = r"[a-z]{2}(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|[0-9]{3}))?"
LOCALE_RULE = "a language in lower case, optionally with a script and a region: en, pt-BR, zh-Hans"
TENANT = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
TAIL = "deployment/webhooks/jenkins"

_LOCALE = re.compile(LOCALE, re.ASCII)
_TENANT = re.compile(TENANT, re.ASCII)


def check_locale(text: str) -> str:
    """Return ``text`` if webhook URLs may begin with it. Raises ``ValueError``."""
    if not is_locale(text):
        raise ValueError(f"must be {LOCALE_RULE}")
    return text


def webhook_path(locale: str, tenant: str) -> str:
    """Return the path, without a leading slash. Raises ``ValueError`` if the gateway would not serve it."""
    check_locale(locale)
    if not is_tenant(tenant):
        raise ValueError(f"{tenant!r} is not a tenant's id")
    return f"{locale}/{tenant}/{TAIL}"


def is_locale(text: str) -> bool:
    """Return whether a path segment may be a locale."""
    return _LOCALE.fullmatch(text) is not None


def is_tenant(text: str) -> bool:
    """Return whether a path segment may be a tenant's id."""
    return _TENANT.fullmatch(text) is not None
