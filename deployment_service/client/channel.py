"""The connection to the service, and one way to make a call: with a key, a deadline and the right retries."""

from __future__ import annotations

import asyncio
import json
from typing import Protocol, TypeVar

import grpc
import grpc.aio

from deployment_service.client.errors import (
    DeadlineExceeded,
    DeploymentServiceError,
    Unavailable,
    from_rpc,
)
from deployment_service.runtime.backoff import Backoff

Metadata = tuple[tuple[str, str], ...]
Request = TypeVar("Request")
Response = TypeVar("Response")

# gRPC's default is 30 s: a replica that is added while connections end would wait for the next end.
_MIN_RESOLUTION_MS = 1_000
_MAX_MESSAGE_BYTES = 64 * 2**20  # a page of deployments may be larger than gRPC's 4 MiB

ChannelOptions = tuple[tuple[str, int | str], ...]

_OPTIONS: ChannelOptions = (
    # Finds dead connections (a load balancer forgot us, a machine vanished) while a stream is silent.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
)


def balancing_options(*, use_proxy: bool) -> ChannelOptions:
    """Return how a channel finds the replicas behind one DNS name: all of them, also those added later.

    The server ends connections after a while, and each end makes the channel resolve the name again. gRPC
    reads ``http_proxy`` from the environment, even for loopback, unless an option forbids it.
    """
    return (
        ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.dns_min_time_between_resolutions_ms", _MIN_RESOLUTION_MS),
        # Without a policy gRPC repeats only calls that no server has seen: those that met the end of a
        # connection. Which others may be repeated is known here.
        ("grpc.enable_retries", 1),
        ("grpc.enable_http_proxy", int(use_proxy)),
    )


def open_channel(
    target: str, *, credentials: grpc.ChannelCredentials | None = None, use_proxy: bool = False
) -> grpc.aio.Channel:
    """Open a channel; replicas behind one DNS name are used in turn. ``credentials`` turns on TLS.

    ``use_proxy``: whether ``http_proxy`` in the environment counts.
    """
    options = (*_OPTIONS, *balancing_options(use_proxy=use_proxy))
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, credentials, options=options)


class UnaryMethod(Protocol[Request, Response]):
    """A stub's method that takes one message and answers one."""

    def __call__(
        self,
        request: Request,
        /,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> grpc.aio.UnaryUnaryCall[Request, Response]:
        """Start the call."""


class Caller:
    """Makes calls on a channel with one API key."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        api_key: str,
        timeout_s: float,
        backoff: Backoff,
    ) -> None:
        self.channel = channel
        self.metadata: Metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self.timeout_s = timeout_s
        self.backoff = backoff
        self.closed = False

    async def close(self) -> None:
        """Close the channel: calls under way are cancelled."""
        self.closed = True
        await self.channel.close()

    async def call(
        self,
        method: UnaryMethod[Request, Response],
        request: Request,
        *,
        timeout_s: float | None = None,
    ) -> Response:
        """Call ``method``; while the service is UNAVAILABLE, again until the deadline.

        A second call does no harm: every request only reads or carries a request id.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + (timeout_s or self.timeout_s)
        pauses = self.backoff.pauses()
        last: DeploymentServiceError | None = None
        while True:
            remaining = deadline - clock()
            try:
                return await method(request, timeout=max(remaining, 0.001), metadata=self.metadata)
            except grpc.aio.AioRpcError as error:
                failure = from_rpc(error)
            if isinstance(failure, DeadlineExceeded) and last is not None:
                raise last from None  # has the cause, unlike a timeout
            if not isinstance(failure, Unavailable):
                raise failure from None
            last = failure
            pause = max(next(pauses), failure.retry_after_s or 0.0)
            if clock() + pause >= deadline:
                raise failure from None
            await asyncio.sleep(pause)
