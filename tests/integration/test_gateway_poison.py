"""A report that makes every call fail that it is in: it is found, bounded and left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from deployment_service.v1 import gateway_service_pb2 as pb
from tests.integration.gateway_harness import (
    JOB,
    OTHER_JOB,
    FailError,
    FakeService,
    Running,
    always,
    applied,
    eventually,
    guide,
    running,
    serving,
)

POISON = 666


@pytest_asyncio.fixture
async def service() -> AsyncIterator[FakeService]:
    async with serving() as service:
        yield service


def is_poisoned(request: pb.ReportBuildsRequest) -> bool:
    return any(report.build_number == POISON for report in request.reports)


def lost(gateway: Running) -> float:
    return gateway.gateway.metrics.registry.get_sample_value("webhook_dropped_reports_total") or 0.0


async def send_together(service: FakeService, gateway: Running, poison: int = POISON) -> list[int]:
    """Send reports of two tenants, one of them poisonous, so that they go in one call."""
    opened = asyncio.Event()
    script = service.script

    async def waiting(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        await opened.wait()
        return await applied(request)

    service.script = waiting
    url = gateway.hook(job=OTHER_JOB, tenant="other")
    for _ in range(2):  # that both tenants' keys are known
        await asyncio.gather(*(gateway.client.get(one) for one in (url, gateway.hook())))
    first = [asyncio.create_task(gateway.post(guide(buildNumber=1)))]
    first.append(asyncio.create_task(gateway.post(guide(jobId=OTHER_JOB, buildNumber=1), url=url)))
    await service.until(lambda: len(service.reports) == 2)
    rest = [
        asyncio.create_task(gateway.post(guide(buildNumber=number))) for number in (2, 3, poison, 4)
    ]
    rest.append(asyncio.create_task(gateway.post(guide(jobId=OTHER_JOB, buildNumber=2), url=url)))
    await eventually(lambda: gateway.gateway.forwarder._backlog.reports == 7)
    service.script = script
    opened.set()
    await asyncio.gather(*first)
    return [status for status, _ in await asyncio.gather(*rest)]


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN])
async def test_a_report_that_makes_calls_fail_doesnt_stop_the_others(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, code: grpc.StatusCode
) -> None:
    """P6, P1: all others are stored soon; it is tried a bounded number of times, then its job is read."""
    monkeypatch.setattr("webhook_gateway.forwarder.MAX_RETRIES", 4)

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        if is_poisoned(request):
            raise FailError(code)
        return await applied(request)

    service.script = script
    async with running(service, answer_timeout=5) as gateway:
        statuses = await send_together(service, gateway)
        assert statuses == [200, 200, 503, 200, 200]
        await service.until(lambda: bool(service.refresh_requests))
        assert [
            (request_refresh.cicd_job_id, request_refresh.reason)
            for request_refresh in service.refresh_requests
        ] == [(JOB, "dropped: RETRY")]
        assert lost(gateway) == 1
        with_poison = [call for call in service.calls if is_poisoned(call)]
        assert 4 < len(with_poison) < 10
        assert len(with_poison[-1].reports) == 1
        assert gateway.gateway.forwarder._backlog.reports == 0


async def test_a_report_that_calls_hang_on_doesnt_hold_up_its_own_tenant(
    service: FakeService,
) -> None:
    """P6: once it is found it goes alone, beside the calls of everybody else."""

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        if is_poisoned(request):
            await asyncio.Event().wait()
        return await applied(request)

    service.script = script
    async with running(service, answer_timeout=10, call_timeout=0.3) as gateway:
        pending = asyncio.create_task(gateway.post(guide(buildNumber=POISON)))
        await service.until(lambda: sum(map(is_poisoned, service.calls)) >= 5)
        async with asyncio.timeout(0.25):
            assert (await gateway.post(guide(buildNumber=1)))[0] == 200
        pending.cancel()


async def test_reports_that_are_to_be_sent_again_for_ever_part_company(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1: one that keeps its whole tenant from being stored doesn't take the others along."""
    monkeypatch.setattr("webhook_gateway.backlog.SUSPECT_TRIES", 4)

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        verdict = pb.REPORT_VERDICT_RETRY if is_poisoned(request) else pb.REPORT_VERDICT_APPLIED
        return await always(verdict)(request)

    service.script = script
    async with running(service, answer_timeout=20) as gateway:
        poisoned = asyncio.create_task(gateway.post(guide(buildNumber=POISON)))
        others = [asyncio.create_task(gateway.post(guide(buildNumber=n))) for n in range(1, 5)]
        assert {status for status, _ in await asyncio.gather(*others)} == {200}
        poisoned.cancel()


async def test_a_refresh_request_that_makes_calls_fail_does_not_stop_reports(
    service: FakeService,
) -> None:
    """P6, P4: it is put off, and never given up."""

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        if request.refresh_requests:
            raise FailError(grpc.StatusCode.INTERNAL)
        return await applied(request)

    service.script = script
    async with running(service, answer_timeout=2) as gateway:
        assert (await gateway.post(b"[]"))[0] == 400
        await service.until(lambda: bool(service.refresh_requests))
        for number in range(1, 20):
            assert (await gateway.post(guide(buildNumber=number)))[0] == 200
        assert len(service.refresh_requests) == 1
        service.script = applied
        assert await gateway.gateway.finish(5) == 0
        assert len(service.refresh_requests) == 2
