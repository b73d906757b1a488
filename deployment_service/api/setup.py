"""The gRPC server: its options, interceptors, health and reflection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from deployment_service.api.auth import Auth
from deployment_service.api.interceptors import CallInterceptor, Errors, Metrics, RequestLog
from deployment_service.api.open_methods import OpenMethods
from deployment_service.api.peers import PeerLimits
from deployment_service.runtime.logs import log
from deployment_service.storage.database.failures import OutageLog, failure_of
from deployment_service.storage.database.pool import Database

# Above the service's own limit, so that a request slightly too large gets the service's error, not gRPC's.
_MAX_RECEIVE_BYTES = 6 * 2**20
_MAX_SEND_BYTES = 64 * 2**20
_CHECK_INTERVAL_S = 1.0

LIVENESS = "liveness"
"""Health name for liveness probes: SERVING while the process answers, independent of the database."""

_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_RECEIVE_BYTES),
    ("grpc.max_send_message_length", _MAX_SEND_BYTES),
    # Finds dead clients; and lets clients ping every 10 s even without a call (the default would cut them off).
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Watches count: a client may have many on one connection.
    ("grpc.max_concurrent_streams", 2_000),
    # Otherwise two processes could share one port without an error.
    ("grpc.so_reuseport", 0),
    # What a stream may send unasked. It must not grow, or every refused call would hold megabytes.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 64 * 2**10),
    # Timeouts of connections without an HTTP/2 preface, and without a call.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 15 * 60_000),
    # Only uncompressed messages: a compressed one has a thousand times its size when it is received.
    ("grpc.compression_enabled_algorithms_bitset", 1),
)


def make_server(
    auth: Auth,
    metrics: Metrics,
    peers: PeerLimits,
    *,
    call_timeout_s: float,
    max_connections: int,
    connection_age_s: float,
    connection_age_grace_s: float,
) -> grpc.aio.Server:
    """Make a server whose every call is logged, answered in one form, and let through by its key."""
    errors = Errors(call_timeout_s)
    calls = CallInterceptor(RequestLog(metrics), errors, auth)
    connections = (
        ("grpc.max_allowed_incoming_connections", max_connections),
        # gRPC varies the age by a tenth, so that clients don't come back in step.
        ("grpc.max_connection_age_ms", round(connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", round(connection_age_grace_s * 1000)),
    )
    return grpc.aio.server(
        interceptors=(calls, OpenMethods(errors, peers)),
        options=(*_OPTIONS, *connections),
    )


class Health:
    """SERVING while every pool can write to the database; NOT_SERVING within ten seconds once one cannot.

    The name ``liveness`` does not depend on the database, as a restart of this process would not repair it.
    """

    def __init__(self, databases: Sequence[Database], service_names: Sequence[str]) -> None:
        self._databases = databases
        self._names = ("", *service_names)
        self._servicer = health.aio.HealthServicer()
        self._serving: bool | None = None
        self._outages = {one.name: OutageLog(f"pool {one.name}") for one in databases}
        self._task: asyncio.Task[None] | None = None
        self.usable: dict[str, bool] = {one.name: False for one in databases}
        """Of each pool, whether it could write at the last check."""

    async def start(self, server: grpc.aio.Server) -> None:
        """Register with a server that isn't started yet, and begin to check."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        names = (*self._names[1:], health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        await self._servicer.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
        await self._set(serving=await self._check())
        self._task = asyncio.create_task(self._run(), name="health")

    async def shut_down(self) -> None:
        """Answer NOT_SERVING from now on, so that load balancers send nothing more; ``liveness`` stays SERVING."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for name in self._names:
            await self._servicer.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_INTERVAL_S)
            await self._set(serving=await self._check())

    async def _check(self) -> bool:
        usable = await asyncio.gather(*map(self._check_pool, self._databases))
        return all(usable)

    async def _check_pool(self, database: Database) -> bool:
        """Whether a pool can be used; on any error it cannot."""
        outage = self._outages[database.name]
        try:
            await database.check()
        except Exception as error:
            outage.report(failure_of(error))
            self.usable[database.name] = False
            return False
        outage.over()
        self.usable[database.name] = True
        return True

    async def _set(self, *, serving: bool) -> None:
        if serving is self._serving:
            return
        if serving and self._serving is False:
            log.info("serving again")
        if not serving:
            unusable = [name for name, usable in self.usable.items() if not usable]
            log.warning("not serving", unusable_pools=unusable)
        self._serving = serving
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in self._names:
            await self._servicer.set(name, status)
