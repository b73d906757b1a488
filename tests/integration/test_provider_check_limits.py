"""Checks of providers beside each other: updates that overtake, tenants that share a service."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp.web as web
import pytest

from deployment_service.actions.check_provider import _AT_ONCE_PER_TENANT
from deployment_service.runtime.secret_box import SecretBox, generate_key
from deployment_service.v1 import admin_service_pb2 as pb
from tests.integration.provider_check_harness import (
    DEPLOYER,
    api,
    check,
    create,
    jenkins,
    one_of_kind,
    proxy,
    severity,
)
from tests.support.api import Api, refused
from tests.support.front_proxy import FrontProxy, Passing
from tests.support.waiting import until

__all__ = ["api", "jenkins", "proxy"]  # the fixtures

MAIN = "tenants/demo/providers/main"


class Gate:
    """Holds up requests of a proxy until it is opened."""

    def __init__(self, proxy: FrontProxy, part: str, count: int = 10**9) -> None:
        self.waiting = 0
        self.opened = asyncio.Event()
        self._part, self._count = part, count
        proxy.before.append(self._rule)

    async def _rule(self, passing: Passing) -> web.Response | None:
        if self._part in passing.path and self._count > 0:
            self._count -= 1
            self.waiting += 1
            await self.opened.wait()
        return None


async def update(api: Api, *paths: str, **fields: Any) -> pb.UpdateProviderResponse:
    request = pb.UpdateProviderRequest(provider=pb.Provider(name=MAIN, **fields))
    request.update_mask.paths.extend(paths)
    answer: pb.UpdateProviderResponse = await api.admin.UpdateProvider(
        request, metadata=api.as_admin
    )
    return answer


async def test_an_update_that_was_overtaken_is_checked_again(api, jenkins, proxy):
    await create(api, proxy.url)
    gate = Gate(proxy, "whoAmI", count=1)
    slow = asyncio.create_task(update(api, "job_folder", job_folder="shop"))
    await until(lambda: gate.waiting == 1)
    await update(api, "display_name", display_name="Farm")
    before = proxy.count("GET", "whoAmI")
    gate.opened.set()
    changed = (await slow).provider
    assert (changed.job_folder, changed.display_name) == ("shop", "Farm")
    assert proxy.count("GET", "whoAmI") == before + 1


async def test_what_was_right_before_another_update_may_be_wrong_after_it(api, jenkins, proxy):
    """The folder is one in the Jenkins of before, a job in that of after."""
    await create(api, proxy.url, allowed_folders=["shop"])
    gate = Gate(proxy, "whoAmI", count=1)
    slow = asyncio.create_task(update(api, "job_folder", job_folder="shop"))
    await until(lambda: gate.waiting == 1)

    async def now_a_job(passing: Passing) -> web.Response | None:
        if passing.path.startswith("/job/shop/api/json"):
            return web.json_response(
                {"_class": "hudson.model.FreeStyleProject"}, headers={"X-Jenkins": "2.440"}
            )
        return None

    await update(api, "display_name", display_name="Farm")
    proxy.before.append(now_a_job)
    gate.opened.set()
    async with refused() as refusals:
        await slow
    assert refusals[0].reason == "PROVIDER_SETTINGS_WRONG"


async def test_an_update_of_a_provider_that_goes_meanwhile(api, jenkins, proxy):
    await create(api, proxy.url)
    gate = Gate(proxy, "whoAmI", count=1)
    slow = asyncio.create_task(update(api, "job_folder", job_folder="shop"))
    await until(lambda: gate.waiting == 1)
    await api.admin.DeleteProvider(pb.DeleteProviderRequest(name=MAIN), metadata=api.as_admin)
    gate.opened.set()
    async with refused() as refusals:
        await slow
    assert refusals[0].reason == "PROVIDER_NOT_FOUND"


async def test_two_creates_of_one_name_make_one(api, jenkins, proxy):
    gate = Gate(proxy, "whoAmI")
    both = [asyncio.create_task(create(api, proxy.url)) for _ in range(2)]
    await until(lambda: gate.waiting == 2)
    gate.opened.set()
    done = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(isinstance(one, Exception) for one in done) == [False, True]


async def test_a_tenants_checks_hold_up_no_other_tenant(api, jenkins, proxy):
    """P6: of one tenant a few run at once; another's Jenkins is asked meanwhile."""
    await api.admin.CreateTenant(pb.CreateTenantRequest(tenant_id="other"), metadata=api.as_admin)
    gate = Gate(proxy, "api/json")
    many = [asyncio.create_task(check(api, proxy.url)) for _ in range(_AT_ONCE_PER_TENANT + 2)]
    await until(lambda: gate.waiting == _AT_ONCE_PER_TENANT)
    request = pb.CheckProviderRequest(
        name="tenants/other/providers/main",
        provider=pb.Provider(base_url=jenkins.url, username="admin", api_token="x"),
    )
    answer = await api.admin.CheckProvider(request, metadata=api.as_admin)
    assert one_of_kind(answer, "ACCOUNT")
    assert gate.waiting == _AT_ONCE_PER_TENANT
    gate.opened.set()
    assert [one.account for one in await asyncio.gather(*many)] == [DEPLOYER] * len(many)


async def test_a_check_that_gets_no_turn_says_so(api, jenkins, proxy):
    gate = Gate(proxy, "api/json")
    held = [asyncio.create_task(check(api, proxy.url)) for _ in range(_AT_ONCE_PER_TENANT)]
    await until(lambda: gate.waiting == _AT_ONCE_PER_TENANT)
    request = pb.CheckProviderRequest(name=MAIN, provider=pb.Provider(base_url=jenkins.url))
    answer = await api.admin.CheckProvider(request, metadata=api.as_admin, timeout=1)
    assert "too many providers are being checked" in one_of_kind(answer, "INCOMPLETE").message
    gate.opened.set()
    await asyncio.gather(*held)


@pytest.mark.parametrize("how", ["check", "update"])
async def test_a_stored_token_that_no_key_decrypts(api, jenkins, how):
    await create(api, jenkins.url)
    foreign = SecretBox([generate_key()]).encrypt(b"token")
    async with api.database.acquire() as db:
        await db.execute("UPDATE cicd_providers SET api_token_encrypted = $1", foreign)
    if how == "check":
        answer: Any = await api.admin.CheckProvider(
            pb.CheckProviderRequest(name=MAIN), metadata=api.as_admin
        )
    else:
        answer = await update(api, "job_folder", job_folder="shop")
    found = one_of_kind(answer, "ACCOUNT")
    assert severity(found) == "ERROR"
    assert "Give api_token anew" in found.message
