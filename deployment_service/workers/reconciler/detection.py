"""The published bound (promise P4): the longest time until the end of a run is read, with no webhook at all.

The next cycle reads a run that ends right after a cycle. So the bound is the sum of: the pause between cycles, the
tick of the loop that starts them, and four answers of Jenkins, each within the request timeout. The answers are the
queue, the executors, the queue item (if the build was too short to be on an executor), and the build. In the pause
whole jobs are read, for at most one answer longer than the polling interval. The bound holds while Jenkins answers
and no more builds end at once than are read at once.
"""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

_log = structlog.get_logger(__name__)

TICK_S = 1.0
_ANSWERS = 4


class Detection:
    """Metrics by provider: the bound, and how often a read found an end before a webhook."""

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
            "The longest time until the end of a run is read, without any webhook.",
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
            "Ends of runs that a read found before a webhook reported them, where webhooks are expected.",
            ["provider"],
            registry=registry,
        )

    def runs_deferred(self, builds: int) -> None:
        """Count builds that Jenkins showed and that are no runs yet because of the bound per hour."""
        self._deferred.inc(builds)

    def bound_s(self, *, polled: bool) -> float:
        """Return the bound in seconds. ``polled``: for jobs without webhooks."""
        return self._pauses_s[polled] + self._slowest_answers_s

    @property
    def longest_bound_s(self) -> float:
        """The bound in seconds of the jobs with the longest pauses."""
        return max(self.bound_s(polled=polled) for polled in (False, True))

    def publish(self, provider: str, *, polled: bool) -> None:
        """Export and log the bound of a provider: the longest of its jobs, if some are polled and others are not."""
        bound_s = self.bound_s(polled=polled)
        if bound_s > self._published.get(provider, 0.0):
            self._published[provider] = bound_s
            self._bound.labels(provider).set(bound_s)
            _log.info("detection.bound", provider=provider, bound_s=bound_s, polled=polled)

    def missed(self, provider: str) -> None:
        """Count an end that a read found before a webhook."""
        self._missed.labels(provider).inc()
