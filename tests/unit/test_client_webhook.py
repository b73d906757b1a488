"""deployctl webhook test: what it says of whatever answers in the gateway's place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.webhook_auth import signatures
from tests.support.scripted_service import scripted_service
from tests.unit.test_client_cli import Ended, deployctl


@asynccontextmanager
async def answering(status: int, body: bytes, content_type: str) -> AsyncIterator[str]:
    """What always answers the same, by its URL."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def webhook_test(gateway: str) -> Ended:
    job = pb.CicdJob(
        id="7d0a4f9e-6f0e-4b0a-9a55-0d7d4e0f3c11",
        webhook_url=f"{gateway}/en/demo/deployment/webhooks/jenkins?token=s3cret",
        signing_secret=signatures.as_text(b"1" * 32),
    )
    async with scripted_service() as service:
        service.will(
            "GetDeployment", pb.GetDeploymentResponse(deployment=pb.Deployment(cicd_job=job))
        )
        return await deployctl(service, "webhook", "test", "web")


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (502, b"<html><h1>502 Bad Gateway</h1></html>", "HTTP 502"),
        (200, b"<html>Sign in</html>", "HTTP 200"),
        (200, b"[]", "HTTP 200"),
        (404, b"\xff\xfe", "HTTP 404"),
        (500, b"", "HTTP 500"),
    ],
)
async def test_what_isnt_the_gateway_is_named_so(status: int, body: bytes, says: str) -> None:
    """P7: no traceback, no page of HTML, and no secret of the URL."""
    async with answering(status, body, "text/html") as url:
        ended = await webhook_test(url)
    assert ended.code not in (0, None)
    assert says in ended.err
    assert f"{url}/en/demo/deployment/webhooks/jenkins isn't the gateway" in ended.err
    for word in ("Traceback", "<html>", "s3cret"):
        assert word not in ended.err


async def test_what_the_gateway_says_is_passed_on() -> None:
    """P7"""
    said = b'{"reason": "UNAUTHENTICATED", "detail": "Use the job\'s webhook URL."}'
    async with answering(401, said, "application/problem+json") as url:
        ended = await webhook_test(url)
    assert ended.code not in (0, None)
    assert "The gateway refused it: Use the job's webhook URL." in ended.err
    said = b'{"verdict": "TESTED", "deployment": "tenants/demo/deployments/web"}'
    async with answering(200, said, "application/json") as url:
        ended = await webhook_test(url)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "It works: reports of this job reach tenants/demo/deployments/web.\n"


async def test_nothing_that_answers_is_told_so() -> None:
    """P7"""
    ended = await webhook_test("http://127.0.0.1:1")
    assert ended.code not in (0, None)
    assert "can't be reached at http://127.0.0.1:1/en/demo/deployment/webhooks/jenkins" in ended.err
