"""Signatures of webhooks (Standard Webhooks), for senders that have a key: a step in a Jenkinsfile, ``deployctl``.

Each job has a secret of its own, derived from the tenant's webhook key by HMAC-SHA256. So a person who may edit one
job's Jenkinsfile can sign as that job only, and only the tenant's keys need to be stored. Unlike a token in a URL, the
secret is never sent, and Jenkins masks it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
_PREFIX = "whsec_"


def job_secret(tenant_uid: str, job_id: str, key: bytes) -> bytes:
    """Return the secret of one job. ``job_id`` and ``tenant_uid`` are UUIDs in canonical form."""
    message = f"webhook-signature/v1\n{tenant_uid}\n{job_id}".encode()
    return hmac.new(key, message, hashlib.sha256).digest()


def as_text(secret: bytes) -> str:
    """Return a secret in the text form of Standard Webhooks: ``whsec_…``."""
    return _PREFIX + base64.b64encode(secret).decode()


def from_text(text: str) -> bytes:
    """Return the secret in ``whsec_…``. Raises ``ValueError``."""
    return base64.b64decode(text.strip().removeprefix(_PREFIX), validate=True)


def signed_headers(secret: bytes, delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of a signed ``body``. ``delivery_id`` must be new, and have no full stop. ``timestamp``: s."""
    message = f"{delivery_id}.{timestamp}.".encode() + body
    mac = base64.b64encode(hmac.new(secret, message, hashlib.sha256).digest()).decode()
    return {ID: delivery_id, TIMESTAMP: str(timestamp), SIGNATURE: f"v1,{mac}"}
