"""Reports and refresh requests that are queued for the service, in bounded memory."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from deployment_service.v1 import gateway_service_pb2 as pb

# A tenant with more than LIGHT queued reports has calls of its own, with at most HEAVY_SHARE in each.
LIGHT, HEAVY_SHARE = 10, 50
# More tries than failures: RETRY for a busy job is frequent, and sending its reports one by one costs most under load.
SUSPECT_FAILURES, SUSPECT_TRIES = 3, 16
MAX_REFRESH_REQUESTS = 10_000
MAX_REFRESH_REQUESTS_PER_CALL = 500
# Interval, in seconds, of the reads of a job whose reports are refused again and again.
REFRESH_INTERVAL_S = 5.0


@dataclass(slots=True, eq=False)
class Entry:
    """A queued report."""

    report: pb.BuildReport
    size: int
    waiter: asyncio.Future[pb.ReportResult] | None = None
    tries: int = 0
    # Number of failed calls with this report, of failures that the content of a call may have caused.
    failures: int = 0

    @property
    def is_suspect(self) -> bool:
        """Whether it must be sent alone: calls with it keep failing."""
        return self.failures >= SUSPECT_FAILURES or self.tries >= SUSPECT_TRIES


class Backlog:
    """Entries by tenant, taken round robin, so that one tenant's flood does not delay another's report.

    An entry counts against the limits from ``add`` to ``release``, also while it is in a call.
    """

    def __init__(self, max_reports: int, max_bytes: int) -> None:
        self._max_reports = max_reports
        self._max_bytes = max_bytes
        self._queues: OrderedDict[str, deque[Entry]] = OrderedDict()
        self._held: dict[str, tuple[int, int]] = {}
        self.reports = 0
        self.bytes = 0

    def add(self, entry: Entry) -> bool:
        """Append an entry; return False if the backlog is full, or its tenant uses half of it already."""
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
        """Put taken entries back at the front, in their order."""
        for entry in reversed(list(entries)):
            self._queues.setdefault(entry.report.tenant, deque()).appendleft(entry)

    def take(
        self, max_reports: int, max_bytes: int, without: Collection[str] = (), *, heavy: bool = True
    ) -> list[Entry]:
        """Return the entries of one call, in bytes and number bounded.

        A call is as slow as its slowest part. So tenants with few reports share a call, one report of each in turn.
        A tenant with many has calls of its own, or none if ``heavy`` is false.
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
            # Least recently served first.
            self._queues.move_to_end(tenant)
            if queue:
                turns.append(tenant)
            else:
                del self._queues[tenant]
        return taken

    def release(self, entry: Entry) -> None:
        """Free the room of an entry that was answered or dropped."""
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
    """Jobs that the service should read soon, each once."""

    def __init__(self) -> None:
        self._due: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()
        self._sent: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of queued jobs."""
        return len(self._due)

    def add(self, tenant: str, job: str, reason: str) -> float | None:
        """Queue a job; return the seconds until it is due, or None if it is queued already or the queue is full."""
        key = (tenant, job)
        if key in self._due or len(self._due) >= MAX_REFRESH_REQUESTS:
            return None
        now = time.monotonic()
        due = max(now, self._sent.get(key, 0.0) + REFRESH_INTERVAL_S)
        self._due[key] = (due, reason)
        return due - now

    def make_all_due(self) -> None:
        """Make all of them due now."""
        for key, (_, reason) in self._due.items():
            self._due[key] = (0.0, reason)

    def has_due(self) -> bool:
        """Return whether any is due."""
        now = time.monotonic()
        return any(due <= now for due, _ in self._due.values())

    def take(self) -> list[pb.RefreshRequest]:
        """Return those that are due."""
        now = time.monotonic()
        keys = [key for key, (due, _) in self._due.items() if due <= now][
            :MAX_REFRESH_REQUESTS_PER_CALL
        ]
        taken = []
        for key in keys:
            _, reason = self._due.pop(key)
            taken.append(pb.RefreshRequest(tenant=key[0], cicd_job_id=key[1], reason=reason))
            self._sent[key] = now
            self._sent.move_to_end(key)
        while len(self._sent) > MAX_REFRESH_REQUESTS or (
            self._sent and now - next(iter(self._sent.values())) > REFRESH_INTERVAL_S
        ):
            self._sent.popitem(last=False)
        return taken

    def put_back(self, refresh_requests: Iterable[pb.RefreshRequest], delay: float = 0.0) -> None:
        """Queue requests again that could not be sent. ``delay`` in seconds."""
        due = time.monotonic() + delay
        for request in refresh_requests:
            self._due.setdefault((request.tenant, request.cicd_job_id), (due, request.reason))
