"""The command deployment-service as a process of its own."""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deployment_service.v1 import admin_service_pb2, deployment_service_pb2
from deployment_service.v1.admin_service_pb2_grpc import AdminServiceStub
from deployment_service.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from tests.support.api import SECRET_KEY, bearer, refused

PREFIX = "DEPLOYMENT_SERVICE_"


def environment(**settings):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return inherited | {PREFIX + name.upper(): value for name, value in settings.items()}


async def command(*arguments, **settings):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deployment_service",
        *arguments,
        env=environment(**settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    return process.returncode, stdout.decode(), stderr.decode()


@asynccontextmanager
async def serving(database_url, **settings):
    """The process and a function that returns the next logged event of a name."""
    values = {
        "database_url": database_url,
        "secret_keys": SECRET_KEY,
        "listen": "127.0.0.1:0",
        "drain_grace_s": "3",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deployment_service",
        "serve",
        env=environment(**(values | settings)),
        stdout=asyncio.subprocess.PIPE,
    )

    async def logged(event):
        assert process.stdout is not None
        async for line in process.stdout:
            entry = json.loads(line)
            if entry["event"] == event:
                return entry
        raise AssertionError(f"ended without logging {event!r}")

    try:
        yield process, logged
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def first_key(database_url):
    code, stdout, stderr = await command("create-key", "--role", "admin", database_url=database_url)
    assert code == 0, stderr
    return bearer(stdout.strip())


async def test_it_migrates_makes_the_first_key_serves_and_drains_on_sigterm(empty_database_url):
    code, _, stderr = await command(
        "create-key", "--role", "admin", database_url=empty_database_url
    )
    assert code == 1
    assert "deployment-service migrate" in stderr
    code, _, stderr = await command("migrate", database_url=empty_database_url)
    assert code == 0, stderr
    admin = await first_key(empty_database_url)
    async with serving(empty_database_url) as (process, logged):
        target = (await logged("listening"))["target"]
        async with grpc.aio.insecure_channel(target) as channel:
            await AdminServiceStub(channel).CreateTenant(
                admin_service_pb2.CreateTenantRequest(tenant_id="demo"), metadata=admin
            )
            health: Any = health_pb2_grpc.HealthStub(channel)
            for name in ("", "deployment_service.v1.DeploymentService"):
                status = await health.Check(health_pb2.HealthCheckRequest(service=name))
                assert status.status == health_pb2.HealthCheckResponse.SERVING
            stream: Any = DeploymentServiceStub(channel).WatchDeployments(
                deployment_service_pb2.WatchDeploymentsRequest(parent="tenants/demo"),
                metadata=admin,
            )
            kinds = [(await stream.read()).WhichOneof("response") for _ in range(2)]
            assert kinds == ["start", "snapshot_complete"]
            process.send_signal(signal.SIGTERM)
            async with refused() as refusals:
                last: Any = None
                while (message := await stream.read()) is not grpc.aio.EOF:
                    last = message
            assert refusals[0].code is grpc.StatusCode.UNAVAILABLE
            assert last is None or last.WhichOneof("response") == "bookmark"
        await logged("stopped")
        assert await process.wait() == 0


async def test_a_second_process_on_the_port_says_so(database_url):
    async with serving(database_url) as (_, logged):
        target = (await logged("listening"))["target"]
        async with serving(database_url, listen=target) as (process, logged_by_second):
            assert target in (await logged_by_second("cannot start"))["why"]
            assert await process.wait() == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "DEPLOYMENT_SERVICE_DATABASE_URL is not set"),
        ({"database_url": "postgresql://x/y"}, "DEPLOYMENT_SERVICE_SECRET_KEYS is not set"),
        ({"database_url": "postgresql://x/y", "secret_keys": "abc"}, "Fernet key"),
        (
            {"database_url": "postgresql://x/y", "secret_keys": SECRET_KEY, "listen": "x"},
            "DEPLOYMENT_SERVICE_LISTEN: must be host:port",
        ),
    ],
)
async def test_wrong_settings_are_told_by_name(settings, told):
    code, _, stderr = await command("serve", **settings)
    assert code == 2
    assert told in stderr
    assert "Traceback" not in stderr


async def test_an_old_schema_is_refused_with_what_to_do(empty_database_url):
    code, _, stderr = await command(
        "serve", database_url=empty_database_url, secret_keys=SECRET_KEY
    )
    assert code == 1
    assert "deployment-service migrate" in stderr


async def test_a_tenant_that_does_not_exist_gets_no_key(database_url):
    code, stdout, stderr = await command(
        "create-key", "--role", "viewer", "--tenant", "nobody", database_url=database_url
    )
    assert (code, stdout) == (1, "")
    assert "tenants/nobody" in stderr


async def test_help_lists_every_setting_with_its_meaning():
    from deployment_service.config import Settings

    for arguments in (["--help"], ["serve", "--help"]):
        code, stdout, _ = await command(*arguments)
        assert code == 0
        for name, field in Settings.model_fields.items():
            assert PREFIX + name.upper() in stdout
            assert field.description
            assert field.description.split("`")[0].split(" ")[0] in stdout


async def test_jenkins_variables_mean_nothing_here():
    environment_of_a_build = {"JENKINS_URL": "http://x/", "JENKINS_HOME": "/x", "BUILD_NUMBER": "7"}
    os.environ.update(environment_of_a_build)
    try:
        code, _, stderr = await command("serve")
    finally:
        for name in environment_of_a_build:
            del os.environ[name]
    assert code == 2
    assert "JENKINS" not in stderr
