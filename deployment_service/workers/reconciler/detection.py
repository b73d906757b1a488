"""The published bound (promise P4): how late we may learn of a run's end with no webhook at all.

A run that ends right after a cycle is seen in the next one. So the bound is the pause between cycles, the tick of
the loop that starts them, and the answers of Jenkins that it takes (queue, executors, the queue item if the build
was too quick to be seen, the build), each within the request timeout. In the pause whole jobs are read, one answer
beyond the polling interval at most. It holds while Jenkins answers and no more builds end at once than are asked
about at once.
"""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

_log = structlog.get_logger(__name__)

TICK_S = 1.0
_ANSWERS = 4


class Detection:
    """What is published of it, by provider: the bound, and how often reading found an end first."""

    def __init__(
        self,
        *,
        read_interval_s: float,
        polling_interval_s: float,
        request_timeout_s: float,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._slowest_answers_s = TICK_S + _ANSWERS * request_timeout_s
        longest_job_reads_s = polling_interval_s + request_timeout_s
        self._pauses_s = {
            False: max(read_interval_s, longest_job_reads_s),
            True: longest_job_reads_s,
        }
        self._published: dict[str, float] = {}
        registry = registry or CollectorRegistry()
        self._bound = Gauge(
            "detection_bound_seconds",
            "How late the end of a run may become known without any webhook.",
            ["provider"],
            registry=registry,
        )
        self._deferred = Counter(
            "external_runs_deferred",
            "Builds that a read showed and that became no runs yet: their tenant has too many external runs.",
            registry=registry,
        )
        self._missed = Counter(
            "webhook_missed",
            "Ends of runs that reading found before a webhook told of them, where webhooks are expected.",
            ["provider"],
            registry=registry,
        )

    def runs_deferred(self, builds: int) -> None:
        """Count builds that Jenkins showed and that are no runs yet because of the bound per hour."""
        self._deferred.inc(builds)

    def bound_s(self, *, polled: bool) -> float:
        """The bound where no webhooks come (``polled``) or where they do."""
        return self._pauses_s[polled] + self._slowest_answers_s

    @property
    def longest_bound_s(self) -> float:
        """The bound of the jobs that are read most slowly."""
        return max(self.bound_s(polled=polled) for polled in (False, True))

    def publish(self, provider: str, *, polled: bool) -> None:
        """Export and log the bound of a provider: that of its slowest jobs, if some are polled and others not."""
        bound_s = self.bound_s(polled=polled)
        if bound_s > self._published.get(provider, 0.0):
            self._published[provider] = bound_s
            self._bound.labels(provider).set(bound_s)
            _log.info("detection bound", provider=provider, bound_s=bound_s, polled=polled)

    def missed(self, provider: str) -> None:
        """Count an end that reading found first."""
        self._missed.labels(provider).inc()
