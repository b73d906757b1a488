"""Reads several things, a few at once; one that fails does not keep the others from their turn."""

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
    things: Sequence[T], work: Callable[[T], Awaitable[None]], *, at_once: int
) -> None:
    """Do the work for each thing, at most ``at_once`` at a time; log what fails.

    Raises:
        Exception: one of ``UNAVAILABLE_ERRORS``, as soon as the database is unavailable.
    """
    places = asyncio.Semaphore(at_once)

    async def one(thing: T) -> None:
        async with places:
            try:
                await work(thing)
            except ProviderError as error:
                _log.warning("reading failed", error=str(error))
            except UNAVAILABLE_ERRORS:
                raise
            except Exception:
                _log.exception("reading failed")

    try:
        async with asyncio.TaskGroup() as group:
            for thing in things:
                group.create_task(one(thing))
    except ExceptionGroup as away:
        raise away.exceptions[0] from None
