"""Tenants' URLs lead nowhere inside our network unless an operator allowed their origin (P6)."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
import pytest_asyncio

from deployment_service.cicd.errors import ProviderUnreachable
from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.domain.access import Role
from deployment_service.v1 import admin_service_pb2 as pb
from deployment_service.v1 import deployment_service_pb2 as dpb
from tests.fixtures_stack import run_sql
from tests.integration.cicd_harness import ANSWER, answering, wire
from tests.support.api import NOBODY, refused, request_id, running_api

PRIVATE = ["http://127.0.0.1:8080/", "http://2130706433/", "https://10.0.0.5/", "http://[::1]:1/"]


@pytest_asyncio.fixture
async def api(database_url):
    async with running_api(database_url, allowed_origins="http://10.9.9.9:8080") as running:
        tenant = pb.CreateTenantRequest(tenant_id="demo", tenant=pb.Tenant())
        await running.admin.CreateTenant(tenant, metadata=running.as_admin)
        yield running


async def create(api, metadata, slug="main", **fields):
    request = pb.CreateProviderRequest(
        parent="tenants/demo", provider_id=slug, provider=pb.Provider(**fields)
    )
    return (await api.admin.CreateProvider(request, metadata=metadata)).provider


@pytest.mark.parametrize("url", [*PRIVATE, "http://localhost/", "http://169.254.169.254/latest/"])
async def test_a_tenants_admin_is_told_which_line_an_operator_must_add(api, url):
    admin = await api.key(Role.ADMIN, "demo")
    async with refused() as refusals:
        await create(api, admin, base_url="https://ci.example/", webhook_base_url=url)
    assert refusals[0].metadata["field"] == "provider.webhook_base_url"
    async with refused() as refusals:
        await create(api, admin, base_url=url)
    assert refusals[0].reason == "ORIGIN_NOT_ALLOWED"
    message = refusals[0].message
    origin = message.partition("DEPLOYMENT_SERVICE_ALLOWED_ORIGINS=")[2].split()[0]
    # What an admin of all tenants uses is allowed from then on, for others too.
    await create(api, api.as_admin, "operators", base_url=origin + "/x/")
    provider = await create(api, admin, base_url=url)
    async with refused() as refusals:
        moved = pb.Provider(name=provider.name, base_url="http://127.0.0.1:8081/")
        await api.admin.UpdateProvider(pb.UpdateProviderRequest(provider=moved), metadata=admin)
    assert refusals[0].reason == "ORIGIN_NOT_ALLOWED"


async def test_the_settings_allow_an_origin(api):
    admin = await api.key(Role.ADMIN, "demo")
    await create(api, admin, base_url="http://10.9.9.9:8080/jenkins")
    async with refused() as refusals:
        await create(api, admin, "other", base_url="http://10.9.9.9:8081/jenkins")
    assert refusals[0].reason == "ORIGIN_NOT_ALLOWED"


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "git@10.0.0.5:x", "ssh://git@localhost/x"])
async def test_a_repository_in_a_private_range_needs_its_origin_allowed(api, url):
    await create(api, api.as_admin, base_url="https://ci.example/")
    definer = await api.key(Role.DEFINER, "demo")
    scm = dpb.DeploymentJob(pipeline_scm=dpb.PipelineScm(url=url))
    request = dpb.CreateDeploymentRequest(
        parent="tenants/demo",
        deployment_id="web",
        deployment=dpb.Deployment(provider="main", job=scm),
    )
    async with refused() as refusals:
        await api.deployments.CreateDeployment(request, metadata=definer)
    assert refusals[0].reason == "ORIGIN_NOT_ALLOWED"


def resolving(monkeypatch: pytest.MonkeyPatch, **hosts: list[str]) -> list[str]:
    """Let names lead to these addresses; return the names that are asked for."""
    asked, real = [], socket.getaddrinfo

    def getaddrinfo(host: str, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.partition(".")[0]
        if name not in hosts:
            return real(host, port, *args, **kwargs)
        asked.append(host)
        if not hosts[name]:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        addresses = hosts[name]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("host", ["inside", "mixed", "unknown", "127.0.0.1", "localhost", "0x7f.1"])
async def test_no_connection_is_made_to_a_private_address(monkeypatch, host):
    """Whatever name leads there; an unknown name gives the same answer, as it would tell names apart."""
    resolving(monkeypatch, inside=["127.0.0.1"], mixed=["192.0.2.1", "127.0.0.1"], unknown=[])
    async with wire(answering(ANSWER)) as server:
        name = f"{host}.example" if host.isalpha() and host != "localhost" else host
        provider = JenkinsProvider(f"http://{name}:{server.port}", "u", "t", public_only=True)
        try:
            with pytest.raises(ProviderUnreachable, match="no operator has allowed its origin"):
                await provider.ping()
        finally:
            await provider.close()
        assert server.connections == 0


async def test_an_address_is_checked_at_each_connection_and_not_resolved_again(monkeypatch):
    """A name may lead to a public address when it is checked and to a private one when it is used."""
    asked = resolving(monkeypatch, rebinding=["127.0.0.1"])
    async with wire(answering(ANSWER)) as server:
        monkeypatch.setattr(
            "deployment_service.cicd.jenkins.wire.is_private", lambda address: False
        )
        url = f"http://rebinding.example:{server.port}"
        provider = JenkinsProvider(url, "u", "t", public_only=True)
        try:
            await provider.ping()
            assert asked == ["rebinding.example"]
            assert b"Host: rebinding.example" in server.heads[0]
        finally:
            await provider.close()


def details_of(text: str) -> str:
    """What is left of a message without its times."""
    return re.sub(r"[;.] (?:n|N)ext try in [0-9]+ s\.?", "", text)


async def test_whatever_the_network_does_a_tenant_reads_the_same(database_url):
    """A closed port, an unknown name, a TLS that is none, a private address: one text; operators read which."""
    async with (
        wire(answering(ANSWER)) as plain,
        running_api(database_url, request_timeout_s=1.0) as api,
    ):
        tenant = pb.CreateTenantRequest(tenant_id="demo", tenant=pb.Tenant())
        await api.admin.CreateTenant(tenant, metadata=api.as_admin)
        places = {
            "closed": NOBODY,
            "unknown": "http://no-such-host.invalid/",
            "tls": f"https://127.0.0.1:{plain.port}/",
            "private": "http://127.0.0.1:8/",
        }
        for slug, url in places.items():
            await create(api, api.as_admin, slug, base_url=url)
        await run_sql(database_url, "DELETE FROM egress_origins WHERE origin LIKE '%:8'")
        viewer, deployer = await api.key(Role.VIEWER, "demo"), await api.key(Role.DEPLOYER, "demo")
        for slug in places:
            job = dpb.DeploymentJob(existing_job=dpb.ExistingJob(full_name="web"))
            request = dpb.CreateDeploymentRequest(
                parent="tenants/demo",
                deployment_id=slug,
                deployment=dpb.Deployment(provider=slug, job=job),
            )
            await api.deployments.CreateDeployment(request, metadata=api.as_admin)
        said = {slug: await until_said(api, viewer, slug) for slug in places}
        assert set(said.values()) == {"Jenkins can't be reached"}, said
        await run_sql(
            database_url,
            "UPDATE cicd_jobs SET state = 'READY', next_try_time = NULL, next_build_number = 1",
        )
        runs = {slug: await until_waiting(api, deployer, viewer, slug) for slug in places}
        assert {text for texts in runs.values() for text in texts} == {
            "Jenkins can't be reached"
        }, runs


async def until_said(api: Any, key: Any, slug: str) -> str:
    name = f"tenants/demo/deployments/{slug}"
    while True:
        request = dpb.GetDeploymentRequest(name=name)
        answer = await api.deployments.GetDeployment(request, metadata=key)
        if answer.deployment.cicd_job.state_message:
            return details_of(answer.deployment.cicd_job.state_message).rstrip(".")


async def until_waiting(api: Any, deployer: Any, viewer: Any, slug: str) -> set[str]:
    """Run a deployment; return all that is said of why it waits."""
    request = dpb.RunDeploymentRequest(
        name=f"tenants/demo/deployments/{slug}", request_id=request_id()
    )
    run = (await api.deployments.RunDeployment(request, metadata=deployer)).run
    while True:
        explained = await api.deployments.ExplainRun(
            dpb.ExplainRunRequest(name=run.name), metadata=viewer
        )
        texts = [explained.run.waiting_reason, *(one.message for one in explained.attempts)]
        if all(texts) and len(texts) > 1:
            return {details_of(text).rstrip(".") for text in texts}
