"""Metrics of watches, read from the hub at each scrape. No label names a tenant."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deployment_service.watch.frames import ResetReason
from deployment_service.watch.hub import WatchHub


class WatchMetrics(Collector):
    """Register it with a registry."""

    def __init__(self, hub: WatchHub) -> None:
        self._hub = hub

    def collect(self) -> Iterable[Metric]:
        """Called for each scrape."""
        hub = self._hub
        yield GaugeMetricFamily("watch_streams", "Open watch streams.", value=hub.streams)
        yield GaugeMetricFamily(
            "watch_tails", "Tenants whose history this replica follows.", value=hub.tails
        )
        yield GaugeMetricFamily(
            "watch_listener_connected",
            "1 while hints arrive; at 0, events come with polls.",
            value=hub.listener_connected,
        )
        yield CounterMetricFamily(
            "watch_hints_received", "Hints of other replicas.", value=hub.counts.hints
        )
        resets = CounterMetricFamily(
            "watch_resets", "Streams that had to start afresh.", labels=["reason"]
        )
        for reason in ResetReason:
            resets.add_metric([reason.name], hub.counts.resets[reason.name])
        yield resets
