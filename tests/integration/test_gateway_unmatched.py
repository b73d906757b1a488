"""Paths and methods that the gateway does not serve: logged, and read from Jenkins if the token is valid."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator

import pytest

from tests.integration.gateway_harness import JOB, Running, guide, running, serving
from webhook_gateway.logs import log

TAIL = "deployment/webhooks/jenkins"


@pytest.fixture
async def gateway() -> AsyncIterator[Running]:
    async with serving() as service, running(service) as gateway:
        yield gateway


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []

    def record(event: str, **fields: object) -> None:
        lines.append({"event": event, **fields})

    monkeypatch.setattr(log, "warning", record, raising=False)
    return lines


@pytest.mark.parametrize(
    "path",
    [
        f"/EN/demo/{TAIL}?token=TOKEN",
        f"/en_US/demo/{TAIL}?token=TOKEN",
        f"/demo/{TAIL}?token=TOKEN",
        f"/ci/hooks/en/demo/{TAIL}?token=TOKEN",
        f"//en/demo/{TAIL}?token=TOKEN",
        f"/en/demo/{TAIL}/?token=TOKEN",
        f"/en/demo/{TAIL}/TOKEN/",
        "/en/demo/deployments/webhook/jenkins?token=TOKEN",
        "/en/demo/TOKEN",
        f"/en/demo/{TAIL}/x/y?token=TOKEN&token=other",
    ],
)
async def test_a_valid_token_at_an_unknown_path_has_its_job_read(
    gateway: Running, path: str, warnings
):
    """P4: nothing is stored of it, and the end of the build is found out from Jenkins."""
    token = gateway.service.tenants["demo"].token()
    status, answer = await gateway.post(url=gateway.url + path.replace("TOKEN", token))
    assert (status, answer["reason"]) == (404, "NO_SUCH_PATH")
    await gateway.service.until(lambda: bool(gateway.service.refresh_requests))
    (request_refresh,) = gateway.service.refresh_requests
    assert (request_refresh.tenant, request_refresh.cicd_job_id) == ("tenants/demo", JOB)
    assert request_refresh.reason == "refused: NO_SUCH_PATH"
    assert gateway.service.reports == []
    (line,) = [line for line in warnings if str(line["event"]).endswith("NO_SUCH_PATH")]
    assert (line["tenant"], line["job"], line["refresh_requested"]) == ("demo", JOB, True)
    assert token.rpartition(".")[2][:10] not in str(line)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_valid_token_with_another_method_has_its_job_read(gateway: Running, method: str):
    """P4: a proxy or a script that rewrites the method."""
    async with gateway.client.request(method, gateway.hook(), json=guide()) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,POST".replace(",", ", "))
    await gateway.service.until(lambda: bool(gateway.service.refresh_requests))
    assert gateway.service.refresh_requests[0].reason == "refused: METHOD_NOT_ALLOWED"


async def test_the_password_of_the_url_is_a_token_too(gateway: Running):
    """P4: https://jenkins:TOKEN@host/ with a wrong path."""
    token = gateway.service.tenants["demo"].token()
    basic = base64.b64encode(f"jenkins:{token}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}"}
    assert (await gateway.post(url=f"{gateway.url}/demo/{TAIL}", headers=headers))[0] == 404
    await gateway.service.until(lambda: bool(gateway.service.refresh_requests))


@pytest.mark.parametrize(
    "kind", ["none", "damaged", "of another tenant", "of a tenant that is not"]
)
async def test_without_a_valid_token_nothing_is_read(gateway: Running, kind: str, warnings):
    """P7: the answer is the same, and the line says that no read was requested."""
    token = {
        "none": "",
        "damaged": gateway.service.tenants["demo"].token()[:-1] + "-",
        "of another tenant": gateway.service.tenants["other"].token(),
        "of a tenant that is not": type(gateway.service.tenants["demo"])().token(),
    }[kind]
    status, answer = await gateway.post(url=f"{gateway.url}/EN/demo/{TAIL}?token={token}")
    assert (status, answer["reason"]) == (404, "NO_SUCH_PATH")
    assert (await gateway.post())[
        0
    ] == 200  # a call that would have brought the refresh request along
    assert gateway.service.refresh_requests == []
    line = next(line for line in warnings if "NO_SUCH_PATH" in str(line["event"]))
    assert (line["path"], line["refresh_requested"]) == (f"/EN/demo/{TAIL}", False)


async def test_invalid_tokens_at_unknown_paths_count_as_failed_proofs():
    """P6: they make the service be asked no more often than wrong tokens at the right path."""
    async with serving() as service, running(service, failed_proofs="3/day") as gateway:
        assert (await gateway.post())[0] == 200
        begun = time.monotonic()
        lines = [f"/x{n}/y{n}/{TAIL}?token={service.tenants['demo'].token()}" for n in range(60)]
        for path in lines:
            assert (await gateway.post(url=gateway.url + path))[0] == 404
        assert len(service.reads) <= 3 + 10 * (1 + time.monotonic() - begun)
        status, answer = await gateway.post(url=gateway.hook("wrong"))
        assert (status, answer["reason"]) == (429, "TOO_MANY_FAILED_PROOFS")
        assert (await gateway.post())[0] == 200


async def test_a_scan_is_logged_at_a_bounded_rate(gateway: Running, warnings):
    """P6: a flood of nonsense does not fill a disk."""
    await asyncio.gather(*(gateway.post(url=f"{gateway.url}/wp-admin/{n}") for n in range(100)))
    logged = [line for line in warnings if "NO_SUCH_PATH" in str(line["event"])]
    assert 1 <= len(logged) <= 5 * 10
    assert len(logged) < 100


async def test_while_the_service_is_away_the_answer_is_the_same(service_away: Running):
    """P10: what cannot be checked is answered in time."""
    token = service_away.service.tenants["demo"].token()
    status, answer = await service_away.post(url=f"{service_away.url}/EN/demo/{TAIL}?token={token}")
    assert (status, answer["reason"]) == (404, "NO_SUCH_PATH")


@pytest.fixture
async def service_away() -> AsyncIterator[Running]:
    async with serving() as service, running(service, answer_timeout=0.3) as gateway:
        await service.stop()
        yield gateway
