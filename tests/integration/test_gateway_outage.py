"""The service goes away and comes back: nothing false is said, nothing is lost."""

import asyncio
import time

import grpc
import pytest

from deployment_service.v1 import gateway_service_pb2 as pb
from tests.integration.gateway_harness import (
    JOB,
    OTHER_JOB,
    FailError,
    FakeService,
    applied,
    eventually,
    guide,
    running,
    serving,
)


@pytest.fixture
async def service():
    async with serving() as service:
        yield service


async def test_reports_wait_in_memory_and_arrive_when_the_service_is_back(service: FakeService):
    """P1, P4: 503 within a bounded time, never 2xx, and each report is delivered later."""
    async with running(service, answer_timeout=0.4) as gateway:
        assert (await gateway.post(guide(buildNumber=1)))[0] == 200
        await service.stop()
        start = time.monotonic()
        answers = await asyncio.gather(*(gateway.post(guide(buildNumber=n)) for n in range(2, 52)))
        assert time.monotonic() - start < 5
        assert {(status, answer["reason"]) for status, answer in answers} == {
            (503, "SERVICE_UNAVAILABLE")
        }
        async with gateway.client.post(gateway.hook(), json=guide(buildNumber=52)) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        async with gateway.client.get(f"{gateway.url}/readyz") as answer:
            assert answer.status == 503
        await service.start()
        await service.until(lambda: len(service.reports) >= 52)
        assert {report.build_number for report in service.reports} == set(range(1, 53))
        assert (await gateway.post(guide(buildNumber=53)))[0] == 200


async def test_a_service_that_dies_under_load(service: FakeService):
    """P1, P4: every 2xx was committed, and every other report is committed later, again and again."""
    committed: list[int] = []

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        await asyncio.sleep(0.002)  # a transaction
        committed.extend(report.build_number for report in request.reports)
        await asyncio.sleep(0.002)  # it is committed, but the answer may be lost
        return await applied(request)

    service.script = script
    settings = {"answer_timeout": 0.5, "tenant_ceiling": "100000/second"}
    async with running(service, **settings) as gateway:
        assert (await gateway.post(guide(buildNumber=10_000)))[0] == 200
        room = asyncio.Semaphore(100)

        async def post(number: int) -> tuple[int, int]:
            async with room:
                return number, (await gateway.post(guide(buildNumber=number)))[0]

        posts = [asyncio.create_task(post(number)) for number in range(1, 2001)]
        for _ in range(2):
            end = len(committed) + 300
            await eventually(lambda: len(committed) > end)  # noqa: B023 - waited for at once
            await service.stop()
            await service.start()
        answers = await asyncio.gather(*posts)
        assert {status for _, status in answers} <= {200, 503}
        await eventually(lambda: set(range(1, 2001)) <= set(committed))
        assert {number for number, status in answers if status == 200} <= set(committed)


async def test_a_short_absence_is_waited_for(service: FakeService):
    """P1: a restart of the service within the bounded wait shows as a slower 200."""
    async with running(service, answer_timeout=20) as gateway:
        assert (await gateway.post(guide(buildNumber=1)))[0] == 200
        await service.stop()
        post = asyncio.create_task(gateway.post(guide(buildNumber=2)))
        await eventually(lambda: gateway.gateway.forwarder._failures_in_a_row > 0)
        await service.start()
        assert (await post)[0] == 200


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.ABORTED,
    ],
)
async def test_a_call_that_fails_is_made_again(service: FakeService, code: grpc.StatusCode):
    """P1: whatever the service fails with, the report isn't lost."""
    failures = 2

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        nonlocal failures
        if failures:
            failures -= 1
            raise FailError(code)
        return await applied(request)

    service.script = script
    async with running(service, answer_timeout=10) as gateway:
        assert (await gateway.post())[0] == 200
        assert len(service.reports) == 3


async def test_a_call_that_hangs_is_given_up_and_made_again(service: FakeService):
    """P1: a service that is stuck holds nothing for longer than the call's deadline."""
    hang = True

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        nonlocal hang
        if hang:
            hang = False
            await asyncio.Event().wait()
        return await applied(request)

    service.script = script
    async with running(service, answer_timeout=0.1, call_timeout=0.3) as gateway:
        status, answer = await gateway.post()
        assert (status, answer["reason"]) == (503, "NOT_DURABLE_YET")
        await service.until(lambda: len(service.reports) == 2)


async def test_an_answer_with_missing_results_confirms_nothing(service: FakeService):
    """P1: a verdict is only believed if it is clear whose it is."""
    wrong = True

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        nonlocal wrong
        if wrong:
            wrong = False
            return pb.ReportBuildsResponse()
        return await applied(request)

    service.script = script
    async with running(service, answer_timeout=10) as gateway:
        assert (await gateway.post())[0] == 200
        assert len(service.reports) == 2


async def test_the_memory_is_bounded_and_jobs_of_refused_reports_are_refreshed(
    service: FakeService,
):
    """P4: more than fits is refused honestly, and those jobs are read from Jenkins."""
    async with running(service, answer_timeout=0.05, queue_reports=10) as gateway:
        assert (await gateway.post())[0] == 200
        await service.stop()
        answers = [await gateway.post(guide(buildNumber=n)) for n in range(1, 9)]
        assert [answer["reason"] for _, answer in answers] == ["SERVICE_UNAVAILABLE"] * 5 + [
            "OVERLOADED"
        ] * 3
        # Half of the room is left to others.
        token = service.tenants["other"].token(OTHER_JOB)
        other = await gateway.post(
            guide(jobId=OTHER_JOB), url=gateway.hook(token, "other", job=OTHER_JOB)
        )
        assert other[1]["reason"] == "SERVICE_UNAVAILABLE"
        service.calls.clear()
        await service.start()
        await service.until(lambda: len(service.reports) >= 6 and bool(service.refresh_requests))
        assert {report.build_number for report in service.reports} == {1, 2, 3, 4, 5, 7}
        (request_refresh,) = service.refresh_requests
        assert (request_refresh.cicd_job_id, request_refresh.reason) == (JOB, "refused: OVERLOADED")


async def test_without_verifiers_no_report_is_kept(service: FakeService):
    """P4, P7: what can't be verified isn't stored, and says so in a bounded time; its job is read later."""
    await service.stop()
    async with running(service, answer_timeout=0.3) as gateway:
        start = time.monotonic()
        status, answer = await gateway.post()
        assert (status, answer["reason"]) == (503, "KEYS_UNAVAILABLE")
        assert time.monotonic() - start < 2
        await service.start()
        await service.until(lambda: bool(service.refresh_requests))
        assert [
            (request_refresh.tenant, request_refresh.cicd_job_id, request_refresh.reason)
            for request_refresh in service.refresh_requests
        ] == [("tenants/demo", JOB, "refused: KEYS_UNAVAILABLE")]
        assert service.reports == []
        reasons = []
        async with asyncio.timeout(10):
            while (again := await gateway.post())[0] != 200:
                reasons.append(again[1]["reason"])
        # A busy machine may be late to answer for what it has stored.
        assert len(service.reports) == 1 + reasons.count("NOT_DURABLE_YET")


async def test_stopping_sends_what_waits(service: FakeService):
    """P4: a graceful stop takes the queue along."""
    blocked = True

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        if blocked:
            raise FailError
        return await applied(request)

    service.script = script
    async with running(service, answer_timeout=0.05) as gateway:
        for number in range(1, 11):
            assert (await gateway.post(guide(buildNumber=number)))[0] == 503
        assert (await gateway.post(b"[]"))[0] == 400
        service.calls.clear()
        blocked = False
        assert await gateway.gateway.finish(10) == 0
        delivered = {report.build_number for report in service.reports}
        assert delivered == set(range(1, 11))
        assert [request_refresh.cicd_job_id for request_refresh in service.refresh_requests][
            -1:
        ] == [JOB]


async def test_stopping_is_bounded_and_says_what_it_gave_up(service: FakeService):
    """P4: a service that is away doesn't keep the gateway from ending."""
    async with running(service, answer_timeout=0.05) as gateway:
        assert (await gateway.post())[0] == 200
        await service.stop()
        assert (await gateway.post())[0] == 503
        start = time.monotonic()
        assert await gateway.gateway.finish(0.5) == 1
        assert time.monotonic() - start < 3
