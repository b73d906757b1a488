"""Filters and orders of the lists, as requests hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.lists import ALWAYS, NEVER, RunFilter, TimeRange
from deployment_service.v1 import deployment_service_pb2 as pb

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEWEST_FIRST = {"": True, "create_time desc": True, "create_time": False, "create_time asc": False}


def run_filter(request: pb.ListRunsRequest) -> RunFilter:
    """Return which runs are asked for, in which order. Raises InvalidArgument."""
    return RunFilter(
        statuses=_words(request.statuses, pb.DeploymentStatus, "DEPLOYMENT_STATUS_"),
        sources=_words(request.sources, pb.RunSource, "RUN_SOURCE_"),
        created=_created(request),
        show_deleted=request.show_deleted,
        newest_first=_order(request.order_by, _NEWEST_FIRST),
    )


def _created(request: pb.ListRunsRequest) -> TimeRange:
    times = TimeRange(
        _time(request, "create_time_from", ALWAYS), _time(request, "create_time_until", NEVER)
    )
    if times.start > times.end:
        raise InvalidArgument("create_time_until", "is before create_time_from")
    return times


def _time(request: Message, field: str, default: datetime) -> datetime:
    """The first microsecond that is not before the time: the store has no finer ones."""
    if not request.HasField(field):
        return default
    value: Timestamp = getattr(request, field)
    try:
        return _EPOCH + timedelta(seconds=value.seconds, microseconds=-(-value.nanos // 1000))
    except OverflowError:
        return NEVER


def _order(text: str, orders: Mapping[str, bool]) -> bool:
    """The order that an AIP-132 text stands for; blanks count once."""
    wanted = orders.get(" ".join(text.split()))
    if wanted is None:
        known = ", ".join(f"'{one}'" for one in orders if one)
        raise InvalidArgument("order_by", f"is not one of {known}")
    return wanted


def _words(values: Iterable[int], enum: Any, prefix: str) -> list[str]:
    return sorted({enum.Name(one).removeprefix(prefix) for one in values})
