"""Retention: removes events, deliveries, request ids and deleted deployments that needn't be kept any longer.

Every replica goes through all tenants now and then; who finds another one at it leaves the round to that one. Watchers
notice nothing, unless they come back after longer than events are kept: they get a reset (promise P5).
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from deployment_service.storage import origin_shares, retention
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.retention import Retained, Trimmed
from deployment_service.workers.loop import Loop

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_NOBODY = uuid.UUID(int=0)
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """``batch``: rows that one transaction looks at. ``pause_s`` between two leaves the database to others."""

    event_age_s: float = 90 * _DAY_S
    delivery_age_s: float = 7 * _DAY_S
    every_s: float = 300.0
    round_s: float = 3600.0
    batch: int = 500
    tenants_at_once: int = 25
    pause_s: float = 0.02


class _SomebodyElse(Exception):
    """Another replica is at it."""


class Retention:
    """One per process."""

    def __init__(self, database: Database, settings: RetentionSettings) -> None:
        self._database = database
        self._settings = settings
        self._loop = Loop(
            "retention", self.one_round, every_s=settings.every_s, deadline_s=settings.round_s
        )

    async def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        """Cut the round under way: the next one, of whichever replica, goes on."""
        await self._loop.stop()

    async def one_round(self) -> None:
        """Go through everything once."""
        gone: Counter[str] = Counter()
        try:
            await self._walk(Retained.EVENTS, self._settings.event_age_s, gone)
            await self._walk(Retained.DELIVERIES, self._settings.delivery_age_s, gone)
            await self._in_batches(retention.forget_request_ids, "request_ids", gone)
            await self._in_batches(retention.forget_verifiers, "webhook_verifiers", gone)
            await self._in_batches(origin_shares.forget, "origin_shares", gone)
            await self._in_batches(retention.purge_deployments, "deployments", gone)
        except _SomebodyElse:
            pass
        finally:
            if gone.total():
                _log.info("retention", **gone)

    async def _walk(self, kept: Retained, older_than_s: float, gone: Counter[str]) -> None:
        last = _NOBODY
        while True:
            async with self._database.acquire() as connection:
                tenants = await retention.tenants_after(
                    connection, last, self._settings.tenants_at_once
                )
            if not tenants:
                return
            last = tenants[-1]
            positions = dict.fromkeys(tenants, 0)
            while positions:
                trimmed = await self._trim(kept, positions, older_than_s)
                gone[kept.name.lower()] += trimmed.rows
                positions = trimmed.positions
                await asyncio.sleep(self._settings.pause_s)

    async def _trim(
        self, kept: Retained, positions: dict[uuid.UUID, int], older_than_s: float
    ) -> Trimmed:
        async def work(connection: Connection) -> Trimmed:
            return await retention.trim(
                connection,
                kept,
                positions,
                older_than_s=older_than_s,
                each=max(1, self._settings.batch // len(positions)),
            )

        return await self._alone(work)

    async def _in_batches(
        self,
        remove: Callable[[Connection, int], Awaitable[int]],
        what: str,
        gone: Counter[str],
    ) -> None:
        while True:
            rows = await self._alone(lambda c: remove(c, self._settings.batch))
            gone[what] += rows
            if not rows:
                return
            await asyncio.sleep(self._settings.pause_s)

    async def _alone(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do it in a transaction of its own, unless another replica is at it."""

        async def locked(connection: Connection) -> T:
            if not await retention.is_mine(connection):
                raise _SomebodyElse
            return await work(connection)

        return await self._database.transaction(locked)
