"""The channel to the deployment service, and its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from deployment_service.client.channel import balancing_options
from deployment_service.v1 import gateway_service_pb2 as pb

if TYPE_CHECKING:
    from deployment_service.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub

# Short reconnect backoff: a retry is cheap, and the sender of a report is waiting. The service must allow pings at
# this interval: gRPC's default minimum is 300 s.
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
)


def connect(target: str, *, use_proxy: bool = False) -> grpc.aio.Channel:
    """Return a channel to the service; several replicas behind one DNS name are used in turn."""
    options = (*_OPTIONS, *balancing_options(use_proxy=use_proxy))
    return grpc.aio.insecure_channel(target, options=options)


class CallFailedError(Exception):
    """A call to the service failed. ``status`` is None if the failure is not a gRPC status."""

    def __init__(self, name: str, status: grpc.StatusCode | None = None, details: str = "") -> None:
        super().__init__(name)
        self.name = name
        self.status = status
        self.details = details


class ServiceCalls:
    """Calls the service with the gateway's key. Every failure is a ``CallFailedError``."""

    def __init__(self, stub: GatewayServiceAsyncStub, api_key: str) -> None:
        self._stub = stub
        self._metadata = (("authorization", f"Bearer {api_key}"),)

    async def report_builds(
        self, request: pb.ReportBuildsRequest, *, timeout: float
    ) -> pb.ReportBuildsResponse:
        """Send reports and refresh requests. ``timeout`` in seconds. Raises ``CallFailedError``."""
        response: pb.ReportBuildsResponse = await self._call(
            self._stub.ReportBuilds, request, timeout
        )
        return response

    async def list_verifiers(
        self, request: pb.ListWebhookVerifiersRequest, *, timeout: float
    ) -> pb.ListWebhookVerifiersResponse:
        """Return a page of changes. Raises ``CallFailedError``, also for a response without a cursor."""
        response: pb.ListWebhookVerifiersResponse = await self._call(
            self._stub.ListWebhookVerifiers, request, timeout
        )
        if not response.next_cursor:
            raise CallFailedError("MALFORMED_RESPONSE")
        return response

    async def _call(self, method: Any, request: Any, timeout: float) -> Any:
        try:
            response = await method(request, timeout=timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            status = error.code()
            raise CallFailedError(status.name, status, error.details() or "") from None
        except Exception as error:
            # gRPC raises exceptions of its own for a call that it cannot start. Do not chain them: their text may
            # contain the key.
            raise CallFailedError(type(error).__name__) from None
        if response is None:  # gRPC returns None if it cannot decode the answer
            raise CallFailedError("MALFORMED_RESPONSE")
        return response
