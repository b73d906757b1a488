"""Controllers: one for each provider of a tenant, and one that does not answer never holds up a caller."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from deployment_service.cicd.address import ControllerAddress
from deployment_service.cicd.errors import ProviderRefused, ProviderUnreachable
from deployment_service.cicd.port import CicdProvider
from deployment_service.workers.controllers.breaker import Breaker, ControllerLimits
from deployment_service.workers.controllers.controllers import (
    Controllers,
    ControllerUnavailable,
)


@dataclass(frozen=True)
class Provider:
    tenant_id: uuid.UUID = field(default_factory=uuid.uuid4)
    provider_id: uuid.UUID = field(default_factory=uuid.uuid4)
    version: int = 1
    base_url: str = "https://ci.invalid/"
    username: str = "deployer"
    api_token_encrypted: bytes | None = b"token"
    ca_certificate_pem: str = ""


class Client:
    def __init__(self, address: ControllerAddress) -> None:
        if "bad" in address.ca_certificate_pem:
            raise ValueError("ca_pem isn't a certificate in PEM form")
        self.address = address
        self.closed = False

    async def close(self) -> None:
        self.closed = True


def _make(address: ControllerAddress) -> CicdProvider:
    return cast(CicdProvider, Client(address))


def _controllers(limits: ControllerLimits | None = None, idle_s: float = 900.0) -> Controllers:
    return Controllers(_make, lambda secret: secret, limits, idle_s=idle_s)


def _client(client: CicdProvider) -> Client:
    assert isinstance(client, Client)
    return client


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tenant_id": Provider().tenant_id},
        {"api_token_encrypted": b"guessed"},
        {"api_token_encrypted": None},
        {"ca_certificate_pem": "other"},
        {"username": "other"},
        {"base_url": "https://other.invalid/"},
    ],
)
async def test_no_two_providers_share_a_controller(changes: dict[str, object]) -> None:
    """P6: a tenant that names another one's address, account, even token, has slots and a breaker of its own."""
    controllers = _controllers(ControllerLimits(failures=1, concurrency=1))
    one, other = (
        await controllers.get(Provider()),
        await controllers.get(replace(Provider(), **changes)),  # type: ignore[arg-type]
    )
    assert other.client is not one.client
    other.failed()
    assert not other.available()
    assert one.available()
    async with one.slot():
        with pytest.raises(ControllerUnavailable):
            async with one.slot(wait_s=0.01):
                pass


async def test_the_same_provider_id_of_two_tenants_is_two_controllers() -> None:
    """P6"""
    controllers = _controllers()
    one = Provider()
    other = replace(one, tenant_id=uuid.uuid4())
    assert await controllers.get(one) is not await controllers.get(other)


async def test_a_changed_permission_replaces_the_client_of_the_same_version() -> None:
    allowed = True

    async def allows(_: str) -> bool:
        return allowed

    controllers = Controllers(_make, lambda secret: secret, allows=allows)
    provider = Provider()
    old = await controllers.get(provider)
    allowed = False
    new = await controllers.get(provider)
    assert not _client(new.client).address.private_allowed
    assert _client(old.client).closed


async def test_a_changed_provider_gets_a_new_client_and_the_old_one_is_closed() -> None:
    controllers = _controllers()
    provider = Provider()
    old = await controllers.get(provider)
    assert await controllers.get(provider) is old
    async with old.slot() as client:
        changed = replace(provider, version=2, api_token_encrypted=b"new")
        new = await controllers.get(changed)
        assert _client(new.client).address.api_token == "new"
        assert not _client(client).closed, "somebody is still using it"
    assert _client(client).closed
    with pytest.raises(ControllerUnavailable):
        async with old.slot():
            pass


async def test_a_new_version_with_the_same_credentials_keeps_the_client() -> None:
    controllers = _controllers()
    provider = Provider()
    old = await controllers.get(provider)
    assert await controllers.get(replace(provider, version=2)) is old


async def test_a_controller_that_nobody_uses_is_closed() -> None:
    controllers = _controllers(idle_s=-1.0)
    unused = await controllers.get(Provider())
    await controllers.get(Provider(username="other"))
    assert _client(unused.client).closed


async def test_closing_closes_all() -> None:
    controllers = _controllers()
    clients = [
        _client((await controllers.get(Provider(username=name))).client) for name in ("a", "b")
    ]
    await controllers.close()
    assert all(client.closed for client in clients)


@pytest.mark.parametrize(
    "provider",
    [Provider(ca_certificate_pem="bad"), Provider(api_token_encrypted=b"\xff")],
    ids=["PEM", "secret"],
)
async def test_a_provider_that_cant_be_used_is_tried_again_later(provider: Provider) -> None:
    with pytest.raises(ProviderUnreachable):
        await _controllers().get(provider)


def test_an_address_never_shows_its_secrets() -> None:
    assert "token" not in repr(ControllerAddress("u", "n", "token")).replace("api_token", "")


async def test_the_bulkhead_bounds_calls_and_waits() -> None:
    controller = await _controllers(ControllerLimits(concurrency=2)).get(Provider())
    async with controller.slot(), controller.slot():
        with pytest.raises(ControllerUnavailable) as busy:
            async with controller.slot(wait_s=0.01):
                pass
        assert busy.value.wait_s > 0
        waiting = asyncio.create_task(_use(controller.slot(wait_s=10)))
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
    assert controller.available(), "being busy isn't failing"


async def _use(slot: object) -> None:
    async with slot:  # type: ignore[attr-defined]
        pass


async def test_the_breaker_opens_for_what_doesnt_answer_only() -> None:
    controller = await _controllers(ControllerLimits(failures=3)).get(Provider())
    for error in (
        [ProviderUnreachable("x")] * 2 + [ProviderRefused("no")] + [ProviderUnreachable("x")] * 3
    ):
        assert controller.available()
        with pytest.raises(type(error)):
            async with controller.slot():
                raise error
    assert not controller.available()
    with pytest.raises(ControllerUnavailable):
        async with controller.slot():
            pass


async def test_a_call_that_doesnt_raise_can_fail_too() -> None:
    controller = await _controllers(ControllerLimits(failures=2)).get(Provider())
    for _ in range(2):
        async with controller.slot():
            controller.failed()
    assert not controller.available()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_call_at_a_time_finds_out_whether_it_is_back() -> None:
    clock = Clock()
    breaker = Breaker(ControllerLimits(failures=2, first_pause_s=1, longest_pause_s=10), clock)
    breaker.failed()
    assert breaker.retry_in_s() == 0
    breaker.failed()
    assert 0.8 <= breaker.retry_in_s() <= 1
    pauses = []
    for _ in range(6):
        clock.now += breaker.retry_in_s() + 0.001
        assert breaker.retry_in_s() == 0
        assert breaker.enter(), "it is the probe"
        assert breaker.retry_in_s() > 0, "nobody else is let in meanwhile"
        breaker.failed()
        breaker.leave()
        pauses.append(breaker.retry_in_s())
    assert pauses[0] < pauses[1] < pauses[-1] <= 10, "longer each time, up to a limit"
    clock.now += 13
    assert breaker.enter()
    breaker.answered()
    breaker.leave()
    assert not breaker.open
    assert breaker.retry_in_s() == 0


def test_a_probe_that_is_cut_off_leaves_room_for_the_next() -> None:
    clock = Clock()
    breaker = Breaker(ControllerLimits(failures=1), clock)
    breaker.failed()
    clock.now += 2
    assert breaker.enter()
    breaker.leave()
    assert breaker.retry_in_s() == 0


def test_late_failures_of_earlier_calls_dont_lengthen_the_pause() -> None:
    clock = Clock()
    breaker = Breaker(ControllerLimits(failures=1), clock)
    for _ in range(10):
        breaker.failed()
    assert breaker.retry_in_s() <= 1.2
