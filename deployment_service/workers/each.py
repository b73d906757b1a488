"""Reads several items, a few at once; a failing read does not stop the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from deployment_service.cicd.errors import ProviderError
from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS

T = TypeVar("T")

_log = structlog.get_logger(__name__)


async def for_each(
    items: Sequence[T], work: Callable[[T], Awaitable[None]], *, at_once: int
) -> None:
    """Do the work for each item, at most ``at_once`` at a time; log failures.

    Raises:
        Exception: one of ``UNAVAILABLE_ERRORS``, as soon as the database is unavailable.
    """
    places = asyncio.Semaphore(at_once)

    async def work_on(item: T) -> None:
        async with places:
            try:
                await work(item)
            except ProviderError as error:
                _log.warning("read.failed", error=str(error))
            except UNAVAILABLE_ERRORS:
                raise
            except Exception:
                _log.exception("read.failed")

    try:
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(work_on(item))
    except ExceptionGroup as unavailable:
        raise unavailable.exceptions[0] from None
