"""The hot queries of the API stay on their indexes as a tenant grows."""

import json
import uuid

import pytest_asyncio

from deployment_service.storage import deployments
from deployment_service.storage.api_keys import _VALID_BY_HASH
from deployment_service.storage.deployments import _BY_RESOURCE_ID, PAGE, RUNS_OF_ALL, RUNS_OF_ONE

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
    found, plan = await scans(connection, PAGE, tenant_id, "d2", 51, None, None, None, None)
    assert_no_seq_scan(found)
    assert plan["Execution Time"] < 50
    deployment_id = await deployments.find_id(connection, tenant_id, "d7")
    found, _ = await scans(connection, RUNS_OF_ONE, tenant_id, deployment_id, 2**31 - 1, 51, None)
    assert_no_seq_scan(found)


async def test_listing_all_runs_uses_an_index(connection, databases):
    await analyze(databases)
    tenant_id = await connection.fetchval("SELECT tenant_id FROM tenants WHERE slug = 't0'")
    time = await connection.fetchval("SELECT now()")
    found, _ = await scans(
        connection, RUNS_OF_ALL, tenant_id, time, uuid.UUID(int=2**128 - 1), 51, None, False
    )
    assert_no_seq_scan(found)


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
