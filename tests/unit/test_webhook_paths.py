"""The path of webhook URLs: what the service writes, the gateway serves."""

import uuid

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.actions.webhook_keys import WebhookKey, job_webhook
from deployment_service.config import SettingsError, load_settings
from deployment_service.webhook_auth import paths, tokens
from tests.support.api import SECRET_KEY
from webhook_gateway import unmatched
from webhook_gateway.app import PATH

TENANT_ID = "[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"  # the service's rule for ids
TOKEN = tokens.mint(str(uuid.UUID(int=1)), str(uuid.UUID(int=2)), "k1", b"1" * 32)


def routed(path: str) -> dict[str, str] | None:
    router = web.UrlDispatcher()

    async def handle(_: web.Request) -> web.Response:
        raise AssertionError

    router.add_post(PATH, handle)
    match = next(iter(router.resources()))._match(path)  # type: ignore[attr-defined]
    return match if match is None else dict(match)


@given(
    locale=st.from_regex(paths.LOCALE, fullmatch=True),
    tenant=st.from_regex(TENANT_ID, fullmatch=True),
)
def test_each_url_that_the_service_writes_has_a_route(locale, tenant):
    made = job_webhook(
        "https://gateway.example",
        locale=locale,
        tenant=tenant,
        tenant_id=uuid.UUID(int=1),
        job_id=uuid.UUID(int=2),
        key=WebhookKey("k1", b"1" * 32),
    )
    path = made.url.removeprefix("https://gateway.example").partition("?")[0]
    assert routed(path) == {"locale": locale, "tenant": tenant}


@pytest.mark.parametrize(
    "locale", ["EN", "eng", "en_US", "en-USA", "en-", "../x", "e/n", "", "de-1996"]
)
def test_a_locale_that_the_gateway_does_not_serve_is_refused_at_the_services_start(
    monkeypatch, locale
):
    monkeypatch.setenv("DEPLOYMENT_SERVICE_DATABASE_URL", "postgresql://u:p@h/d")
    monkeypatch.setenv("DEPLOYMENT_SERVICE_SECRET_KEYS", SECRET_KEY)
    monkeypatch.setenv("DEPLOYMENT_SERVICE_WEBHOOK_LOCALE", locale)
    with pytest.raises(SettingsError, match="WEBHOOK_LOCALE: must be a language in lower case"):
        load_settings()
    assert routed(f"/{locale}/demo/deployment/webhooks/jenkins") is None


def test_no_url_is_written_that_has_no_route():
    for locale, tenant in (("EN", "demo"), ("en", "a/b"), ("en", "")):
        with pytest.raises(ValueError):
            paths.webhook_path(locale, tenant)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (
            "/EN/demo/deployment/webhooks/jenkins?token=s3cret",
            "/EN/demo/deployment/webhooks/jenkins",
        ),
        (
            f"/ci/en/demo/deployment/webhooks/jenkins/{TOKEN}",
            "/ci/en/demo/deployment/webhooks/jenkins/…",
        ),
        (f"/x/{TOKEN}", "…"),
        (f"/x/{TOKEN.replace('.', '%2E')}", "…"),
        (f"/x/{TOKEN[-43:]}", "/x/…"),
        ("/whsec_aGVsbG8/d29ybGQ=", "…"),
        ("/a%0d%0aevent=forged/b", "/a…/b".replace("a…", "…")),
        ("/caf%C3%A9/%E2%80%AE", "/…/…"),
        ("/" + "a/" * 40, "/" + "a/" * 11 + "…"),
        ("/" + "a" * 3000, "/…"),
    ],
)
def test_paths_in_the_log_hold_no_secret_and_no_line(path, shown):
    assert unmatched.shown_path(make_mocked_request("POST", path)) == shown


@pytest.mark.parametrize(
    ("path", "tenants"),
    [
        ("/EN/demo/deployment/webhooks/jenkins", ["demo", "EN"]),
        ("/demo/deployment/webhooks/jenkins", ["demo"]),
        ("/hooks/de/demo/deployment/webhooks/jenkins/", ["demo", "hooks", "de"]),
        ("//en//demo//deployment//webhooks//jenkins", ["demo", "en"]),
        ("/en/demo/webhooks/jenkins", ["demo", "en"]),
        ("/en/de/deployment/webhook", ["de", "webhook", "en"]),
        ("/a/b/c/d/e/f", ["a", "b", "c"]),
        ("http://gateway.example/EN/demo/deployment/webhooks/jenkins", ["demo", "EN"]),
        ("/", []),
        ("/%2e%2e/%00", []),
    ],
)
def test_the_tenants_that_a_path_may_mean(path, tenants):
    assert unmatched.tenants(make_mocked_request("POST", path)) == tenants
