"""AdminService over real gRPC and a real database."""

import grpc
import pytest_asyncio

from deployment_service.domain.access import Role
from deployment_service.runtime.secret_box import SecretBox
from deployment_service.v1 import admin_service_pb2 as pb
from deployment_service.v1 import deployment_service_pb2 as dpb
from tests.support.api import SECRET_KEY, refused, request_id, running_api


@pytest_asyncio.fixture
async def api(database_url):
    async with running_api(database_url) as running:
        yield running


async def create_tenant(api, slug="demo", **fields):
    request = pb.CreateTenantRequest(
        tenant_id=slug, tenant=pb.Tenant(display_name=slug.title()), **fields
    )
    return (await api.admin.CreateTenant(request, metadata=api.as_admin)).tenant


async def create_provider(api, tenant="demo", slug="main", **fields):
    fields.setdefault("base_url", "https://jenkins.internal/ci")
    request = pb.CreateProviderRequest(
        parent=f"tenants/{tenant}", provider_id=slug, provider=pb.Provider(**fields)
    )
    return (await api.admin.CreateProvider(request, metadata=api.as_admin)).provider


async def test_a_tenant_is_created_with_a_webhook_key(api):
    tenant = await create_tenant(api)
    assert (tenant.name, tenant.display_name) == ("tenants/demo", "Demo")
    async with api.database.acquire() as connection:
        (key,) = await connection.fetch("SELECT * FROM webhook_keys")
    assert (str(key["tenant_id"]), key["key_id"]) == (tenant.uid, "k1")
    assert len(SecretBox([SECRET_KEY]).decrypt(key["secret_encrypted"])) == 32


async def test_a_repeated_creation_has_one_effect_and_another_body_is_refused(api):
    same = request_id()
    first = await create_tenant(api, request_id=same)
    again = await create_tenant(api, request_id=same)
    assert first == again
    async with refused() as refusals:
        await create_tenant(api, "other", request_id=same)
    assert refusals[0].reason == "REQUEST_ID_REUSED"
    async with refused() as refusals:
        await create_tenant(api)
    assert (refusals[0].code, refusals[0].reason) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "TENANT_EXISTS",
    )
    assert refusals[0].details["ResourceInfo"].resource_name == "tenants/demo"


async def test_an_update_with_an_old_etag_is_aborted(api):
    tenant = await create_tenant(api)
    tenant.display_name = "Renamed"
    updated = await api.admin.UpdateTenant(
        pb.UpdateTenantRequest(tenant=tenant), metadata=api.as_admin
    )
    assert updated.tenant.display_name == "Renamed"
    assert updated.tenant.etag != tenant.etag
    async with refused() as refusals:
        await api.admin.UpdateTenant(pb.UpdateTenantRequest(tenant=tenant), metadata=api.as_admin)
    assert (refusals[0].code, refusals[0].reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")


async def test_lists_are_paged_and_tokens_bound_to_their_list(api):
    for slug in ("a", "b", "c"):
        await create_tenant(api, slug)
    first = await api.admin.ListTenants(pb.ListTenantsRequest(page_size=2), metadata=api.as_admin)
    assert [tenant.name for tenant in first.tenants] == ["tenants/a", "tenants/b"]
    rest = await api.admin.ListTenants(
        pb.ListTenantsRequest(page_size=2, page_token=first.next_page_token), metadata=api.as_admin
    )
    assert [tenant.name for tenant in rest.tenants] == ["tenants/c"]
    assert rest.next_page_token == ""
    token = first.next_page_token
    for bad in (token[:-1], token + "A", token.swapcase(), "x", "=" * 40, "é" * 20):
        async with refused() as refusals:
            await api.admin.ListTenants(
                pb.ListTenantsRequest(page_token=bad), metadata=api.as_admin
            )
        assert refusals[0].reason == "PAGE_TOKEN_INVALID"
    async with refused() as refusals:
        await api.admin.ListProviders(
            pb.ListProvidersRequest(parent="tenants/a", page_token=token), metadata=api.as_admin
        )
    assert refusals[0].reason == "PAGE_TOKEN_INVALID"


async def test_a_providers_token_is_encrypted_and_in_no_answer(api):
    await create_tenant(api)
    provider = await create_provider(api, username="deployer", api_token="s3cret-token")
    assert provider.api_token == ""
    assert provider.base_url == "https://jenkins.internal/ci/"
    assert provider.reporting == pb.REPORTING_AUTO
    provider.display_name = "Build farm"
    updated = await api.admin.UpdateProvider(
        pb.UpdateProviderRequest(provider=provider), metadata=api.as_admin
    )
    assert updated.provider.display_name == "Build farm"
    async with api.database.acquire() as connection:
        stored = await connection.fetchval("SELECT api_token_encrypted FROM cicd_providers")
    assert b"s3cret" not in stored
    assert SecretBox([SECRET_KEY]).decrypt(stored) == b"s3cret-token"


async def test_a_providers_url_must_be_plain_http(api):
    await create_tenant(api)
    for bad in (
        "",
        "jenkins.internal",
        "ftp://jenkins.internal/",
        "https://user:password@jenkins.internal/",
        "https://jenkins.internal/?q=1",
        "https://jenkins.internal/#x",
        "https:///ci",
        "https://jenkins.internal:99999/",
        "https://jenkins internal/",
    ):
        async with refused() as refusals:
            await create_provider(api, base_url=bad)
        assert refusals[0].code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusals[0].metadata["field"] == "provider.base_url"


async def test_what_is_in_use_is_not_deleted(api):
    await create_tenant(api)
    await create_provider(api)
    async with refused() as refusals:
        await api.admin.DeleteTenant(
            pb.DeleteTenantRequest(name="tenants/demo"), metadata=api.as_admin
        )
    assert refusals[0].reason == "TENANT_NOT_EMPTY"
    violation = refusals[0].details["PreconditionFailure"].violations[0]
    assert (violation.type, violation.subject) == ("TENANT_NOT_EMPTY", "tenants/demo")
    await api.admin.DeleteProvider(
        pb.DeleteProviderRequest(name="tenants/demo/providers/main"), metadata=api.as_admin
    )
    await api.key(Role.VIEWER, "demo")
    await api.admin.DeleteTenant(pb.DeleteTenantRequest(name="tenants/demo"), metadata=api.as_admin)
    async with refused() as refusals:
        await api.admin.GetTenant(pb.GetTenantRequest(name="tenants/demo"), metadata=api.as_admin)
    assert refusals[0].reason == "TENANT_NOT_FOUND"


async def test_a_mask_that_names_what_cannot_change_is_refused(api):
    await create_tenant(api)
    provider = await create_provider(api, username="old")
    request = pb.UpdateProviderRequest(
        provider=pb.Provider(name=provider.name, username="new", base_url="http://other/")
    )
    request.update_mask.paths.append("username")
    updated = (await api.admin.UpdateProvider(request, metadata=api.as_admin)).provider
    assert (updated.username, updated.base_url) == ("new", provider.base_url)
    request.update_mask.paths.append("uid")
    async with refused() as refusals:
        await api.admin.UpdateProvider(request, metadata=api.as_admin)
    assert refusals[0].reason == "FIELD_NOT_CHANGEABLE"


async def test_an_update_of_one_field_widens_no_permissions(api):
    """P6: what a provider may do stays as it is unless it is named, or all is replaced."""
    await create_tenant(api)
    provider = await create_provider(
        api, job_folder="shop", allowed_folders=["shop"], allowed_job_kinds=[pb.JOB_KIND_EXISTING]
    )
    request = pb.UpdateProviderRequest(provider=pb.Provider(name=provider.name, username="new"))
    updated = (await api.admin.UpdateProvider(request, metadata=api.as_admin)).provider
    assert (updated.username, updated.base_url) == ("new", provider.base_url)
    assert (updated.allowed_folders, updated.allowed_job_kinds) == (
        provider.allowed_folders,
        provider.allowed_job_kinds,
    )
    request.provider.base_url = provider.base_url
    request.update_mask.paths.append("*")
    replaced = (await api.admin.UpdateProvider(request, metadata=api.as_admin)).provider
    assert (replaced.username, replaced.job_folder, replaced.allowed_folders) == ("new", "", [])


async def test_a_revoked_key_is_refused_and_its_streams_end(api):
    await create_tenant(api)
    created = await api.admin.CreateApiKey(
        pb.CreateApiKeyRequest(
            api_key=pb.ApiKey(role=pb.ROLE_VIEWER, tenant="tenants/demo", display_name="page")
        ),
        metadata=api.as_admin,
    )
    assert created.secret.startswith("dsk_")
    metadata = (("authorization", f"Bearer {created.secret}"),)
    listing = dpb.ListDeploymentsRequest(parent="tenants/demo")
    await api.deployments.ListDeployments(listing, metadata=metadata)
    stream = api.deployments.WatchDeployments(
        dpb.WatchDeploymentsRequest(parent="tenants/demo"), metadata=metadata
    )
    first = await stream.read()
    assert first.WhichOneof("response") == "start"
    keys = await api.admin.ListApiKeys(
        pb.ListApiKeysRequest(tenant="tenants/demo"), metadata=api.as_admin
    )
    assert list(keys.api_keys) == [created.api_key]
    for _ in range(2):
        revoked = await api.admin.RevokeApiKey(
            pb.RevokeApiKeyRequest(name=created.api_key.name), metadata=api.as_admin
        )
        assert revoked.api_key.HasField("revoke_time")
    async with refused() as refusals:
        await api.deployments.ListDeployments(listing, metadata=metadata)
    assert refusals[0].reason == "API_KEY_INVALID"
    async with refused() as refusals:
        while await stream.read() is not grpc.aio.EOF:
            pass
    assert (refusals[0].code, refusals[0].reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "API_KEY_INVALID",
    )
