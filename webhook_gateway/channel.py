"""The connection to the deployment service, and the one way to call it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from deployment_service.client.channel import balancing_options
from deployment_service.v1 import gateway_service_pb2 as pb

if TYPE_CHECKING:
    from deployment_service.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub

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
        """Deliver reports and refresh requests."""
        response: pb.ReportBuildsResponse = await self._call(
            self._stub.ReportBuilds, request, timeout
        )
        return response

    async def list_verifiers(
        self, request: pb.ListWebhookVerifiersRequest, *, timeout: float
    ) -> pb.ListWebhookVerifiersResponse:
        """Read a page of changes. A response without a cursor is a failure, not an empty list."""
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
            # gRPC raises its own exceptions for a call that it can't even start. Not chained: its text may
            # hold the key.
            raise CallFailedError(type(error).__name__) from None
        if response is None:  # what gRPC returns if it can't decode the answer
            raise CallFailedError("MALFORMED_RESPONSE")
        return response
