"""A TCP address in front of servers: it can lead elsewhere, and let its connections fall silent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class TcpProxy:
    """Passes bytes to ``target``, a port of 127.0.0.1; None: new connections are refused by closing them.

    ``silence()`` keeps the connections that exist open and acknowledged, but passes nothing more, either way.
    """

    def __init__(self, target: int | None) -> None:
        self.target = target
        self.port = 0
        self.silenced = False
        """Whether ``silence()`` was called."""
        self.silence_after = b""
        """The answer of the server after which ``silence()`` happens by itself."""
        self.silent_from_start = False
        """New connections are accepted and never answered."""
        self.connections = 0
        """How many connections were accepted, in all."""
        self._silent: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._kept: list[asyncio.StreamWriter] = []

    def url(self, url: str) -> str:
        """The URL of a database through this address."""
        before, _, after = url.partition("127.0.0.1:")
        return f"{before}127.0.0.1:{self.port}/{after.partition('/')[2]}"

    def silence(self) -> None:
        """Let all connections that exist fall silent, for ever."""
        self.silenced = True
        self._silent |= self._tasks

    def cut(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections += 1
        self._tasks.add(task)
        self._writers.add(writer)
        if self.silent_from_start:
            self._silent.add(task)
        try:
            await self._serve(task, reader, writer)
        except OSError:
            pass
        finally:
            self._tasks.discard(task)
            self._silent.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _serve(
        self,
        task: asyncio.Task[None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if self.silent_from_start:
            while await reader.read(65536):
                pass
            return
        if self.target is None:
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers.add(server_writer)
        try:
            done, left = await asyncio.wait(
                {
                    asyncio.ensure_future(self._pass(task, reader, server_writer)),
                    asyncio.ensure_future(self._pass(task, server_reader, writer, answers=True)),
                },
                return_when=asyncio.FIRST_COMPLETED,
            )
            for one in left:
                one.cancel()
            await asyncio.gather(*done, *left, return_exceptions=True)
        finally:
            self._writers.discard(server_writer)
            # A silent connection stays open on the server's side too: nothing tells it of the end.
            if task not in self._silent:
                server_writer.transport.abort()
            else:
                self._kept.append(server_writer)

    async def _pass(
        self,
        task: asyncio.Task[None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        answers: bool = False,
    ) -> None:
        while data := await reader.read(65536):
            if task not in self._silent:
                writer.write(data)
                await writer.drain()
            if answers and self.silence_after and self.silence_after in data:
                self.silence()


@contextlib.asynccontextmanager
async def tcp_proxy(target: int | None) -> AsyncIterator[TcpProxy]:
    proxy = TcpProxy(target)
    server = await asyncio.start_server(proxy._connected, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        for writer in proxy._kept:
            writer.transport.abort()
        await asyncio.gather(*proxy._tasks, return_exceptions=True)
        await server.wait_closed()
