"""Values of runs that are shown nowhere: which they are, and how a text is freed of them. Pure."""

from __future__ import annotations

import html
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"


@dataclass(frozen=True, slots=True)
class SplitValues:
    """The values of a run: those that may be shown, and those that may not."""

    shown: dict[str, str]
    secret: dict[str, str]


def split(values: Mapping[str, str], secret_names: Collection[str]) -> SplitValues:
    """Return the values, told apart by name."""
    return SplitValues(
        {name: value for name, value in values.items() if name not in secret_names},
        {name: value for name, value in values.items() if name in secret_names},
    )


def pack(secrets: Mapping[str, str]) -> bytes:
    """Return secret values as what is encrypted."""
    return json.dumps(dict(secrets)).encode()


def unpack(packed: bytes) -> dict[str, str]:
    """Read what `pack` returned."""
    values: dict[str, str] = json.loads(packed)
    return values


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text without the secrets, as they are and as Python, JSON, HTML and URLs write them."""
    forms: set[str] = set()
    for secret in secrets:
        if secret:
            forms |= {secret, secret.strip(), repr(secret)[1:-1], json.dumps(secret)[1:-1]}
            forms |= {html.escape(secret), html.escape(secret, quote=False)}
            forms |= {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    for form in sorted(filter(None, forms), key=len, reverse=True):
        text = text.replace(form, REDACTED)
    return text
