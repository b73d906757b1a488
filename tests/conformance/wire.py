"""Sending a recorded request byte by byte, and reading the answer with all its headers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Reply:
    """An answer as it came over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


async def exchange(
    port: int, method: str, path: str, headers: list[tuple[str, str]], body: bytes
) -> Reply:
    """One request on a connection of its own, which the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    raw = await reader.read()
    writer.close()
    return _parse(raw)


def _parse(raw: bytes) -> Reply:
    head, _, body = raw.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    headers = [
        (name, value.strip() if name != "X-Error" else value[1:]) for name, _, value in pairs
    ]
    if any(name == "Transfer-Encoding" for name, _ in headers):
        body = _unchunk(body)
    return Reply(int(status_line.split()[1]), headers, body)


def _unchunk(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + body[:length], body[length + 2 :]
    return whole
