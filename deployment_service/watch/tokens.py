"""Resume tokens: opaque, versioned, checksummed positions in one tenant's history.

A token says whose history it speaks of (the tenant's uid, so that a tenant made again under an old name has
other tokens), which life of the store (the epoch) and how far the holder has come. The checksum is no secret: it
tells a damaged token from a good one. Whoever builds a token by hand reaches nothing but another place in the
history of the tenant that they may read anyway.
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
    """What a stream that starts from the token begins with."""

    POSITION = 0
    """Everything after ``sequence``."""
    SNAPSHOT = 1
    """A snapshot: the holder never got a whole one. Epoch and sequence mean nothing."""


@dataclass(frozen=True, slots=True)
class ResumeToken:
    tenant_uid: uuid.UUID
    epoch: bytes
    sequence: int
    kind: TokenKind = TokenKind.POSITION


class ResumeTokens:
    """Writes and reads resume tokens. Holds nothing, so one is as good as another."""

    def position(self, tenant_uid: uuid.UUID, epoch: bytes, sequence: int) -> str:
        """The token after which everything beyond ``sequence`` follows.

        Take ``epoch`` before the transaction or the read that yields ``sequence``: if the store is exchanged in
        between, the token then names the old epoch and leads to a reset instead of to a silent gap.
        """
        return encode(ResumeToken(tenant_uid, epoch, sequence))

    def snapshot(self, tenant_uid: uuid.UUID) -> str:
        """The token with which a snapshot starts again."""
        return encode(ResumeToken(tenant_uid, bytes(EPOCH_BYTES), 0, TokenKind.SNAPSHOT))

    def decode(
        self, text: str, tenant_uid: uuid.UUID, *, field: str = "resume_token"
    ) -> ResumeToken:
        """Read a token of this tenant; InvalidArgument (RESUME_TOKEN_INVALID) if it is damaged or another's.

        Whether its epoch is the store's and its sequence exists yet is for the stream to find out.
        """
        token = _decode(text)
        if token is None:
            raise _invalid(field, "is damaged: hand it back exactly as it was received")
        if token.tenant_uid != tenant_uid:
            raise _invalid(field, "belongs to another tenant, or to one of that name since deleted")
        return token


def encode(token: ResumeToken) -> str:
    """The text of a token."""
    body = _BODY.pack(_VERSION, token.kind, token.tenant_uid.bytes, token.epoch, token.sequence)
    checked = body + _CHECKSUM.pack(zlib.crc32(body))
    return base64.urlsafe_b64encode(checked).rstrip(b"=").decode("ascii")


def _decode(text: str) -> ResumeToken | None:
    """The token, or None if the text isn't exactly what `encode` makes."""
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
    # The last character has bits that decoding ignores: a change there is an alteration too.
    return token if encode(token) == text else None


def _invalid(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(field, message, reason="RESUME_TOKEN_INVALID")
