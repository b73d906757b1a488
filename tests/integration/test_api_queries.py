"""The hot queries of the API stay on their indexes as a tenant grows."""

import json
import uuid
from datetime import timedelta

import pytest_asyncio

from deployment_service.domain.lists import ALWAYS, NEVER, RunFilter, TimeRange, View
from deployment_service.storage.api_keys import _VALID_BY_HASH
from deployment_service.storage.deployments import deployments
from deployment_service.storage.deployments.deployments import _BY_RESOURCE_ID, DeploymentFilter
from deployment_service.storage.runs import run_records
from deployment_service.storage.runs.typical_durations import TYPICAL_DURATION
from deployment_service.storage.time_bounds import RUN_NUMBERS, keys_in

FILL = """
    WITH t AS (INSERT INTO tenants (slug) VALUES ('t' || $1::int) RETURNING tenant_id),
    p AS (INSERT INTO cicd_providers (tenant_id, slug, base_url)
        SELECT tenant_id, 'main', 'http://x/' FROM t RETURNING tenant_id, provider_id),
    d AS (INSERT INTO deployments (tenant_id, slug, provider_id, job_kind, job_spec, labels)
        SELECT tenant_id, 'd' || n, provider_id, 'EXISTING', '{}', jsonb_build_object('n', n::text)
        FROM p, generate_series(1, 1500) AS n RETURNING tenant_id, deployment_id, provider_id, slug),
    j AS (INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin, state, next_try_time)
        SELECT tenant_id, provider_id, slug, 'ADOPTED', 'READY', NULL FROM d RETURNING tenant_id, job_id, full_name),
    m AS (INSERT INTO deployment_cicd_mappings (tenant_id, deployment_id, job_id)
        SELECT d.tenant_id, d.deployment_id, j.job_id FROM d JOIN j ON j.full_name = d.slug
        RETURNING tenant_id, deployment_id, job_id)
    INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status, rank,
        certainty, settle_time, shown, generation, build_number, end_time, create_time)
    SELECT tenant_id, deployment_id, n, job_id, 'EXTERNAL', 'ENDED', 'COMPLETED', 351, 'CONFIRMED', now(), true, 1, n,
        now(),
        now() - n * interval '1 minute'
    FROM m, generate_series(1, 10) AS n
"""


@pytest_asyncio.fixture
async def connection(databases):
    async with databases.api.acquire() as connection:
        for number in range(2):
            await connection.execute(FILL, number)
        yield connection


async def scans(connection, query, *arguments):
    """How the plan reads each of the large tables."""
    found: dict[str, set[str]] = {}
    async with connection.transaction():
        rows = await connection.fetchval(f"EXPLAIN (FORMAT JSON, ANALYZE) {query}", *arguments)

    def walk(node):
        if node.get("Relation Name") in ("deployments", "deployment_runs", "cicd_jobs", "api_keys"):
            found.setdefault(node["Relation Name"], set()).add(node["Node Type"])
        for child in node.get("Plans", []):
            walk(child)

    plan = (json.loads(rows) if isinstance(rows, str) else rows)[0]
    walk(plan["Plan"])
    return found, plan


def assert_no_seq_scan(found):
    assert found
    assert not [name for name, kinds in found.items() if "Seq Scan" in kinds], found


async def analyze(databases):
    import asyncpg

    admin = await asyncpg.connect(databases.url)
    await admin.execute("ANALYZE")
    await admin.close()


async def test_reading_and_listing_use_indexes(connection, databases):
    await analyze(databases)
    tenant_id = await connection.fetchval("SELECT tenant_id FROM tenants WHERE slug = 't0'")
    found, _ = await scans(connection, _BY_RESOURCE_ID, tenant_id, "d7")
    assert_no_seq_scan(found)
    for view in View:
        query = deployments.query_of_page(DeploymentFilter(), view)
        filters = (None, None, None, None, ALWAYS, NEVER)
        found, plan = await scans(connection, query, tenant_id, "d2", 51, *filters)
        assert_no_seq_scan(found)
        assert plan["Execution Time"] < 50


async def test_reading_by_names_uses_indexes(connection, databases):
    await analyze(databases)
    tenant_id = await connection.fetchval("SELECT tenant_id FROM tenants WHERE slug = 't0'")
    names, numbers = [f"d{n}" for n in range(1, 6)], [1, 2, 3, 4, 5]
    found, _ = await scans(connection, deployments.query_of_names(View.FULL), tenant_id, names)
    assert_no_seq_scan(found)
    query = run_records.query_of_names(View.FULL)
    found, plan = await scans(connection, query, tenant_id, names, numbers)
    assert_no_seq_scan(found)
    assert reads(plan) == 5


LOWEST, HIGHEST = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)
ACTIVE = ("PENDING", "RUNNING")
MANY = 100_000


def reads(plan):
    """How many rows of runs the plan reads, those that it drops again included."""

    def walk(node):
        own = 0
        if node.get("Relation Name") == "deployment_runs":
            dropped = node.get("Rows Removed by Filter", 0)
            own = (node["Actual Rows"] + dropped) * node["Actual Loops"]
        return own + sum(map(walk, node.get("Plans", [])))

    return walk(plan["Plan"])


@pytest_asyncio.fixture
async def many(connection, databases):
    """A tenant's deployment with 100,000 runs, one a minute, the newest now; the last three are running."""
    tenant_id = await connection.fetchval("SELECT tenant_id FROM tenants WHERE slug = 't0'")
    deployment_id = await deployments.find_id(connection, tenant_id, "d7")
    await connection.execute(
        """
        INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status, rank,
            certainty, settle_time, shown, generation, build_number, end_time, create_time)
        SELECT m.tenant_id, m.deployment_id, n, job_id, 'EXTERNAL', 'ENDED',
            CASE WHEN active THEN 'RUNNING' ELSE 'COMPLETED' END, CASE WHEN active THEN 200 ELSE 351 END,
            CASE WHEN NOT active THEN 'CONFIRMED' END, CASE WHEN NOT active THEN now() END, true, 1, n,
            CASE WHEN NOT active THEN now() END, now() - ($3 - n) * interval '1 minute'
        FROM deployment_cicd_mappings AS m, generate_series(11, $3::int) AS n
            CROSS JOIN LATERAL (SELECT n > $3 - 3 AS active) AS a
        WHERE m.tenant_id = $1 AND m.deployment_id = $2
        """,
        tenant_id,
        deployment_id,
        MANY,
    )
    await analyze(databases)
    return tenant_id, deployment_id, await connection.fetchval("SELECT now()")


def wanted_at(now):
    """Filters that a page of 50 must not pay for with a walk over all runs."""
    day_ago = TimeRange(now - timedelta(days=30), now - timedelta(days=30) + timedelta(hours=2))
    for newest_first in (True, False):
        yield RunFilter(newest_first=newest_first)
        yield RunFilter(newest_first=newest_first, created=day_ago)
        yield RunFilter(newest_first=newest_first, created=TimeRange(day_ago.start, NEVER))
        yield RunFilter(newest_first=newest_first, created=TimeRange(ALWAYS, day_ago.start))
        yield RunFilter(newest_first=newest_first, statuses=ACTIVE)
        yield RunFilter(newest_first=newest_first, statuses=["RUNNING"], sources=["EXTERNAL"])


async def test_a_page_of_runs_reads_few_of_100_000(connection, many):
    tenant_id, deployment_id, now = many
    for wanted in wanted_at(now):
        times = (wanted.created.start, wanted.created.end)
        filters = (list(wanted.statuses) or None, list(wanted.sources) or None)
        common = (tenant_id, 51, *times, *filters)
        first, end = await keys_in(
            connection, RUN_NUMBERS, (tenant_id, deployment_id), wanted.created
        )
        bounds = (wanted.created.start, LOWEST, NEVER, HIGHEST)
        for query, arguments in (
            (
                run_records.query_of_one(wanted, View.BASIC),
                (*common, deployment_id, max(0, first - 1), min(end, 2**31 - 1)),
            ),
            (run_records.query_of_all(wanted, View.BASIC), (*common, *bounds, False)),
        ):
            found, plan = await scans(connection, query, *arguments)
            # The two small tables are joined to one page of runs: the planner may read them as a whole.
            assert "Seq Scan" not in found["deployment_runs"]
            assert reads(plan) < 400, (wanted, plan)


async def test_the_numbers_of_a_time_are_found_without_reading_all_runs(connection, many):
    """Also though runs 1 to 10 here have later times than those that follow."""
    tenant_id, deployment_id, now = many
    for minutes in (0, 1, 10, 59_999, 99_980, 200_000, -10):
        times = TimeRange(now - timedelta(minutes=minutes), NEVER)
        first, _ = await keys_in(connection, RUN_NUMBERS, (tenant_id, deployment_id), times)
        earliest = await connection.fetchval(
            """
            SELECT coalesce(min(number), $4) FROM deployment_runs
            WHERE tenant_id = $1 AND deployment_id = $2 AND create_time >= $3 AND number > 10
            """,
            tenant_id,
            deployment_id,
            times.start,
            MANY + 1,
        )
        assert earliest - 16 <= first <= earliest
        _, plan = await scans(
            connection, RUN_NUMBERS.first_at, times.start, tenant_id, deployment_id
        )
        assert reads(plan) < 60


async def test_a_key_is_found_by_its_hash(connection, databases):
    await connection.execute(
        """
        INSERT INTO api_keys (secret_sha256, role) SELECT sha256(n::text::bytea), 'VIEWER'
        FROM generate_series(1, 3000) AS n
        """
    )
    await analyze(databases)
    found, _ = await scans(connection, _VALID_BY_HASH, b"x" * 32)
    assert_no_seq_scan(found)


async def test_the_typical_duration_reads_the_last_completed_runs_only(connection, databases):
    """Of a deployment with many runs, however many they are."""
    tenant_id = await connection.fetchval("SELECT tenant_id FROM tenants WHERE slug = 't0'")
    deployment_id = await deployments.find_id(connection, tenant_id, "d7")
    await connection.execute(
        """
        INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status, rank,
            certainty, settle_time, shown, generation, build_number, start_time, end_time)
        SELECT tenant_id, deployment_id, n, job_id, 'SERVICE', 'ENDED', 'COMPLETED', 351, 'CONFIRMED', now(), true, 1,
            n, now() - n * interval '1 s', now()
        FROM deployment_cicd_mappings, generate_series(11, 3000) AS n WHERE tenant_id = $1 AND deployment_id = $2
        """,
        tenant_id,
        deployment_id,
    )
    await analyze(databases)
    query = f"SELECT ({TYPICAL_DURATION}) FROM deployments AS d WHERE tenant_id = $1 AND deployment_id = $2"
    found, plan = await scans(connection, query, tenant_id, deployment_id)
    assert_no_seq_scan(found)
    (read,) = [n for n in nodes(plan["Plan"]) if n.get("Relation Name") == "deployment_runs"]
    assert read["Actual Rows"] <= 20
    # The newest 20 take 2981 to 3000 seconds.
    assert (await connection.fetchval(query, tenant_id, deployment_id)).total_seconds() == 2990


def nodes(node):
    return [node, *(one for child in node.get("Plans", []) for one in nodes(child))]
