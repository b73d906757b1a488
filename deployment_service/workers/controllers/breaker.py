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
    """A circuit breaker for a controller that does not answer. For one event loop."""

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
        """Whether the breaker has opened and no call has succeeded since."""
        return self._pauses > 0

    def retry_in_s(self) -> float:
        """Return the seconds until a call may be made; 0: now."""
        if not self.open:
            return 0.0
        left = self._open_until - self._clock()
        return left if left > 0 else (1.0 if self._probing else 0.0)

    def enter(self) -> bool:
        """Begin a call after ``retry_in_s`` returned 0. True: it is the probe, which must call ``leave``."""
        if self.open:
            self._probing = True
        return self.open

    def leave(self) -> None:
        """End the probe, whatever its outcome."""
        self._probing = False

    def answered(self) -> None:
        """Note an answer of the controller; a refusal counts."""
        self._in_a_row = self._pauses = 0

    def failed(self) -> None:
        """Note a call without an answer of the controller; that of a proxy does not count."""
        self.failures_seen += 1
        self._in_a_row += 1
        still_paused = self.open and self._clock() < self._open_until
        if self._in_a_row < self._limits.failures or still_paused:
            return
        self._open_until = self._clock() + self._backoff.pause_s(self._pauses)
        self._pauses += 1
