"""Failures of calls to the service that are no gRPC status: they never count as an answer."""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import AsyncIterator

import grpc
import pytest

from deployment_service.v1 import gateway_service_pb2 as pb
from tests.integration.gateway_harness import (
    FakeService,
    Running,
    eventually,
    result,
    running,
)
from webhook_gateway.readiness import NOT_CHECKED, Readiness

GARBAGE = b"\xff\xff\xff"
NOT_A_MESSAGE = b"<html>502 Bad Gateway</html>"


class RawService(FakeService):
    """A service on real gRPC that sends bytes; the last of each method's list repeats."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, deque[bytes]] = defaultdict(deque)
        self.asked: dict[str, int] = defaultdict(int)

    def will(self, method: str, *answers: bytes) -> None:
        self.answers[method] = deque(answers)

    async def start(self) -> None:
        def handler(method: str) -> "grpc.RpcMethodHandler[bytes, bytes]":
            async def answer(_request: bytes, _context: object) -> bytes:
                self.asked[method] += 1
                answers = self.answers[method]
                return answers.popleft() if len(answers) > 1 else answers[0]

            return grpc.unary_unary_rpc_method_handler(answer)

        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        methods = {name: handler(name) for name in ("ReportBuilds", "ListWebhookVerifiers")}
        name = "deployment_service.v1.GatewayService"
        generic = grpc.method_handlers_generic_handler(name, methods)
        self._server.add_generic_rpc_handlers((generic,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()


def verifiers_of(service: FakeService, **changes: object) -> bytes:
    response = service.changes("")
    for name, value in changes.items():
        setattr(response, name, value)
    return response.SerializeToString()


@contextlib.asynccontextmanager
async def raw() -> AsyncIterator[tuple[RawService, Running]]:
    service = RawService()
    await service.start()
    try:
        async with running(service, answer_timeout=2.0) as gateway:
            yield service, gateway
    finally:
        await service.stop()


async def why_not_ready(gateway: Running) -> str | None:
    async with gateway.client.get(f"{gateway.url}/readyz") as answer:
        why: str | None = (await answer.json()).get("why")
        assert answer.status == (503 if why else 200)
        return why


@pytest.mark.expects_logged_errors
@pytest.mark.parametrize("answer", [GARBAGE, NOT_A_MESSAGE])
async def test_an_unreadable_answer_is_not_readiness(answer):
    """P10: what answers isn't the service, or not this version of it."""
    async with raw() as (service, gateway):
        service.will("ReportBuilds", answer, pb.ReportBuildsResponse().SerializeToString())
        assert await why_not_ready(gateway) == "MALFORMED_RESPONSE"


@pytest.mark.expects_logged_errors
@pytest.mark.parametrize("kind", ["garbage", "page", "no cursor", "no UUID"])
async def test_an_unreadable_list_refuses_no_genuine_report(kind):
    """P1, P7: 503 while the keys are not known, never 401; applied as soon as they are."""
    async with raw() as (service, gateway):
        nonsense = service.changes("")
        nonsense.verifiers[0].cicd_job_id = "x"
        bad = {
            "garbage": GARBAGE,
            "page": NOT_A_MESSAGE,
            "no cursor": verifiers_of(service, next_cursor=""),
            "no UUID": nonsense.SerializeToString(),
        }
        service.will("ListWebhookVerifiers", bad[kind])
        status, answer = await gateway.post()
        assert (status, answer["reason"]) == (503, "KEYS_UNAVAILABLE")
        assert service.asked["ListWebhookVerifiers"] < 30  # it rests between its questions
        service.will("ListWebhookVerifiers", verifiers_of(service))
        applied = pb.ReportBuildsResponse(results=[result()])
        service.will("ReportBuilds", applied.SerializeToString())
        assert (await gateway.post())[0] == 200


@pytest.mark.expects_logged_errors
async def test_a_report_whose_delivery_got_an_unreadable_answer_is_delivered_again():
    """P1, P4: not acknowledged, and not lost."""
    async with raw() as (service, gateway):
        applied = pb.ReportBuildsResponse(results=[result()]).SerializeToString()
        service.will("ListWebhookVerifiers", verifiers_of(service))
        service.will("ReportBuilds", GARBAGE, NOT_A_MESSAGE, applied)
        assert (await gateway.post())[0] == 200
        assert service.asked["ReportBuilds"] == 3


@pytest.mark.parametrize("error", [ValueError, KeyError, OSError, AssertionError])
async def test_any_exception_is_a_reason_not_to_be_ready(error):
    """P10: the next question decides anew."""
    answers = deque([error("the key is s3cret")])

    async def ask() -> str | None:
        if answers:
            raise answers.popleft()
        return None

    readiness = Readiness(ask)
    assert await readiness.obstacle() == error.__name__
    await readiness.watch_until_ready()
    assert await readiness.obstacle() is None


async def test_a_question_that_is_cancelled_leaves_no_old_answer():
    """P10: an answer that nobody gave is not readiness."""
    asked = asyncio.Event()
    never = asyncio.Event()
    ready = True

    async def ask() -> str | None:
        if ready:
            return None
        asked.set()
        await never.wait()
        return None

    readiness = Readiness(ask)
    assert await readiness.obstacle() is None
    ready, readiness._probed_s = False, float("-inf")
    waiting = asyncio.create_task(readiness.obstacle())
    await asked.wait()
    flight = readiness._flight
    assert flight is not None
    flight.cancel()
    assert await waiting == NOT_CHECKED
    await eventually(flight.done)
