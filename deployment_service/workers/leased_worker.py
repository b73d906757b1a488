"""A worker that claims due items from the database and works on each in a task of its own.

Dispatcher, reconciler, confirmer, job provisioner and job comparer each are one of these, with their own claim and
their own work. Replicas share the items by leases: what a worker drops, another claims when the lease ends.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import structlog

from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS, OutageLog, failure_of
from deployment_service.workers.loop import Loop

_log = structlog.get_logger(__name__)


class Leased(Protocol):
    """An item that was claimed. It counts for its tenant and for its provider."""

    @property
    def tenant_id(self) -> uuid.UUID: ...
    @property
    def provider_id(self) -> uuid.UUID: ...


Item = TypeVar("Item", bound=Leased)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many items a worker works on at once.

    ``per_tenant`` and ``per_provider`` keep the items of a slow Jenkins from taking all of ``at_once``. One claim may
    exceed them, by at most ``per_claim``. None: no limit.
    """

    at_once: int
    per_tenant: int | None = None
    per_provider: int | None = None
    per_claim: int | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """What may be claimed now: up to ``limit`` items, none of a tenant or a provider that is full.

    ``left_of_tenant``: how many items of one tenant fit, whichever it is (of those that are not full).
    """

    limit: int
    full_tenants: Sequence[uuid.UUID]
    full_providers: Sequence[uuid.UUID]
    left_of_tenant: int


class LeasedWorker(Generic[Item]):
    """Calls ``claim`` when woken, at least every ``every_s`` seconds, and when there is room again; then ``work``.

    ``log_fields`` are in each log line of an item's work. An item whose work raises is left to its lease.
    """

    def __init__(
        self,
        name: str,
        claim: Callable[[Room], Awaitable[Sequence[Item]]],
        work: Callable[[Item], Awaitable[None]],
        log_fields: Callable[[Item], dict[str, str]],
        *,
        limits: Limits,
        every_s: float,
        at_least_s: float = 0.0,
        stop_grace_s: float = 0.0,
    ) -> None:
        """``at_least_s``: the shortest pause between two claims. ``stop_grace_s``: see ``stop``."""
        self._name = name
        self._claim = claim
        self._work = work
        self._log_fields = log_fields
        self._limits = limits
        self._stop_grace_s = stop_grace_s
        self._tasks: dict[asyncio.Task[None], Item] = {}
        self._outage = OutageLog(name)
        self._loop = Loop(name, self._round, every_s=every_s, at_least_s=at_least_s)

    def wake(self) -> None:
        """Claim now: an item has become due."""
        self._loop.wake()

    async def start(self) -> None:
        """Begin to claim."""
        self._loop.start()

    async def stop(self) -> None:
        """Claim nothing more. A claim and tasks under way have the grace period to finish, then they are cancelled.

        A claim that is cancelled may have committed: its items would wait until their leases end.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + self._stop_grace_s
        await self._loop.stop(self._stop_grace_s)
        tasks = list(self._tasks)
        if tasks and clock() < until:
            await asyncio.wait(tasks, timeout=until - clock())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _round(self) -> None:
        room = self._room()
        if room.limit <= 0:
            return
        claimed = await self._claim(room)
        for item in claimed:
            task = asyncio.create_task(self._run(item))
            self._tasks[task] = item
            task.add_done_callback(self._done)
        if len(claimed) >= room.limit:
            self._loop.wake()  # more may be due

    def _room(self) -> Room:
        limits, items = self._limits, self._tasks.values()
        free = limits.at_once - len(items)
        by_tenant = Counter(item.tenant_id for item in items)
        full_tenants = _full(by_tenant, limits.per_tenant)
        busiest = max(
            (n for tenant, n in by_tenant.items() if tenant not in full_tenants), default=0
        )
        return Room(
            limit=free if limits.per_claim is None else min(free, limits.per_claim),
            full_tenants=full_tenants,
            full_providers=_full(Counter(item.provider_id for item in items), limits.per_provider),
            left_of_tenant=free if limits.per_tenant is None else limits.per_tenant - busiest,
        )

    async def _run(self, item: Item) -> None:
        """Work on an item. Never raises."""
        structlog.contextvars.bind_contextvars(**self._log_fields(item))  # in this task only
        try:
            await self._work(item)
        except UNAVAILABLE_ERRORS as error:
            self._outage.report(failure_of(error))
        except Exception:
            _log.exception("worker.task_failed", worker=self._name)

    def _done(self, task: asyncio.Task[None]) -> None:
        """Claim again if the task took the last place: of all, of its tenant or of its provider."""
        item = self._tasks.pop(task)
        limits, items = self._limits, self._tasks.values()
        left = (
            limits.at_once - len(items),
            _left(limits.per_tenant, item.tenant_id, (one.tenant_id for one in items)),
            _left(limits.per_provider, item.provider_id, (one.provider_id for one in items)),
        )
        if 1 in left:
            self._loop.wake()


def _full(counts: Counter[uuid.UUID], limit: int | None) -> list[uuid.UUID]:
    return [key for key, count in counts.items() if limit is not None and count >= limit]


def _left(limit: int | None, key: uuid.UUID, keys: Iterable[uuid.UUID]) -> int:
    return 0 if limit is None else limit - sum(one == key for one in keys)
