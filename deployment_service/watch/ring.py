"""The newest events of one tenant in memory; watchers are cursors over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from deployment_service.watch.frames import ResetReason

# What an entry weighs beyond its bytes: objects, the dict's slot.
_OVERHEAD = 256
# What a label weighs: two texts and their tuple.
_PAIR = 250


Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed event, serialised once for all streams.

    ``labels``: what its deployment had then, and before if the event changed them, each as a set of pairs; empty if
    that is not known.
    """

    sequence: int
    slug: str
    type: str
    shared: bytes
    labels: tuple[Labels, ...] = ()

    @property
    def size(self) -> int:
        pairs = sum(map(len, self.labels))
        return len(self.shared) + _OVERHEAD + pairs * _PAIR

    def has(self, labels: Labels) -> bool:
        """Whether its deployment has all of these labels, or had them before the event. Unknown counts as yes."""
        return not self.labels or any(labels <= one for one in self.labels)


class HistoryGap(Exception):
    """Events that don't follow one another: something was trimmed, or the order was broken."""


class Ring:
    """The events ``base + 1 .. last`` of one epoch, bounded in number and bytes.

    A ring ends, for good, when what follows isn't its continuation: then all who read it must start afresh.
    """

    def __init__(
        self, epoch: bytes, head: int, *, max_events: int, max_bytes: Callable[[], int]
    ) -> None:
        self.epoch = epoch
        self.base = head
        self.last = head
        self.ended: ResetReason | None = None
        self._entries: dict[int, Entry] = {}
        self._bytes = 0
        self._max_events = max_events
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        return self._bytes

    def append(self, entries: Iterable[Entry]) -> None:
        """Add what follows; HistoryGap if it doesn't follow. What came before the gap is kept."""
        try:
            for entry in entries:
                if entry.sequence != self.last + 1:
                    raise HistoryGap(f"{entry.sequence} came after {self.last}")
                self._entries[entry.sequence] = entry
                self._bytes += entry.size
                self.last = entry.sequence
        finally:
            self.shrink()

    def shrink(self) -> None:
        """Drop the oldest until the bounds are kept; one event stays whatever its size."""
        allowed = self._max_bytes()
        while len(self._entries) > self._max_events or (
            self._bytes > allowed and len(self._entries) > 1
        ):
            self.base += 1
            self._bytes -= self._entries.pop(self.base).size

    def read(self, position: int, *, max_events: int, max_bytes: int) -> list[Entry] | None:
        """What follows ``position``, bounded but never empty without need; None if the ring begins later."""
        if position < self.base:
            return None
        batch: list[Entry] = []
        total = 0
        for sequence in range(position + 1, min(position + max_events, self.last) + 1):
            entry = self._entries[sequence]
            total += entry.size
            if batch and total > max_bytes:
                break
            batch.append(entry)
        return batch

    def end(self, reason: ResetReason) -> None:
        """Everybody who reads this ring must start afresh."""
        if self.ended is None:
            self.ended = reason
            self._entries.clear()
            self._bytes = 0
            self.base = self.last


@dataclass(frozen=True, slots=True)
class Page:
    """What was kept of the events ``after + 1 .. through`` when it was read; it may have holes."""

    after: int
    through: int
    entries: Sequence[Entry]

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries) + _OVERHEAD

    def read(self, position: int, *, max_events: int, max_bytes: int) -> list[Entry]:
        """What follows ``position`` without a hole; empty if the very next one is gone."""
        batch: list[Entry] = []
        total = 0
        # Entries are at or before the place they would have without holes.
        first = max(0, position - self.after - (self.through - self.after - len(self.entries)))
        for index in range(first, len(self.entries)):
            entry = self.entries[index]
            if entry.sequence <= position:
                continue
            if entry.sequence != position + len(batch) + 1 or len(batch) == max_events:
                break
            total += entry.size
            if batch and total > max_bytes:
                break
            batch.append(entry)
        return batch
