"""HTTP connections: limits on their number and duration, and no request text in the log."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from aiohttp import HttpVersion10, HttpVersion11, web

from webhook_gateway.config import Settings
from webhook_gateway.errors import Reason, RefusedError, problem
from webhook_gateway.limits import client_address, is_proxy
from webhook_gateway.logs import Throttle, log

MAX_LINE = 4096
MAX_HEADER = 4096
MAX_HEADERS = 64
_LINGER = 2.0
_BACKLOG = 1024


_VERSIONS = (HttpVersion10, HttpVersion11)
_OTHER_VERSION = web.RequestKey("other_version", bool)


def check_version(request: web.BaseRequest) -> None:
    """Raise ``RefusedError`` for a request with an unsupported HTTP version."""
    if _OTHER_VERSION in request:
        raise RefusedError(Reason.HTTP_VERSION_NOT_SUPPORTED)


def _mark_versions(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Return a request factory that marks requests of other versions.

    aiohttp accepts HTTP/0.9 and HTTP/2.0 like HTTP/1.1, and repeats the version in its answers. Such requests are
    answered as HTTP/1.1, and their connection is closed after the answer.
    """

    def make_request(message: Any, *parts: Any) -> web.BaseRequest:
        if message.version in _VERSIONS:
            return make(message, *parts)
        request = make(message._replace(version=HttpVersion11, should_close=True), *parts)
        request[_OTHER_VERSION] = True
        return request

    return make_request


class _Connection(web.RequestHandler):  # type: ignore[misc, unused-ignore]
    """aiohttp's connection, with a callback on close, a write timeout, and errors that do not quote the request."""

    def __init__(
        self, server: web.Server, closed: Callable[[], None], write_timeout_s: float, **options: Any
    ) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._closed: Callable[[], None] | None = closed
        self._write_timeout_s = write_timeout_s
        self._write_timer: asyncio.TimerHandle | None = None
        self._abort: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # High-water mark 0: writing pauses as soon as bytes stay unsent. So a client that never reads is detected, even
        # while the connection closes. Answers are small: a client that reads receives them at once.
        transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=0)
        # Keep a reference: aiohttp drops the transport when it closes it.
        self._abort = transport.abort
        super().connection_made(transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        loop = asyncio.get_running_loop()
        self._write_timer = loop.call_later(self._write_timeout_s, self._cut_off)

    def resume_writing(self) -> None:
        self._cancel_write_timeout()
        super().resume_writing()

    def _cut_off(self) -> None:
        if self._abort is not None:
            self._abort()

    def _cancel_write_timeout(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def connection_lost(self, exc: BaseException | None) -> None:
        self._cancel_write_timeout()
        if self._closed is not None:
            self._closed()
            self._closed = None
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer malformed HTTP without aiohttp's text, which repeats the request and may contain a token."""
        reason = Reason.INTERNAL if status >= 500 else Reason.MALFORMED_REQUEST
        response = problem(RefusedError(reason))
        response.force_close()
        return response


class ConnectionLimiter:
    """Limits the number of connections, in total and for each address."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refusal_log = Throttle(5)
        self._total = 0
        self._by_address: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._options: dict[str, Any] = {
            "access_log": None,
            "logger": _quiet_logger(),
            "keepalive_timeout": settings.idle_timeout,
            "lingering_time": _LINGER,
            "max_line_size": MAX_LINE,
            "max_field_size": MAX_HEADER,
            "max_headers": MAX_HEADERS,
            "auto_decompress": False,
        }

    async def open(self, server: web.Server) -> str:
        """Listen; return the URL."""
        server.request_factory = _mark_versions(server.request_factory)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Guard(self, server),
            self._settings.host,
            self._settings.port,
            backlog=_BACKLOG,
        )
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def close(self) -> None:
        """Stop accepting connections."""
        if self._server is not None:
            self._server.close()

    def admit(self, peer: str, server: web.Server) -> _Connection | None:
        """Return the protocol for a new connection, or None if a limit is reached."""
        proxied = is_proxy(peer, self._settings.trusted_proxies)
        address = client_address(peer, (), ())
        full = self._total >= self._settings.max_connections or (
            not proxied and self._by_address[address] >= self._settings.max_connections_per_address
        )
        if full:
            if (more := self._refusal_log.allow()) is not None:
                log.warning("connections.limit_reached", address=address, total=self._total, **more)
            return None
        self._total += 1
        self._by_address[address] += 1

        def closed() -> None:
            self._total -= 1
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

        return _Connection(server, closed, self._settings.write_timeout, **self._options)


class _Guard(asyncio.Protocol):
    """Accepts a connection if the limiter admits it, else answers 503 and closes it."""

    def __init__(self, limiter: ConnectionLimiter, server: web.Server) -> None:
        self._limiter = limiter
        self._web = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's own isn't a subclass
        peer = transport.get_extra_info("peername")
        connection = self._limiter.admit(peer[0] if peer else "", self._web)
        if connection is None:
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"
                b"Connection: close\r\nContent-Length: 0\r\n\r\n"
            )
            transport.close()
            return
        transport.set_protocol(connection)
        connection.connection_made(transport)


def _quiet_logger() -> logging.Logger:
    """Return a logger for aiohttp that writes nothing: its messages quote requests, tokens included."""
    logger = logging.getLogger("webhook_gateway.http")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
