"""Repeated calls of AdminService with one request_id have one effect (AIP-155)."""

from __future__ import annotations

import grpc
import pytest_asyncio

from deployment_service.v1 import admin_service_pb2 as pb
from tests.support.api import refused, request_id, running_api


@pytest_asyncio.fixture
async def api(database_url):
    async with running_api(database_url) as running:
        request = pb.CreateTenantRequest(tenant_id="demo")
        await running.admin.CreateTenant(request, metadata=running.as_admin)
        yield running


async def create_provider(api):
    request = pb.CreateProviderRequest(
        parent="tenants/demo",
        provider_id="main",
        provider=pb.Provider(base_url="https://jenkins.internal/ci"),
    )
    await api.admin.CreateProvider(request, metadata=api.as_admin)


async def test_a_repeated_deletion_spares_a_later_tenant_of_the_same_name(api):
    request = pb.DeleteTenantRequest(name="tenants/demo", request_id=request_id())
    await api.admin.DeleteTenant(request, metadata=api.as_admin)
    await api.admin.DeleteTenant(request, metadata=api.as_admin)
    again = pb.CreateTenantRequest(tenant_id="demo")
    later = (await api.admin.CreateTenant(again, metadata=api.as_admin)).tenant
    await api.admin.DeleteTenant(request, metadata=api.as_admin)
    name = pb.GetTenantRequest(name="tenants/demo")
    assert (await api.admin.GetTenant(name, metadata=api.as_admin)).tenant == later


async def test_a_repeated_deletion_spares_a_later_provider_of_the_same_name(api):
    await create_provider(api)
    request = pb.DeleteProviderRequest(name="tenants/demo/providers/main", request_id=request_id())
    await api.admin.DeleteProvider(request, metadata=api.as_admin)
    await create_provider(api)
    await api.admin.DeleteProvider(request, metadata=api.as_admin)
    name = pb.GetProviderRequest(name="tenants/demo/providers/main")
    await api.admin.GetProvider(name, metadata=api.as_admin)


async def test_a_refused_deletion_leaves_its_request_id_free(api):
    await create_provider(api)
    request = pb.DeleteTenantRequest(name="tenants/demo", request_id=request_id())
    async with refused() as refusals:
        await api.admin.DeleteTenant(request, metadata=api.as_admin)
    assert refusals[0].reason == "TENANT_NOT_EMPTY"
    provider = pb.DeleteProviderRequest(name="tenants/demo/providers/main")
    await api.admin.DeleteProvider(provider, metadata=api.as_admin)
    await api.admin.DeleteTenant(request, metadata=api.as_admin)
    async with refused() as refusals:
        name = pb.GetTenantRequest(name="tenants/demo")
        await api.admin.GetTenant(name, metadata=api.as_admin)
    assert refusals[0].reason == "TENANT_NOT_FOUND"


async def test_a_repeated_creation_of_a_key_makes_no_second_one_and_has_no_secret(api):
    request = pb.CreateApiKeyRequest(
        api_key=pb.ApiKey(role=pb.ROLE_VIEWER, tenant="tenants/demo"), request_id=request_id()
    )
    first = await api.admin.CreateApiKey(request, metadata=api.as_admin)
    again = await api.admin.CreateApiKey(request, metadata=api.as_admin)
    assert first.secret.startswith("dsk_")
    assert (again.api_key, again.secret) == (first.api_key, "")
    keys = pb.ListApiKeysRequest(tenant="tenants/demo")
    listed = await api.admin.ListApiKeys(keys, metadata=api.as_admin)
    assert list(listed.api_keys) == [first.api_key]
    request.api_key.role = pb.ROLE_ADMIN
    async with refused() as refusals:
        await api.admin.CreateApiKey(request, metadata=api.as_admin)
    assert refusals[0].reason == "REQUEST_ID_REUSED"


async def test_a_repeated_revocation_and_retirement_answer_with_what_is(api):
    made = await api.admin.CreateApiKey(
        pb.CreateApiKeyRequest(api_key=pb.ApiKey(role=pb.ROLE_VIEWER, tenant="tenants/demo")),
        metadata=api.as_admin,
    )
    revoke = pb.RevokeApiKeyRequest(name=made.api_key.name, request_id=request_id())
    gone = [await api.admin.RevokeApiKey(revoke, metadata=api.as_admin) for _ in range(2)]
    assert gone[0] == gone[1]
    assert gone[0].api_key.HasField("revoke_time")

    rotate = pb.RotateWebhookSecretRequest(tenant="tenants/demo", request_id=request_id())
    await api.admin.RotateWebhookSecret(rotate, metadata=api.as_admin)
    retire = pb.RetireWebhookKeyRequest(tenant="tenants/demo", key_id="k1", request_id=request_id())
    keys = [await api.admin.RetireWebhookKey(retire, metadata=api.as_admin) for _ in range(2)]
    assert keys[0] == keys[1]
    retire.key_id = "k2"
    async with refused() as refusals:
        await api.admin.RetireWebhookKey(retire, metadata=api.as_admin)
    assert (refusals[0].code, refusals[0].reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "REQUEST_ID_REUSED",
    )


async def test_a_request_id_must_be_a_uuid(api):
    for request, call in (
        (pb.DeleteTenantRequest(name="tenants/demo", request_id="1"), api.admin.DeleteTenant),
        (
            pb.CreateApiKeyRequest(api_key=pb.ApiKey(role=pb.ROLE_VIEWER), request_id="{}"),
            api.admin.CreateApiKey,
        ),
        (
            pb.RevokeApiKeyRequest(name=f"apiKeys/{request_id()}", request_id="x" * 36),
            api.admin.RevokeApiKey,
        ),
    ):
        async with refused() as refusals:
            await call(request, metadata=api.as_admin)
        assert refusals[0].reason == "REQUEST_ID_INVALID"
