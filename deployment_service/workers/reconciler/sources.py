"""The lists that a cycle reads first, queue and executors. If one fails, the results of the other still count."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from deployment_service.cicd.errors import ProviderError
from deployment_service.cicd.port import (
    BuildView,
    CicdProvider,
    JobBuilds,
    QueueView,
    RunningView,
)
from deployment_service.domain.problems import ProblemReason
from deployment_service.workers.controllers.controllers import Controller, ControllerUnavailable

T = TypeVar("T")

_OF_A_PATH = frozenset(
    {
        ProblemReason.PERMISSION_MISSING,
        ProblemReason.SERVER_ERROR,
        ProblemReason.MALFORMED_ANSWER,
        ProblemReason.NOT_JENKINS,
    }
)
"""Failures of one path of Jenkins, or of a proxy for it, while other paths may work."""

_log = structlog.get_logger(__name__)

_PENDING_READS = 20


@dataclass(frozen=True, slots=True)
class Sources:
    """Queue and executors; a list that could not be read is empty. ``queue_read``: the queue could be read.

    ``failure``: neither could be read, for a reason that may leave single builds readable.
    """

    queue: QueueView
    running: RunningView
    queue_read: bool
    failure: ProviderError | None = None


async def read_sources(controller: Controller) -> Sources:
    """Read the queue, then the executors: an item that leaves the queue in between is on the executors.

    Raises:
        ProviderError: neither could be read, and other calls would fail too; or the budget allows no two calls.
    """
    await controller.allow_all(2)
    queue, queue_error = await _read(controller, lambda client: client.list_queue())
    running, error = await _read(controller, lambda client: client.list_running())
    failure = None
    if queue_error is not None and error is not None:
        failure = next((one for one in (queue_error, error) if _ends_reading(one)), error)
        if _ends_reading(failure):
            raise failure
    return Sources(
        queue=queue if queue is not None else QueueView(items=(), session=None),
        running=running if running is not None else RunningView(builds=(), session=None),
        queue_read=queue is not None,
        failure=failure,
    )


def _ends_reading(error: ProviderError) -> bool:
    """Return whether other calls would fail too: no connection, timeout, no valid account, or nothing was sent."""
    return isinstance(error, ControllerUnavailable) or error.reason not in _OF_A_PATH


async def read_build(client: CicdProvider, full_name: str, number: int) -> BuildView | None:
    """Read one build, or find it among the builds of its job if it cannot be read by itself.

    Raises:
        ProviderError: neither shows it.
    """
    try:
        return await client.read_build(full_name, number)
    except ProviderError as error:
        _log.warning("source.failed", source="build", job=full_name, error=str(error))
        builds = await client.list_builds(full_name, limit=100)
        shown = builds.builds if builds is not None else ()
        found = next((build for build in shown if build.number == number), None)
        if found is None:
            raise
        return found


async def read_pending(
    client: CicdProvider, full_name: str, builds: JobBuilds | None, pending: Sequence[int]
) -> tuple[list[BuildView], list[int] | None]:
    """Read the builds that reports name and the list lacks; return those that exist, and the absent numbers."""
    if builds is None:
        return [], None
    listed = {build.number for build in builds.builds}
    unlisted = [n for n in pending if n < builds.next_build_number and n not in listed]
    shown: list[BuildView] = []
    absent: list[int] = []
    for number in unlisted[:_PENDING_READS]:
        build = await client.read_build(full_name, number)
        if build is None:
            absent.append(number)
        else:
            shown.append(build)
    return shown, absent


async def _read(
    controller: Controller, call: Callable[[CicdProvider], Awaitable[T]]
) -> tuple[T | None, ProviderError | None]:
    try:
        async with controller.slot() as client:
            return await call(client), None
    except ProviderError as error:
        _log.warning("source.failed", provider_id=str(controller.provider_id), error=str(error))
        return None, error
