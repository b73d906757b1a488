"""Serialise ``WatchDeploymentsResponse``: the only module of ``watch`` with the wire format.

A serialised protobuf message is the concatenation of its fields. So an event and its resume token are serialised
once for all streams, and each stream only appends its own ``prev_sequence``.
"""

from __future__ import annotations

from enum import Enum

from google.protobuf.duration_pb2 import Duration

from deployment_service.v1.deployment_service_pb2 import (
    Bookmark,
    Reset,
    SnapshotComplete,
    WatchDeploymentsResponse,
    WatchStart,
)

# Field number and wire type (2: length-delimited, 0: varint) of the fields that this module serialises itself.
_DEPLOYMENT = bytes([2 << 3 | 2])
_EVENT = bytes([4 << 3 | 2])
_RESUME_TOKEN = bytes([7 << 3 | 2])
_PREV_SEQUENCE = bytes([8 << 3 | 0])


class ResetReason(Enum):
    """Why a client must start again with a snapshot."""

    HISTORY_TRIMMED = Reset.REASON_HISTORY_TRIMMED
    STORE_CHANGED = Reset.REASON_STORE_CHANGED


def start(max_silence_s: float, token: str, sequence: int) -> bytes:
    silence = Duration()
    silence.FromNanoseconds(int(max_silence_s * 1e9))
    return WatchDeploymentsResponse(
        start=WatchStart(max_silence=silence, sequence=sequence), resume_token=token
    ).SerializeToString()


def snapshot_item(deployment: bytes, token: str) -> bytes:
    """Return the message of one deployment of a snapshot. ``deployment``: a serialised Deployment."""
    return _DEPLOYMENT + _delimited(deployment) + _RESUME_TOKEN + _delimited(token.encode())


def snapshot_complete(sequence: int, token: str) -> bytes:
    return WatchDeploymentsResponse(
        snapshot_complete=SnapshotComplete(sequence=sequence), resume_token=token
    ).SerializeToString()


def shared_event(event: bytes, token: str) -> bytes:
    """Return the part of an event's message that all streams share. ``event``: a serialised DeploymentEvent."""
    return _EVENT + _delimited(event) + _RESUME_TOKEN + _delimited(token.encode())


def with_prev_sequence(shared: bytes, prev_sequence: int) -> bytes:
    """Return a stream's message of a shared event. Zero is the default of proto3 and not serialised."""
    if prev_sequence == 0:
        return shared
    return shared + _PREV_SEQUENCE + _varint(prev_sequence)


def bookmark(sequence: int, prev_sequence: int, token: str) -> bytes:
    return WatchDeploymentsResponse(
        bookmark=Bookmark(sequence=sequence), prev_sequence=prev_sequence, resume_token=token
    ).SerializeToString()


def reset(reason: ResetReason, token: str) -> bytes:
    return WatchDeploymentsResponse(
        reset=Reset(reason=reason.value), resume_token=token
    ).SerializeToString()


def _delimited(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
