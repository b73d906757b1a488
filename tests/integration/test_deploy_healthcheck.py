"""The health check of the container images, against the real processes that it asks."""

import asyncio
import sys
from pathlib import Path

import grpc.aio
import pytest
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from jenkins_simulator.core.config import SimulatorConfig
from jenkins_simulator.simulator import JenkinsSimulator
from tests.support.api import running_api

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "containers" / "healthcheck.py"


async def check(*arguments: str) -> tuple[int, str]:
    """Return the exit code and what is on stderr. A proxy in the environment must not be asked."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        SCRIPT,
        *arguments,
        env={"http_proxy": "http://127.0.0.1:9", "PATH": "/usr/bin:/bin"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    assert process.returncode is not None
    return process.returncode, stderr.decode()


async def test_the_service_is_healthy_by_both_names(database_url):
    async with running_api(database_url) as api:
        for name in ("", "liveness"):
            assert await check("grpc", api.service.target, name) == (0, "")
        code, told = await check("grpc", api.service.target, "no-such-name")
        assert code == 1
        assert "NOT_FOUND" in told


async def test_the_simulator_is_healthy():
    async with JenkinsSimulator(SimulatorConfig()) as jenkins:
        assert await check("http", f"{jenkins.url}/login") == (0, "")
        code, told = await check("http", f"{jenkins.url}/api/json")
        assert code == 1
        assert "HTTP Error 403" in told


@pytest.mark.parametrize(
    "arguments", [["grpc", "127.0.0.1:9", ""], ["http", "http://127.0.0.1:9/"]]
)
async def test_nothing_that_listens_is_unhealthy(arguments):
    code, told = await check(*arguments)
    assert code == 1
    assert told.startswith("unhealthy: ")


async def test_a_status_that_is_not_serving_is_unhealthy():
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        assert (await check("grpc", f"127.0.0.1:{port}", ""))[0] == 1
    finally:
        await server.stop(None)


async def test_an_answer_that_is_not_200_is_unhealthy():
    async def starting(_: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.router.add_get("/", starting)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        code, told = await check("http", site.name)
        assert (code, told) == (1, "unhealthy: ConnectionError: HTTP status 204\n")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("arguments", [[], ["grpc"], ["tcp", "127.0.0.1:1"]])
async def test_wrong_arguments_are_told(arguments):
    code, told = await check(*arguments)
    assert code == 2
    assert "healthcheck.py grpc" in told
