"""Exponential backoff: the pauses between retries of whatever failed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

_MAX_DOUBLINGS = 30  # keeps the number finite; by then every ``longest_s`` is reached


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds: ``first_s``, then twice as long each time, up to ``longest_s``.

    ``jitter``: the share of a pause that is random. Many callers that lost one server at once must not return in step.
    """

    first_s: float = 0.1
    longest_s: float = 5.0
    jitter: float = 0.5

    def pause_s(self, failures: int) -> float:
        """Return the pause after ``failures`` earlier failures in a row; 0 gives the first pause."""
        pause_s = min(self.first_s * 2.0 ** min(failures, _MAX_DOUBLINGS), self.longest_s)
        return pause_s * random.uniform(1 - self.jitter, 1)  # noqa: S311 - no secret

    def pauses(self) -> Iterator[float]:
        """Yield the pauses in order, without end."""
        return map(self.pause_s, count())
