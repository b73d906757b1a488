"""Field masks and small conversions that several servicers share."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from deployment_service.domain.errors import InvalidArgument


def paths(mask: FieldMask, allowed: Set[str]) -> frozenset[str]:
    """The fields that a mask names; all that are allowed if it names none (or ``*``)."""
    if not mask.paths or list(mask.paths) == ["*"]:
        return frozenset(allowed)
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
