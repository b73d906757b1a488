"""Sends reports at an even pace and times them, as a process of its own: ``python -m tests.support.evenly URL``.

A line of JSON on stdin says what: how many ``seconds`` apart which ``bodies``; one on stdout, how many seconds each
answer took and which status it had. Nothing else happens here, so that only the answers are timed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiohttp


async def send(session: aiohttp.ClientSession, url: str, line: bytes) -> dict[str, list[float]]:
    """Send one after another, at a pace that doesn't wait for answers."""
    wanted = json.loads(line)
    said: dict[str, list[float]] = {"seconds": [], "statuses": []}

    async def one(body: str) -> None:
        begun = time.perf_counter()
        headers = {"Content-Type": "application/json"}
        async with session.post(url, data=body, headers=headers) as answer:
            await answer.read()
        said["seconds"].append(time.perf_counter() - begun)
        said["statuses"].append(answer.status)

    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.TaskGroup() as group:
        for turn, body in enumerate(wanted["bodies"]):
            await asyncio.sleep(max(0.0, begun + turn * wanted["seconds"] - loop.time()))
            group.create_task(one(body))
    return said


async def main(url: str) -> None:
    reader = asyncio.StreamReader(limit=2**22)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with aiohttp.ClientSession() as session:
        while line := await reader.readline():
            print(json.dumps(await send(session, url, line)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
