"""The HTTP server of a process's metrics for Prometheus, on an address of its own."""

from __future__ import annotations

import asyncio
import threading
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server


def host_port(value: str) -> tuple[str, int]:
    """Split ``host:port``; a host with colons is in brackets. Raises ValueError."""
    host, colon, port = value.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError("must be host:port, such as 127.0.0.1:50051 or [::]:50051")
    return host.removeprefix("[").removesuffix("]"), int(port)


class MetricsServer:
    """An HTTP server in a thread of its own, so that metrics stay available while the event loop is busy."""

    def __init__(self, listen: str, registry: CollectorRegistry) -> None:
        self._listen = listen
        self._registry = registry
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """Return the port of the server, 0 before ``start`` and without an address."""
        return self._server.server_port if self._server is not None else 0

    def start(self) -> None:
        """Listen, unless the address is empty. Raises ``OSError`` if it is in use or not permitted."""
        if self._listen:
            host, port = host_port(self._listen)
            self._server, self._thread = start_http_server(port, host, self._registry)

    async def stop(self) -> None:
        """Close the port; return when the server's thread has ended."""
        if self._server is not None and self._thread is not None:
            await asyncio.to_thread(self._server.shutdown)
            self._server.server_close()
            await asyncio.to_thread(self._thread.join)
            self._server = None
