"""Hostile requests, half of them with a valid token: 4xx, no report, no fall; valid ones between them pass."""

import asyncio
import itertools
import json
import random
from collections.abc import Iterator
from urllib.parse import quote

import pytest

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

BODIES = [
    b"",
    b" \r\n\t ",
    b"\xef\xbb\xbf",
    b"null",
    b"true",
    b"7",
    b'"text"',
    b"[]",
    b"[{}]",
    b"{}",
    b'{"a":1}',
    b"{",
    b"}",
    b'{"jobId":}',
    b"{'jobId':'x'}",
    b"\xff\xfe\x00",
    '{"jobId":"x"}'.encode("utf-16"),
    b'{"jobId":"\xff","buildNumber":7}',
    b'{"build":{"log":"\xc3\x28","number":7,"phase":"STARTED"}}',
    b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"x":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
    b'{"build":' + b"[" * 100_000,
    b'{"build":{"parameters":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}}",
    b'{"build":' + b"9" * 6_000 + b"}",
    b"<?xml version='1.0'?><job/>",
    b"<!DOCTYPE html><html></html>",
    b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    b"jobId=1&status=success",
    b"PK\x03\x04" + b"\x00" * 100,
    b"\x00" * 1_000,
    b'{"build":{}}',
    b'{"build":[]}',
    b'{"build":null,"jobId":null}',
]
NUMBERS: list[object] = [
    None, 0, -1, 7.0, 7.5, 1e308, True, False, "", "#", "7.0", "-7", "+7", "0x7", "7e0", "#-7", "٧", [], {},
    2**31, 2**63, 2**64, 10**400, "9" * 5_000, "7; DROP TABLE deployments", [7], {"a": 7},
]  # fmt: skip
JOBS: list[object] = [
    "", " ", 7, None, [], {}, "x" * 5_000, "web-prod", "\x00", "../../etc/passwd", "%00", "{{7*7}}",
]  # fmt: skip
NO_TEXT: list[object] = [7, True, [], {}, ["success"], 1.5]
NO_PHASE: list[object] = [None, "", "RUNNING", 7, [], {}]
BODIES += [
    json.dumps(fields).encode()
    for fields in (
        *(guide(buildNumber=value) for value in NUMBERS),
        *(plugin(number=value) for value in NUMBERS),
        *(guide(jobId=value) for value in JOBS),
        *(guide(status=value) for value in NO_TEXT),
        *(plugin(status=value) for value in NO_TEXT),
        *(plugin(phase=value, status=None) for value in NO_PHASE),
    )
]


def huge(size: int) -> Iterator[bytes]:
    """Values, of so many bytes, that would take seconds and twenty times their size, if anybody decoded them."""
    values = [
        b"[" + b"[]," * (size // 3) + b"1]",
        b"{" + b'"a":{"b":1},' * (size // 12) + b'"c":1}',
        b"[" * 900 + b'"' + b"x" * size + b'"' + b"]" * 900,
        b'"' + b"x" * size + b'"',
        b"1" * size,
    ]
    around = [
        b'{"build":{"number":7,"phase":"STARTED","parameters":%b}}',
        b'{"build":{"number":7,"phase":"STARTED","status":%b}}',
        b'{"build":{"number":%b,"phase":"STARTED"}}',
        b'{"build":{"number":7,"phase":"STARTED"},"url":%b}',
        b'{"jobId":"x","buildNumber":7,"status":%b}',
        b'{"jobId":%b,"buildNumber":7}',
        b'{"jobId":"x","buildNumber":7,"timestamp":%b}',
        b'{"build":[%b]}',
    ]
    return (body % value for body, value in itertools.product(around, values))


@pytest.fixture
async def service():
    async with serving() as service:
        yield service


async def test_nonsense_with_a_valid_token(service: FakeService):
    """P7: a precise 4xx for each, and nothing of it reaches the service as a report."""
    async with running(service) as gateway:
        for body in BODIES:
            status, answer = await gateway.post(body)
            assert status == 400, (body[:80], answer)
            assert answer["reason"] in (
                "EMPTY_BODY",
                "MALFORMED_BODY",
                "UNKNOWN_BODY",
                "INVALID_FIELD",
                "WRONG_JOB",
            ), body[:80]
            assert answer["detail"]
        assert service.reports == []
        assert (await gateway.post())[0] == 200


async def test_huge_values_are_refused_and_stop_nobody(service: FakeService):
    """P6, P4: their job is read, and another tenant's report gets through after each."""
    async with running(service, tenant_ceiling="1000000/second") as gateway:
        other = gateway.hook(tenant="other", job=OTHER_JOB)
        for body in huge(8_000_000):
            status, answer = await gateway.post(body)
            assert (status, answer["reason"]) in (
                (400, "INVALID_FIELD"),
                (400, "UNKNOWN_BODY"),
            ), body[:80]
            assert (await gateway.post(guide(jobId=OTHER_JOB), url=other))[0] == 200
        await service.until(lambda: bool(service.refresh_requests))
        assert {request_refresh.cicd_job_id for request_refresh in service.refresh_requests} == {
            JOB
        }


@pytest.mark.timeout(180)
async def test_thousands_of_hostile_requests(service: FakeService):
    """P7, P1: no 5xx, no report out of nonsense; the valid ones among them get through."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    valid = 0
    async with running(service, tenant_ceiling="1000000/second") as gateway:
        room = asyncio.Semaphore(64)

        async def one(kind: str, body: bytes, url: str, headers: dict[str, str]) -> None:
            async with room:
                async with gateway.client.post(url, data=body, headers=headers) as answer:
                    text = await answer.text()
                    if kind == "valid":
                        assert answer.status == 200, text
                    else:
                        assert 400 <= answer.status < 500, (answer.status, body[:200], url, headers)
                        assert json.loads(text)["reason"]

        tasks = []
        for number in range(4_000):
            kind = ("valid", "body", "body", "token", "path")[number % 5]
            body, url, headers = _request(chance, kind, gateway, number)
            valid += kind == "valid"
            tasks.append(asyncio.create_task(one(kind, body, url, headers)))
        await asyncio.gather(*tasks)
    assert len(service.reports) == valid == 800
    assert {report.build_number for report in service.reports} == set(range(1, 4_001, 5))


def _request(
    chance: random.Random, kind: str, gateway: Running, number: int
) -> tuple[bytes, str, dict[str, str]]:
    headers = {"Content-Type": "application/json"}
    body = json.dumps(guide(buildNumber=number + 1)).encode()
    url = gateway.hook()
    if kind == "body":
        small = [one for one in BODIES if len(one) < 10_000]
        body = _mangled(chance, chance.choice(small))
    elif kind == "token":
        token = gateway.service.tenants["demo"].token()
        place = chance.randrange(len(token))
        url = gateway.hook(
            quote(token[:place] + chance.choice("\x00 %&#é😀'\"\\<") + token[place:])
        )
    elif kind == "path":
        tenant = chance.choice(
            ["..", "%2e%2e", "a" * 300, "%00", "d%C3%A9mo", "nobody", "Demo", "demo%20"]
        )
        url = gateway.hook().replace("/demo/", f"/{tenant}/")
    return body, url, headers


def _mangled(chance: random.Random, body: bytes) -> bytes:
    """Return the body with bytes thrown in that make it no valid JSON, wherever they stand."""
    place = chance.randrange(len(body) + 1)
    return body[:place] + chance.choice([b"\x00", b"\xff", b"\x01", b"\x1b"]) + body[place:]
