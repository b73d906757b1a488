"""The gateway's metrics. Labels have few, fixed values: no tenant, no job."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """One gateway's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "webhook_requests",
            "Webhook requests answered.",
            ["status", "reason"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "webhook_request_seconds",
            "Time to answer an authentic webhook.",
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2),
            registry=self.registry,
        )
        self.verdicts = Counter(
            "webhook_verdicts",
            "Verdicts of the service, also those after a late delivery.",
            ["verdict"],
            registry=self.registry,
        )
        self.batch = Histogram(
            "webhook_batch_reports",
            "Reports in one call to the service.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=self.registry,
        )
        self.calls = Counter(
            "webhook_service_calls", "Calls to the service.", ["code"], registry=self.registry
        )
        self.verifier_reads = Counter(
            "webhook_verifier_reads",
            "Calls that read changes of verifiers.",
            ["code"],
            registry=self.registry,
        )
        self.unverified = Counter(
            "webhook_unverified_requests",
            "Requests that could not be verified while the service was unavailable, kept as refresh requests.",
            registry=self.registry,
        )
        self.refresh_requests = Counter(
            "webhook_refresh_requests",
            "Jobs for which a read was requested.",
            registry=self.registry,
        )
        self.queued = Gauge(
            "webhook_queued_reports",
            "Reports in memory without a verdict of the service.",
            registry=self.registry,
        )
        self.dropped = Counter(
            "webhook_dropped_reports",
            "Dropped reports; a refresh request or the reconciler has their jobs read.",
            registry=self.registry,
        )
