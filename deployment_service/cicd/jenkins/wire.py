"""Connections under `requests` that record whether a request was sent, and that can be aborted.

`requests` alone cannot show whether a failed request had been sent, nor end one whose answer arrives byte by byte.
So these connections report to an `Exchange`: it records the first, and another thread can abort it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import threading
import time
from typing import Any

import requests.adapters
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from deployment_service.domain.egress import is_private

_MOST_ADDRESSES = 4


class Aborted(Exception):
    """Raised inside an exchange that was aborted."""


class AddressDenied(OSError):
    """The host has no address that may be connected to.

    Also raised for an unknown name: a different error would show which names exist in our network.
    """


class Exchange:
    """One exchange, shared by the thread that carries it out and the one that waits for it."""

    def __init__(self, timeout_s: float, *, public_only: bool = False) -> None:
        self.public_only = public_only
        """Whether its connection may lead to public addresses only."""
        self.deadline = time.monotonic() + timeout_s
        self.connected = False
        """Whether the current request opened a connection, instead of using an idle one."""
        self._lock = threading.Lock()
        self._aborted = False
        self._sent = False
        self._handle: socket.socket | None = None

    @property
    def sent(self) -> bool:
        """Whether any byte of a request that can change something may have been sent.

        Once aborted, this is final.
        """
        return self._sent

    def remaining_s(self) -> float:
        """Return the seconds left. Raises Aborted if there are none."""
        remaining_s = self.deadline - time.monotonic()
        if remaining_s <= 0 or self._aborted:
            raise Aborted
        return remaining_s

    def attach(self, sock: socket.socket) -> None:
        """Store the socket in use. Raises Aborted if the exchange was aborted."""
        with self._lock:
            self._detach()
            if self._aborted:
                raise Aborted
            # A duplicate of our own: the original may be closed, and its number given to another
            # connection, at the very moment at which we shut it down.
            self._handle = socket.socket(
                sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno())
            )

    def begin_sending(self) -> None:
        """Note that the request may be sent from now on. Raises Aborted if the exchange was aborted."""
        with self._lock:
            if self._aborted:
                raise Aborted
            self._sent = self._sent or not current.safe

    def nothing_done(self) -> None:
        """Reset ``sent``: the answer proves that the request had no effect."""
        with self._lock:
            self._sent = False

    def abort(self) -> None:
        """End the blocking call that the exchange is in, and let it send nothing more."""
        with self._lock:
            self._aborted = True
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Let go of the socket, which may serve another exchange from now on."""
        with self._lock:
            self._detach()

    def _detach(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


class Current(threading.local):
    """What the thread is doing."""

    exchange: Exchange | None = None
    safe = False
    """Whether the request changes nothing, so that it may be sent twice."""
    fresh = False
    """Whether it needs a connection of its own."""


# urllib3 makes and picks its connections deep inside; so they find the exchange that they serve.
current = Current()


def current_exchange() -> Exchange:
    """Return the exchange that this thread carries out."""
    assert current.exchange is not None
    return current.exchange


class _Reporting:
    """What both kinds of connection do in addition: report to the exchange that they serve."""

    def _new_conn(self) -> socket.socket:
        current_exchange().remaining_s()
        sock = self._connect()
        current_exchange().connected = True
        try:
            current_exchange().attach(sock)
        except Aborted:
            sock.close()
            raise
        return sock

    def _connect(self) -> socket.socket:
        """Connect; to an address that was checked, if only public ones are allowed.

        The address is resolved here, once: a name that is resolved again may lead elsewhere.
        """
        this: Any = self
        if not current_exchange().public_only:
            return super()._new_conn()  # type: ignore[misc, no-any-return]
        # What urllib3 connects to; TLS checks the name that it has again afterwards.
        host = this._dns_host
        failure: Exception = AddressDenied()
        try:
            for address in _public_addresses(host, this.port):
                this._dns_host = address
                try:
                    return super()._new_conn()  # type: ignore[misc, no-any-return]
                except urllib3.exceptions.NewConnectionError as error:
                    failure = error
                current_exchange().remaining_s()
        finally:
            this._dns_host = host
        raise failure

    def request(self, *args: Any, **kwargs: Any) -> None:
        this: Any = self
        if this.sock is not None and not current_exchange().connected:
            if current.fresh:
                this.close()
            else:
                current_exchange().attach(this.sock)
        if this.sock is None:
            # Now rather than while sending, so that a failure to connect is known to be one.
            this.connect()
        current_exchange().begin_sending()
        super().request(*args, **kwargs)  # type: ignore[misc]


def _public_addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host, at most a few. Raises AddressDenied if one of them is private, or it has none.

    A name that has a public and a private address is denied: which of them is used would be chance.
    """
    found: list[Any] = []
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise AddressDenied
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if any(is_private(ipaddress.ip_address(one.partition("%")[0])) for one in addresses):
        raise AddressDenied
    return addresses[:_MOST_ADDRESSES]


class _HTTPConnection(_Reporting, urllib3.connection.HTTPConnection):
    pass


class _HTTPSConnection(_Reporting, urllib3.connection.HTTPSConnection):
    pass


class _HTTPPool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class Adapter(requests.adapters.HTTPAdapter):
    """Makes such connections."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def close(self) -> None:
        # urllib3 leaves the closing to the garbage collector, which may be long in coming.
        pools = self.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118 - it isn't a dict, and can't be iterated
            pools[key].close()
        super().close()
