"""Sends large messages to the service, several at once, as a process of its own.

``python -m tests.support.large_calls TARGET METHOD KEY``: a line on stdin starts it, the next one stops it, and so
on; then it prints the codes of the answers in a line of JSON. An empty KEY sends no metadata.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any, cast

import grpc.aio

AT_ONCE = 4
# Three million empty nested messages, as large as gRPC lets through.
MESSAGE = b"\x0a\x00" * (3 * 2**20 - 8)


async def send(channel: grpc.aio.Channel, method: str, key: str, counts: Counter[str]) -> None:
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    while True:
        try:
            call: Any = channel.unary_stream(method)(
                cast("Any", MESSAGE), metadata=metadata, timeout=20
            )
            await call.read()
            counts["OK"] += 1
        except grpc.aio.AioRpcError as error:
            counts[error.code().name] += 1


async def main(target: str, method: str, key: str) -> None:
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(target, options) as channel:
        while await commands.readline():
            counts: Counter[str] = Counter()
            senders = [
                asyncio.create_task(send(channel, method, key, counts)) for _ in range(AT_ONCE)
            ]
            await commands.readline()
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
            print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
