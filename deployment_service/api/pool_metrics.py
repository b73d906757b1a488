"""Metrics of the database pools, as the health check last found them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deployment_service.api.setup import Health


class PoolMetrics(Collector):
    """Register it with a registry."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        """Called for each scrape."""
        usable = GaugeMetricFamily(
            "database_pool_usable",
            "1 if the pool could write to the database at the last check.",
            labels=["pool"],
        )
        for name, value in self._health.usable.items():
            usable.add_metric([name], value)
        yield usable
