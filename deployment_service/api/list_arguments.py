"""Filters and orders of the lists, as requests hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from deployment_service.api.arguments import deployment_or_all, foreign, provider_id, statuses
from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.lists import (
    ALWAYS,
    NEVER,
    DeploymentOrder,
    EventFilter,
    RunFilter,
    TimeRange,
    View,
)
from deployment_service.domain.names import ALL, DeploymentName, RunName
from deployment_service.storage.deployments.deployments import DeploymentFilter
from deployment_service.v1 import deployment_service_pb2 as pb

MOST_NAMES = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_DEPLOYMENT_ORDERS = {
    "": DeploymentOrder.NAME,
    "name": DeploymentOrder.NAME,
    "name asc": DeploymentOrder.NAME,
    "create_time desc": DeploymentOrder.NEWEST_FIRST,
    "create_time": DeploymentOrder.OLDEST_FIRST,
    "create_time asc": DeploymentOrder.OLDEST_FIRST,
}
_RUN_ORDERS = {"": True, "create_time desc": True, "create_time": False, "create_time asc": False}
_EVENT_ORDERS = {"": False, "sequence": False, "sequence asc": False, "sequence desc": True}
Name = TypeVar("Name", DeploymentName, RunName)
Order = TypeVar("Order", bool, DeploymentOrder)


def deployment_filter(request: pb.ListDeploymentsRequest, tenant: TenantRef) -> DeploymentFilter:
    """Return filter and order of a list of deployments. Raises ``InvalidArgument``."""
    provider = provider_id(request.provider, tenant, "provider") if request.provider else None
    return DeploymentFilter(
        statuses=statuses(request.statuses),
        labels=dict(request.labels),
        provider_slug=provider,
        created=_created(request),
        show_deleted=request.show_deleted,
        order=_order(request.order_by, _DEPLOYMENT_ORDERS),
    )


def run_filter(request: pb.ListRunsRequest) -> RunFilter:
    """Return filter and order of a list of runs. Raises ``InvalidArgument``."""
    return RunFilter(
        statuses=_words(request.statuses, pb.DeploymentStatus, "DEPLOYMENT_STATUS_"),
        sources=_words(request.sources, pb.RunSource, "RUN_SOURCE_"),
        created=_created(request),
        show_deleted=request.show_deleted,
        newest_first=_order(request.order_by, _RUN_ORDERS),
    )


def event_filter(request: pb.ListEventsRequest) -> EventFilter:
    """Return filter and order of a list of events. Raises ``InvalidArgument``."""
    return EventFilter(
        types=_words(request.types, pb.DeploymentEvent.Type, ""),
        sources=_words(request.sources, pb.EventSource, "EVENT_SOURCE_"),
        created=_created(request),
        newest_first=_order(request.order_by, _EVENT_ORDERS),
    )


def events_of(request: pb.ListEventsRequest, tenant: TenantRef) -> str | RunName | None:
    """Return the deployment or run whose events to list, or None for all. Raises ``InvalidArgument``."""
    deployment = deployment_or_all(request.parent)
    if not request.run:
        return None if deployment == ALL else deployment
    run = RunName.parse(request.run, field="run", allow_deleted=True)
    if run.tenant != tenant.slug:
        raise foreign("run", tenant)
    if deployment not in (ALL, run.deployment):
        raise InvalidArgument("run", f"is not a run of '{request.parent}'", reason="WRONG_PARENT")
    return run


def view(value: int) -> View:
    """Return the requested view; BASIC if none is set."""
    return View.FULL if value == pb.VIEW_FULL else View.BASIC


def names_of(kind: type[Name], texts: Sequence[str], tenant: TenantRef) -> list[Name]:
    """Return the names of a batch, all of one tenant. Raises InvalidArgument, PermissionDenied."""
    if not texts:
        raise InvalidArgument("names", "must name one at least", reason="REQUIRED_FIELD")
    if len(texts) > MOST_NAMES:
        raise InvalidArgument("names", f"at most {MOST_NAMES}", reason="TOO_MANY")
    names = []
    for index, text in enumerate(texts):
        name = kind.parse(text, field=f"names[{index}]", allow_deleted=True)
        if name.tenant != tenant.slug:
            raise foreign(f"names[{index}]", tenant)
        names.append(name)
    return names


def _created(
    request: pb.ListDeploymentsRequest | pb.ListRunsRequest | pb.ListEventsRequest,
) -> TimeRange:
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


def _order(text: str, orders: Mapping[str, Order]) -> Order:
    """Return the order in an AIP-132 text; repeated blanks count once."""
    wanted = orders.get(" ".join(text.split()))
    if wanted is None:
        known = ", ".join(f"'{one}'" for one in orders if one)
        raise InvalidArgument("order_by", f"is not one of {known}")
    return wanted


def _words(values: Iterable[int], enum: Any, prefix: str) -> list[str]:
    return sorted({enum.Name(one).removeprefix(prefix) for one in values})
