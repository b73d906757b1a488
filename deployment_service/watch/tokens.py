"""Resume tokens: opaque, versioned, checksummed positions in one tenant's history.

A token contains the tenant's uid (a later tenant with the same name has other tokens), the epoch of the store and a
sequence. The checksum is no secret: it detects damage. A forged token gives access only to another position in the
history of the tenant, which its holder may read anyway.
"""

from __future__ import annotations

import base64
import binascii
import struct
import uuid
import zlib
from dataclasses import dataclass
from enum import IntEnum

from deployment_service.domain.errors import InvalidArgument

EPOCH_BYTES = 8
MAX_SEQUENCE = 2**63 - 1

_VERSION = 1
# version, kind, tenant uid, epoch, sequence. A CRC detects every change of up to 32 bits in a row.
_BODY = struct.Struct(f">BB16s{EPOCH_BYTES}sQ")
_CHECKSUM = struct.Struct(">I")
_LENGTH = -(-(_BODY.size + _CHECKSUM.size) * 4 // 3)
_PADDING = "=" * (-_LENGTH % 4)


class TokenKind(IntEnum):
    """The first content of a stream that starts from the token."""

    POSITION = 0
    """Everything after ``sequence``."""
    SNAPSHOT = 1
    """A snapshot: the holder has not received a complete one. Epoch and sequence are unused."""


@dataclass(frozen=True, slots=True)
class ResumeToken:
    tenant_uid: uuid.UUID
    epoch: bytes
    sequence: int
    kind: TokenKind = TokenKind.POSITION


class ResumeTokens:
    """Encodes and decodes resume tokens. Has no state."""

    def position(self, tenant_uid: uuid.UUID, epoch: bytes, sequence: int) -> str:
        """Return the token of the position after ``sequence``.

        Read ``epoch`` before the transaction or read that yields ``sequence``. If the epoch changes in between, the
        token has the old one and leads to a reset instead of a silent gap.
        """
        return encode(ResumeToken(tenant_uid, epoch, sequence))

    def snapshot(self, tenant_uid: uuid.UUID) -> str:
        """Return the token that starts with a snapshot."""
        return encode(ResumeToken(tenant_uid, bytes(EPOCH_BYTES), 0, TokenKind.SNAPSHOT))

    def decode(
        self, text: str, tenant_uid: uuid.UUID, *, field: str = "resume_token"
    ) -> ResumeToken:
        """Return a token of this tenant. The stream checks its epoch and sequence.

        Raises:
            InvalidArgument: RESUME_TOKEN_INVALID, the token is damaged or belongs to another tenant.
        """
        token = _decode(text)
        if token is None:
            raise _invalid(field, "is damaged: send it back exactly as it was received")
        if token.tenant_uid != tenant_uid:
            raise _invalid(
                field, "belongs to another tenant, or to a deleted one with the same name"
            )
        return token


def encode(token: ResumeToken) -> str:
    """Return the text of a token."""
    body = _BODY.pack(_VERSION, token.kind, token.tenant_uid.bytes, token.epoch, token.sequence)
    checked = body + _CHECKSUM.pack(zlib.crc32(body))
    return base64.urlsafe_b64encode(checked).rstrip(b"=").decode("ascii")


def _decode(text: str) -> ResumeToken | None:
    """Return the token; None if the text is not exactly an output of ``encode``."""
    if len(text) != _LENGTH or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + _PADDING, altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    body, checksum = raw[: _BODY.size], raw[_BODY.size :]
    if _CHECKSUM.pack(zlib.crc32(body)) != checksum:
        return None
    version, kind, tenant_uid, epoch, sequence = _BODY.unpack(body)
    if version != _VERSION or kind not in tuple(TokenKind) or sequence > MAX_SEQUENCE:
        return None
    token = ResumeToken(uuid.UUID(bytes=tenant_uid), epoch, sequence, TokenKind(kind))
    # Decoding ignores some bits of the last character; a token with other bits there is rejected too.
    return token if encode(token) == text else None


def _invalid(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(field, message, reason="RESUME_TOKEN_INVALID")
