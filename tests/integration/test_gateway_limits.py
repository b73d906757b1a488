"""Limits: floods, sizes and slowness, and that they hit nobody else."""

import asyncio
import contextlib
import json
import socket
import time

import pytest
from aiohttp import web
from pydantic import SecretStr

from tests.integration.gateway_harness import (
    JOB,
    OTHER_JOB,
    FakeService,
    Running,
    guide,
    plugin,
    running,
    serving,
)
from webhook_gateway.config import Settings
from webhook_gateway.connections import ConnectionLimiter


@pytest.fixture
async def service():
    async with serving() as service:
        yield service


async def test_failed_proofs_are_limited_by_address(service: FakeService):
    """P6, P7: after too many, 429 without work for the service; valid tokens from there still count."""
    async with running(service, failed_proofs="5/day") as gateway:
        assert (await gateway.post())[0] == 200
        statuses = [
            (await gateway.post(url=gateway.hook("wrong", tenant)))[0]
            for tenant in ("demo", "nobody") * 4
        ]
        assert statuses == [401] * 5 + [429] * 3
        async with gateway.client.post(gateway.hook("wrong")) as answer:
            assert answer.status == 429
            assert 1 <= int(answer.headers["Retry-After"]) <= 86_401
        token = service.tenants["demo"].token()
        assert (await gateway.post(url=gateway.hook(token, "stranger")))[0] == 429
        assert (await gateway.post())[0] == 200


async def test_a_report_behind_a_blocked_address_gets_into_a_gateway_that_was_restarted(
    service: FakeService,
):
    """P1, P6: it reads the list by itself; such an address may have it read sooner at a small rate only."""
    async with running(service, failed_proofs="2/day") as gateway:
        wrong = [(await gateway.post(url=gateway.hook("wrong")))[0] for _ in range(3)]
        assert wrong == [401, 401, 429]
        assert (await gateway.post())[0] == 200
        token = service.tenants["demo"].token()
        urls = [gateway.hook(token, f"nobody{number}") for number in range(100)]
        begun = time.monotonic()
        answers = await asyncio.gather(*(gateway.post(url=url) for url in urls))
        assert {status for status, _ in answers} == {429}
        assert len(service.reads) <= 3 + 10 * (2 + time.monotonic() - begun)
        assert (await gateway.post())[0] == 200


async def test_addresses_behind_a_proxy_are_told_apart(service: FakeService):
    """P6: X-Forwarded-For counts if a trusted proxy wrote it."""
    async with running(
        service, failed_proofs="2/day", trusted_proxies="127.0.0.0/8,10.0.0.0/8"
    ) as gateway:
        hook = gateway.hook("wrong")

        async def post(forwarded: str) -> int:
            return (await gateway.post(url=hook, headers={"X-Forwarded-For": forwarded}))[0]

        assert [await post("192.0.2.1") for _ in range(3)] == [401, 401, 429]
        # What the client itself wrote in front doesn't help it.
        assert await post("203.0.113.9, 192.0.2.1") == 429
        assert await post("192.0.2.1, 10.1.2.3") == 429
        assert await post("192.0.2.2") == 401


async def test_without_a_trusted_proxy_the_header_is_anyones_word(service: FakeService):
    """P7: an attacker can't leave the limit by a header."""
    async with running(service, failed_proofs="2/day") as gateway:
        statuses = [
            (
                await gateway.post(
                    url=gateway.hook("wrong"), headers={"X-Forwarded-For": f"192.0.2.{n}"}
                )
            )[0]
            for n in range(4)
        ]
        assert statuses == [401, 401, 429, 429]


async def test_a_tenants_ceiling_doesnt_touch_another_tenant(service: FakeService):
    """P6, P4: the flood gets 429 and a refresh request, the neighbour behind the same address gets 200."""
    async with running(service, tenant_ceiling="10/day") as gateway:
        answers = await asyncio.gather(*(gateway.post(guide(buildNumber=n)) for n in range(1, 41)))
        assert sorted(status for status, _ in answers) == [200] * 10 + [429] * 30
        assert {a["reason"] for s, a in answers if s == 429} == {"TOO_MANY_REPORTS"}
        other = gateway.hook(service.tenants["other"].token(), "other")
        assert (await gateway.post(url=other))[0] == 200
        await service.until(lambda: bool(service.refresh_requests))
        (request_refresh,) = service.refresh_requests
        assert (request_refresh.tenant, request_refresh.cicd_job_id) == ("tenants/demo", JOB)


async def test_bodies_up_to_the_cap_and_not_beyond(service: FakeService):
    """P7: 8 MiB of log are read past; more is refused, said before or found while reading."""
    async with running(service) as gateway:
        log = plugin(log="x" * (8 * 2**20 - 2000))
        assert (await gateway.post(log))[0] == 200
        too_much = json.dumps(plugin(log="x" * 8 * 2**20)).encode()
        status, answer = await gateway.post(too_much)
        assert (status, answer["reason"]) == (413, "BODY_TOO_LARGE")

        async def chunks():
            for start in range(0, len(too_much), 2**16):
                yield too_much[start : start + 2**16]

        async with gateway.client.post(
            gateway.hook(), data=chunks(), headers={"Content-Type": "application/json"}
        ) as refused:
            assert refused.status == 413
        assert len(service.reports) == 1


async def test_the_memory_for_bodies_is_bounded_and_shared_out(service: FakeService):
    """P6: one tenant's large bodies leave room for another's."""
    async with running(
        service, max_bodies_bytes=1024 * 1024, body_timeout=20, max_body_bytes=2**20
    ) as gateway:
        assert (await gateway.post())[0] == 200
        big = json.dumps(plugin(log="x" * 300 * 1024)).encode()
        status, answer = await gateway.post(big)
        assert (status, answer["reason"]) == (503, "OVERLOADED")
        small = json.dumps(plugin(log="x" * 200 * 1024)).encode()
        other = gateway.hook(service.tenants["other"].token(), "other")
        answers = await asyncio.gather(*(gateway.post(small, url=other) for _ in range(1)))
        assert [status for status, _ in answers] == [200]
        assert gateway.gateway._bodies._used == 0


async def raw(gateway: Running, *parts: bytes, close: bool = False) -> bytes:
    """Send bytes over a connection of their own; return all that comes back until it is closed."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        with contextlib.suppress(OSError):  # it may have been turned away already
            for part in parts:
                writer.write(part)
                await writer.drain()
            if close:
                writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def head(gateway: Running, *lines: str) -> bytes:
    path = gateway.hook().removeprefix(gateway.url)
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: x", *lines, "", "")).encode()


async def test_a_client_that_never_reads_its_answers_is_cut_off(service: FakeService):
    """P6: however much it sends; one that reads is served on."""
    async with running(service, write_timeout=0.3, failed_proofs="1000000/second") as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, (host, int(port)))
            async with asyncio.timeout(20):
                with contextlib.suppress(OSError):  # the end of it
                    while True:
                        await loop.sock_sendall(client, request)
        async with gateway.client.get(f"{gateway.url}/healthz") as answer:
            assert answer.status == 200


async def test_connections_are_counted_by_network_where_addresses_cost_nothing():
    """P6: whoever has one IPv6 address has 2^64 of them."""
    settings = Settings(api_key=SecretStr("k"), max_connections_per_address=2)
    door, server = ConnectionLimiter(settings), web.Server(lambda _: web.Response())  # type: ignore[arg-type, return-value]
    peers = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1", "192.0.2.1"]
    assert [door.admit(peer, server) is not None for peer in peers] == [
        True,
        True,
        False,
        True,
        True,
    ]


JSON = "Content-Type: application/json"


async def test_slow_heads_and_bodies_are_cut_off(service: FakeService):
    """P6: a connection that brings nothing, or drips, doesn't stay."""
    async with running(service, idle_timeout=0.2, body_timeout=0.3) as gateway:
        start = time.monotonic()
        silent, half, slow = await asyncio.gather(
            raw(gateway),
            raw(gateway, head(gateway, JSON)[:-4]),
            raw(gateway, head(gateway, JSON, "Content-Length: 100"), b'{"jobId"'),
        )
        assert time.monotonic() - start < 6
        assert (silent, half) == (b"", b"")
        assert slow.startswith(b"HTTP/1.1 408 ")
        assert b"BODY_TIMEOUT" in slow
        await service.until(lambda: bool(service.refresh_requests))
        assert service.reports == []


async def test_a_body_that_ends_early_is_no_report(service: FakeService):
    """P4, P7: half a report is none, and its job is read instead."""
    async with running(service) as gateway:
        await raw(gateway, head(gateway, JSON, "Content-Length: 100"), b'{"jobId"', close=True)
        await service.until(lambda: bool(service.refresh_requests))
        assert service.reports == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-Many: 1\r\n" * 300 + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
    ],
)
async def test_what_isnt_http_is_refused(service: FakeService, request_bytes: bytes):
    """P7: nonsense on the wire is 4xx, and the gateway goes on."""
    async with running(service, idle_timeout=1) as gateway:
        answer = await raw(gateway, request_bytes, close=True)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:100]
        assert (await gateway.post())[0] == 200


async def test_connections_are_limited_in_all_and_by_address(service: FakeService):
    """P6: no address takes all the connections there are."""
    async with running(service, max_connections_per_address=3) as gateway:
        assert (await gateway.post())[0] == 200  # the client keeps this one
        host, port = gateway.url.removeprefix("http://").split(":")
        others = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        assert (await raw(gateway)).startswith(b"HTTP/1.1 503 ")
        assert (await gateway.post())[0] == 200
        for _, writer in others:
            writer.close()
        async with asyncio.timeout(10):
            while (await raw(gateway, b"x\r\n\r\n", close=True)).startswith(b"HTTP/1.1 503 "):
                pass


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Content-Type": "text/plain"}, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Type": ""}, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Type": "application/xml;charset=UTF-8"}, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Type": "application/json; charset=latin1"}, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "UNSUPPORTED_ENCODING"),
    ],
)
async def test_other_content_types(service: FakeService, headers: dict[str, str], reason: str):
    """P7: what isn't JSON in UTF-8 is told so, and its job is read."""
    async with running(service) as gateway:
        status, answer = await gateway.post(headers=headers)
        assert (status, answer["reason"]) == (415, reason)
        await service.until(lambda: bool(service.refresh_requests))


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json;charset=UTF-8", "Application/JSON; Charset=utf-8"],
)
async def test_json_content_types(service: FakeService, content_type: str):
    """P1: as Jenkins and curl write it."""
    async with running(service) as gateway:
        assert (await gateway.post(headers={"Content-Type": content_type}))[0] == 200


async def test_another_jobs_reports_pass_while_one_job_floods_nonsense(service: FakeService):
    """P6: refusals cause one refresh request for their job, and do not affect the neighbour."""
    async with running(service) as gateway:
        flood = [gateway.post(b"nonsense") for _ in range(100)]
        good = [
            gateway.post(guide(jobId=OTHER_JOB, buildNumber=n), url=gateway.hook(job=OTHER_JOB))
            for n in range(1, 51)
        ]
        answers = await asyncio.gather(*flood, *good)
        assert [status for status, _ in answers] == [400] * 100 + [200] * 50
