"""Proof of origin: which tokens are taken, and what those learn who have none."""

import asyncio
import string

import grpc
import pytest

from deployment_service.client import webhook_tokens
from tests.integration.gateway_harness import (
    JOB,
    OTHER_JOB,
    FakeService,
    Running,
    Tenant,
    running,
    serving,
)


@pytest.fixture
async def service():
    async with serving() as service:
        yield service


@pytest.fixture
async def gateway(service):
    async with running(service, failed_proofs="100000/minute") as gateway:
        yield gateway


async def refused(gateway: Running, token: str, tenant: str = "demo") -> dict[str, object]:
    status, answer = await gateway.post(url=gateway.hook(token, tenant))
    assert status == 401, answer
    assert gateway.service.reports == []
    return answer


async def test_every_altered_character_is_refused(gateway: Running):
    """P7: no token but the one that was made."""
    token = gateway.service.tenants["demo"].token()
    alphabet = string.ascii_letters + string.digits + "-_."
    altered = {
        token[:place] + letter + token[place + 1 :]
        for place in range(len(token))
        for letter in (alphabet if place == len(token) - 1 else "0aZ_")
    } - {token}
    assert len(altered) > 300
    for other in altered:
        await refused(gateway, other)
    assert (await gateway.post())[0] == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda token: "",
        lambda token: token + "=",
        lambda token: token + "A",
        lambda token: token[:-1],
        lambda token: " " + token,
        lambda token: token + "%00",
        lambda token: token.upper(),
        lambda token: token.replace("v1.", "v2."),
        lambda token: token.replace(".", ".."),
        lambda token: "v1." + "A" * 5000,
        lambda token: "%F0%9F%98%80",
        lambda token: "%ED%A0%80",
        lambda token: "v1.." + token.split(".", 2)[2],
    ],
)
async def test_malformed_tokens(gateway: Running, change):
    """P7: whatever isn't a token in its one form is refused, never an error."""
    token = gateway.service.tenants["demo"].token()
    status, answer = await gateway.post(url=gateway.hook(change(token)))
    assert status in (400, 401)
    assert answer["reason"] in ("UNAUTHENTICATED", "MALFORMED_REQUEST")
    assert gateway.service.reports == []


async def test_a_token_is_good_for_its_tenant_and_its_job_only(gateway: Running):
    """P6, P7: another tenant's token, even with the same key bytes, proves nothing here."""
    tenants = gateway.service.tenants
    assert tenants["demo"].keys == tenants["other"].keys
    await refused(gateway, tenants["other"].token(), "demo")
    await refused(gateway, tenants["demo"].token(), "other")
    await refused(gateway, webhook_tokens.mint(tenants["demo"].uid, JOB, "k1", b"2" * 32))
    borrowed = tenants["demo"].token(JOB).replace(JOB, OTHER_JOB)
    await refused(gateway, borrowed)


async def test_a_tenant_made_again_has_other_tokens(gateway: Running):
    """P7: tokens of a tenant that was deleted are worth nothing to its successor of that name."""
    tenants = gateway.service.tenants
    tenants["demo"].max_age = 1
    old = tenants["demo"].token()
    assert (await gateway.post(url=gateway.hook(old)))[0] == 200
    tenants["demo"] = Tenant()
    gateway.gateway._keys._known["demo"].expires = 0
    status, _ = await gateway.post(url=gateway.hook(old))
    assert status == 401
    assert (await gateway.post())[0] == 200


async def test_a_wrong_token_and_an_unknown_tenant_look_alike(gateway: Running):
    """P7: nobody finds out which tenants there are."""
    token = gateway.service.tenants["demo"].token(OTHER_JOB).replace(OTHER_JOB, JOB)
    unknown_key = token.replace(".k1.", ".k9.")
    answers = [
        await refused(gateway, token),
        await refused(gateway, token, "nobody"),
        await refused(gateway, unknown_key),
        await refused(gateway, unknown_key, "nobody"),
        await refused(gateway, "nonsense"),
        await refused(gateway, "nonsense", "nobody"),
    ]
    assert all(answer == answers[0] for answer in answers)
    # Asked as often for the one as for the other: once.
    assert gateway.service.lookups == ["demo", "nobody"]


async def test_keys_are_fetched_once_for_all_who_wait(service: FakeService):
    """P7: a cold gateway under load asks once a tenant."""
    service.lookup_gate.clear()
    async with running(service) as gateway:
        posts = [asyncio.create_task(gateway.post()) for _ in range(50)]
        await service.until(lambda: bool(service.lookups))
        service.lookup_gate.set()
        assert {status for status, _ in await asyncio.gather(*posts)} == {200}
        assert service.lookups == ["demo"]


async def test_a_new_key_is_found_and_a_revoked_one_isnt_used(gateway: Running):
    """P7: rotation needs no restart; an unknown key is asked for at most once in a few seconds."""
    tenant = gateway.service.tenants["demo"]
    assert (await gateway.post())[0] == 200
    tenant.keys = {"k2": b"2" * 32} | tenant.keys
    entry = gateway.gateway._keys._known["demo"]
    status, _ = await gateway.post(url=gateway.hook(tenant.token(key="k2")))
    assert (status, len(gateway.service.lookups)) == (401, 1)  # asked just now
    entry.asked -= 6
    status, _ = await gateway.post(url=gateway.hook(tenant.token(key="k2")))
    assert (status, len(gateway.service.lookups)) == (200, 2)
    old = tenant.token(key="k1")
    del tenant.keys["k1"]
    gateway.gateway._keys._known["demo"].expires = 0
    assert (await gateway.post(url=gateway.hook(old)))[0] == 401
    assert (await gateway.post(url=gateway.hook(tenant.token(key="k2"))))[0] == 200


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
async def test_known_keys_serve_while_the_service_cant_be_asked(gateway: Running, code):
    """P1, P7: a database that is away for a moment costs no report its proof."""
    assert (await gateway.post())[0] == 200
    gateway.service.keys_fail = code
    gateway.gateway._keys._known["demo"].expires = 0
    assert (await gateway.post())[0] == 200
    # Those without proof learn nothing from the outage: the same for known and unknown tenants.
    token = gateway.service.tenants["demo"].token(OTHER_JOB).replace(OTHER_JOB, JOB)
    answers = [
        await gateway.post(url=gateway.hook(token)),
        await gateway.post(url=gateway.hook(token, "nobody")),
        await gateway.post(url=gateway.hook("nonsense", "nobody")),
    ]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == 503
    gateway.service.keys_fail = None
    assert (await gateway.post(url=gateway.hook(token, "nobody")))[0] == 401
    assert (await gateway.post(url=gateway.hook(token)))[0] == 401


async def test_an_invented_tenant_that_is_slow_to_ask_for_says_nothing_of_others(
    service: FakeService,
):
    """P7: wrong tokens stay wrong and are counted, and so is the asking in vain."""
    async with running(service, answer_timeout=0.2, failed_proofs="4/day") as gateway:
        assert (await gateway.post())[0] == 200
        token = service.tenants["demo"].token(OTHER_JOB).replace(OTHER_JOB, JOB)
        service.lookup_gate.clear()
        status, answer = await gateway.post(url=gateway.hook(token, "nobody"))
        assert (status, answer["reason"]) == (503, "KEYS_UNAVAILABLE")
        statuses = [(await gateway.post(url=gateway.hook(token)))[0] for _ in range(4)]
        assert statuses == [401, 401, 401, 429]
        assert (await gateway.post())[0] == 200
        service.lookup_gate.set()


async def test_stale_keys_have_an_end(service: FakeService):
    """P7: a key that was revoked during an outage isn't good for ever."""
    async with running(service, stale_keys=100, answer_timeout=0.3) as gateway:
        assert (await gateway.post())[0] == 200
        service.keys_fail = grpc.StatusCode.UNAVAILABLE
        entry = gateway.gateway._keys._known["demo"]
        entry.expires = 0
        assert (await gateway.post())[0] == 200
        entry.fetched -= 101
        status, answer = await gateway.post()
        assert (status, answer["reason"]) == (503, "KEYS_UNAVAILABLE")


async def test_made_up_tenants_dont_push_out_real_ones(gateway: Running, monkeypatch):
    """P6: the memory for tenants is bounded, and strangers have their own."""
    monkeypatch.setattr("webhook_gateway.verify.MAX_TENANTS", 3)
    token = gateway.service.tenants["demo"].token()
    assert (await gateway.post())[0] == 200
    for number in range(20):
        await gateway.post(url=gateway.hook(token, f"nobody{number}"))
    assert len(gateway.gateway._keys._unknown) == 3
    assert (await gateway.post())[0] == 200
    assert gateway.service.lookups.count("demo") == 1
