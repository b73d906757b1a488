"""`make run`, as somebody uses it: settings in a file, everything reachable, everything gone at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from deployment_service.client import DeploymentClient
from deployment_service.v1 import deployment_service_pb2 as pb
from jenkins_simulator import DEFAULT_API_TOKEN, JenkinsSimulator, SimulatorConfig
from tests.support.processes import Running, running
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(120)
KEYS = {
    "DEPLOYMENT_SERVICE_TARGET",
    "WEBHOOK_GATEWAY_URL",
    "DEV_JENKINS_URL",
    "DATABASE_URL",
    "DEPLOYMENT_TENANT",
    "DEPLOYMENT_PROVIDER",
    "DEPLOYMENT_API_KEY",
}
SHELL = pb.DeploymentJob(freestyle_shell="true")


def stack(tmp_path: Path, **env: str):
    # As `make test` would: nothing that the person at this machine has set for `make run`.
    nothing = {key: "" for key in os.environ if key.startswith("DEV_")}
    path = str(tmp_path / ".dev" / "env")
    return running("-m", "devstack.stack", "--env-file", path, env={**nothing, **env})


async def settings_of(run: Running, tmp_path: Path) -> dict[str, str]:
    await run.says("Ctrl-C stops everything")
    lines = (tmp_path / ".dev" / "env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def connect(settings: dict[str, str]) -> DeploymentClient:
    return DeploymentClient(
        settings["DEPLOYMENT_SERVICE_TARGET"],
        api_key=settings["DEPLOYMENT_API_KEY"],
        tenant=settings["DEPLOYMENT_TENANT"],
    )


async def run_one(client: DeploymentClient, provider: str) -> pb.Run:
    await client.create_deployment("hello", pb.Deployment(provider=provider, job=SHELL))
    return await client.run_and_wait("hello", timeout_s=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_all_is_there_as_the_file_says_and_gone_after_the_signal(tmp_path, number):
    async with stack(tmp_path) as run:
        settings = await settings_of(run, tmp_path)
        path = tmp_path / ".dev" / "env"
        assert set(settings) >= KEYS
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "deployctl --env-file" in run.text

        async with connect(settings) as client:
            done = await run_one(client, settings["DEPLOYMENT_PROVIDER"])
        assert done.status == pb.DEPLOYMENT_STATUS_COMPLETED, run.text
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{settings['WEBHOOK_GATEWAY_URL']}/healthz") as answer:
                assert answer.status == 200
            async with http.get(f"{settings['DEV_JENKINS_URL']}login") as answer:
                assert "X-Jenkins" in answer.headers
        connection = await asyncpg.connect(settings["DATABASE_URL"])
        assert await connection.fetchval("SELECT count(*) FROM deployment_runs") == 1
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
        assert await connection.fetchval("SHOW fsync") == "on"
        await connection.close()

        run.process.send_signal(number)
        assert await run.ends() == 0, run.text
        assert run.left() == []
        assert not path.exists(), "what it says isn't true any more"
    assert "Traceback" not in run.text


async def test_settings_of_an_earlier_run_in_the_shell_mean_no_real_jenkins(tmp_path):
    async with stack(tmp_path) as run:
        earlier = await settings_of(run, tmp_path)
        run.process.terminate()
        assert await run.ends() == 0, run.text
    async with stack(tmp_path, **earlier) as run:
        settings = await settings_of(run, tmp_path)
        assert "DEV_JENKINS_URL is an earlier run's simulator" in run.text
        assert "simulated Jenkins" in run.text
        async with connect(settings) as client:
            done = await run_one(client, settings["DEPLOYMENT_PROVIDER"])
    assert done.status == pb.DEPLOYMENT_STATUS_COMPLETED


async def test_default_ports_that_are_taken_are_passed_over(tmp_path):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        def is_taken() -> bool:
            # A connection may have it as its own port for a while; a server that keeps it is as good.
            with contextlib.suppress(OSError):
                taken.bind(("127.0.0.1", 50051))
                taken.listen()
                return True
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", 50051)) == 0

        await until(is_taken, what="the service's default port is taken")
        async with stack(tmp_path) as run:
            settings = await settings_of(run, tmp_path)
            assert settings["DEPLOYMENT_SERVICE_TARGET"] != "127.0.0.1:50051"
            async with connect(settings) as client:
                await client.list_deployments()


async def test_a_part_that_dies_ends_the_stack_and_is_named(tmp_path):
    async with stack(tmp_path) as run:
        await settings_of(run, tmp_path)
        (gateway,) = [one for one in run.left() if "webhook_gateway" in one.cmdline()]
        gateway.kill()
        assert await run.ends() == 1
        assert "gateway has ended" in run.text
        assert run.left() == []


async def test_a_stack_that_is_killed_takes_its_processes_along(tmp_path):
    async with stack(tmp_path) as run:
        await settings_of(run, tmp_path)
        assert len(run.left()) >= 3, "PostgreSQL, service, gateway"
        run.process.kill()
        await until(lambda: not run.left(), timeout_s=30)


async def test_a_real_jenkins_and_database_are_used_and_seeded_again_and_again(
    tmp_path, empty_database_url
):
    """Two starts on one database: what was there stays, under the same keys for secrets."""
    async with JenkinsSimulator(SimulatorConfig(quiet_period_s=0.1)) as jenkins:
        env = {
            "DEV_JENKINS_URL": f"{jenkins.url}/",
            "DEV_JENKINS_USER": "admin",
            "DEV_JENKINS_TOKEN": DEFAULT_API_TOKEN,
            "DEV_DATABASE_URL": empty_database_url,
        }
        for start in (1, 2):
            async with stack(tmp_path, **env) as run:
                settings = await settings_of(run, tmp_path)
                assert settings["DEV_JENKINS_URL"] == env["DEV_JENKINS_URL"]
                assert settings["DATABASE_URL"] == empty_database_url
                async with connect(settings) as client:
                    if start == 1:
                        await run_one(client, settings["DEPLOYMENT_PROVIDER"])
                    else:
                        done = await client.run_and_wait("hello", timeout_s=60)
                        assert done.name.endswith("/runs/2")
                run.process.terminate()
                assert await run.ends() == 0, run.text
        builds = jenkins.ledger.builds(job="demo.hello")
        assert [build.result for build in builds] == ["SUCCESS", "SUCCESS"]
    connection = await asyncpg.connect(empty_database_url)
    valid = await connection.fetchval("SELECT count(*) FROM api_keys WHERE revoke_time IS NULL")
    await connection.close()
    assert valid == 0, "a stack revokes its keys when it ends"


async def test_half_a_jenkins_is_a_clear_error(tmp_path):
    async with stack(tmp_path, DEV_JENKINS_URL="http://127.0.0.1:1/") as run:
        assert await run.ends() == 1
        assert "missing: DEV_JENKINS_USER, DEV_JENKINS_TOKEN" in run.text
        assert "Traceback" not in run.text


@pytest.mark.parametrize(
    ("path", "token", "said"),
    [
        ("/job/team", DEFAULT_API_TOKEN, "is a folder inside a Jenkins, not its root"),
        ("", "wrong", "Create an API token"),
    ],
)
async def test_a_jenkins_that_cannot_be_used_is_a_clear_error(tmp_path, path, token, said):
    async with JenkinsSimulator(SimulatorConfig()) as jenkins:
        jenkins.create_job("team", "<com.cloudbees.hudson.plugins.folder.Folder/>")
        env = {
            "DEV_JENKINS_URL": jenkins.url + path,
            "DEV_JENKINS_USER": "admin",
            "DEV_JENKINS_TOKEN": token,
        }
        async with stack(tmp_path, **env) as run:
            assert await run.ends() == 1
            assert "This Jenkins can't be used" in run.text
            assert said in run.text
            assert "Traceback" not in run.text


async def test_a_database_that_is_not_there_is_a_clear_error(tmp_path):
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    async with stack(tmp_path, DEV_DATABASE_URL=url) as run:
        assert await run.ends() == 1
        assert "The database can't be used" in run.text
        assert "Traceback" not in run.text
        assert run.left() == []
