"""The body of WatchDeployments: the request in, the hub's bytes out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from typing import Any

import grpc.aio

from deployment_service.api.arguments import foreign
from deployment_service.domain.access import TenantRef
from deployment_service.domain.definition import check_labels
from deployment_service.domain.errors import InvalidArgument, Unavailable
from deployment_service.domain.events import Until
from deployment_service.domain.names import DeploymentName
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.watch.hub import WatchHub

MOST_NAMES = 1000
WRITE_TIMEOUT_S = 60.0
_UNTIL = {
    pb.WATCH_UNTIL_REPORTED: Until.REPORTED,
    pb.WATCH_UNTIL_SETTLED: Until.SETTLED,
}


async def serve_watch(
    hub: WatchHub,
    tenant: TenantRef,
    request: pb.WatchDeploymentsRequest,
    context: grpc.aio.ServicerContext[Any, Any],
    *,
    write_timeout_s: float = WRITE_TIMEOUT_S,
) -> None:
    """Write the stream until it ends, the client goes, the replica stops, or a message isn't taken in time.

    The messages are bytes already: the method's response serializer must let bytes pass. A coroutine that writes,
    not a generator: only then can a write be cancelled.
    """
    slugs = _slugs(tenant, request.names)
    until = _UNTIL.get(request.until)
    if until is not None and slugs is None:
        raise InvalidArgument(
            "names", "must name the deployments that end the stream", reason="REQUIRED_FIELD"
        )
    watching = hub.watch(
        tenant,
        slugs=slugs,
        types=frozenset(pb.DeploymentEvent.Type.Name(one) for one in request.types) or None,
        labels=frozenset(check_labels(request.labels, field="labels").items()),
        resume_token=request.resume_token,
        until=until,
    )
    async with aclosing(watching) as messages:
        async for message in messages:
            try:
                async with asyncio.timeout(write_timeout_s):
                    await context.write(message)
            except TimeoutError:
                raise Unavailable(
                    "SLOW_CONSUMER",
                    f"The client read nothing for {write_timeout_s:g} s. Resume when it can.",
                ) from None
            except grpc.aio.InternalError:
                # No defect, and no status to send: the call no longer exists.
                raise Unavailable(
                    "CLIENT_DISCONNECTED", "The client disconnected during a write."
                ) from None


def _slugs(tenant: TenantRef, names: Iterable[str]) -> frozenset[str] | None:
    """The ids of the deployments to watch; None: all."""
    slugs = set()
    for index, text in enumerate(names):
        field = f"names[{index}]"
        if index >= MOST_NAMES:
            raise InvalidArgument(
                "names", f"at most {MOST_NAMES}; leave it empty to watch all", reason="TOO_MANY"
            )
        name = DeploymentName.parse(text, field=field)
        if name.tenant != tenant.slug:
            raise foreign(field, tenant)
        slugs.add(name.deployment)
    return frozenset(slugs) or None
