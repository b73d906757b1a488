"""Thousands of hostile requests against the real gateway, service and database."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import aiohttp
import asyncpg
import psutil
import pytest

from deployment_service.client import DeploymentClient
from deployment_service.v1 import deployment_service_pb2 as pb
from devstack.options import StackOptions
from devstack.stack import DevStack
from tests.integration.gateway_harness import plugin
from tests.support.hostile import CORPUS, LARGE, made_up
from tests.support.webhooks import JSON, NO_READS, Hook, fingerprint, hook_of, show_builds

# Every request is to be looked at as closely as it can be, not turned away by a limit; and a machine that is busy
# with other things may take its time.
WIDE_OPEN = StackOptions(
    gateway_settings={
        "TENANT_CEILING": "1000000/second",
        "FAILED_PROOFS": "1000000/second",
        "FAILED_PROOF_DELAY": "0",
        "ANSWER_TIMEOUT": "5",
    },
    service_settings=NO_READS,
)
HOSTILE, OURS = 20_000, 2_000
_AT_ONCE = 64
_MAX_GROWTH = 64 * 2**20


@dataclass(frozen=True)
class Request:
    """``kind``: how it is answered if all is well: `valid`, `replay`, or not with success."""

    kind: str
    url: str
    body: bytes
    headers: dict[str, str]


def finalized(number: int) -> bytes:
    return json.dumps(plugin(number=number, parameters=None, queue_id=None) | {"url": ""}).encode()


def hostile(victim: Hook, count: int, chance: random.Random) -> Iterator[Request]:
    """Half of them with a valid proof around a hostile body."""
    made = made_up(victim.job_id, count * 3 // 10, chance.randrange(2**32))
    fresh = iter(made)
    bad = itertools.chain(fresh, iter(lambda: chance.choice(CORPUS), None))
    good = finalized(1)
    for turn in range(count):
        match turn % 10:
            case 0 | 1 | 2:
                yield Request("token", victim.url, next(bad), JSON)
            case 3 | 4:
                body = next(bad)
                yield Request("signature", victim.signed_url, body, victim.signed(body))
            case 5:
                yield Request("altered token", _altered(victim.url, chance), good, JSON)
            case 6:
                headers = victim.signed(good) | {"webhook-id": uuid.uuid4().hex}
                yield Request("wrong signature", victim.signed_url, good, headers)
            case 7:
                headers = victim.signed(good)
                name = chance.choice(("webhook-id", "webhook-timestamp", "webhook-signature"))
                headers[name] = chance.choice(_MALFORMED)
                yield Request("malformed signature", victim.signed_url, good, headers)
            case 8:
                age = chance.choice((-1, 1)) * chance.randint(400, 10**9)
                headers = victim.signed(good, age=age)
                yield Request("out of time", victim.signed_url, good, headers)
            case _:
                path = chance.choice(_PATHS)
                url = victim.url.replace("/en/demo/deployment/webhooks/jenkins", path)
                yield Request("path", url, chance.choice(CORPUS), JSON)


_MALFORMED = ("", "v1", "v1,a", "v1,é", "v2,x", "1700000000.73", "nan", "9" * 300, "a.b", ", , ,")
_PATHS = (
    "/en/nobody/deployment/webhooks/jenkins",
    "/EN/demo/deployment/webhooks/jenkins",
    "/en/Demo/deployment/webhooks/jenkins",
    "/en/demo/deployment/webhooks",
    "/en/../demo/deployment/webhooks/jenkins/x",
    "/en/demo/deployment/webhooks/jenkins/" + "a" * 300,
    "/en/d%00/deployment/webhooks/jenkins",
    "/_/metrics/../../etc/passwd",
)


def _altered(url: str, chance: random.Random) -> str:
    start = url.index("token=") + 6
    place = chance.randrange(start, len(url))
    return url[:place] + chance.choice("0~%éA ") + url[place + 1 :] + "0"


def memory(stack: DevStack) -> int:
    """What the gateway's processes take, in bytes."""
    assert stack.gateway.pid is not None
    top = psutil.Process(stack.gateway.pid)
    return sum(one.memory_info().rss for one in (top, *top.children(recursive=True)))


async def send(session: aiohttp.ClientSession, requests: list[Request]) -> Counter[str]:
    """Send all, some at a time; check each answer; return how often each kind got which status."""
    counts: Counter[str] = Counter()
    waiting = iter(requests)

    async def worker() -> None:
        for one in waiting:
            try:
                data = io.BytesIO(one.body)
                async with session.post(one.url, data=data, headers=one.headers) as answer:
                    text = await answer.text()
            except aiohttp.ClientOSError:
                # What is far too large is refused while it is still being sent.
                assert len(one.body) > 8 * 2**20, one.kind
                continue
            counts[f"{one.kind}: {answer.status}"] += 1
            if one.kind in ("valid", "replay"):
                said = json.loads(text)
                wanted = "APPLIED" if one.kind == "valid" else "DUPLICATE"
                assert (answer.status, said["verdict"]) == (200, wanted), (one, text)
            else:
                assert 400 <= answer.status < 500, (one.kind, answer.status, one.body[:200])
                assert json.loads(text)["reason"], one

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(worker())
    return counts


@pytest.mark.timeout(240)
@pytest.mark.parametrize("stack", [WIDE_OPEN], indirect=True)
async def test_twenty_thousand_hostile_requests_change_nothing(stack: DevStack) -> None:
    """P7: no 5xx, the victim's tables as they were, bounded memory; 2,000 valid ones among them all arrive."""
    random_seed = random.SystemRandom().randrange(2**32)
    print("seed", random_seed)
    chance = random.Random(random_seed)
    async with stack.client() as client, aiohttp.ClientSession() as session:
        victim, other = await _hooks(client, stack)
        await show_builds(stack, victim, 1)
        await show_builds(stack, other, OURS)
        first = Request(
            "valid",
            victim.signed_url,
            finalized(1),
            victim.signed(finalized(1), delivery_id="first"),
        )
        await send(session, [first])
        # Its build is in no Jenkins: sooner or later a read would find that out and settle the run.
        await client.resolve_run("victim/1", pb.DEPLOYMENT_STATUS_COMPLETED, "It is in no Jenkins.")
        before = await fingerprint(stack, victim)
        assert before["deployment_runs"].startswith("1 rows")
        requests = list(hostile(victim, HOSTILE, chance))
        requests += [Request("replay", first.url, first.body, first.headers)] * 200
        requests += [
            Request("valid", other.signed_url, body, other.signed(body))
            for number in range(1, OURS + 1)
            for body in (finalized(number),)
        ]
        requests += [Request("large", victim.url, body, JSON) for body in LARGE * 3]
        chance.shuffle(requests)
        warm = len(requests) // 5
        counts = await send(session, requests[:warm])
        used = memory(stack)
        counts += await send(session, requests[warm:])
        grown = memory(stack) - used
        print(dict(sorted(counts.items())), f"memory {used >> 20} MiB, grown by {grown >> 20} MiB")
        assert grown < _MAX_GROWTH
        assert await fingerprint(stack, victim) == before
        assert await _completed_builds(stack, other) == list(range(1, OURS + 1))
    assert [record for record in stack.gateway.records if record.get("level") == "error"] == []


async def _hooks(client: DeploymentClient, stack: DevStack) -> tuple[Hook, Hook]:
    return await hook_of(client, stack, "victim"), await hook_of(client, stack, "other")


async def _completed_builds(stack: DevStack, hook: Hook) -> list[int]:
    connection = await asyncpg.connect(stack.database_url)
    try:
        rows = await connection.fetch(
            "SELECT build_number FROM deployment_runs WHERE job_id = $1 AND status = 'COMPLETED' ORDER BY 1",
            hook.job_id,
        )
    finally:
        await connection.close()
    return [row["build_number"] for row in rows]
