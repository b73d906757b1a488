"""How many calls of one tenant are served: a token bucket for each."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from deployment_service.domain.errors import ResourceExhausted

# What a tenant may do at once after it was quiet, in seconds of its rate.
_BURST_S = 4.0
_MAX_OWNERS = 10_000


class CallRates:
    """One bucket per owner; those that were not used for longest are dropped, when they are full again."""

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._most = max(1.0, per_second * _BURST_S)
        self._clock = clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, owner: Hashable) -> None:
        """Count one call. Raises ResourceExhausted, with the time after which there is room for one more."""
        now = self._clock()
        left, then = self._buckets.pop(owner, (self._most, now))
        left = min(self._most, left + (now - then) * self._per_second)
        allowed = left >= 1
        self._buckets[owner] = (left - 1 if allowed else left, now)
        if len(self._buckets) > _MAX_OWNERS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise ResourceExhausted(
                "TOO_MANY_REQUESTS",
                f"More than {self._per_second:g} calls a second came from this tenant. Slow down.",
                retry_after_s=max(0.01, (1 - left) / self._per_second),
            )
