"""The breaker of a controller, and the limits of its calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from deployment_service.runtime.backoff import Backoff


@dataclass(frozen=True, slots=True)
class ControllerLimits:
    """``concurrency`` is the bulkhead's, of which triggers leave ``kept_for_reading`` alone. The breaker opens
    after ``failures`` in a row, for a second at first and up to ``longest_pause_s``; then it lets one call
    through to find out."""

    concurrency: int = 8
    kept_for_reading: int = 2
    failures: int = 5
    first_pause_s: float = 1.0
    longest_pause_s: float = 10.0


class Breaker:
    """Keeps us from waiting for a controller that doesn't answer. Holds no lock: for one event loop."""

    def __init__(
        self, limits: ControllerLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._backoff = Backoff(limits.first_pause_s, limits.longest_pause_s, jitter=0.2)
        self._clock = clock
        self._in_a_row = 0
        self._pauses = 0
        self._open_until = 0.0
        self._probing = False
        self.failures_seen = 0

    @property
    def open(self) -> bool:
        """Whether it has tripped and no call has succeeded since."""
        return self._pauses > 0

    def retry_in_s(self) -> float:
        """How long to wait before the next call has a chance; 0: it has one now."""
        if not self.open:
            return 0.0
        left = self._open_until - self._clock()
        return left if left > 0 else (1.0 if self._probing else 0.0)

    def enter(self) -> bool:
        """Count a call in, after `retry_in_s` said 0. True: it is the probe, which must `leave`."""
        if self.open:
            self._probing = True
        return self.open

    def leave(self) -> None:
        """The probe is over, whatever its outcome."""
        self._probing = False

    def answered(self) -> None:
        """The controller answered, be it with a refusal."""
        self._in_a_row = self._pauses = 0

    def failed(self) -> None:
        """The controller didn't answer, or a proxy did for it."""
        self.failures_seen += 1
        self._in_a_row += 1
        still_paused = self.open and self._clock() < self._open_until
        if self._in_a_row < self._limits.failures or still_paused:
            return
        self._open_until = self._clock() + self._backoff.pause_s(self._pauses)
        self._pauses += 1
