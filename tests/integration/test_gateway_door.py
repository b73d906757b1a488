"""What the gateway's port serves, byte for byte: paths in every form, versions of HTTP, encodings of bodies."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import urllib.error
import urllib.request

import pytest

from tests.integration.gateway_harness import (
    JOB,
    FakeService,
    Running,
    guide,
    running,
    serving,
)
from tests.integration.test_gateway_signatures import signed

BODY = json.dumps(guide()).encode()


@pytest.fixture
async def service():
    async with serving() as service:
        yield service


@pytest.fixture
async def gateway(service: FakeService):
    async with running(service) as gateway:
        yield gateway


async def send(gateway: Running, data: bytes) -> bytes:
    """Return all that comes back until the connection is closed."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        with contextlib.suppress(OSError):
            writer.write(data)
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def get(gateway: Running, target: str) -> bytes:
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    return await send(gateway, head.encode())


async def post(gateway: Running, target: str, *headers: str, body: bytes = BODY) -> bytes:
    lines = (
        f"POST {target} HTTP/1.1",
        "Host: x",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    )
    return await send(gateway, "\r\n".join((*lines, "", "")).encode() + body)


def status(answer: bytes) -> int:
    return int(answer.split()[1])


PLACES = (
    "/metrics", "/%6detrics", "/metric%73", "//metrics", "/x/../metrics", "/./metrics", "/metrics/",
    "/en/../metrics", "/%2e%2e/metrics", "/%2Fmetrics", "/metrics?x=1", "/METRICS", "/metrics%00",
)  # fmt: skip
ABSOLUTE = ("http://x", "http://x:80", "https://x", "HTTP://x", "ftp://x", "http://user@x")


@pytest.mark.parametrize("target", PLACES)
async def test_metrics_are_not_on_the_port_that_jenkins_reaches(gateway: Running, target: str):
    """P7: in no spelling of the path, nor with a host before it."""
    for prefix in ("", *ABSOLUTE):
        answer = await get(gateway, prefix + target)
        assert status(answer) in (400, 404), prefix + target
        assert b"webhook_requests_total" not in answer


async def test_metrics_have_a_port_of_their_own_if_it_is_set(service: FakeService):
    """P1: operators count what happens, on an address that only they reach."""
    async with running(service, metrics_listen="127.0.0.1:0") as gateway:
        await gateway.post()
        page = await asyncio.to_thread(_read, f"http://127.0.0.1:{gateway.metrics_port}/metrics")
    assert 'webhook_verdicts_total{verdict="APPLIED"} 1.0' in page
    assert "demo" not in page
    with pytest.raises(urllib.error.URLError):
        await asyncio.to_thread(_read, f"http://127.0.0.1:{gateway.metrics_port}/metrics")


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_are_answered_under_their_plain_path_only(gateway: Running, path: str):
    """P7: a proxy that hides a path hides all of its spellings."""
    assert status(await get(gateway, path)) == 200
    assert status(await get(gateway, f"{path}?x=1")) == 200
    spellings = [
        f"/%{ord(path[1]):x}{path[2:]}",
        f"{path[:-1]}%7a",
        f"/{path}",
        f"{path}/",
        f"/x/..{path}",
    ]
    for target in [*spellings, *(prefix + path for prefix in ABSOLUTE)]:
        assert status(await get(gateway, target)) in (400, 404), target


async def test_other_spellings_of_a_webhook_prove_no_less_and_reach_no_more(gateway: Running):
    """P7: the token decides, and an encoded slash makes no path."""
    path = gateway.hook().removeprefix(gateway.url)
    for good in (path, f"http://x{path}", path.replace("/demo/", "/%64emo/")):
        assert status(await post(gateway, good)) == 200, good
    for bad in (
        path.replace("/demo/", "%2Fdemo/"),
        path.replace("/demo/", "/%64emo%2F"),
        path.replace("/en/", "/en/../en/"),
        f"/{path}",
        path.replace("/demo/", "/other/"),
        path.replace("/demo/", "/%6fther/"),
        "http://x" + path.replace("/demo/", "/other/"),
    ):
        assert status(await post(gateway, bad)) in (401, 404), bad
    assert len(gateway.service.reports) == 3


ENCODED = [
    ("Content-Encoding: gzip",),
    ("Content-Encoding: identity", "Content-Encoding: gzip"),
    ("Content-Encoding: gzip", "Content-Encoding: identity"),
    ("content-encoding: identity", "CONTENT-ENCODING: br"),
    ("Content-Encoding: identity, gzip",),
    ("Content-Encoding: ",),
    ("Content-Encoding: identity", "Content-Encoding:"),
    ("Content-Encoding: identity;q=0",),
    ("Content-Encoding: x-gzip",),
]
PLAIN = [
    (),
    ("Content-Encoding: identity",),
    ("Content-Encoding: IDENTITY",),
    ("Content-Encoding: identity", "Content-Encoding: identity"),
]


@pytest.mark.parametrize("headers", ENCODED)
async def test_every_copy_of_the_encoding_counts(gateway: Running, headers: tuple[str, ...]):
    """P7: what one proxy takes for plain and another for compressed is refused."""
    path = gateway.hook().removeprefix(gateway.url)
    for body in (BODY, gzip.compress(BODY)):
        answer = await post(gateway, path, *headers, body=body)
        assert status(answer) == 415, answer
        assert b"UNSUPPORTED_ENCODING" in answer
    assert gateway.service.reports == []
    await gateway.service.until(lambda: bool(gateway.service.refresh_requests))


@pytest.mark.parametrize("headers", PLAIN)
async def test_plain_bodies_may_say_so(gateway: Running, headers: tuple[str, ...]):
    """P1: `identity` is what a body without the header is."""
    path = gateway.hook().removeprefix(gateway.url)
    assert status(await post(gateway, path, *headers)) == 200
    assert status(await post(gateway, *_signed(gateway, BODY), *headers)) == 200


@pytest.mark.parametrize("headers", ENCODED)
async def test_a_signed_body_is_not_read_if_it_is_encoded(
    gateway: Running, headers: tuple[str, ...]
):
    """P7, P6: refused by its head: the body never comes, and the answer does."""
    path, *proof = _signed(gateway, BODY)
    lines = (f"POST {path} HTTP/1.1", "Host: x", "Connection: close", "Content-Length: 100000")
    head = "\r\n".join((*lines, "Content-Type: application/json", *proof, *headers, "", ""))
    answer = await send(gateway, head.encode())
    assert status(answer) == 415, answer
    assert b"UNSUPPORTED_ENCODING" in answer
    assert gateway.service.reports == []


@pytest.mark.parametrize("coding", ["gzip, chunked", "chunked, gzip", "identity, chunked", "gzip"])
async def test_a_body_in_another_transfer_coding_is_no_report(gateway: Running, coding: str):
    """P7: nothing is decoded on the way."""
    path = gateway.hook().removeprefix(gateway.url)
    packed = gzip.compress(BODY)
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: x",
        "Connection: close",
        "Content-Type: application/json",
        f"Transfer-Encoding: {coding}",
    )
    data = "\r\n".join((*lines, "", "")).encode()
    data += b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    assert status(await send(gateway, data)) == 400
    assert gateway.service.reports == []


def _signed(gateway: Running, body: bytes) -> tuple[str, ...]:
    path = gateway.signed_hook(job=JOB).removeprefix(gateway.url)
    return (path, *(f"{name}: {value}" for name, value in signed(gateway, body).items()))


REQUEST_LINES = [
    "GET {path}",
    "GET {path} ",
    "GET {path} HTTP/0.9",
    "GET {path} HTTP/2.0",
    "GET {path} HTTP/2",
    "GET {path} HTTP/1.2",
    "GET {path} HTTP/1.10",
    "GET {path} HTTP/3.0",
    "GET {path} HTTP/11",
    "GET {path} http/1.1",
    "POST {path} HTTP/0.9",
    "POST {path} HTTP/2.0",
    "PRI * HTTP/2.0",
    "PRI {path} HTTP/2.0",
    "{path}",
    "GET\t{path}\tHTTP/1.1",
]


@pytest.mark.parametrize("line", REQUEST_LINES)
async def test_only_http_1_0_and_1_1_are_supported(gateway: Running, line: str, caplog, capfd):
    """P7: other versions are refused, whatever they ask for, and the connection is closed."""
    hook = gateway.hook().removeprefix(gateway.url)
    for path in ("/healthz", hook):
        head = f"{line.format(path=path)}\r\nHost: x\r\nContent-Type: application/json\r\n"
        data = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
        answer = await send(gateway, data)
        assert answer == b"" or (
            answer.startswith((b"HTTP/1.0 ", b"HTTP/1.1 "))
            and status(answer) in (400, 404, 405, 505)
        ), answer
    assert gateway.service.reports == []
    assert "Traceback" not in caplog.text + capfd.readouterr().out


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS_FRAME = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


async def test_a_client_that_begins_with_http_2_is_turned_away(gateway: Running, capfd):
    """P7: by prior knowledge, or where the preface comes in the middle of a connection."""
    healthy = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    for data in (PREFACE, PREFACE + SETTINGS_FRAME, PREFACE[:16], SETTINGS_FRAME):
        answer = await send(gateway, data + b"\r\n\r\n")
        assert answer == b"" or status(answer) in (400, 505)
    answer = await send(gateway, healthy + PREFACE + SETTINGS_FRAME)
    assert answer.count(b"HTTP/") <= 2
    assert b"Traceback" not in answer + capfd.readouterr().out.encode()


async def test_an_offer_of_http_2_is_answered_in_http_1(gateway: Running):
    """RFC 9110, 7.8: a server may ignore an upgrade."""
    upgrade = ("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    head = ("GET /healthz HTTP/1.1", "Host: x", "Connection: close, Upgrade, HTTP2-Settings")
    answer = await send(gateway, "\r\n".join((*head, *upgrade, "", "")).encode())
    assert status(answer) == 200


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9"])
async def test_what_follows_on_a_refused_connection_is_not_served(gateway: Running, version: str):
    """P7: no second request is hidden behind a first one that is refused."""
    hook = gateway.hook().removeprefix(gateway.url).encode()
    report = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" % hook
    report += b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    first = f"GET /healthz {version}\r\nHost: x\r\n\r\n".encode()
    answer = await send(gateway, first + report)
    assert status(answer) in (400, 505)
    assert len(re.findall(rb"HTTP/1\.[01] [0-9]{3} ", answer)) == 1
    assert gateway.service.reports == []
