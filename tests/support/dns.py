"""A DNS server for one name, whose addresses a test changes while clients use it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

_A, _IN = 1, 1


class NameServer(asyncio.DatagramProtocol):
    """Answers A queries with ``addresses``, everything else with no records."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.queries = 0
        self.port = 0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(self._answer(data), addr)

    def target(self, port: int) -> str:
        """Return the gRPC target that resolves a name by this server."""
        return f"dns://127.0.0.1:{self.port}/deployment-service.test:{port}"

    def _answer(self, query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5  # the name, its type and class
        kind = struct.unpack_from("!H", query, end - 4)[0]
        records = [socket.inet_aton(one) for one in self.addresses] if kind == _A else []
        self.queries += kind == _A
        header = query[:2] + struct.pack("!HHHHH", 0x8580, 1, len(records), 0, 0)
        body = b"".join(struct.pack("!HHHIH", 0xC00C, _A, _IN, 0, 4) + one for one in records)
        return header + query[12:end] + body


@asynccontextmanager
async def name_server(*addresses: str) -> AsyncIterator[NameServer]:
    """Run a name server on loopback."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: NameServer(*addresses), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
