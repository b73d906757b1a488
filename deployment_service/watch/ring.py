"""The newest events of one tenant in memory; watchers are cursors over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from deployment_service.watch.frames import ResetReason

# Memory of an entry beyond its bytes: objects and the slot in the dict.
_OVERHEAD = 256
# Memory of a label: two texts and their tuple.
_PAIR = 250


Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed event, serialised once for all streams.

    ``labels``: the labels of its deployment, and the old ones if the event changed them, each as a set of pairs; empty
    if they are unknown.
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
        """Return whether its deployment has all of these labels, or had them before the event. Unknown labels match."""
        return not self.labels or any(labels <= one for one in self.labels)


class HistoryGap(Exception):
    """The sequences have a gap: events were trimmed, or the order was broken."""


class Ring:
    """The events ``base + 1 .. last`` of one epoch, bounded in number and bytes.

    A ring ends when the next events do not continue it. All streams that read it must then start again.
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
        """Append the next events. Events before a gap are kept.

        Raises:
            HistoryGap: a sequence does not follow the one before it.
        """
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
        """Drop the oldest events until the ring is within its bounds. One event stays, whatever its size."""
        allowed = self._max_bytes()
        while len(self._entries) > self._max_events or (
            self._bytes > allowed and len(self._entries) > 1
        ):
            self.base += 1
            self._bytes -= self._entries.pop(self.base).size

    def read(self, position: int, *, max_events: int, max_bytes: int) -> list[Entry] | None:
        """Return the events after ``position``, at least one if there is any; None if the ring begins later."""
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
        """End the ring: all streams that read it must start again."""
        if self.ended is None:
            self.ended = reason
            self._entries.clear()
            self._bytes = 0
            self.base = self.last


@dataclass(frozen=True, slots=True)
class Page:
    """The events ``after + 1 .. through`` that remained when the page was read; it may have gaps."""

    after: int
    through: int
    entries: Sequence[Entry]

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries) + _OVERHEAD

    def read(self, position: int, *, max_events: int, max_bytes: int) -> list[Entry]:
        """Return the events after ``position`` up to the next gap; empty if the next event was trimmed."""
        batch: list[Entry] = []
        total = 0
        # Each entry is at or before the index that it would have without gaps.
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
