"""Webhook tokens: the part of a job's webhook URL that authenticates its reports.

A token is ``v1.<job id>.<key id>.<mac>``. The MAC (HMAC-SHA256, base64url without padding) binds it
to one tenant and one job, so a token that leaks from one job cannot forge reports of another. Jenkins'
Notification plugin cannot sign its bodies (it has no key), which is why the proof is in the URL.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import uuid
from dataclasses import dataclass

_SHAPE = re.compile(r"v1\.([0-9a-f-]{36})\.([a-z0-9]{1,32})\.([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class WebhookToken:
    """A well-formed token whose proof has not been checked yet."""

    job_id: str
    key_id: str
    mac: bytes


def mint(tenant_uid: str, job_id: str, key_id: str, secret: bytes) -> str:
    """Return the token of one job. ``job_id`` and ``tenant_uid`` are UUIDs in canonical form."""
    mac = base64.urlsafe_b64encode(_mac(tenant_uid, job_id, secret)).decode().rstrip("=")
    return f"v1.{job_id}.{key_id}.{mac}"


def parse(text: str) -> WebhookToken | None:
    """Return the token's parts, or None if the text is not a token in canonical form."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        return None
    job_id, key_id, mac_text = match.groups()
    try:
        mac = base64.urlsafe_b64decode(mac_text + "=")
        canonical = str(uuid.UUID(job_id)) == job_id
    except (ValueError, binascii.Error):
        return None
    # base64 has spare bits at the end: without this check four texts would decode to the same MAC.
    if not canonical or base64.urlsafe_b64encode(mac).decode().rstrip("=") != mac_text:
        return None
    return WebhookToken(job_id, key_id, mac)


def digest(text: str) -> bytes:
    """Return the SHA-256 of a token's text: with it, a token can be checked but not made."""
    return hashlib.sha256(text.encode()).digest()


def matches(token: WebhookToken, tenant_uid: str, secret: bytes) -> bool:
    """Return, in constant time, whether the token was made with this key for this tenant."""
    return hmac.compare_digest(token.mac, _mac(tenant_uid, token.job_id, secret))


def _mac(tenant_uid: str, job_id: str, secret: bytes) -> bytes:
    message = f"webhook-token/v1\n{tenant_uid}\n{job_id}".encode()
    return hmac.new(secret, message, hashlib.sha256).digest()
