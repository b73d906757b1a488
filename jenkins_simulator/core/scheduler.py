"""Jenkins' build queue: folding, quiet period, blocking, executors, and the five-minute memory."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

from jenkins_simulator.core.clock import Clock
from jenkins_simulator.core.durations import estimated_duration_ms
from jenkins_simulator.core.model import Build, Cause, ItemState, Job, QueueItem
from jenkins_simulator.core.parameters import ParameterValue

_NEVER_STUCK_BEFORE_S = 600.0
_STUCK_WITHOUT_ESTIMATE_S = 86_400.0


class Executors:
    """The heavyweight executors of the one node; Pipelines themselves need none."""

    def __init__(self, count: int) -> None:
        self.slots: list[Build | None] = [None] * count

    def acquire(self, build: Build) -> int | None:
        """Occupy a free slot and return its number."""
        for number, occupant in enumerate(self.slots):
            if occupant is None:
                self.slots[number] = build
                return number
        return None

    def release(self, build: Build) -> None:
        """Free the executors of this build."""
        self.slots = [None if occupant is build else occupant for occupant in self.slots]

    def free(self) -> int:
        """The number of free slots."""
        return self.slots.count(None)


class BuildQueue:
    """Items wait, then are blocked or buildable, then leave; `start` makes a build of an item."""

    def __init__(
        self,
        clock: Clock,
        executors: Executors,
        left_item_ttl_s: float,
        start: Callable[[QueueItem], None],
        is_quieting_down: Callable[[], bool],
        first_id: Callable[[], int],
        leave_s: float = 0.0,
        round_s: float = 0.0,
    ) -> None:
        self._clock = clock
        self._executors = executors
        self._left_item_ttl_s = left_item_ttl_s
        self._start = start
        self._is_quieting_down = is_quieting_down
        self._live: dict[int, QueueItem] = {}
        self._left: dict[int, QueueItem] = {}
        self._timers: dict[int, asyncio.Task[None]] = {}
        self._first_id = first_id
        self._leave_s = leave_s
        self._round_s = round_s
        self._first_round_at = clock.now()
        # Items that have left the queue and whose build does not exist yet.
        self._starting: dict[int, QueueItem] = {}
        self._last_id = 0
        # Ids by the time they were given out: a hard kill takes the younger ones back.
        self._given_out: list[tuple[float, int]] = []

    def schedule(
        self,
        job: Job,
        parameters: tuple[ParameterValue, ...] | None,
        causes: Sequence[Cause],
        quiet_period_s: float,
    ) -> tuple[QueueItem, bool]:
        """Enter a build request, or fold it into an equal one that still waits."""
        due_at = self._clock.now() + quiet_period_s
        for item in self.items():
            if (
                item.job is job
                and item.placeholder_of is None
                and _is_same(item.parameters, parameters)
            ):
                item.causes.extend(causes)
                if item.state is ItemState.WAITING and due_at < item.due_at:
                    item.due_at = due_at
                    self._watch(item)
                return item, False
        item = QueueItem(
            self.next_id(),
            job,
            parameters,
            list(causes),
            entered_at=self._clock.now(),
            due_at=due_at,
        )
        self._live[item.id] = item
        self._watch(item)
        return item, True

    def add_placeholder(self, build: Build) -> QueueItem:
        """The item by which a Pipeline's `node` step asks for an executor."""
        now = self._clock.now()
        item = QueueItem(self.next_id(), build.job, None, [], entered_at=now, due_at=now)
        item.placeholder_of = build
        self._live[item.id] = item
        self.maintain()
        return item

    def next_id(self) -> int:
        """Give out the next queue id."""
        self._last_id = max(self._last_id + 1, self._first_id())
        self._given_out.append((self._clock.now(), self._last_id))
        return self._last_id

    def items(self) -> list[QueueItem]:
        """Live items in the order that Jenkins lists them: waiting by due time, then the others."""
        order = {ItemState.WAITING: 0, ItemState.BLOCKED: 1, ItemState.BUILDABLE: 2}
        return sorted(self._live.values(), key=lambda i: (order[i.state], i.due_at, i.id))

    def of_job(self, job: Job) -> QueueItem | None:
        """The job's first live item."""
        return next((i for i in self._live.values() if i.job is job and not i.placeholder_of), None)

    def get(self, item_id: int) -> QueueItem | None:
        """A live item, or one that left less than five minutes ago."""
        item = self._live.get(item_id) or self._left.get(item_id)
        if item is None or item.state is not ItemState.LEFT:
            return item
        return None if self._is_forgotten(item) else item

    def _is_forgotten(self, item: QueueItem) -> bool:
        return self._clock.now() - item.left_at >= self._left_item_ttl_s

    def cancel(self, item: QueueItem) -> bool:
        """Take an item out; False if it had left already."""
        if item.state is ItemState.LEFT:
            return False
        item.cancelled = True
        self._leave(item)
        return True

    def maintain(self) -> None:
        """Advance every item as far as possible; called after each change that may unblock one."""
        for item in self.items():
            if item.state is ItemState.WAITING and item.due_at > self._clock.now():
                continue
            blocked_by = self._blocking_build(item)
            if blocked_by is not None or self._starts_already(item.job):
                self._enter(item, ItemState.BLOCKED)
                item.blocked_by = blocked_by
                continue
            self._enter(item, ItemState.BUILDABLE)
            if self._is_quieting_down() and item.placeholder_of is None:
                item.why = "Jenkins is about to shut down"
            elif _is_flyweight(item) or self._has_free_executor():
                self._dispatch(item)
            else:
                item.why = "Waiting for next available executor"

    def _has_free_executor(self) -> bool:
        starting = sum(1 for item in self._starting.values() if not _is_flyweight(item))
        return self._executors.free() > starting

    def _starts_already(self, job: Job) -> bool:
        """Whether a build of a job that allows one at a time is about to start."""
        return not _may_overlap(job) and any(i.job is job for i in self._starting.values())

    def why(self, item: QueueItem) -> str | None:
        """Why the item is not running, as a sentence; nothing once it has left."""
        if item.state is ItemState.WAITING:
            left_s = item.due_at - self._clock.now()
            if left_s <= 0:
                return "Finished waiting"
            return f"In the quiet period. Expires in {time_span(left_s)}"
        if item.state is ItemState.BLOCKED and item.blocked_by is not None:
            eta = self._eta(item.blocked_by)
            return f"Build #{item.blocked_by.number} is already in progress (ETA: {eta})"
        return None if item.state is ItemState.LEFT else item.why

    def _eta(self, build: Build) -> str:
        """What is left of the time that the build was expected to take when it began."""
        left_ms = build.estimated_ms - (self._clock.now_ms() - build.timestamp_ms)
        return "N/A" if build.estimated_ms < 0 or left_ms <= 0 else time_span(left_ms / 1000)

    def is_stuck(self, item: QueueItem) -> bool:
        """Whether it has been waiting for an executor for far longer than builds take."""
        if item.state is not ItemState.BUILDABLE:
            return False
        waited_s = self._clock.now() - item.buildable_since
        estimate_s = estimated_duration_ms(item.job) / 1000
        if estimate_s < 0:
            return waited_s > _STUCK_WITHOUT_ESTIMATE_S
        return waited_s > max(estimate_s * 10, _NEVER_STUCK_BEFORE_S)

    def forget(self, item_id: int) -> None:
        """Lose an item as if it had never been (fault injection)."""
        self._live.pop(item_id, None)
        self._left.pop(item_id, None)
        self._stop_timer(item_id)

    def halt(self) -> None:
        """Stop every timer: the controller is going down."""
        for item_id in list(self._timers):
            self._stop_timer(item_id)

    def restore(self, *, saved_before: float | None) -> None:
        """Restore the queue after a restart: items that have left it are dropped.

        `saved_before` marks a hard kill: what is younger was not saved, and its ids are given out again.
        """
        self._left.clear()
        # What has left the queue is not saved with it: without a build it is lost.
        self._starting.clear()
        kept = [item for item in self._live.values() if not item.placeholder_of]
        placeholders = [item for item in self._live.values() if item.placeholder_of]
        if saved_before is not None:
            kept = [item for item in kept if item.entered_at <= saved_before]
            saved = [queue_id for given_at, queue_id in self._given_out if given_at <= saved_before]
            self._last_id = saved[-1] if saved else 0
        for item in placeholders:
            # A Pipeline that resumes asks again for its executor, so its placeholder is never lost.
            item.id = self.next_id()
        self._live = {item.id: item for item in (*kept, *placeholders)}
        for item in self._live.values():
            self._watch(item)

    def _watch(self, item: QueueItem) -> None:
        self._stop_timer(item.id)
        self._timers[item.id] = asyncio.get_running_loop().create_task(self._when_due(item))

    async def _when_due(self, item: QueueItem) -> None:
        await self._clock.sleep_until(item.due_at)
        if self._round_s and item.due_at > item.entered_at:
            rounds = (self._clock.now() - self._first_round_at) // self._round_s + 1
            await self._clock.sleep_until(self._first_round_at + rounds * self._round_s)
        self._timers.pop(item.id, None)
        self.maintain()

    def _stop_timer(self, item_id: int) -> None:
        timer = self._timers.pop(item_id, None)
        if timer is not None:
            timer.cancel()

    def _enter(self, item: QueueItem, state: ItemState) -> None:
        if item.state is not state:
            if item.state is ItemState.WAITING:
                item.buildable_since = self._clock.now()
            item.state = state

    def _blocking_build(self, item: QueueItem) -> Build | None:
        if _may_overlap(item.job) or item.placeholder_of is not None:
            return None
        return next((b for b in item.job.builds_newest_first() if b.in_progress), None)

    def _dispatch(self, item: QueueItem) -> None:
        self._leave(item)
        if not self._leave_s or item.placeholder_of is not None:
            self._start(item)
            return
        self._starting[item.id] = item
        self._timers[item.id] = asyncio.get_running_loop().create_task(self._start_later(item))

    async def _start_later(self, item: QueueItem) -> None:
        await self._clock.sleep(self._leave_s)
        self._timers.pop(item.id, None)
        self._starting.pop(item.id, None)
        if not item.job.deleted:
            self._start(item)
        self.maintain()

    def _leave(self, item: QueueItem) -> None:
        self._stop_timer(item.id)
        self._live.pop(item.id, None)
        item.state, item.left_at, item.why = ItemState.LEFT, self._clock.now(), None
        for oldest in list(itertools.takewhile(self._is_forgotten, self._left.values())):
            del self._left[oldest.id]
        self._left[item.id] = item


def _may_overlap(job: Job) -> bool:
    return job.config.concurrent or job.config.abort_previous


def _is_flyweight(item: QueueItem) -> bool:
    """Whether the item needs no heavyweight executor."""
    return item.job.is_pipeline and item.placeholder_of is None


def _is_same(one: Sequence[ParameterValue] | None, other: Sequence[ParameterValue] | None) -> bool:
    """Whether Jenkins folds the two: equal sets of parameters, none being like an empty one."""
    return set(one or ()) == set(other or ())


def time_span(seconds: float) -> str:
    """Return a duration in Jenkins' format: `12 min`, `1 min 3 sec`, `44 sec`, `4.9 sec`, `0.12 sec`, `99 ms`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    years, days = divmod(days, 365)
    months, days = divmod(days, 30)
    parts = [
        (years, "yr"),
        (months, "mo"),
        (days, "day" if days == 1 else "days"),
        (hours, "hr"),
        (minutes, "min"),
        (rest, "sec"),
    ]
    for (amount, unit), (smaller, smaller_unit) in itertools.pairwise(parts):
        if amount:
            text = f"{amount} {unit}"
            return text if amount >= 10 else f"{text} {smaller} {smaller_unit}"
    if seconds >= 10:
        return f"{rest} sec"
    if seconds >= 1:
        return f"{int(seconds * 10) / 10:g} sec"
    return f"{int(seconds * 100) / 100:g} sec" if seconds >= 0.1 else f"{int(seconds * 1000)} ms"
