"""Webhooks from the HTTP request to the service and back."""

import asyncio
import base64
import functools
import json

import grpc
import pytest

from deployment_service.v1 import deployment_service_pb2 as deployment
from deployment_service.v1 import gateway_service_pb2 as pb
from tests.integration.gateway_harness import (
    JOB,
    OTHER_JOB,
    PAYLOADS,
    RUN,
    FailError,
    FakeService,
    Running,
    always,
    eventually,
    guide,
    plugin,
    recorded,
    running,
    serving,
)
from webhook_gateway.backlog import HEAVY_SHARE


@pytest.fixture
async def service():
    async with serving() as service:
        yield service


@pytest.fixture
async def gateway(service):
    async with running(service) as gateway:
        yield gateway


async def test_the_guides_body(gateway: Running):
    """P1: the answer says what was stored."""
    status, answer = await gateway.post(guide())
    assert (status, answer) == (
        200,
        {
            "verdict": "APPLIED",
            "deployment": "tenants/demo/deployments/web-prod",
            "old_status": "running",
            "status": "completed",
        },
    )
    (report,) = gateway.service.reports
    assert report.receive_time.seconds > 0
    report.ClearField("receive_time")
    assert report == pb.BuildReport(
        tenant="tenants/demo",
        cicd_job_id=JOB,
        build_number=7,
        status="success",
        source=pb.REPORT_SOURCE_GUIDE,
        sender_timestamp_ms=1795478260797,
        proof=pb.REPORT_PROOF_TOKEN,
        key_id="k1",
    )


async def test_the_plugins_body(gateway: Running):
    """P1, P7: all that tells whose build it is reaches the service; the short name does not."""
    assert (await gateway.post(plugin()))[0] == 200
    (report,) = gateway.service.reports
    report.ClearField("receive_time")
    assert report == pb.BuildReport(
        tenant="tenants/demo",
        cicd_job_id=JOB,
        build_number=7,
        status="SUCCESS",
        phase=pb.BUILD_PHASE_FINALIZED,
        source=pb.REPORT_SOURCE_NOTIFICATION_PLUGIN,
        run_id=RUN,
        parameters_known=True,
        queue_id="38",
        job_path="job/shop/job/web-prod/",
        sender_timestamp_ms=1795478260797,
        parameters={"FLAG": "true"},
        proof=pb.REPORT_PROOF_TOKEN,
        key_id="k1",
    )


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in PAYLOADS.glob("*.json") if "xml" not in path.stem)
)
async def test_what_jenkins_really_sent(gateway: Running, name: str):
    """P1, P2: every recorded notification, with job, number and parameters made ours, arrives as it was."""
    for sent in recorded(name):
        original = json.loads(sent["body"])
        body = json.loads(sent["body"])
        body["name"], body["url"] = "web-prod", "job/shop/job/web-prod/"
        body["build"]["number"] = 12
        body["build"]["parameters"] = {"DEPLOYMENT_RUN_ID": RUN}
        status, _ = await gateway.post(body, headers=sent["headers"])
        assert status == 200
        report = gateway.service.reports[-1]
        build = original["build"]
        assert pb.BuildPhase.Name(report.phase) == f"BUILD_PHASE_{build['phase']}"
        assert report.status == build.get("status", "")
        assert (report.run_id, report.build_number) == (RUN, 12)
        assert report.queue_id == str(build["queue_id"])
        assert report.sender_timestamp_ms == build["timestamp"]


@pytest.mark.parametrize("version", ["1.15", "1.19"])
async def test_the_plugins_xml_format(gateway: Running, version: str):
    """P7: what can't be read is refused with what to do, and its job is read from Jenkins instead."""
    sent = recorded(f"notification-{version}-xml-format")[0]
    status, answer = await gateway.post(sent["body"].encode(), headers=sent["headers"])
    assert (status, answer["reason"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "choose the format JSON" in answer["detail"]
    await gateway.service.until(lambda: bool(gateway.service.refresh_requests))
    status, answer = await gateway.post(sent["body"].encode())
    assert (status, answer["reason"]) == (400, "MALFORMED_BODY")
    assert "XML" in answer["detail"]
    assert gateway.service.reports == []


@pytest.mark.parametrize(
    ("verdict", "status", "reason"),
    [
        (pb.REPORT_VERDICT_APPLIED, 200, None),
        (pb.REPORT_VERDICT_DUPLICATE, 200, None),
        (pb.REPORT_VERDICT_STALE, 200, None),
        (pb.REPORT_VERDICT_PENDING_ATTRIBUTION, 202, None),
        (pb.REPORT_VERDICT_AMBIGUOUS, 202, None),
        (pb.REPORT_VERDICT_NO_MAPPING, 404, "NO_MAPPING"),
        (pb.REPORT_VERDICT_WRONG_JOB, 400, "WRONG_JOB"),
        (pb.REPORT_VERDICT_INVALID, 400, "REPORT_INVALID"),
        (pb.REPORT_VERDICT_UNSPECIFIED, 503, "NOT_DURABLE_YET"),
        (99, 202, None),
    ],
)
async def test_verdicts(
    gateway: Running, verdict: pb.ReportVerdict, status: int, reason: str | None
):
    """P1: 200 only for what the service has stored or had already."""
    gateway.service.script = always(verdict, message="because of this")
    got, answer = await gateway.post()
    assert (got, answer.get("reason")) == (status, reason)
    assert "because of this" in (answer.get("detail") or answer.get("message", ""))
    if verdict != 99:
        assert f"REPORT_VERDICT_{answer['verdict']}" == pb.ReportVerdict.Name(verdict)


async def test_each_request_gets_its_own_verdict(gateway: Running):
    """P1: in one batch, one sender's verdict is never another's."""

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        return pb.ReportBuildsResponse(
            results=[
                pb.ReportResult(
                    verdict=pb.REPORT_VERDICT_APPLIED,
                    deployment=f"tenants/demo/deployments/d{report.build_number}",
                    status=deployment.DEPLOYMENT_STATUS_RUNNING,
                )
                for report in request.reports
            ]
        )

    gateway.service.script = script
    numbers = range(1, 301)
    answers = await asyncio.gather(*(gateway.post(guide(buildNumber=n)) for n in numbers))
    for number, (status, answer) in zip(numbers, answers, strict=True):
        assert status == 200
        assert answer["deployment"] == f"tenants/demo/deployments/d{number}"


async def test_busy_means_larger_batches(service: FakeService):
    """P1, P6: what arrives during a call goes together with the next one; one call at a time for a tenant."""
    gate = asyncio.Event()
    in_flight = most = 0

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await gate.wait()
        in_flight -= 1
        return await always(pb.REPORT_VERDICT_APPLIED)(request)

    service.script = script
    async with running(service, answer_timeout=20) as gateway:
        posts = [
            asyncio.create_task(gateway.post(guide(buildNumber=number))) for number in range(1, 204)
        ]
        await eventually(lambda: gateway.gateway.forwarder._backlog.reports == 203)
        await eventually(functools.partial(_has_calls, service, 1))
        # A tenant with little to say doesn't wait for the one with much.
        other = gateway.hook(service.tenants["other"].token(), "other")
        posts.append(asyncio.create_task(gateway.post(url=other)))
        await eventually(functools.partial(_has_calls, service, 2))
        gate.set()
        assert {status for status, _ in await asyncio.gather(*posts)} == {200}
    assert most == 2
    assert len(service.calls) <= 2 + -(-203 // HEAVY_SHARE)
    assert len(service.reports) == 204
    assert all(len(call.reports) <= 500 for call in service.calls)


async def test_retry_is_sent_again_within_the_time(gateway: Running):
    """P1: RETRY isn't an answer, it is tried again."""
    calls = 0

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        nonlocal calls
        calls += 1
        verdict = pb.REPORT_VERDICT_RETRY if calls < 4 else pb.REPORT_VERDICT_APPLIED
        return await always(verdict)(request)

    gateway.service.script = script
    status, answer = await gateway.post()
    assert (status, answer["verdict"], calls) == (200, "APPLIED", 4)


async def test_retry_without_end_is_503_and_goes_on(service: FakeService):
    """P1, P4: no 2xx for what isn't stored; it is delivered when it can be."""
    service.script = always(pb.REPORT_VERDICT_RETRY)
    async with running(service, answer_timeout=0.2) as gateway:
        status, answer = await gateway.post()
        assert (status, answer["reason"]) == (503, "NOT_DURABLE_YET")
        sent = len(service.reports)
        service.script = always(pb.REPORT_VERDICT_APPLIED)
        await service.until(lambda: len(service.reports) > sent)


async def test_one_report_that_the_service_cant_read_harms_no_other(gateway: Running):
    """P6: a batch that is refused as a whole is divided until the culprit is alone."""

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        if any(report.build_number == 13 for report in request.reports):
            raise FailError(grpc.StatusCode.INVALID_ARGUMENT)
        return await always(pb.REPORT_VERDICT_APPLIED)(request)

    gateway.service.script = script
    answers = await asyncio.gather(*(gateway.post(guide(buildNumber=n)) for n in range(1, 31)))
    assert [status for status, _ in answers] == [400 if n == 13 else 200 for n in range(1, 31)]


async def test_the_token_as_basic_password_and_in_the_path(gateway: Running):
    """P7: any one of the three places will do, as in https://jenkins:TOKEN@host/."""
    token = gateway.service.tenants["demo"].token()
    bare = gateway.hook("").removesuffix("?token=")
    basic = base64.b64encode(f"jenkins:{token}".encode()).decode()
    assert (await gateway.post(url=bare, headers={"Authorization": f"Basic {basic}"}))[0] == 200
    assert (await gateway.post(url=f"{bare}/{token}"))[0] == 200
    status, answer = await gateway.post(url=bare)
    assert (status, answer["reason"]) == (401, "UNAUTHENTICATED")
    async with gateway.client.post(gateway.hook("wrong")) as response:
        assert response.headers["WWW-Authenticate"].startswith("Basic ")


async def test_a_guides_body_about_another_job(gateway: Running):
    """P7: a job's token says nothing about another job, and the token's job is read."""
    status, answer = await gateway.post(guide(jobId=OTHER_JOB))
    assert (status, answer["reason"], answer["verdict"]) == (400, "WRONG_JOB", "WRONG_JOB")
    await gateway.service.until(lambda: bool(gateway.service.refresh_requests))
    assert gateway.service.reports == []
    (request_refresh,) = gateway.service.refresh_requests
    assert (request_refresh.tenant, request_refresh.cicd_job_id) == ("tenants/demo", JOB)
    assert (await gateway.post(guide(jobId=JOB.upper())))[0] == 200


async def test_refusals_request_one_refresh_for_each_job(gateway: Running):
    """P4: what was refused isn't lost, and a flood of refusals doesn't become a flood of reads."""
    for _ in range(20):
        assert (await gateway.post(b"{"))[0] == 400
    assert (await gateway.post(b"{", url=gateway.hook(job=OTHER_JOB)))[0] == 400
    await gateway.service.until(lambda: len(gateway.service.refresh_requests) == 2)
    assert {
        request_refresh.cicd_job_id for request_refresh in gateway.service.refresh_requests
    } == {JOB, OTHER_JOB}
    assert {request_refresh.reason for request_refresh in gateway.service.refresh_requests} == {
        "refused: MALFORMED_BODY"
    }


@pytest.mark.parametrize("locale", ["en", "pt-BR", "es-419", "zh-Hans", "zh-Hant-TW"])
async def test_locales(gateway: Running, locale: str):
    """P1: every locale is the same door."""
    assert (await gateway.post(url=gateway.hook(locale=locale)))[0] == 200


@pytest.mark.parametrize("locale", ["e", "eng", "EN", "en_US", "en-", "e1", "%20n", "en-USA"])
async def test_what_isnt_a_locale(gateway: Running, locale: str):
    """P7: any other path is 404."""
    status, answer = await gateway.post(url=gateway.hook(locale=locale))
    assert (status, answer["reason"]) == (404, "NO_SUCH_PATH")


async def test_trying_the_url(gateway: Running):
    """P7: GET says that the URL works, to those who have a token."""
    async with gateway.client.get(gateway.hook()) as answer:
        assert answer.status == 200
        body = await answer.json()
    assert (body["tenant"], body["job"]) == ("demo", JOB)
    async with gateway.client.get(gateway.hook("wrong")) as answer:
        assert answer.status == 401
    for method in ("PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"):
        async with gateway.client.request(method, gateway.hook()) as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "GET, POST"
    assert gateway.service.reports == []


async def test_health(gateway: Running):
    """P1: operators see whether reports can be stored."""
    await gateway.post()
    async with gateway.client.get(f"{gateway.url}/healthz") as answer:
        assert answer.status == 200
    async with gateway.client.get(f"{gateway.url}/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ready"})


async def test_a_gateway_with_a_wrong_key_isnt_ready(service: FakeService):
    """P1: its misconfiguration shows before the first report."""
    async with running(service, api_key="wrong") as gateway:
        async with gateway.client.get(f"{gateway.url}/readyz") as answer:
            assert answer.status == 503
            assert (await answer.json())["why"] == "UNAUTHENTICATED"
        assert (await gateway.post())[0] == 503


async def test_readiness_is_asked_once_for_all_who_want_to_know(service: FakeService):
    """P6: anyone may call it, and as often as they like."""
    async with running(service) as gateway:
        service.lookup_gate.clear()

        async def ready() -> int:
            async with gateway.client.get(f"{gateway.url}/readyz") as answer:
                return answer.status

        calls = [asyncio.create_task(ready()) for _ in range(50)]
        await eventually(lambda: service.questions == 1)
        calls[0].cancel()
        service.lookup_gate.set()
        assert set(await asyncio.gather(*calls[1:])) == {200}
        assert await ready() == 200
        assert service.questions == 1


def _has_calls(service: FakeService, number: int) -> bool:
    return len(service.calls) == number
