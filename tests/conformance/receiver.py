"""A receiver of notifications that behaves as the recorded ones did, and writes down what it got."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass
class Receiver:
    """Keeps every request: request line, headers in order, body."""

    requests: list[tuple[str, list[tuple[str, str]], str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each request had arrived, by the loop's clock."""
    slow_s: float = 5.0
    port: int = 0
    _dropped: set[str] = field(default_factory=set)
    _handlers: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def finish(self) -> None:
        """Wait until every answer has been given, however slow."""
        await asyncio.gather(*self._handlers)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = [line.partition(": ") for line in lines[1:] if line]
        headers = [(name, value) for name, _, value in pairs]
        body = await reader.readexactly(int(dict(headers)["Content-Length"]))
        self.requests.append((lines[0], headers, body.decode()))
        self.times.append(asyncio.get_running_loop().time())
        path = lines[0].split()[1]
        if path.startswith("/flaky1") and path not in self._dropped:
            self._dropped.add(path)
            return
        if path.startswith("/slow"):
            await asyncio.sleep(self.slow_s)
        writer.write(self._reply(path).encode())
        await writer.drain()

    def _reply(self, path: str) -> str:
        if path == "/redir":
            return (
                f"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:{self.port}/after-redirect\r\n\r\n"
            )
        status = path[2:5] if path.startswith("/s") and path[2:5].isdecimal() else "200"
        return f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"
