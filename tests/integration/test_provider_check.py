"""CheckProvider: is it Jenkins' root? Wrong addresses are told, and refused when they are to be stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp.web as web
import pytest

from deployment_service.v1 import admin_service_pb2 as pb
from jenkins_simulator import (
    JenkinsSimulator,
    Permission,
)
from tests.integration.provider_check_harness import (
    DEPLOYER,
    api,
    check,
    contents,
    create,
    jenkins,
    not_proven,
    one_of_kind,
    proven_wrong,
    proxy,
    stored,
    texts,
)
from tests.support import front_proxy as support
from tests.support.api import refused
from tests.support.front_proxy import FrontProxy, Passing, front_proxy

__all__ = ["api", "jenkins", "proxy"]  # the fixtures


class TestRightSettings:
    async def test_all_is_told_and_nothing_is_changed(self, api, jenkins):
        before = contents(jenkins)
        answer = await check(api, jenkins.url, job_folder="shop", allowed_folders=["shop"])
        assert contents(jenkins) == before
        answer = await check(api, jenkins.url)
        assert contents(jenkins) == before
        assert (answer.jenkins_version, answer.account) == ("2.440", DEPLOYER)
        assert texts(answer, "ERROR", "WARNING") == []
        granted = f"The account {DEPLOYER!r} has Job/Read, Job/Create, Job/Build, Job/Configure."
        assert granted in texts(answer, "INFO")
        assert "can be kept as secret texts" in one_of_kind(answer, "SECRETS").message
        assert [text for text in texts(answer, "INFO") if "could not be determined" in text] == []
        assert await stored(api) == []

    @pytest.mark.parametrize("ending", ["", "/", "//"])
    async def test_slashes_at_the_end_do_not_matter(self, api, jenkins, ending):
        answer = await create(api, jenkins.url + ending)
        assert answer.provider.base_url == jenkins.url + "/"
        assert texts(answer, "ERROR", "WARNING") == []

    async def test_a_stored_provider_is_checked_with_its_token(self, api, jenkins):
        made = await create(api, jenkins.url)
        request = pb.CheckProviderRequest(name=made.provider.name)
        answer = await api.admin.CheckProvider(request, metadata=api.as_admin)
        assert answer.account == DEPLOYER
        assert list(answer.findings) == list(made.findings)

    async def test_one_that_is_not_stored_has_no_settings(self, api):
        async with refused() as refusals:
            request = pb.CheckProviderRequest(name="tenants/demo/providers/main")
            await api.admin.CheckProvider(request, metadata=api.as_admin)
        assert refusals[0].reason == "PROVIDER_NOT_FOUND"

    async def test_a_stored_token_is_sent_nowhere_else(self, api, jenkins, proxy):
        await create(api, jenkins.url)
        async with refused() as refusals:
            await check(api, proxy.url, api_token="")
        assert refusals[0].reason == "CREDENTIAL_REQUIRED"
        assert proxy.requests == []
        answer = await check(api, jenkins.url, api_token="", job_folder="shop")
        assert answer.account == DEPLOYER


class TestNotTheRoot:
    @pytest.mark.parametrize(
        ("path", "what"),
        [
            ("job/shop", "folder"),
            ("job/app/", "job"),
            ("job/shop/job/web", "job"),
            ("view/all", "view"),
            ("job/shop/view/all/", "view"),
            ("computer", "page"),
            ("queue", "page"),
            ("user/admin", "page"),
        ],
    )
    async def test_an_object_inside(self, api, jenkins, path, what):
        found = await proven_wrong(api, f"{jenkins.url}/{path}", "NOT_ROOT")
        assert f"is a {what} inside a Jenkins" in found.message
        assert f"Set base_url to {jenkins.url}/" in found.message
        assert found.field == "base_url"

    @pytest.mark.parametrize("path", ["jenkins", "job/gone", "login/x", "job/app/1"])
    async def test_a_page_that_jenkins_does_not_have(self, api, jenkins, path):
        found = await proven_wrong(api, f"{jenkins.url}/{path}/", "NOT_ROOT")
        assert "that is not its root" in found.message

    async def test_a_folder_that_the_account_may_not_read(self, api, jenkins):
        jenkins.set_permissions(DEPLOYER, frozenset({Permission.OVERALL_READ}))
        await proven_wrong(api, f"{jenkins.url}/job/shop", "NOT_ROOT")


def under(proxy: FrontProxy, prefix: str) -> str:
    """Serve Jenkins below a path only, as a reverse proxy does; elsewhere the proxy has its own 404 page."""

    async def elsewhere(passing: Passing) -> Any:
        if passing.path.startswith(prefix):
            return None
        return web.Response(status=404, text="<html>no such site</html>")

    def strip(passing: Passing) -> None:
        passing.path = "/" + passing.path.removeprefix(prefix).lstrip("/")

    proxy.before.append(elsewhere)
    proxy.rewrite_request.append(strip)
    return proxy.url.rstrip("/") + prefix


class TestBehindAProxy:
    @pytest.mark.parametrize("prefix", ["/ci", "/build/farm", "/job"])
    async def test_the_right_prefix(self, api, proxy, jenkins, prefix):
        answer = await create(api, under(proxy, prefix))
        assert texts(answer, "ERROR", "WARNING") == []
        own = one_of_kind(answer, "JENKINS_URL")
        assert f"Jenkins calls itself {jenkins.url}/" in own.message

    @pytest.mark.parametrize("wrong", ["", "/", "/jenkins", "/c", "/CI"])
    async def test_the_wrong_prefix(self, api, proxy, wrong):
        under(proxy, "/ci")
        found = await proven_wrong(api, proxy.url.rstrip("/") + wrong, "NOT_JENKINS")
        assert "with its path prefix" in found.message

    @pytest.mark.parametrize(
        "page", ["<form action='/sso'>Log in</form>", "{}", "[]", "null", '{"error": 1}', "x"]
    )
    async def test_a_page_instead_of_data(self, api, proxy, page):
        proxy.answer("GET", "/", 200, page)
        found = await proven_wrong(api, proxy.url, "NOT_JENKINS")
        assert "single sign-on" in found.message

    @pytest.mark.parametrize("location", ["/sso/login?from=%2Fapi%2Fjson", "https://sso.example/"])
    async def test_a_redirect_to_a_login(self, api, proxy, location):
        proxy.answer("GET", "/", 302, headers={"Location": location})
        found = await proven_wrong(api, proxy.url, "REDIRECT")
        assert "single sign-on" in found.message
        assert "sso.example" not in found.message

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    async def test_http_that_redirects_to_https(self, api, proxy, status):
        https = proxy.url.replace("http:", "https:")
        location = f"{https}api/json?tree=url"
        proxy.answer("GET", "/", status, headers={"Location": location})
        found = await proven_wrong(api, proxy.url, "REDIRECT")
        assert f"Set base_url to {https}." in found.message

    async def test_a_redirect_to_the_prefix(self, api, proxy):
        proxy.answer("GET", "/api/json", 302, headers={"Location": "/ci/api/json"})
        found = await proven_wrong(api, proxy.url, "REDIRECT")
        assert f"Set base_url to {proxy.url}ci/." in found.message

    async def test_a_proxy_with_a_login_of_its_own(self, api, proxy):
        challenge = {"WWW-Authenticate": 'Basic realm="gate"', "Server": "nginx"}
        proxy.answer("GET", "/", 401, headers=challenge)
        found = await proven_wrong(api, proxy.url, "NOT_JENKINS")
        assert "its login is not Jenkins'" in found.message

    async def test_a_port_that_expects_https(self, api, proxy):
        proxy.answer("GET", "/", 400, "<html>The plain HTTP request was sent to HTTPS port</html>")
        found = await proven_wrong(api, proxy.url, "NOT_JENKINS")
        assert "Perhaps it expects https" in found.message

    @pytest.mark.parametrize("status", [403, 429, 500, 502, 503, 504])
    async def test_an_answer_of_the_moment_proves_nothing(self, api, proxy, status):
        proxy.answer("GET", "/", status, "<html>later</html>")
        found = await not_proven(api, proxy.url, "UNAVAILABLE")
        assert f"HTTP {status}" in found.message

    async def test_a_proxy_that_takes_the_account_away(self, api, jenkins):
        config = jenkins.controller
        config.anonymous_permissions = config.users[DEPLOYER].permissions
        async with stripping(jenkins, "authorization") as url:
            found = one_of_kind(await check(api, url), "ACCOUNT")
        assert "removes the Authorization header" in found.message

    async def test_a_proxy_that_takes_jenkins_header_away(self, api, proxy):
        def strip(passing: Passing) -> None:
            passing.headers = {k: v for k, v in passing.headers.items() if k != "X-Jenkins"}

        proxy.rewrite_answer.append(strip)
        answer = await create(api, proxy.url)
        assert "without saying its version" in one_of_kind(answer, "JENKINS").message
        assert texts(answer, "ERROR") == []


@asynccontextmanager
async def stripping(jenkins: JenkinsSimulator, header: str) -> AsyncIterator[str]:
    """A proxy that hides a request header from Jenkins."""
    hidden = support._HOP_BY_HOP
    support._HOP_BY_HOP = hidden | {header}
    try:
        async with front_proxy(jenkins.url) as proxy:
            yield proxy.url
    finally:
        support._HOP_BY_HOP = hidden
