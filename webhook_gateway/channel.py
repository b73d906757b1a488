"""The connection to the deployment service."""

from __future__ import annotations

import json

import grpc.aio

Metadata = tuple[tuple[str, str], ...]

# Reports are cheap to send again and whoever sent them waits, so reconnecting is eager. The service must
# allow pings this often: its default minimum is 300 s.
KEEPALIVE_TIME_MS = 20_000
KEEPALIVE_TIMEOUT_MS = 5_000

_OPTIONS = (
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
)


def connect(target: str) -> grpc.aio.Channel:
    """Return a channel to the service; several replicas behind one DNS name are used in turn."""
    return grpc.aio.insecure_channel(target, options=_OPTIONS)


def credentials(api_key: str) -> Metadata:
    """Return what proves to the service who we are."""
    return (("authorization", f"Bearer {api_key}"),)
