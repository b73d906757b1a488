"""The images that `tools/images.sh` builds, run as their configuration says, on a read-only root file system."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from deployment_service.client import DeploymentClient
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from devstack.postgres import EmbeddedPostgres
from jenkins_simulator.core.config import DEFAULT_API_TOKEN
from tests.support.certificates import self_signed
from tests.support.compose_files import PACKAGES
from tests.support.deploy_files import writes_temporary_files

ROOT = Path(__file__).resolve().parents[2]
STORAGE = ROOT / ".dev" / "images"
# In a mount namespace of its own: the image read-only, with /proc, devices and, where the manifests give it, an empty
# /tmp; then as the image's user, without a way to more rights.
ENTER = """
set -e
root=$1; user=$2; tmp=$3; shift 3
mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
[ "$tmp" = no ] || mount -t tmpfs tmpfs "$root/tmp"
exec setpriv --no-new-privs --inh-caps=-all chroot --userspec="$user" --groups= "$root" /usr/bin/env -i "$@"
"""


@dataclass(frozen=True)
class Image:
    """A mounted image with its configuration."""

    root: str
    config: dict[str, Any]
    has_tmp: bool

    def command(self, *arguments: str, **env: str) -> list[str]:
        """Return the command line of a container of this image; without arguments its own command."""
        config = self.config
        values = dict(one.split("=", 1) for one in config["Env"]) | env
        own = [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]
        return [
            *("unshare", "--mount", "sh", "-c", ENTER, "enter"),
            *(self.root, config["User"], "yes" if self.has_tmp else "no"),
            *(
                f"--chdir={config['WorkingDir']}",
                *(f"{key}={value}" for key, value in values.items()),
            ),
            *(arguments or own),
        ]

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments, **env), capture_output=True, text=True, timeout=60
        )


def buildah(*arguments: str) -> str:
    ended = subprocess.run(
        ["buildah", "--root", STORAGE / "storage", "--runroot", STORAGE / "run", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@contextmanager
def mounted(target: str) -> Iterator[Image]:
    config = json.loads(buildah("inspect", "--type", "image", f"localhost/{target}"))
    container = buildah("from", "--pull-never", f"localhost/{target}")
    try:
        has_tmp = writes_temporary_files(PACKAGES[target])
        yield Image(buildah("mount", container), config["Docker"]["config"], has_tmp)
    finally:
        buildah("rm", container)


@pytest.fixture(scope="module")
def service() -> Iterator[Image]:
    with mounted("service") as image:
        yield image


@pytest.fixture(scope="module")
def gateway() -> Iterator[Image]:
    with mounted("gateway") as image:
        yield image


@pytest.fixture(scope="module")
def simulator() -> Iterator[Image]:
    with mounted("simulator") as image:
        yield image


@asynccontextmanager
async def container(
    image: Image, env: Mapping[str, str], *arguments: str, piped: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a container; it must end with 0 after SIGTERM, as a container runtime stops it."""
    process = await asyncio.create_subprocess_exec(
        *image.command(*arguments, **env), stdout=asyncio.subprocess.PIPE if piped else None
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def healthy(image: Image) -> None:
    """Wait until the image's own health check succeeds."""
    kind, *check = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    async with asyncio.timeout(50):
        while (await asyncio.to_thread(image.run, *check)).returncode != 0:
            pass


@pytest.mark.parametrize("name", ["service", "gateway", "simulator"])
def test_an_image_has_no_root_no_pip_and_nothing_to_write_to(
    name: str, request: pytest.FixtureRequest
) -> None:
    image: Image = request.getfixturevalue(name)
    assert image.run("id", "-u").stdout == "10001\n"
    assert image.run("python", "-c", "import pip").returncode == 1
    touched = image.run("touch", "/opt/deployment-service/x")
    assert touched.returncode == 1
    assert "Read-only file system" in touched.stderr
    own = ("find", "/opt", "/usr/local", "-writable", "-not", "-type", "l")
    with_own_permissions = subprocess.run(
        ["chroot", "--userspec=10001:10001", "--groups=", image.root, *own],
        capture_output=True,
        text=True,
    )
    assert with_own_permissions.stdout == ""
    rights = image.run("grep", "-E", "^(CapPrm|CapEff|NoNewPrivs)", "/proc/self/status").stdout
    assert [int(line.split()[1], 16) for line in rights.splitlines()] == [0, 0, 1]


def test_the_commands_say_their_version(service: Image, gateway: Image) -> None:
    assert service.run("deployment-service", "--version").stdout.startswith("deployment-service ")
    assert gateway.run("webhook-gateway", "--version").stdout.startswith("webhook-gateway ")
    assert service.run("deployctl", "--help").returncode == 0


def test_the_service_can_store_the_certificate_of_a_provider(service: Image) -> None:
    code = (
        "import sys; from deployment_service.cicd.jenkins.provider import JenkinsProvider as P; "
        + ("P('https://jenkins/', 'user', 'token', ca_pem=sys.argv[1])")
    )
    certificate, _ = self_signed("jenkins")
    made = service.run("python", "-c", code, certificate)
    assert made.returncode == 0, made.stderr
    without = replace(service, has_tmp=False).run("python", "-c", code, certificate)
    assert "No usable temporary directory" in without.stderr


@pytest.mark.timeout(300)
async def test_a_run_through_all_three_images(
    service: Image, gateway: Image, simulator: Image
) -> None:
    """Key, migration, service, gateway and a simulated Jenkins: a run ends settled, and every process with 0."""
    assert os.geteuid() == 0
    async with EmbeddedPostgres(durable=False) as server:
        key = service.run("deployment-service", "generate-secret-key").stdout.strip()
        settings = {
            "DEPLOYMENT_SERVICE_DATABASE_URL": server.url(),
            "DEPLOYMENT_SERVICE_SECRET_KEYS": key,
        }
        # The migration gets no /tmp from the manifests.
        migrate = replace(service, has_tmp=False)
        migrated = migrate.run("deployment-service", "migrate", **settings)
        assert migrated.returncode == 0, migrated.stderr
        keys = [
            service.run(
                "deployment-service", "create-key", "--role", role, **settings
            ).stdout.strip()
            for role in ("admin", "gateway")
        ]
        gateway_settings = {
            "WEBHOOK_GATEWAY_API_KEY": keys[1],
            # All share this machine's network, and the service has the port of the image.
            "WEBHOOK_GATEWAY_METRICS_LISTEN": "127.0.0.1:0",
        }
        jenkins_command = [*simulator.config["Entrypoint"], "--host", "127.0.0.1", "--port", "0"]
        async with (
            container(simulator, {}, *jenkins_command, piped=True) as jenkins,
            container(service, settings),
            container(gateway, gateway_settings),
        ):
            await healthy(service)
            await healthy(gateway)
            assert jenkins.stdout is not None
            url = (await jenkins.stdout.readline()).decode().split()[0].removeprefix("url=")
            await run_once(keys[0], url)


async def run_once(key: str, jenkins_url: str) -> None:
    """Create all that a run needs, and run it; the webhook comes from the simulator through the gateway."""
    async with DeploymentClient("127.0.0.1:50051", api_key=key, tenant="demo") as client:
        await client.admin.create_tenant("demo", display_name="Demo")
        provider = admin.Provider(
            base_url=jenkins_url,
            username="admin",
            api_token=DEFAULT_API_TOKEN,
            webhook_base_url="http://127.0.0.1:8080",
        )
        made = await client.admin.create_provider("main", provider)
        job = pb.DeploymentJob(freestyle_shell="echo hello")
        await client.create_deployment("hello", pb.Deployment(provider=made.name, job=job))
        run = await client.run_and_wait("hello", timeout_s=120)
        assert run.status == pb.DEPLOYMENT_STATUS_COMPLETED
        assert run.certainty == pb.CERTAINTY_CONFIRMED
