"""An HTTP client with the habits of Java's HttpURLConnection: exact headers, no retries, no pool."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterator, Sequence
from urllib.parse import SplitResult, urljoin, urlsplit

USER_AGENT = "Java/17.0.15"
_MOST_REDIRECTS = 20


class DeliveryError(Exception):
    """The connection was refused, dropped or timed out; the text is Java's."""


def hash_order(keys: Sequence[str]) -> list[str]:
    """Return keys in the order in which a Java HashMap lists them."""
    size = 16
    while len(keys) > size * 3 // 4:
        size *= 2

    def bucket(key: str) -> int:
        hashed = 0
        for unit in _utf16(key):
            hashed = (31 * hashed + unit) & 0xFFFFFFFF
        return (hashed ^ hashed >> 16) & size - 1

    return sorted(keys, key=bucket)


def _utf16(text: str) -> Iterator[int]:
    raw = text.encode("utf-16-be", "surrogatepass")
    return (raw[at] << 8 | raw[at + 1] for at in range(0, len(raw), 2))


async def post(url: str, body: bytes, content_type: str, timeout_s: float | None) -> int:
    """Post and return the status, whatever it is; only 307 is followed."""
    for _ in range(_MOST_REDIRECTS):
        status, location = await _post_once(urlsplit(url), body, content_type, timeout_s)
        if status != 307:
            return status
        if location is None:
            raise DeliveryError("java.net.MalformedURLException: null")
        url = urljoin(url, location)
    raise DeliveryError("java.net.ProtocolException: Server redirected too many times")


async def _post_once(
    url: SplitResult, body: bytes, content_type: str, timeout_s: float | None
) -> tuple[int, str | None]:
    if url.scheme not in ("http", "https") or not url.hostname:
        raise DeliveryError(
            f"java.lang.IllegalArgumentException: Not an http(s) url: {url.geturl()}"
        )
    port = url.port or (443 if url.scheme == "https" else 80)
    tls = ssl.create_default_context() if url.scheme == "https" else None
    try:
        # Not wait_for: in Python 3.11 it drops a cancellation that arrives together with the result (CPython issue
        # 86296). A build that is cancelled by a restart would go on, and the restart would wait for it for ever.
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(url.hostname, port, ssl=tls)
    except TimeoutError:
        raise DeliveryError("java.net.SocketTimeoutException: Connect timed out") from None
    except OSError as error:
        raise DeliveryError(f"java.net.ConnectException: {error.strerror or error}") from None
    try:
        writer.write(_head(url, body, content_type) + body)
        await writer.drain()
        async with asyncio.timeout(timeout_s):
            return await _read_head(reader)
    except TimeoutError:
        raise DeliveryError("java.net.SocketTimeoutException: Read timed out") from None
    except (OSError, asyncio.IncompleteReadError, ValueError):
        raise DeliveryError(
            "java.net.SocketException: Unexpected end of file from server"
        ) from None
    finally:
        writer.close()


def _head(url: SplitResult, body: bytes, content_type: str) -> bytes:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    host = url.hostname or ""
    lines = [f"POST {target} HTTP/1.1", f"Content-Type: {content_type}"]
    if url.username is not None:
        # Java takes it as it is written: what is percent-encoded stays so.
        user_info = url.netloc.rpartition("@")[0]
        lines.append("Authorization: Basic " + base64.b64encode(user_info.encode()).decode())
    lines += [
        f"User-Agent: {USER_AGENT}",
        f"Host: {host}:{url.port}" if url.port else f"Host: {host}",
        "Accept: text/html, image/gif, image/jpeg, */*; q=0.2",
        "Connection: keep-alive",
        f"Content-Length: {len(body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, str | None]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    for line in head[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "location":
            return status, value.strip()
    return status, None
