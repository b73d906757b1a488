"""Keys, roles and scopes over real gRPC (P6)."""

from typing import Any

import grpc
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from deployment_service.domain.access import Role
from deployment_service.server import SERVICE_NAMES
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1 import gateway_service_pb2 as gateway
from tests.support.api import refused, request_id, running_api, seed_deployment


@pytest_asyncio.fixture
async def api(database_url):
    async with running_api(database_url) as running:
        for slug in ("demo", "other"):
            await running.admin.CreateTenant(
                admin.CreateTenantRequest(tenant_id=slug), metadata=running.as_admin
            )
        await seed_deployment(running, "demo")
        yield running


WEB = "tenants/demo/deployments/web"


async def test_each_role_may_do_what_those_before_it_may_and_no_more(api):
    steps = [
        (
            Role.VIEWER,
            lambda key: api.deployments.GetDeployment(
                pb.GetDeploymentRequest(name=WEB), metadata=key
            ),
        ),
        (
            Role.DEPLOYER,
            lambda key: api.deployments.RunDeployment(
                pb.RunDeploymentRequest(name=WEB, request_id=request_id(), allow_concurrent=True),
                metadata=key,
            ),
        ),
        (
            Role.DEFINER,
            lambda key: api.deployments.UpdateDeployment(
                pb.UpdateDeploymentRequest(deployment=pb.Deployment(name=WEB, display_name="Web")),
                metadata=key,
            ),
        ),
        (
            Role.ADMIN,
            lambda key: api.admin.ListProviders(
                admin.ListProvidersRequest(parent="tenants/demo"), metadata=key
            ),
        ),
        (
            Role.GATEWAY,
            lambda key: api.gateway.ListWebhookVerifiers(
                gateway.ListWebhookVerifiersRequest(), metadata=key
            ),
        ),
    ]
    for role in Role:
        for scope in (None, "demo"):
            key = await api.key(role, scope)
            for needed, step in steps:
                if role.includes(needed):
                    await step(key)
                    continue
                async with refused() as refusals:
                    await step(key)
                assert (refusals[0].code, refusals[0].reason) == (
                    grpc.StatusCode.PERMISSION_DENIED,
                    "ROLE_INSUFFICIENT",
                )


async def test_a_key_for_all_tenants_learns_that_a_tenant_does_not_exist(api):
    async with refused() as refusals:
        await api.deployments.ListDeployments(
            pb.ListDeploymentsRequest(parent="tenants/nobody"), metadata=api.as_admin
        )
    assert (refusals[0].code, refusals[0].reason) == (
        grpc.StatusCode.NOT_FOUND,
        "TENANT_NOT_FOUND",
    )


async def test_a_tenants_admin_stays_inside_the_tenant(api):
    key = await api.key(Role.ADMIN, "demo")
    for wanted in (admin.ApiKey(role=admin.ROLE_VIEWER),):
        async with refused() as refusals:
            await api.admin.CreateApiKey(admin.CreateApiKeyRequest(api_key=wanted), metadata=key)
        assert refusals[0].reason == "SCOPE_INSUFFICIENT"
    own = await api.admin.CreateApiKey(
        admin.CreateApiKeyRequest(
            api_key=admin.ApiKey(role=admin.ROLE_ADMIN, tenant="tenants/demo")
        ),
        metadata=key,
    )
    foreign = await api.admin.CreateApiKey(
        admin.CreateApiKeyRequest(
            api_key=admin.ApiKey(role=admin.ROLE_VIEWER, tenant="tenants/other")
        ),
        metadata=api.as_admin,
    )
    seen = await api.admin.ListApiKeys(admin.ListApiKeysRequest(), metadata=key)
    assert {one.tenant for one in seen.api_keys} == {"tenants/demo"}
    async with refused() as refusals:
        await api.admin.RevokeApiKey(
            admin.RevokeApiKeyRequest(name=foreign.api_key.name), metadata=key
        )
    assert refusals[0].reason == "API_KEY_NOT_FOUND"
    still = await api.admin.ListApiKeys(
        admin.ListApiKeysRequest(tenant="tenants/other"), metadata=api.as_admin
    )
    assert not still.api_keys[0].HasField("revoke_time")
    await api.admin.RevokeApiKey(admin.RevokeApiKeyRequest(name=own.api_key.name), metadata=key)


async def test_keys_are_listed_newest_first_and_paged(api):
    made = []
    for _ in range(5):
        created = await api.admin.CreateApiKey(
            admin.CreateApiKeyRequest(
                api_key=admin.ApiKey(role=admin.ROLE_VIEWER, tenant="tenants/other")
            ),
            metadata=api.as_admin,
        )
        made.append(created.api_key.name)
    request = admin.ListApiKeysRequest(tenant="tenants/other", page_size=2)
    listed = []
    while True:
        page = await api.admin.ListApiKeys(request, metadata=api.as_admin)
        listed += [key.name for key in page.api_keys]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert listed == made[::-1]


async def test_a_gateway_for_one_tenant_reports_for_no_other(api):
    """P6, P7: not one report of a batch gets through."""
    key = await api.key(Role.GATEWAY, "demo")
    reports = [gateway.BuildReport(tenant=f"tenants/{slug}") for slug in ("demo", "other")]
    async with refused() as refusals:
        await api.gateway.ReportBuilds(gateway.ReportBuildsRequest(reports=reports), metadata=key)
    assert refusals[0].reason == "SCOPE_INSUFFICIENT"


async def test_what_belongs_to_one_tenant_is_in_no_answer_to_another(api):
    """P6."""
    key = await api.key(Role.VIEWER, "other")
    other = await api.deployments.ListDeployments(
        pb.ListDeploymentsRequest(parent="tenants/other"), metadata=key
    )
    assert not other.deployments
    runs = await api.deployments.ListRuns(
        pb.ListRunsRequest(parent="tenants/other/deployments/-"), metadata=key
    )
    assert not runs.runs
    first = await api.deployments.ListDeployments(
        pb.ListDeploymentsRequest(parent="tenants/demo"), metadata=api.as_admin
    )
    stream = api.deployments.WatchDeployments(
        pb.WatchDeploymentsRequest(parent="tenants/other", resume_token=first.resume_token),
        metadata=key,
    )
    async with refused() as refusals:
        async for _ in stream:
            pass
    assert refusals[0].reason == "RESUME_TOKEN_INVALID"


async def test_health_and_reflection_need_no_key(api):
    health: Any = health_pb2_grpc.HealthStub(api.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE_NAMES[0]))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(api.channel)
    call = reflection.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    )
    listed = await call.read()
    names = {service.name for service in listed.list_services_response.service}
    assert set(SERVICE_NAMES) <= names
    call.cancel()
