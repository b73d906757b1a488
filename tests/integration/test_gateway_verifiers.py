"""The gateway's list of verifiers: read ahead, kept up to date, and what happens while it cannot be read."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from deployment_service.v1 import gateway_service_pb2 as pb
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
from tests.integration.test_gateway_signatures import send, signed
from webhook_gateway import unverified
from webhook_gateway.channel import CallFailedError
from webhook_gateway.metrics import Metrics
from webhook_gateway.unverified import Unverified, UnverifiedRequests
from webhook_gateway.verifiers import VerifierList


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    async with serving() as service:
        yield service


@pytest.fixture
async def gateway(service: FakeService) -> AsyncIterator[Running]:
    async with running(service) as gateway:
        yield gateway


async def test_the_list_is_read_ahead_and_in_pages(service: FakeService):
    """P1: the first report asks for nothing; a gateway that was just started knows all jobs."""
    service.page_size = 3
    service.tenants["demo"].jobs |= {str(uuid.uuid4()) for _ in range(20)}
    async with running(service) as gateway:
        assert gateway.gateway.verifiers.count() == 24
        pages = len(service.reads)
        assert pages == 8
        assert (await gateway.post())[0] == 200
        assert len(service.reads) == pages


async def test_only_changes_are_read_again(gateway: Running, service: FakeService):
    """P1: from the cursor on: new jobs come, deleted ones go, another tenant's stay."""
    demo = service.tenants["demo"]
    new = str(uuid.uuid4())
    demo.jobs = {JOB, new}
    await gateway.refresh()
    assert [bool(cursor) for cursor in service.reads] == [False, True]
    assert (await gateway.post(guide(jobId=new), url=gateway.hook(job=new)))[0] == 200
    gone = gateway.hook(demo.token(OTHER_JOB))
    assert (await gateway.post(guide(jobId=OTHER_JOB), url=gone))[0] == 401
    del service.tenants["other"]
    await gateway.refresh()
    assert set(gateway.gateway.verifiers._jobs) == {"demo"}
    assert all(service.reads[1:])


async def test_the_list_is_read_now_and_then_without_any_request(service: FakeService):
    """P7: a retired key is not accepted for long."""
    async with running(service, verifier_interval=0.05) as gateway:
        token = service.tenants["demo"].token()
        service.tenants["demo"].keys = {"k2": b"2" * 32}
        reads = len(service.reads)
        await service.until(lambda: len(service.reads) >= reads + 2)
        assert (await gateway.post(url=gateway.hook(token)))[0] == 401


async def test_a_list_that_begins_anew_replaces_the_old_one_at_its_end(service: FakeService):
    """P1, P7: after a restore; while it is being read, and if that fails half-way, the old one serves."""
    service.page_size = 1
    async with running(service) as gateway:
        gone = service.tenants["demo"].token(OTHER_JOB)
        service.tenants["demo"].jobs = {JOB}
        gateway.gateway.verifiers._cursor = ""
        service.fail_after = len(service.reads) + 1
        reading = asyncio.create_task(gateway.gateway.verifiers.refresh(time.monotonic(), 10))
        assert not await reading
        assert gateway.gateway.verifiers.count() == 4
        body, url = guide(jobId=OTHER_JOB), gateway.hook(gone)
        assert (await gateway.post(body, url=url))[0] == 200
        service.fail_after = None
        await gateway.refresh()
        assert gateway.gateway.verifiers.count() == 3
        assert (await gateway.post(body, url=url))[0] == 401
        assert (await gateway.post())[0] == 200


async def test_a_flood_of_unknown_jobs_reads_changes_a_few_times(service: FakeService):
    """P6: however many jobs and tenants strangers invent."""
    async with running(service, failed_proofs="1000000/second") as gateway:
        begun, reads = time.monotonic(), len(service.reads)
        tokens = [Tenant().token(str(uuid.uuid4())) for _ in range(300)]
        urls = [gateway.hook(token, f"nobody{n % 7}") for n, token in enumerate(tokens)]
        answers = await asyncio.gather(*(gateway.post(url=url) for url in urls))
        assert {status for status, _ in answers} == {401}
        assert len(service.reads) - reads <= 3 + 10 * (time.monotonic() - begun)


async def test_a_valid_token_of_another_job_forges_nothing(gateway: Running):
    """P7: a body about one job with another's token is refused; that token's job is read."""
    status, answer = await gateway.post(guide(jobId=OTHER_JOB))
    assert (status, answer["reason"]) == (400, "WRONG_JOB")
    assert gateway.service.reports == []
    await gateway.service.until(lambda: bool(gateway.service.refresh_requests))
    assert {
        request_refresh.cicd_job_id for request_refresh in gateway.service.refresh_requests
    } == {JOB}


async def test_what_could_not_be_checked_is_read_if_its_token_was_right(service: FakeService):
    """P4, P7: started while the service is away; wrong tokens, unknown jobs and other tenants cause nothing."""
    await service.stop()
    async with running(service, answer_timeout=0.3, failed_proofs="1000/second") as gateway:
        demo, other = service.tenants["demo"], service.tenants["other"]
        wrong = demo.token(OTHER_JOB).replace(OTHER_JOB, JOB)
        urls = [
            gateway.hook(),
            gateway.hook(),  # once is enough
            gateway.hook(wrong),
            gateway.hook(demo.token(str(uuid.uuid4()))),
            gateway.hook(other.token(OTHER_JOB), "demo"),
            gateway.hook(tenant="other"),
            gateway.hook(demo.token(), "nobody"),
        ]
        answers = [await gateway.post(url=url) for url in urls]
        assert {(status, answer["reason"]) for status, answer in answers} == {
            (503, "KEYS_UNAVAILABLE")
        }
        signs, does_not = signed(gateway), signed(gateway)
        assert (await send(gateway, signs))[0] == 503
        demo.signing = {JOB}
        url = gateway.signed_hook(job=OTHER_JOB)
        body = b'{"jobId": "x"}'
        assert (await gateway.post(body, url=url, headers=does_not))[0] == 503
        assert len(gateway.gateway._unverified) == 8
        await service.start()
        await service.until(
            lambda: (
                len({request_refresh.tenant for request_refresh in service.refresh_requests}) == 2
            )
        )
        assert {
            (request_refresh.tenant, request_refresh.cicd_job_id)
            for request_refresh in service.refresh_requests
        } == {
            ("tenants/demo", JOB),
            ("tenants/other", JOB),
        }
        assert service.reports == []
        assert len(gateway.gateway._unverified) == 0


def test_what_is_kept_is_bounded_in_all_and_by_address(monkeypatch: pytest.MonkeyPatch):
    """P6: one address cannot push out what others sent."""
    monkeypatch.setattr(unverified, "MAX_REQUESTS", 10)
    monkeypatch.setattr(unverified, "MAX_PER_ADDRESS", 4)
    kept = UnverifiedRequests(Metrics())

    def one(number: int) -> Unverified:
        return Unverified("demo", JOB, bytes([number]) * 32)

    assert [kept.add(one(n), "a") for n in range(6)] == [True] * 4 + [False] * 2
    assert not kept.add(one(0), "b")  # kept already
    assert [kept.add(one(n), "b") for n in range(10, 16)] == [True] * 4 + [False] * 2
    assert [kept.add(one(n), "c") for n in range(20, 24)] == [True] * 2 + [False] * 2
    assert len(kept) == 10


async def test_a_service_that_hangs_is_waited_for_within_the_senders_patience(
    service: FakeService,
):
    """P1: known jobs don't wait at all, unknown ones no longer than anybody."""
    async with running(service, answer_timeout=0.3) as gateway:
        service.lookup_gate.clear()
        assert (await gateway.post())[0] == 200
        begun = time.monotonic()
        unknown = gateway.hook(service.tenants["demo"].token(str(uuid.uuid4())))
        assert (await gateway.post(url=unknown))[0] == 503
        assert time.monotonic() - begun < 5
        service.lookup_gate.set()


@pytest.mark.parametrize("code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED])
async def test_a_gateway_without_a_list_is_not_ready(service: FakeService, code: grpc.StatusCode):
    """P10: and says why; it becomes ready by itself."""
    service.keys_fail = code
    async with running(service) as gateway:
        async with gateway.client.get(f"{gateway.url}/readyz") as answer:
            assert (answer.status, (await answer.json())["why"]) == (503, "VERIFIERS_NOT_READ")
        service.keys_fail = None
        await eventually(lambda: gateway.gateway.verifiers.is_read)
        async with gateway.client.get(f"{gateway.url}/readyz") as answer:
            assert answer.status == 200


class Pages:
    """Answers with 100 pages of 1,000 jobs, without a network."""

    def __init__(self) -> None:
        self.calls = 0

    async def list_verifiers(
        self, request: pb.ListWebhookVerifiersRequest, *, timeout: float
    ) -> pb.ListWebhookVerifiersResponse:
        if self.calls == 100:
            raise CallFailedError("UNAVAILABLE", grpc.StatusCode.UNAVAILABLE)
        self.calls += 1
        return pb.ListWebhookVerifiersResponse(
            verifiers=[
                pb.WebhookVerifier(
                    tenant=f"tenants/t{n % 10}",
                    cicd_job_id=str(uuid.uuid4()),
                    keys=[pb.KeyVerifier(key_id="k1", token_sha256=uuid.uuid4().bytes * 2)],
                )
                for n in range(1000)
            ],
            next_cursor=str(self.calls),
            more=self.calls < 100,
            reset=not request.cursor,
        )


@pytest.mark.alone
@pytest.mark.timeout(180)
async def test_100_000_jobs_take_little_memory(service: FakeService):
    """P6: at most 500 bytes for each."""
    calls: Any = Pages()
    verifiers = VerifierList(calls, Metrics(), interval_s=3600, stale_for_s=60, timeout_s=5)
    gc.collect()
    tracemalloc.start()
    try:
        await verifiers.start(150)
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        await verifiers.close()
    assert verifiers.count() == 100_000
    assert size < 500 * 100_000
