"""A flood of webhooks, as a process of its own: ``python -m tests.support.flood URL REQUESTS_PER_SECOND BODY``.

A line on stdin starts it (it says so), the next one stops it, and so on; then it says in a line of JSON how many
requests it has sent and how many answers of which status came back, and drops what isn't answered yet. It is
sparing, so that what is measured is the gateway and not this.
"""

from __future__ import annotations

import asyncio
import itertools
import json
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


async def flood(
    connections: list[Connection], request: bytes, rate: float, stop: asyncio.Event
) -> int:
    """Send at this rate until it is to stop; return how many were sent."""
    sent, missed = 0, 0.0
    in_turn = itertools.cycle(connections)
    before = time.monotonic()
    while not stop.is_set():
        now = time.monotonic()
        # What a starved process has missed is made up for in a tenth of a second, or not at all.
        missed = min(missed + (now - before) * rate, rate / 10)
        before = now
        for _ in range(int(missed)):
            one = next(in_turn)
            if one.transport is not None and one.open < 100:
                one.open += 1
                one.transport.write(request)
                sent += 1
        missed %= 1
        await asyncio.sleep(_TICK_S)
    return sent


async def main(url: str, rate: float, body: str) -> None:
    parts = urlsplit(url)
    head = (
        f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = (head + body).encode()
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    counts: Counter[str] = Counter()
    while await commands.readline():
        counts.clear()
        connections = [
            (
                await loop.create_connection(
                    lambda: Connection(counts), parts.hostname or "", parts.port or 80
                )
            )[1]
            for _ in range(CONNECTIONS)
        ]
        print("flooding", flush=True)
        stop = asyncio.Event()
        begun = time.monotonic()
        flooding = asyncio.create_task(flood(connections, request, rate, stop))
        await commands.readline()
        stop.set()
        counts["sent"] = await flooding
        counts["ms"] = round(1000 * (time.monotonic() - begun))
        print(json.dumps(counts), flush=True)
        for one in connections:
            if one.transport is not None:
                one.transport.abort()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
