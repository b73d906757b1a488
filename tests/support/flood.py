"""A flood of webhooks, as a process of its own: ``python -m tests.support.flood URL REQUESTS_PER_SECOND``.

It reads one body from stdin and sends it until it is told to stop by SIGTERM, then says as JSON how many answers
of which status came back. It is sparing, so that what is measured is the gateway and not this.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from urllib.parse import urlsplit

CONNECTIONS = 32
_TICK_S = 0.01


class Connection(asyncio.Protocol):
    """Sends the same request again and again, several at a time; reads only statuses."""

    def __init__(self, counts: Counter[str]) -> None:
        self.counts = counts
        self.open = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        # A head may come in two pieces; then its status line is in the first.
        for part in data.split(b"HTTP/1.1 ")[1:]:
            self.counts[part[:3].decode()] += 1
            self.open -= 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None


async def flood(url: str, rate: float, body: bytes) -> Counter[str]:
    parts = urlsplit(url)
    head = (
        f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    counts: Counter[str] = Counter()
    host, port = parts.hostname or "", parts.port or 80
    connections = [
        (await loop.create_connection(lambda: Connection(counts), host, port))[1]
        for _ in range(CONNECTIONS)
    ]
    print("flooding", flush=True)
    begun, sent = time.monotonic(), 0
    while not stop.is_set():
        # What a starved process has missed isn't made up for in one burst.
        due = min(int((time.monotonic() - begun) * rate) - sent, int(2 * rate * _TICK_S))
        sent += due
        for turn in range(due):
            one = connections[turn % CONNECTIONS]
            if one.transport is not None and one.open < 100:
                one.open += 1
                one.transport.write(request)
            else:
                counts["unsent"] += 1
        await asyncio.sleep(_TICK_S)
    counts["ms"] = round(1000 * (time.monotonic() - begun))
    return counts


if __name__ == "__main__":
    result = asyncio.run(flood(sys.argv[1], float(sys.argv[2]), sys.stdin.buffer.read()))
    print(json.dumps(result))
