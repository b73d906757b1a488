"""Closes connections of an address that has too many: gRPC itself only limits their number in all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections import defaultdict
from collections.abc import Sequence

from deployment_service.api.peers import Network, is_in, network_of
from deployment_service.runtime.logs import log

_FDS = "/proc/self/fd"
_INTERVAL_S = 0.5
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class ConnectionLimiter:
    """Looks at the sockets of the process now and then, and shuts down the newest of an address beyond its limit.

    gRPC has no hook for accepted connections. A socket that is shut down here looks to gRPC like one that its
    client closed. Only where the system lists open files (Linux); elsewhere only the total is limited.
    """

    def __init__(self, most: int, trusted_proxies: Sequence[Network] = ()) -> None:
        self._most = most
        self._proxies = trusted_proxies
        self._port = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self, port: int) -> None:
        """Begin to watch the connections to this port."""
        self._port = port
        if sys.platform == "linux":
            self._task = asyncio.create_task(self._run(), name="connection-limiter")

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_S)
            closed = await asyncio.to_thread(self._close_excess)
            for address, count in closed.items():
                log.warning("connections.closed", address=address, count=count, most=self._most)

    def _close_excess(self) -> dict[str, int]:
        by_address: dict[str, list[socket.socket]] = defaultdict(list)
        with contextlib.ExitStack() as opened:
            # File numbers are given out lowest first, so that the highest are mostly the newest.
            for fd in sorted(int(name) for name in os.listdir(_FDS)):
                connection = self._connection(fd, opened)
                if connection is not None:
                    by_address[network_of(connection.getpeername()[0])].append(connection)
            closed = {}
            for address, connections in by_address.items():
                excess = connections[self._most :]
                if excess and not is_in(address, self._proxies):
                    closed[address] = len(excess)
                    for connection in excess:
                        with contextlib.suppress(OSError):
                            connection.shutdown(socket.SHUT_RDWR)
            return closed

    def _connection(self, fd: int, opened: contextlib.ExitStack) -> socket.socket | None:
        """A copy of the file, if it is a connection to our port. A copy: gRPC may close its own at any time."""
        try:
            if not os.readlink(f"{_FDS}/{fd}").startswith("socket:"):
                return None
            copy = opened.enter_context(socket.socket(fileno=os.dup(fd)))
            is_ours = copy.family in _FAMILIES and copy.getsockname()[1] == self._port
            return copy if is_ours and copy.getpeername() else None
        except OSError:  # closed meanwhile, or only listening
            return None
