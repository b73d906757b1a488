"""ListWebhookVerifiers over real gRPC: what a gateway's key gives, and to whom (P6, P7)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
import pytest_asyncio

from deployment_service.domain.access import Role
from deployment_service.runtime.secret_box import SecretBox
from deployment_service.storage import webhook_verifiers as store
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1 import gateway_service_pb2 as gateway
from deployment_service.webhook_auth import signatures, tokens
from tests.integration.test_api_admission import two_tenants
from tests.support.api import SECRET_KEY, Api, request_id, seed_deployment

WEB = "tenants/demo/deployments/web"


@pytest_asyncio.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with two_tenants(database_url) as running:
        await sql(running, "UPDATE cicd_providers SET webhook_base_url = 'http://gateway'")
        yield running


async def sql(api: Api, query: str, *arguments: object) -> list[Any]:
    async with api.database.acquire() as connection:
        return list(await connection.fetch(query, *arguments))


class Reader:
    """Reads as a gateway does, and keeps what it was given."""

    def __init__(self, api: Api, key: Any, page_size: int = 0) -> None:
        self.api, self.key, self.page_size = api, key, page_size
        self.cursor = ""
        self.jobs: dict[str, gateway.WebhookVerifier] = {}
        self.raw = b""
        self.resets = 0

    async def read(self) -> list[gateway.WebhookVerifier]:
        """Read to the end; return what came."""
        came: list[gateway.WebhookVerifier] = []
        while True:
            page = await self.api.gateway.ListWebhookVerifiers(
                gateway.ListWebhookVerifiersRequest(cursor=self.cursor, page_size=self.page_size),
                metadata=self.key,
            )
            self.raw += page.SerializeToString()
            if page.reset:
                self.resets += 1
                self.jobs.clear()
            came += page.verifiers
            self.cursor = page.next_cursor
            if not page.more:
                break
        for one in came:
            if one.deleted:
                self.jobs.pop(one.cicd_job_id, None)
            else:
                self.jobs[one.cicd_job_id] = one
        return came


async def reader(api: Api, tenant: str | None = None, page_size: int = 0) -> Reader:
    return Reader(api, await api.key(Role.GATEWAY, tenant), page_size)


async def job_of(api: Api, name: str = WEB, *, secret: bool = False, key: Any = None) -> pb.CicdJob:
    request = pb.GetDeploymentRequest(name=name, show_signing_secret=secret)
    answer = await api.deployments.GetDeployment(request, metadata=key or api.as_admin)
    return answer.deployment.cicd_job  # type: ignore[no-any-return]


def token_of(job: pb.CicdJob) -> str:
    (token,) = parse_qs(urlsplit(job.webhook_url).query)["token"]
    return token


async def test_a_key_of_one_tenant_learns_nothing_of_another(api):
    """Stolen, it gives the verifiers of its tenant: no other tenant's job, name or number of changes."""
    thief, ours = await reader(api, "demo"), await reader(api)
    await thief.read()
    await ours.read()
    (mine,) = thief.jobs.values()
    assert mine.tenant == "tenants/demo"
    assert {one.tenant for one in ours.jobs.values()} == {"tenants/demo", "tenants/other"}
    theirs = await job_of(api, "tenants/other/deployments/web", secret=True)
    cursor = thief.cursor
    await seed_deployment(api, "other", "second")
    await rotate(api, "other")
    assert await thief.read() == []
    assert thief.cursor == cursor or thief.resets == 1
    for secret in (b"tenants/other", theirs.id.encode()):
        assert secret not in thief.raw
    # Another scope's cursor opens nothing.
    thief.cursor = ours.cursor
    assert {one.tenant for one in await thief.read()} == {"tenants/demo"}


async def test_raw_keys_and_tokens_never_leave(api):
    """What a gateway is given proves nothing to anybody: hashes only, until the job's secret was asked for."""
    await job_of(api, "tenants/other/deployments/web", secret=True)
    every = await reader(api)
    await every.read()
    job = await job_of(api)
    verifier = every.jobs[job.id]
    (key,) = verifier.keys
    token = token_of(job)
    assert (key.key_id, key.signing_secret) == ("k1", b"")
    assert key.token_sha256 == tokens.digest(token)
    box = SecretBox([SECRET_KEY])
    rows = await sql(api, "SELECT * FROM webhook_keys")
    assert len(rows) == 2
    for row in rows:
        assert box.decrypt(row["secret_encrypted"]) not in every.raw
        assert row["secret_encrypted"] not in every.raw
    parsed = tokens.parse(token)
    assert parsed is not None
    assert parsed.mac not in every.raw
    assert token.encode() not in every.raw


async def test_signing_secrets_come_for_jobs_that_sign_only(api):
    """Asked for by a definer, and by nothing else: neither a list nor a viewer makes a job one that signs."""
    every = await reader(api)
    await every.read()
    viewer, definer = await api.key(Role.VIEWER, "demo"), await api.key(Role.DEFINER, "demo")
    assert (await job_of(api)).signing_secret == ""
    assert (await job_of(api, secret=True, key=viewer)).signing_secret == ""
    listed = await api.deployments.ListDeployments(
        pb.ListDeploymentsRequest(parent="tenants/demo"), metadata=definer
    )
    assert [one.cicd_job.signing_secret for one in listed.deployments] == [""]
    assert await every.read() == []
    shown = (await job_of(api, secret=True, key=definer)).signing_secret
    (changed,) = await every.read()
    assert signatures.from_text(shown) == changed.keys[0].signing_secret
    assert (await job_of(api, secret=True, key=definer)).signing_secret == shown
    assert await every.read() == []
    made = await rotate(api, "demo")
    assert [one.signing_secret != "" for one in made.other_jobs] == [True]
    assert [one.signing_secret for one in (await rotate(api, "other")).other_jobs] == [""]


async def rotate(api: Api, tenant: str) -> admin.RotateWebhookSecretResponse:
    request = admin.RotateWebhookSecretRequest(tenant=f"tenants/{tenant}", request_id=request_id())
    return await api.admin.RotateWebhookSecret(request, metadata=api.as_admin)  # type: ignore[no-any-return]


async def test_a_reader_gets_changes_only(api):
    """New jobs, jobs that go, keys that come and go; and nothing where nothing has changed."""
    every = await reader(api)
    assert len(await every.read()) == 2
    assert await every.read() == []
    await seed_deployment(api, "demo", "second")
    (new,) = await every.read()
    assert new.tenant == "tenants/demo"
    assert await every.read() == []
    await sql(
        api,
        "UPDATE cicd_jobs SET status = 'success', refresh_request_time = now(), attempt = attempt + 1",
    )
    assert await every.read() == []
    await rotate(api, "demo")
    changed = await every.read()
    assert [[key.key_id for key in one.keys] for one in changed] == [["k2", "k1"]] * 2
    await api.admin.RetireWebhookKey(
        admin.RetireWebhookKeyRequest(tenant="tenants/demo", key_id="k1", force=True),
        metadata=api.as_admin,
    )
    changed = await every.read()
    assert [[key.key_id for key in one.keys] for one in changed] == [["k2"]] * 2
    await sql(api, "DELETE FROM deployment_cicd_mappings WHERE job_id::text = $1", new.cicd_job_id)
    await sql(api, "DELETE FROM deployment_runs WHERE job_id::text = $1", new.cicd_job_id)
    await sql(api, "DELETE FROM cicd_jobs WHERE job_id::text = $1", new.cicd_job_id)
    (gone,) = await every.read()
    assert (gone.cicd_job_id, gone.deleted, len(gone.keys)) == (new.cicd_job_id, True, 0)
    assert (len(every.jobs), every.resets) == (2, 1)


@pytest.mark.parametrize("tenant", [None, "demo"])
@pytest.mark.parametrize("page_size", [1, 3, 7])
async def test_pages_add_up(api, tenant, page_size):
    """Also where a transaction changed several jobs at once."""
    for number in range(7):
        await seed_deployment(api, "demo", f"web-{number}")
    await rotate(api, "demo")
    whole, paged = await reader(api, tenant), await reader(api, tenant, page_size)
    await whole.read()
    await paged.read()
    assert len(whole.jobs) == (8 if tenant else 9)
    assert paged.jobs == whole.jobs
    assert await paged.read() == []


async def test_what_is_committed_late_is_not_missed(api, database_url):
    """Transactions do not end in the order in which they began."""
    every = await reader(api)
    await every.read()
    connection: Any = await asyncpg.connect(database_url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        late = await connection.fetchval(
            """
            INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin)
            SELECT tenant_id, provider_id, 'late', 'ADOPTED' FROM cicd_providers
            JOIN tenants USING (tenant_id) WHERE tenants.slug = 'demo' RETURNING job_id
            """
        )
        await seed_deployment(api, "demo", "early")
        assert len(await every.read()) == 1
        # While it is open, what was changed since it began comes again: known twice harms nothing.
        assert len(await every.read()) == 1
        await transaction.commit()
        assert str(late) in {one.cicd_job_id for one in await every.read()}
        assert await every.read() == []
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "damage",
    ["marker", "cut", "nonsense", "other scope", "long"],
)
async def test_a_cursor_that_does_not_fit_begins_anew(api, damage):
    """A restored database, a damaged cursor, a key of another scope: the whole list, marked as such."""
    every = await reader(api, "demo")
    await every.read()
    match damage:
        case "marker":
            await sql_as_owner(api, "UPDATE store_epoch SET marker = gen_random_uuid()")
        case "cut":
            every.cursor = every.cursor[:-2]
        case "nonsense":
            every.cursor = "🦊"
        case "other scope":
            every.key = await api.key(Role.GATEWAY)
        case "long":
            every.cursor = every.cursor * 4
    assert len(await every.read()) == (2 if damage == "other scope" else 1)
    assert every.resets == 2
    assert await every.read() == []


async def sql_as_owner(api: Api, query: str) -> None:
    connection: Any = await asyncpg.connect(api.service._settings.database_url.get_secret_value())
    try:
        await connection.execute(query)
    finally:
        await connection.close()


async def test_reading_changes_costs_what_has_changed(api, database_url):
    """An index scan from the cursor on, for all tenants and for one, with 20,000 jobs."""
    await sql(
        api,
        """
        INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin, state, next_try_time)
        SELECT tenant_id, provider_id, 'job-' || n, 'ADOPTED', 'READY', NULL
        FROM cicd_providers, generate_series(1, 10000) AS n
        """,
    )
    await sql_as_owner(api, "ANALYZE webhook_verifiers")
    demo = (await api.tenant("demo")).tenant_id
    (last,) = await sql(api, "SELECT max(changed) AS changed FROM webhook_verifiers")
    for query, tenant in (
        (store.CHANGES_OF_ALL, store.Position().tenant_id),
        (store.CHANGES_OF_TENANT, demo),
    ):
        for changed, rows in ((last["changed"] + 1, 0), (0, 1001)):
            async with api.database.acquire() as connection:
                plan = await connection.fetchval(
                    f"EXPLAIN (ANALYZE, FORMAT JSON) {query}",
                    changed,
                    tenant,
                    store.Position().job_id,
                    1001,
                )
            (top,) = json.loads(plan) if isinstance(plan, str) else plan
            (scan,) = top["Plan"]["Plans"]
            assert scan["Node Type"].startswith("Index"), scan
            assert "webhook_verifiers_changed" in scan["Index Name"]
            assert scan["Actual Rows"] == rows
            assert scan.get("Rows Removed by Filter", 0) == 0
