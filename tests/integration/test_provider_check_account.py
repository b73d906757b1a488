"""CheckProvider: account, network, certificates, clocks; and what an update may still change."""

from __future__ import annotations

import ssl
import time
from email.utils import formatdate
from typing import Any

import pytest

from deployment_service.domain.access import Role
from deployment_service.v1 import admin_service_pb2 as pb
from jenkins_simulator import (
    DEFAULT_API_TOKEN,
    DEFAULT_PASSWORD,
    RequestFault,
    SimulatedUser,
)
from tests.integration.cicd_harness import answering, silence, wire
from tests.integration.provider_check_harness import (
    DEPLOYER,
    api,
    check,
    checking_api,
    create,
    jenkins,
    kind,
    not_proven,
    of_kind,
    one_of_kind,
    proven_wrong,
    proxy,
    severity,
    stored,
    texts,
)
from tests.support.api import NOBODY, Api, refused, request_id
from tests.support.certificates import self_signed
from tests.support.front_proxy import FrontProxy, Passing

__all__ = ["api", "jenkins", "proxy"]  # the fixtures


HUDSON = b'{"_class":"hudson.model.Hudson","useSecurity":true,"name":"anonymous","anonymous":true}'
ROOT = b"HTTP/1.1 200 OK\r\nX-Jenkins: 2.440\r\nContent-Length: %d\r\n\r\n%s" % (
    len(HUDSON),
    HUDSON,
)
"""What is answered to whatever is asked."""


class TestTheAccount:
    @pytest.mark.parametrize(
        ("username", "token"),
        [(DEPLOYER, "wrong"), ("nobody", "x"), (DEPLOYER, "11" + "0" * 32), ("deployer ", "x")],
    )
    async def test_refused(self, api, jenkins, username, token):
        found = await proven_wrong(api, jenkins.url, "ACCOUNT", username=username, api_token=token)
        assert f"the account {username!r}" in found.message
        assert "API token" in found.message
        assert found.field == "api_token"

    async def test_a_name_without_a_token_is_refused_by_jenkins(self, api, jenkins):
        found = await proven_wrong(api, jenkins.url, "ACCOUNT", api_token="")
        assert "Create an API token" in found.message

    async def test_no_account_sends_no_authorization(self, api):
        async with wire(answering(ROOT)) as server:
            await check(api, server.url, username="", api_token="")
            assert server.heads
            assert not any(b"Authorization" in head for head in server.heads)

    async def test_a_password_needs_crumbs_and_works(self, api, jenkins):
        answer = await create(api, jenkins.url, api_token=DEFAULT_PASSWORD)
        assert texts(answer, "ERROR", "WARNING") == []
        assert [text for text in texts(answer, "INFO") if "could not be determined" in text] == []

    async def test_anonymous_without_rights(self, api, jenkins):
        found = await not_proven(api, jenkins.url, "PERMISSION", username="", api_token="")
        assert "'anonymous' lacks the permission Overall/Read" in found.message
        assert severity(found) == "ERROR"

    async def test_anonymous_with_rights(self, api, jenkins):
        controller = jenkins.controller
        controller.anonymous_permissions = controller.users[DEPLOYER].permissions
        answer = await create(api, jenkins.url, username="", api_token="")
        assert texts(answer, "ERROR") == []
        account = one_of_kind(answer, "ACCOUNT")
        assert "no account" in account.message
        assert severity(account) == "WARNING"
        granted = " ".join(texts(answer, "INFO"))
        assert "Job/Create" in granted
        assert "Job/Build" in granted


class TestTheNetwork:
    async def test_unreachable_is_a_warning(self, api):
        found = await not_proven(api, NOBODY, "UNREACHABLE")
        assert severity(found) == "WARNING"
        assert "connection refused" in found.message

    @pytest.mark.parametrize("url", ["http://no.such.host.invalid/", "http://127.0.0.1:9/"])
    async def test_a_tenant_is_not_told_what_the_network_is_like(self, api, url):
        await create(api, NOBODY, slug="allows")
        admin = await api.key(Role.ADMIN, "demo")
        answer = await check(api, url, metadata=admin)
        found = one_of_kind(answer, "UNREACHABLE")
        assert found.message.replace(url, "URL") == (
            "URL can't be reached (no such host, no answer, or an address that no operator has allowed; operators see "
            "which in the log of the service). Its Jenkins could not be checked, and no job can be created or run "
            "until it answers. Start it, or correct base_url, then check the provider again."
        )

    async def test_a_private_address_needs_to_be_allowed(self, api, jenkins):
        admin = await api.key(Role.ADMIN, "demo")
        async with refused() as refusals:
            await check(api, jenkins.url, metadata=admin)
        assert refusals[0].reason == "ORIGIN_NOT_ALLOWED"
        # A check by an operator allows nothing.
        await check(api, jenkins.url)
        async with refused() as refusals:
            await check(api, jenkins.url, metadata=admin)
        assert refusals[0].reason == "ORIGIN_NOT_ALLOWED"
        await create(api, jenkins.url)
        assert (await check(api, jenkins.url, metadata=admin)).account == DEPLOYER

    async def test_a_refused_create_allows_no_origin(self, api, jenkins):
        admin = await api.key(Role.ADMIN, "demo")
        async with refused() as refusals:
            await create(api, f"{jenkins.url}/job/shop")
        assert refusals[0].reason == "PROVIDER_SETTINGS_WRONG"
        async with refused() as refusals:
            await check(api, jenkins.url, metadata=admin)
        assert refusals[0].reason == "ORIGIN_NOT_ALLOWED"

    async def test_a_jenkins_that_hangs_is_given_up(self, database_url):
        async with (
            checking_api(database_url, request_timeout_s=0.3) as api,
            wire(silence) as server,
        ):
            found = await not_proven(api, server.url, "UNREACHABLE")
            assert "no answer in time" in found.message

    async def test_a_call_with_less_time_gets_what_was_found(self, api, jenkins):
        jenkins.faults.add(RequestFault(path="createItem", delay_before_s=30.0))
        request = pb.CheckProviderRequest(
            name="tenants/demo/providers/main",
            provider=pb.Provider(
                base_url=jenkins.url, username="admin", api_token=DEFAULT_API_TOKEN
            ),
        )
        answer = await api.admin.CheckProvider(request, metadata=api.as_admin, timeout=3)
        assert answer.account == "admin"
        incomplete = one_of_kind(answer, "INCOMPLETE")
        assert severity(incomplete) == "WARNING"


class TestCertificates:
    @pytest.fixture
    def certificate(self, tmp_path) -> tuple[ssl.SSLContext, str]:
        pem, key = self_signed("localhost")
        (tmp_path / "both.pem").write_text(key + pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "both.pem")
        return context, pem

    async def test_an_untrusted_one_names_the_setting(self, api, certificate):
        context, _ = certificate
        async with wire(silence, context) as server:
            url = f"https://localhost:{server.port}"
            found = await proven_wrong(api, url, "CERTIFICATE")
            assert "ca_certificate_pem" in found.message
            assert found.field == "ca_certificate_pem"
            assert server.heads == []

    async def test_another_ca(self, api, certificate):
        context, _ = certificate
        other, _ = self_signed("localhost")
        async with wire(silence, context) as server:
            url = f"https://localhost:{server.port}"
            await proven_wrong(api, url, "CERTIFICATE", ca_certificate_pem=other)

    async def test_another_name(self, api, certificate):
        context, pem = certificate
        async with wire(silence, context) as server:
            url = f"https://127.0.0.1:{server.port}"
            found = await proven_wrong(api, url, "CERTIFICATE", ca_certificate_pem=pem)
            assert "for another host" in found.message

    async def test_the_right_one(self, api, certificate):
        context, pem = certificate
        async with wire(answering(ROOT), context) as server:
            url = f"https://localhost:{server.port}"
            answer = await check(api, url, ca_certificate_pem=pem)
            assert not of_kind(answer, "CERTIFICATE")
            assert answer.jenkins_version == "2.440"


class TestTheClock:
    @pytest.mark.parametrize(
        ("offset_s", "said"),
        [
            (300, "5 min ahead of"),
            (-300, "5 min behind"),
            (-7 * 3600, "420 min behind"),
            (90, "ahead of"),
        ],
    )
    async def test_a_difference_is_told(self, api, proxy, offset_s, said):
        shift(proxy, offset_s)
        found = await not_proven(api, proxy.url, "CLOCK")
        assert severity(found) == "WARNING"
        assert said in found.message

    @pytest.mark.parametrize("offset_s", [0, 20, -20, None])
    async def test_a_small_one_is_not(self, api, proxy, offset_s):
        shift(proxy, offset_s)
        assert of_kind(await check(api, proxy.url), "CLOCK") == []


def shift(proxy: FrontProxy, offset_s: float | None) -> None:
    def change(passing: Passing) -> None:
        passing.headers = {k: v for k, v in passing.headers.items() if k.lower() != "date"}
        text = "no date" if offset_s is None else formatdate(time.time() + offset_s, usegmt=True)
        passing.headers["Date"] = text

    proxy.rewrite_answer.append(change)


class TestUpdates:
    async def change(self, api: Api, paths: list[str], **fields: Any) -> pb.UpdateProviderResponse:
        request = pb.UpdateProviderRequest(
            provider=pb.Provider(name="tenants/demo/providers/main", **fields)
        )
        request.update_mask.paths.extend(paths)
        answer: pb.UpdateProviderResponse = await api.admin.UpdateProvider(
            request, metadata=api.as_admin
        )
        return answer

    async def test_what_it_proves_wrong_is_refused(self, api, jenkins):
        await create(api, jenkins.url)
        for fields in (
            {"base_url": f"{jenkins.url}/job/shop", "api_token": DEFAULT_API_TOKEN},
            {"api_token": "wrong"},
            {"username": "other", "api_token": DEFAULT_API_TOKEN},
            {"job_folder": "app"},
            {"allowed_folders": ["shop", "shop/web"]},
        ):
            async with refused() as refusals:
                await self.change(api, list(fields), **fields)
            assert refusals[0].reason == "PROVIDER_SETTINGS_WRONG"
        assert await stored(api) == [jenkins.url + "/"]

    async def test_what_was_wrong_before_does_not_hinder_other_changes(self, api, jenkins):
        await create(api, jenkins.url)
        jenkins.set_user(DEPLOYER, SimulatedUser(api_token="new"))
        answer = await self.change(api, ["display_name"], display_name="Farm")
        assert answer.provider.display_name == "Farm"
        assert one_of_kind(answer, "ACCOUNT").settings_wrong

    async def test_a_repeated_call_checks_nothing(self, api, jenkins):
        request = pb.CreateProviderRequest(
            parent="tenants/demo",
            provider_id="main",
            provider=pb.Provider(
                base_url=jenkins.url, username=DEPLOYER, api_token=DEFAULT_API_TOKEN
            ),
            request_id=request_id(),
        )
        first = await api.admin.CreateProvider(request, metadata=api.as_admin)
        jenkins.set_user(DEPLOYER, SimulatedUser(api_token="new"))
        again = await api.admin.CreateProvider(request, metadata=api.as_admin)
        assert again.provider == first.provider
        assert first.findings
        assert not again.findings


async def test_findings_come_errors_first_and_each_says_what_to_do(api, jenkins):
    jenkins.set_permissions(DEPLOYER, frozenset())
    answer = await check(api, jenkins.url, webhook_base_url="http://hooks.internal")
    order = [severity(one) for one in answer.findings]
    assert order == sorted(order, key=["ERROR", "WARNING", "INFO"].index)
    assert all(kind(one) != "UNSPECIFIED" for one in answer.findings)
