"""A provider's API token is write-only and goes nowhere but where it was given for (P7)."""

import pytest
import pytest_asyncio

from deployment_service.runtime.secret_box import SecretBox
from deployment_service.v1 import admin_service_pb2 as pb
from tests.integration.test_api_admin import create_provider, create_tenant
from tests.support.api import SECRET_KEY, refused, running_api
from tests.support.certificates import self_signed


@pytest_asyncio.fixture
async def api(database_url):
    async with running_api(database_url) as running:
        yield running


@pytest.fixture(scope="module")
def ca_pem():
    return self_signed("ca.internal")[0]


MOVES = [
    {"base_url": "http://jenkins.internal/ci"},
    {"base_url": "https://elsewhere.internal/ci"},
    {"base_url": "https://jenkins.internal:8443/ci"},
    {"base_url": "https://jenkins.internal/other"},
    {"base_url": "https://jenkins.internal.evil/ci"},
    {"username": "somebody"},
    {"ca_certificate_pem": ""},
]


@pytest.mark.parametrize("changes", MOVES, ids=str)
@pytest.mark.parametrize("mask", [True, False])
async def test_a_stored_token_goes_nowhere_else(api, changes, mask, ca_pem):
    """P7: it is write-only, also for a caller who may change where it is sent."""
    await create_tenant(api)
    account = {"username": "deployer", "ca_certificate_pem": ca_pem}
    provider = await create_provider(api, api_token="s3cret-token", **account)
    request = pb.UpdateProviderRequest(provider=pb.Provider(name=provider.name, **changes))
    if mask or "" in changes.values():
        request.update_mask.paths.extend(changes)
    async with refused() as refusals:
        await api.admin.UpdateProvider(request, metadata=api.as_admin)
    assert refusals[0].reason == "CREDENTIAL_REQUIRED"
    assert await stored_provider(api) == (
        "https://jenkins.internal/ci/",
        "deployer",
        "s3cret-token",
    )
    request.provider.api_token = "another-token"
    if request.update_mask.paths:
        request.update_mask.paths.append("api_token")
    updated = (await api.admin.UpdateProvider(request, metadata=api.as_admin)).provider
    assert updated.api_token == ""
    assert (await stored_provider(api))[2] == "another-token"


async def test_what_doesnt_move_a_token_needs_none(api, ca_pem):
    await create_tenant(api)
    account = {"username": "deployer", "ca_certificate_pem": ca_pem}
    await create_provider(api, api_token="s3cret-token", **account)
    changes = {"base_url": "https://JENKINS.internal:443/ci/", "display_name": "x"}
    await update_provider(api, **changes)
    assert (await stored_provider(api))[2] == "s3cret-token"
    # Without an account it would only wait for the next one.
    await update_provider(api, ["username"])
    await update_provider(api, username="other")
    assert (await stored_provider(api))[1:] == ("other", None)
    await update_provider(api, base_url="https://elsewhere.internal/")


async def test_a_token_needs_an_account(api):
    await create_tenant(api)
    async with refused() as refusals:
        await create_provider(api, api_token="s3cret-token")
    assert refusals[0].metadata["field"] == "provider.username"


async def update_provider(api, mask=(), **fields):
    provider = pb.Provider(name="tenants/demo/providers/main", **fields)
    request = pb.UpdateProviderRequest(provider=provider)
    request.update_mask.paths.extend(mask)
    return (await api.admin.UpdateProvider(request, metadata=api.as_admin)).provider


async def stored_provider(api):
    async with api.database.acquire() as connection:
        url, user, token = await connection.fetchrow(
            "SELECT base_url, username, api_token_encrypted FROM cicd_providers"
        )
    return url, user, token and SecretBox([SECRET_KEY]).decrypt(token).decode()
