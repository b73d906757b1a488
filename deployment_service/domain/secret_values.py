"""Secret parameters of runs: split them from other parameters, and redact them in texts. Pure."""

from __future__ import annotations

import html
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"


@dataclass(frozen=True, slots=True)
class SplitValues:
    """The parameters of a run, split into those that may be shown and secret ones."""

    shown: dict[str, str]
    secret: dict[str, str]


def split(values: Mapping[str, str], secret_names: Collection[str]) -> SplitValues:
    """Return the values, split by name."""
    return SplitValues(
        {name: value for name, value in values.items() if name not in secret_names},
        {name: value for name, value in values.items() if name in secret_names},
    )


def pack(secrets: Mapping[str, str]) -> bytes:
    """Return secret values as bytes to encrypt."""
    return json.dumps(dict(secrets)).encode()


def unpack(packed: bytes) -> dict[str, str]:
    """Return the secret values from what ``pack`` returned."""
    values: dict[str, str] = json.loads(packed)
    return values


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text without the secrets, in plain form and as Python, JSON, HTML and URLs escape them."""
    forms: set[str] = set()
    for secret in secrets:
        if secret:
            forms |= {secret, secret.strip(), repr(secret)[1:-1], json.dumps(secret)[1:-1]}
            forms |= {html.escape(secret), html.escape(secret, quote=False)}
            forms |= {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    for form in sorted(filter(None, forms), key=len, reverse=True):
        text = text.replace(form, REDACTED)
    return text
