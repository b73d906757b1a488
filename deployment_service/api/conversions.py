"""Field masks and small conversions that several servicers share."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from deployment_service.domain.errors import InvalidArgument


def paths(mask: FieldMask, given: Message, allowed: Set[str]) -> frozenset[str]:
    """The fields that an update is to change: those that its mask names; ``*``: all that are allowed.

    Without a mask: the fields that are set in ``given`` (AIP-134), so that a request with one field keeps the others.
    """
    if list(mask.paths) == ["*"]:
        return frozenset(allowed)
    if not mask.paths:
        populated = {field.name for field, _ in given.ListFields()} & allowed
        if not populated:
            raise InvalidArgument(
                "update_mask",
                f"is required where none of {', '.join(sorted(allowed))} is set: name what is to be emptied",
                reason="REQUIRED_FIELD",
            )
        return frozenset(populated)
    for path in mask.paths:
        if path not in allowed:
            raise InvalidArgument(
                "update_mask",
                f"'{path[:60]}' can't be changed; only {', '.join(sorted(allowed))} can",
                reason="FIELD_NOT_CHANGEABLE",
            )
    return frozenset(mask.paths)


def timestamp(time: datetime | None) -> Timestamp | None:
    """A time as a message; None, which leaves a field unset, for None."""
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time)
    return message


_LAST_MS = 253_402_300_799_999  # of the year 9999: the well-known type goes no further


def time_of_ms(ms: int | None) -> Timestamp | None:
    """Return milliseconds since 1970 as a message; None for None and for values out of range."""
    if ms is None or not 0 < ms <= _LAST_MS:
        return None
    message = Timestamp()
    message.FromMilliseconds(ms)
    return message


def duration(time: timedelta | None) -> Duration | None:
    """A duration as a message; None, which leaves a field unset, for None."""
    if time is None:
        return None
    message = Duration()
    message.FromTimedelta(time)
    return message
