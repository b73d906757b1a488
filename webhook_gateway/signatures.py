"""Verification of signed webhooks (Standard Webhooks) with the library standardwebhooks.

The library decides whether a signature is valid. Inputs that it accepts too easily, or on which it fails, are refused
first: times that are not whole numbers, signatures that are not canonical base64. Any exception of the library means:
not verified.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from aiohttp import web
from standardwebhooks import Webhook

from deployment_service.webhook_auth.signatures import ID, SIGNATURE, TIMESTAMP

TOLERANCE = 300
MAX_BODY = 256 * 1024
_MAX_SIGNATURES = 8

# No full stop: it separates id, time and body in the signed text, and an id with one could shift content between them.
_ID = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,200}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,11}", re.ASCII)
_V1 = re.compile(r"v1,[A-Za-z0-9+/]{43}=", re.ASCII)


class Finding(Enum):
    """The result of a check of a signature."""

    RIGHT = "right"
    OUT_OF_TIME = "right, but too old or from the future"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Signed:
    """The well-formed headers of a signed request, and the job that its URL names; not verified yet."""

    job_id: str
    delivery_id: str
    timestamp: int
    signatures: tuple[str, ...]

    def check(self, secret: bytes, body: bytes) -> Finding:
        """Return whether the body was signed with this secret, in time."""
        webhook = Webhook(secret)
        headers = {
            ID: self.delivery_id,
            TIMESTAMP: str(self.timestamp),
            SIGNATURE: " ".join(self.signatures),
        }
        if _succeeds(lambda: webhook.verify(body, headers, json_parse=False)):
            return Finding.RIGHT
        in_time = abs(time.time() - self.timestamp) <= TOLERANCE
        if not in_time and _succeeds(lambda: self._compare(webhook, body)):
            return Finding.OUT_OF_TIME
        return Finding.WRONG

    def _compare(self, webhook: Webhook, body: bytes) -> None:
        """Compare like the library, without its check of the clock. Raises ``ValueError`` if no signature is valid."""
        signed = datetime.fromtimestamp(self.timestamp, tz=UTC)
        expected = webhook.sign(self.delivery_id, signed, body.decode()).encode()
        if not any(hmac.compare_digest(expected, one.encode()) for one in self.signatures):
            raise ValueError("no signature is valid")

    def name(self, body: bytes) -> str:
        """Return an id of the delivery for replay detection: the same id with another body is no replay."""
        return hashlib.sha256(self.delivery_id.encode() + b"\0" + body).hexdigest()[:32]


def is_signed(request: web.Request) -> bool:
    """Return whether a request has a signature header. Then only its signature counts, not a token."""
    return SIGNATURE in request.headers


def parse(request: web.Request) -> Signed | None:
    """Return the parts of a signed request, None if they are not well-formed."""
    job = request.query.get("job", "")
    values = [request.headers.getall(name, []) for name in (ID, TIMESTAMP, SIGNATURE)]
    if any(len(value) != 1 for value in values):
        return None
    delivery_id, timestamp, signature = (value[0] for value in values)
    signatures = tuple(one for one in signature.split(" ") if _is_canonical(one))
    well_formed = _ID.fullmatch(delivery_id) and _TIMESTAMP.fullmatch(timestamp) and _is_uuid(job)
    if not well_formed or not 0 < len(signatures) <= _MAX_SIGNATURES:
        return None
    return Signed(job, delivery_id, int(timestamp), signatures)


def _succeeds(check: Callable[[], object]) -> bool:
    try:
        check()
    except Exception:  # WebhookVerificationError, ValueError, binascii.Error, UnicodeDecodeError, …
        return False
    return True


def _is_canonical(signature: str) -> bool:
    """Return whether it is a v1 signature in canonical base64; other versions are skipped."""
    if not _V1.fullmatch(signature):
        return False
    encoded = signature[3:]
    return base64.b64encode(base64.b64decode(encoded)).decode() == encoded


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
