"""Requests to one Jenkins have a budget over all tenants, which they share fairly (P4, P6)."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncpg
import pytest
import pytest_asyncio

from deployment_service.storage import origin_shares
from deployment_service.storage.database.pool import Connection
from deployment_service.workers.reconciler.settings import ReconcilerSettings
from jenkins_simulator import DEFAULT_API_TOKEN, Cause, JenkinsSimulator, SimulatorConfig
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import Jobs, adopt, eventually, jobs_of
from tests.integration.runs_harness import runs_of

RATE = 20.0
WINDOW = origin_shares.WINDOW_S
BUCKET = origin_shares.SMALLEST_BUCKET


@dataclass
class Shares:
    """Tenants that take from the budget of one origin. Time passes when told to."""

    connection: Connection
    got: dict[uuid.UUID, int] = field(default_factory=dict)

    async def take(
        self, tenant: uuid.UUID, wanted: int, *, ahead: bool = False, origin: str = "http://ci"
    ) -> origin_shares.Taken:
        taken = await origin_shares.take(
            self.connection, tenant, origin, wanted, requests_per_second=RATE, ahead=ahead
        )
        self.got[tenant] = self.got.get(tenant, 0) + taken.granted
        return taken

    async def pass_time(self, seconds: float) -> None:
        await self.connection.execute(
            "UPDATE origin_shares SET use_time = use_time - make_interval(secs => $1)", seconds
        )


# Shares are counted by the database's clock.
pytestmark = pytest.mark.alone


@pytest_asyncio.fixture
async def shares(databases: Databases) -> AsyncIterator[Shares]:
    async with databases.worker.acquire() as connection:
        yield Shares(connection)


async def test_a_single_tenant_has_the_whole_budget(shares: Shares) -> None:
    """P4: as without a budget, up to its rate and five seconds of it at once."""
    tenant = uuid.uuid4()
    assert (await shares.take(tenant, 1000)).granted == RATE * WINDOW
    for _ in range(20):
        await shares.pass_time(1.0)
        await shares.take(tenant, 1000)
    assert 20 * RATE * 0.9 <= shares.got[tenant] - RATE * WINDOW <= 20 * RATE * 1.1


async def test_a_greedy_tenant_leaves_each_other_its_share(shares: Shares) -> None:
    """P6: thirty tenants; one asks for all that there is, first in each second."""
    greedy, others = uuid.uuid4(), [uuid.uuid4() for _ in range(29)]
    seconds, share = 60, RATE / 30
    for _ in range(seconds):
        await shares.take(greedy, 1000)
        for tenant in others:
            await shares.take(tenant, 2)
        await shares.pass_time(1.0)
    assert min(shares.got[tenant] for tenant in others) >= seconds * share * 0.9
    # What all use in a second at once decays only afterwards: that is a tenth more than the rate.
    assert sum(shares.got.values()) <= 1.15 * RATE * (seconds + WINDOW) + 30 * 2


async def test_what_others_do_not_use_is_left_to_the_one_that_needs_it(shares: Shares) -> None:
    """P4: ten tenants read one run each in a while; the eleventh has thousands."""
    busy, others = uuid.uuid4(), [uuid.uuid4() for _ in range(10)]
    for second in range(60):
        if second % 5 == 0:
            for tenant in others:
                assert (await shares.take(tenant, 2)).granted == 2
        await shares.take(busy, 1000)
        await shares.pass_time(1.0)
    assert shares.got[busy] >= 60 * (RATE - 4) * 0.8


async def test_triggers_and_ends_go_before_cycles_but_have_bounds_too(shares: Shares) -> None:
    """P3, P4, P6: cycles have taken all; a bucket's worth goes ahead, the next one waits for its share."""
    tenants = [uuid.uuid4() for _ in range(10)]
    for tenant in tenants:
        while (await shares.take(tenant, 1000)).granted:
            pass
    bucket = max(BUCKET, RATE * WINDOW / 10)
    first = tenants[0]
    assert (await shares.take(first, 1000, ahead=True)).granted in (int(bucket), int(bucket) - 1)
    refused = await shares.take(first, 1, ahead=True)
    assert refused.granted == 0
    assert 0 < refused.wait_s <= 10 / RATE
    await shares.pass_time(refused.wait_s)
    assert (await shares.take(first, 1, ahead=True)).granted == 1
    assert (await shares.take(first, 1)).granted == 0, "cycles wait until the debt is paid"
    for tenant in tenants[1:]:
        assert (await shares.take(tenant, 3, ahead=True)).granted == 3, "the others' is theirs"


async def test_origins_have_budgets_of_their_own(shares: Shares) -> None:
    one, other = uuid.uuid4(), uuid.uuid4()
    while (await shares.take(one, 1000)).granted:
        pass
    assert (await shares.take(one, 50, origin="http://ci:8080")).granted == 50
    assert (await shares.take(other, 50, origin="https://ci")).granted == 50


async def test_a_share_that_is_asked_for_seldom_for_long_stays_a_number(shares: Shares) -> None:
    """Decayed use underflows in PostgreSQL, which is an error there."""
    one, other = uuid.uuid4(), uuid.uuid4()
    for _ in range(200):
        for tenant in (one, other):
            await shares.take(tenant, 0)
        await shares.pass_time(59.0)
    await shares.pass_time(1e8)
    assert (await shares.take(one, 5)).granted == 5


async def test_two_replicas_share_one_budget(databases: Databases) -> None:
    """Whatever replica a tenant's requests are sent by."""
    tenant = uuid.uuid4()

    async def replica() -> int:
        granted = 0
        async with databases.worker.acquire() as connection:
            for _ in range(50):
                taken = await origin_shares.take(
                    connection, tenant, "http://ci", 10, requests_per_second=RATE, ahead=False
                )
                granted += taken.granted
        return granted

    begun = asyncio.get_running_loop().time()
    granted = sum(await asyncio.gather(*(replica() for _ in range(4))))
    elapsed_s = asyncio.get_running_loop().time() - begun
    assert RATE * WINDOW <= granted <= RATE * (WINDOW + 2 * elapsed_s) + BUCKET


async def test_taking_reads_only_the_shares_of_its_origin(databases: Databases) -> None:
    """P6: 50,000 shares of 500 origins."""
    connection = await asyncpg.connect(databases.url)
    try:
        await connection.execute(
            "INSERT INTO origin_shares (tenant_id, origin) SELECT gen_random_uuid(), 'http://ci-' || n % 500"
            " FROM generate_series(1, 50000) AS n"
        )
        await connection.execute("ANALYZE origin_shares")
        tenant = await connection.fetchval(
            "SELECT tenant_id FROM origin_shares WHERE origin = 'http://ci-7' LIMIT 1"
        )
        arguments = (tenant, "http://ci-7", 2, RATE, WINDOW, float(BUCKET), False)
        plan = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {origin_shares.TAKE}", *arguments
        )
    finally:
        await connection.close()
    (top,) = json.loads(plan)
    read = [node for node in _nodes(top["Plan"]) if "Relation Name" in node]
    assert not [node for node in read if node["Node Type"] == "Seq Scan"]
    assert max(node["Actual Rows"] for node in read) <= 100


def _nodes(node):
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


TENANTS = 300
_SEED = """
    WITH t AS (INSERT INTO tenants (slug) SELECT 't' || n FROM generate_series(1, $1) AS n RETURNING tenant_id),
    p AS (INSERT INTO cicd_providers (tenant_id, slug, base_url, username, api_token_encrypted)
        SELECT tenant_id, 'main', $2, 'admin', $3 FROM t RETURNING tenant_id, provider_id),
    j AS (INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin, state, next_try_time, next_sweep_time)
        SELECT tenant_id, provider_id, 'app', 'ADOPTED', 'READY', NULL, now() + interval '1 day' FROM p
        RETURNING tenant_id, provider_id, job_id),
    d AS (INSERT INTO deployments (tenant_id, slug, provider_id, job_kind, job_spec, status)
        SELECT tenant_id, 'web', provider_id, 'EXISTING', '{}', 'RUNNING' FROM j RETURNING tenant_id, deployment_id),
    m AS (INSERT INTO deployment_cicd_mappings (tenant_id, deployment_id, job_id)
        SELECT d.tenant_id, d.deployment_id, j.job_id FROM d JOIN j USING (tenant_id)
        RETURNING tenant_id, deployment_id, job_id)
    INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status, rank,
        queue_id, first_build_number, start_time)
    SELECT tenant_id, deployment_id, 1, job_id, 'SERVICE', 'ACCEPTED', 'RUNNING', 100, $4, 1, now() FROM m
"""


@pytest.mark.timeout(180)
async def test_three_hundred_tenants_on_one_jenkins_keep_to_its_budget(
    databases: Databases,
) -> None:
    """P4, P6: each of them reads the queue and the executors; none has more turns than another."""
    per_second = 50.0
    config = SimulatorConfig(quiet_period_s=600.0)
    often = ReconcilerSettings(read_interval_s=0.5, polling_interval_s=0.5)
    async with (
        JenkinsSimulator(config) as jenkins,
        jobs_of(databases, jenkins.url, webhook_base_url="", keep=False) as jobs,
        runs_of(jobs, dispatch=False, reconciler_settings=often, requests_per_second=per_second),
    ):
        job = jenkins.create_job("app", "<project/>")
        item, _ = jenkins.controller.schedule(job, (), Cause("admin"))  # type: ignore[arg-type]
        token = jobs.box.encrypt(DEFAULT_API_TOKEN.encode())
        await jobs.sql(_SEED, TENANTS, jenkins.url, token, str(item.id))

        async def read_since(time: object) -> int:
            (row,) = await jobs.sql(
                "SELECT count(*) FROM deployment_runs WHERE last_observed_time > $1", time
            )
            return int(row["count"])

        (row,) = await jobs.sql("SELECT now() AS time")

        async def all_read() -> bool:
            return await read_since(row["time"]) == TENANTS

        await eventually(all_read, "each was read once")
        for _ in range(2):
            clock = asyncio.get_running_loop().time
            jenkins.requests.clear()
            (row,) = await jobs.sql("SELECT now() AS time")
            begun = clock()
            await eventually(all_read, "each is read again")
            elapsed_s, requests = clock() - begun, len(jenkins.requests.entries)
            print(f"{requests} requests in {elapsed_s:.1f} s")
            # A round: two requests of each tenant, and no tenant twice before the others once but for the remainder.
            assert 2 * TENANTS * 0.9 <= requests <= 2 * TENANTS * 1.5
            assert requests <= per_second * (elapsed_s + WINDOW)


async def test_a_flood_of_one_tenant_delays_no_run_of_another(databases: Databases) -> None:
    """P3, P4, P6: at the same origin, with a small budget: triggers, reads of ends and cycles of alpha go on."""
    async with (
        JenkinsSimulator(SimulatorConfig(quiet_period_s=0.0, executors=8)) as jenkins,
        jobs_of(databases, jenkins.url, webhook_base_url="") as alpha,
        jobs_of(databases, jenkins.url, slug="beta", box=alpha.box, webhook_base_url="") as beta,
        runs_of(alpha, requests_per_second=RATE) as runs,
    ):
        jenkins.create_job("mine", "<project/>")
        jenkins.create_job("theirs", "<project/>")
        await alpha.create("web", adopt("mine"))
        await beta.create("web", adopt("theirs"))
        await _flood(beta, 5000)
        clock = asyncio.get_running_loop().time
        took_s = []
        for _ in range(5):
            begun = clock()
            started = await runs.start("web")
            await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
            took_s.append(clock() - begun)
        assert sorted(took_s)[2] < 3.0, took_s


async def _flood(jobs: Jobs, count: int) -> None:
    """Runs that Jenkins does not know: each is asked about, again and again."""
    await jobs.sql(
        "INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status, rank,"
        " queue_id, first_build_number, start_time)"
        " SELECT m.tenant_id, m.deployment_id, 100 + n, m.job_id, 'SERVICE', 'ACCEPTED', 'RUNNING', 100,"
        " (900000 + n)::text, 1, now() FROM deployment_cicd_mappings AS m, generate_series(1, $2) AS n"
        " WHERE m.tenant_id = $1",
        jobs.tenant.tenant_id,
        count,
    )
