"""Retention: removes events, deliveries, request ids and deleted deployments after their retention time.

Every replica begins a round now and then, and ends it if another replica's is under way. Watchers are not affected,
except those that resume after longer than events are kept: they get a reset (promise P5).
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

_BEFORE_ALL_TENANTS = uuid.UUID(int=0)
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """``batch``: rows that one transaction examines. ``pause_s`` between two leaves the database to other work."""

    event_age_s: float = 90 * _DAY_S
    delivery_age_s: float = 7 * _DAY_S
    every_s: float = 300.0
    round_s: float = 3600.0
    batch: int = 500
    tenants_at_once: int = 25
    pause_s: float = 0.02


class _AnotherReplica(Exception):
    """Another replica's round is under way."""


class Retention:
    """Removes old rows in rounds. One per process."""

    def __init__(self, database: Database, settings: RetentionSettings) -> None:
        self._database = database
        self._settings = settings
        self._loop = Loop(
            "retention", self.one_round, every_s=settings.every_s, deadline_s=settings.round_s
        )

    async def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        """Cancel the round under way: the next one, of any replica, continues."""
        await self._loop.stop()

    async def one_round(self) -> None:
        """Remove everything whose retention time has passed."""
        removed: Counter[str] = Counter()
        try:
            await self._trim_all(Retained.EVENTS, self._settings.event_age_s, removed)
            await self._trim_all(Retained.DELIVERIES, self._settings.delivery_age_s, removed)
            await self._in_batches(retention.forget_request_ids, "request_ids", removed)
            await self._in_batches(retention.forget_verifiers, "webhook_verifiers", removed)
            await self._in_batches(origin_shares.forget, "origin_shares", removed)
            await self._in_batches(retention.purge_deployments, "deployments", removed)
        except _AnotherReplica:
            pass
        finally:
            if removed.total():
                _log.info("retention.removed", **removed)

    async def _trim_all(self, table: Retained, older_than_s: float, removed: Counter[str]) -> None:
        last = _BEFORE_ALL_TENANTS
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
                trimmed = await self._trim(table, positions, older_than_s)
                removed[table.name.lower()] += trimmed.rows
                positions = trimmed.positions
                await asyncio.sleep(self._settings.pause_s)

    async def _trim(
        self, table: Retained, positions: dict[uuid.UUID, int], older_than_s: float
    ) -> Trimmed:
        async def work(connection: Connection) -> Trimmed:
            return await retention.trim(
                connection,
                table,
                positions,
                older_than_s=older_than_s,
                each=max(1, self._settings.batch // len(positions)),
            )

        return await self._commit(work)

    async def _in_batches(
        self,
        remove: Callable[[Connection, int], Awaitable[int]],
        table: str,
        removed: Counter[str],
    ) -> None:
        while True:
            rows = await self._commit(lambda c: remove(c, self._settings.batch))
            removed[table] += rows
            if not rows:
                return
            await asyncio.sleep(self._settings.pause_s)

    async def _commit(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Commit ``work``. Raises _AnotherReplica if another replica's round is under way."""

        async def locked(connection: Connection) -> T:
            if not await retention.is_mine(connection):
                raise _AnotherReplica
            return await work(connection)

        return await self._database.transaction(locked)
