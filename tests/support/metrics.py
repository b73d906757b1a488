"""The registries of both processes, filled as at their start, without a database or a network."""

from __future__ import annotations

from unittest.mock import MagicMock

from prometheus_client import CollectorRegistry

from deployment_service.api.interceptors import Metrics as CallMetrics
from deployment_service.api.pool_metrics import PoolMetrics
from deployment_service.api.watch_metrics import WatchMetrics
from deployment_service.workers.controllers.origin_budget import OriginBudget
from deployment_service.workers.reconciler.detection import Detection
from deployment_service.workers.reconciler.unsettled import UnsettledRuns
from webhook_gateway.metrics import Metrics as GatewayMetrics


def service_registry() -> CollectorRegistry:
    """All that a replica of the service exports."""
    registry = CallMetrics().registry
    Detection(read_interval_s=1, polling_interval_s=1, request_timeout_s=1, registry=registry)
    UnsettledRuns(MagicMock(), registry)
    OriginBudget(MagicMock(), requests_per_second=1, registry=registry)
    registry.register(PoolMetrics(MagicMock()))
    registry.register(WatchMetrics(MagicMock()))
    return registry


def gateway_registry() -> CollectorRegistry:
    """All that a gateway exports."""
    return GatewayMetrics().registry
