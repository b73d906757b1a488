"""Proof of origin: which tokens are taken, and what those learn who have none."""

import asyncio
import string
import uuid

import grpc
import pytest

from deployment_service.webhook_auth import tokens
from tests.integration.gateway_harness import (
    JOB,
    OTHER_JOB,
    FakeService,
    Running,
    Tenant,
    eventually,
    guide,
    running,
    serving,
)


@pytest.fixture
async def service():
    async with serving() as service:
        yield service


@pytest.fixture
async def gateway(service, monkeypatch):
    # Each wrong proof waits for a reading that begins after it.
    monkeypatch.setattr("webhook_gateway.verifiers.GAP_S", 0.0)
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
    await refused(gateway, tokens.mint(tenants["demo"].uid, JOB, "k1", b"2" * 32))
    borrowed = tenants["demo"].token(JOB).replace(JOB, OTHER_JOB)
    await refused(gateway, borrowed)


async def test_a_tenant_made_again_has_other_tokens(gateway: Running):
    """P7: tokens of a tenant that was deleted are worth nothing to its successor of that name."""
    tenants = gateway.service.tenants
    old = tenants["demo"].token()
    assert (await gateway.post(url=gateway.hook(old)))[0] == 200
    tenants["demo"] = Tenant()
    await gateway.refresh()
    status, _ = await gateway.post(url=gateway.hook(old))
    assert status == 401
    assert (await gateway.post())[0] == 200


async def test_a_wrong_token_and_an_unknown_tenant_look_alike(gateway: Running):
    """P7: nobody finds out which tenants there are."""
    token = gateway.service.tenants["demo"].token(OTHER_JOB).replace(OTHER_JOB, JOB)
    unknown_key = token.replace(".k1.", ".k9.")
    unknown_job = token.replace(JOB, str(uuid.uuid4()))
    await gateway.refresh()
    reads = len(gateway.service.reads)
    answers = []
    for wrong in (token, unknown_key, unknown_job, "nonsense"):
        for tenant in ("demo", "nobody"):
            answers.append(await refused(gateway, wrong, tenant))
            # Changes are read once for the one as for the other, and for what can't be a token not at all.
            reads += wrong != "nonsense"
            assert len(gateway.service.reads) == reads
    assert all(answer == answers[0] for answer in answers)


async def test_changes_are_read_once_for_all_who_wait(service: FakeService):
    """P7: reports of jobs that are new wait for the same reading, or for the one after it."""
    jobs = [str(uuid.uuid4()) for _ in range(50)]
    async with running(service) as gateway:
        service.tenants["demo"].jobs |= set(jobs)
        service.lookup_gate.clear()
        posts = [
            asyncio.create_task(gateway.post(guide(jobId=job), url=gateway.hook(job=job)))
            for job in jobs
        ]
        await eventually(lambda: gateway.gateway._open_requests == 50)
        reads = len(service.reads)
        service.lookup_gate.set()
        assert {status for status, _ in await asyncio.gather(*posts)} == {200}
        assert len(service.reads) <= reads + 2


async def test_a_new_key_is_found_and_a_retired_one_isnt_used(gateway: Running):
    """P7: rotation needs no restart: both while both are valid, the new one from its first report on."""
    tenant = gateway.service.tenants["demo"]
    assert (await gateway.post())[0] == 200
    tenant.keys = {"k2": b"2" * 32} | tenant.keys
    old, new = tenant.token(key="k1"), tenant.token(key="k2")
    for token in (new, old, new):
        assert (await gateway.post(url=gateway.hook(token)))[0] == 200
    assert [report.key_id for report in gateway.service.reports] == ["k1", "k2", "k1", "k2"]
    del tenant.keys["k1"]
    await gateway.refresh()
    assert (await gateway.post(url=gateway.hook(old)))[0] == 401
    assert (await gateway.post(url=gateway.hook(new)))[0] == 200


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
async def test_known_keys_serve_while_the_service_cant_be_asked(gateway: Running, code):
    """P1, P7: a database that is away for a moment costs no report its proof."""
    assert (await gateway.post())[0] == 200
    gateway.service.keys_fail = code
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


async def test_what_cannot_be_checked_counts_as_a_failed_proof(service: FakeService):
    """P6, P7: unknown jobs share the strangers' limits while the service is slow; known ones don't."""
    async with running(service, answer_timeout=0.2, failed_proofs="4/day") as gateway:
        assert (await gateway.post())[0] == 200
        service.lookup_gate.clear()
        tokens = [service.tenants["demo"].token(str(uuid.uuid4())) for _ in range(6)]
        statuses = [(await gateway.post(url=gateway.hook(token)))[0] for token in tokens]
        assert statuses == [503] * 4 + [429] * 2
        assert (await gateway.post())[0] == 200
        service.lookup_gate.set()


async def test_stale_verifiers_have_an_end(service: FakeService):
    """P7: a key that was retired during an outage isn't good for ever."""
    settings = {"stale_keys": 100, "answer_timeout": 0.3, "verifier_interval": 0.1}
    async with running(service, **settings) as gateway:
        assert (await gateway.post())[0] == 200
        service.keys_fail = grpc.StatusCode.UNAVAILABLE
        await eventually(lambda: not gateway.gateway.verifiers.is_current)
        assert (await gateway.post())[0] == 200
        assert gateway.gateway.verifiers._read_s is not None
        gateway.gateway.verifiers._read_s -= 101
        status, answer = await gateway.post()
        assert (status, answer["reason"]) == (503, "KEYS_UNAVAILABLE")


async def test_made_up_tenants_leave_no_trace(gateway: Running):
    """P6: what strangers name is kept nowhere."""
    token = gateway.service.tenants["demo"].token()
    assert (await gateway.post())[0] == 200
    for number in range(20):
        await gateway.post(url=gateway.hook(token, f"nobody{number}"))
    verifiers = gateway.gateway.verifiers
    assert (set(verifiers._jobs), verifiers.count()) == ({"demo", "other"}, 4)
    assert len(gateway.gateway._unverified) == 0
