"""Reports and pokes that wait for the service, in bounded memory."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from deployment_service.v1 import gateway_service_pb2 as pb

# A tenant with more reports than LIGHT waiting has calls of its own, with at most HEAVY_SHARE in each.
LIGHT, HEAVY_SHARE = 10, 50
# More tries than failures: that a job is busy is told often, and sending such reports one by one costs most just then.
SUSPECT_FAILURES, SUSPECT_TRIES = 3, 16
MAX_POKES = 10_000
MAX_POKES_A_CALL = 500
# A job that is refused again and again is read again this often, not for each refusal.
POKE_AGAIN_AFTER = 5.0


@dataclass(slots=True, eq=False)
class Entry:
    """One report on its way."""

    report: pb.BuildReport
    size: int
    waiter: asyncio.Future[pb.ReportResult] | None = None
    tries: int = 0
    # Calls that it was in and that failed as if something in them were the cause.
    failures: int = 0

    @property
    def is_suspect(self) -> bool:
        """Whether it must go alone: it, or something that always came with it, keeps failing."""
        return self.failures >= SUSPECT_FAILURES or self.tries >= SUSPECT_TRIES


class Backlog:
    """Entries by tenant, taken in turn, so that one tenant's flood isn't in front of another's report.

    An entry takes room from ``add`` to ``release``, also while it is in a call.
    """

    def __init__(self, max_reports: int, max_bytes: int) -> None:
        self._max_reports = max_reports
        self._max_bytes = max_bytes
        self._queues: OrderedDict[str, deque[Entry]] = OrderedDict()
        self._held: dict[str, tuple[int, int]] = {}
        self.reports = 0
        self.bytes = 0

    def add(self, entry: Entry) -> bool:
        """Take an entry in; False if there is no room, or its tenant has half of all room already."""
        count, size = self._held.get(entry.report.tenant, (0, 0))
        full = (
            self.reports >= self._max_reports
            or self.bytes + entry.size > self._max_bytes
            or count >= max(1, self._max_reports // 2)
            or size + entry.size > self._max_bytes // 2
        )
        if full:
            return False
        self._hold(entry, 1)
        self._queues.setdefault(entry.report.tenant, deque()).append(entry)
        return True

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Put entries that were taken in front again, in their order."""
        for entry in reversed(list(entries)):
            self._queues.setdefault(entry.report.tenant, deque()).appendleft(entry)

    def take(
        self, max_reports: int, max_bytes: int, without: Collection[str] = (), *, heavy: bool = True
    ) -> list[Entry]:
        """Return what goes into one call.

        All in a call wait for its slowest part. So tenants with little to say go together, one report of
        each in turn; one that has much to say goes alone, in several calls, or not at all if not ``heavy``.
        """
        waiting = [tenant for tenant in self._queues if tenant not in without]
        turns = deque(tenant for tenant in waiting if len(self._queues[tenant]) <= LIGHT)
        if not turns:
            if not waiting or not heavy:
                return []
            turns, max_reports = deque(waiting[:1]), min(max_reports, HEAVY_SHARE)
        taken: list[Entry] = []
        room = max_bytes
        while turns and len(taken) < max_reports:
            tenant = turns.popleft()
            queue = self._queues[tenant]
            if taken and queue[0].size > room:
                break
            entry = queue.popleft()
            room -= entry.size
            taken.append(entry)
            # Those that were served last come last.
            self._queues.move_to_end(tenant)
            if queue:
                turns.append(tenant)
            else:
                del self._queues[tenant]
        return taken

    def release(self, entry: Entry) -> None:
        """Give an entry's room back: it has been answered for, or given up."""
        self._hold(entry, -1)

    def _hold(self, entry: Entry, sign: int) -> None:
        tenant = entry.report.tenant
        count, size = self._held.get(tenant, (0, 0))
        self.reports += sign
        self.bytes += sign * entry.size
        if count + sign:
            self._held[tenant] = (count + sign, size + sign * entry.size)
        else:
            self._held.pop(tenant, None)


class RefreshRequests:
    """Jobs that the service should read next, each once."""

    def __init__(self) -> None:
        self._due: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()
        self._sent: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        """How many jobs wait to be poked."""
        return len(self._due)

    def add(self, tenant: str, job: str, reason: str) -> float | None:
        """Note a job; return in how many seconds it is due, None if it was noted already or there is no room."""
        key = (tenant, job)
        if key in self._due or len(self._due) >= MAX_POKES:
            return None
        now = time.monotonic()
        due = max(now, self._sent.get(key, 0.0) + POKE_AGAIN_AFTER)
        self._due[key] = (due, reason)
        return due - now

    def hurry(self) -> None:
        """Make all of them due."""
        for key, (_, reason) in self._due.items():
            self._due[key] = (0.0, reason)

    def has_due(self) -> bool:
        """Whether any can be taken now."""
        now = time.monotonic()
        return any(due <= now for due, _ in self._due.values())

    def take(self) -> list[pb.RefreshRequest]:
        """Return those that are due."""
        now = time.monotonic()
        keys = [key for key, (due, _) in self._due.items() if due <= now][:MAX_POKES_A_CALL]
        taken = []
        for key in keys:
            _, reason = self._due.pop(key)
            taken.append(pb.RefreshRequest(tenant=key[0], cicd_job_id=key[1], reason=reason))
            self._sent[key] = now
            self._sent.move_to_end(key)
        while len(self._sent) > MAX_POKES or (
            self._sent and now - next(iter(self._sent.values())) > POKE_AGAIN_AFTER
        ):
            self._sent.popitem(last=False)
        return taken

    def put_back(self, refresh_requests: Iterable[pb.RefreshRequest], delay: float = 0.0) -> None:
        """Note those again that could not be sent."""
        due = time.monotonic() + delay
        for request_refresh in refresh_requests:
            self._due.setdefault(
                (request_refresh.tenant, request_refresh.cicd_job_id), (due, request_refresh.reason)
            )
