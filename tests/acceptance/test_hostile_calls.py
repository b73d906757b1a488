"""Thousands of hostile calls of every RPC, half of them with a valid key of another tenant (P6, P7)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from deployment_service.domain.access import Role
from tests.acceptance.test_nonsense import api, rename
from tests.support.api import Api, bearer
from tests.support.nonsense import METHODS, SOUND

__all__ = ["api"]  # the fixture

# As 5xx is to HTTP: no caller may bring the service to say so.
OURS = {"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
_AT_ONCE = 32
_TENANTS = ("demo", "demo", "other", "unknown", "DEMO", "-", "demo%00", "../demo", "demo/")
# The attackers' own tenant is theirs to change; but none of its deployments can run anywhere.
ATTACKER = "other"


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The message as it is, or cut, with other bytes in it, doubled, or none at all."""
    match chance.randrange(8):
        case 0:
            return data[: chance.randrange(len(data) + 1)]
        case 1 | 2 if data:
            place = chance.randrange(len(data))
            return data[:place] + chance.randbytes(chance.randint(1, 4)) + data[place + 1 :]
        case 3:
            return data + data
        case 4:
            return chance.randbytes(chance.randrange(200))
        case 5:
            return data + b"\xfa\x3f" + bytes([chance.randrange(128)]) + chance.randbytes(64)
    return data


def hostile(
    keys: list[Any], count: int, chance: random.Random
) -> Iterator[tuple[MethodDescriptor, bytes, Any]]:
    """Every second one with a valid key."""
    for turn in range(count):
        method = chance.choice(METHODS)
        request = SOUND[method.name]()
        rename(request, "demo", chance.choice(_TENANTS))
        data = damaged(request.SerializeToString(), chance)
        yield method, data, chance.choice(keys) if turn % 2 else false_key(keys, chance)


def false_key(keys: list[Any], chance: random.Random) -> Any:
    secret = chance.choice(keys)[0][1].removeprefix("Bearer ")
    place = chance.randrange(4, len(secret))
    other = "A" if secret[place] != "A" else "B"
    altered = secret[:place] + other + secret[place + 1 :]
    return chance.choice(
        [
            (),
            bearer(""),
            bearer("x" * 4000),
            bearer(altered),
            bearer(secret + "A"),
            (("authorization", secret),),
            (("authorization-bin", secret.encode()),),
            (*bearer(secret), *bearer(altered)),
        ]
    )


async def send(api: Api, method: MethodDescriptor, data: bytes, metadata: Any) -> str:
    """The code of the answer."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        if method.name == "WatchDeployments":
            stream: Any = api.channel.unary_stream(path)
            call = stream(data, metadata=metadata, timeout=20)
            await call.read()
            call.cancel()
        else:
            unary: Any = api.channel.unary_unary(path)
            await unary(data, metadata=metadata, timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def victims_rows(database_url: str) -> dict[str, Any]:
    """What is in every table of the tenant demo, and which tenants there are."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch(
            "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND column_name = 'tenant_id' AND table_name NOT IN ('cicd_controllers', 'origin_shares')"
        )
        return {
            name: await connection.fetchval(
                f"SELECT array_agg(t::text ORDER BY t::text) FROM {name} AS t WHERE tenant_id ="
                " (SELECT tenant_id FROM tenants WHERE slug = 'demo')"
            )
            for (name,) in tables
        } | {"all": await connection.fetchval("SELECT array_agg(slug ORDER BY slug) FROM tenants")}
    finally:
        await connection.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.full)])
async def test_hostile_calls_change_nothing_and_are_never_answered_with_a_defect(
    api, database_url, count
):
    random_seed = random.SystemRandom().randrange(2**32)
    print("seed", random_seed)
    chance = random.Random(random_seed)
    keys = [await api.key(role, ATTACKER) for role in Role]
    before = await victims_rows(database_url)
    codes: Counter[str] = Counter()
    calls = hostile(keys, count, chance)

    async def sender() -> None:
        for method, data, metadata in calls:
            code = await send(api, method, data, metadata)
            codes[code] += 1
            assert code not in OURS, (method.name, data, metadata, code)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(sender())
    print(dict(codes))
    assert sum(codes.values()) == count
    assert codes["UNAUTHENTICATED"] >= count / 2
    assert await victims_rows(database_url) == before
