"""P4 for operators: how many runs are unsettled, for how long and why."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from deployment_service.domain.problems import ProblemReason
from deployment_service.storage.database.pool import WORKER_ROLE, Database
from deployment_service.storage.runs import unsettled
from deployment_service.workers.reconciler.unsettled import UnsettledRuns
from tests.integration.observation_harness import Observed, observed


@pytest_asyncio.fixture
async def one(database_url: str) -> AsyncIterator[Observed]:
    async with observed(database_url) as running:
        yield running


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, role=WORKER_ROLE, max_connections=2)
    yield database
    await database.close()


def samples(registry: CollectorRegistry, name: str) -> dict[str, float]:
    return {
        sample.labels["reason"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


async def test_unsettled_runs_are_counted_by_reason_and_aged(
    one: Observed, database: Database
) -> None:
    registry = CollectorRegistry()
    metrics = UnsettledRuns(database, registry)
    await metrics.read()
    reasons = {"NONE", "OTHER", *ProblemReason}
    assert samples(registry, "unsettled_runs") == dict.fromkeys(reasons, 0)
    name = await one.building()
    await metrics.read()
    assert samples(registry, "unsettled_runs")["NONE"] == 1
    # A build that goes on is read all the time, however long it takes.
    assert samples(registry, "unsettled_run_seconds")["NONE"] < 30
    one.revoke_token()
    await one.until_problem(name, "REFUSED")
    await one.age_problems()
    await metrics.read()
    runs, seconds = (samples(registry, f"unsettled_run{end}") for end in ("s", "_seconds"))
    assert (runs["NONE"], runs["REFUSED"]) == (0, 1)
    assert 60 <= seconds["REFUSED"] < 120
    assert set(runs) == reasons


async def test_a_reported_end_that_is_not_settled_has_the_age_of_the_report(
    one: Observed, database: Database
) -> None:
    """No problem of a Jenkins explains it: then the reconcilers don't do their work."""
    await one.building()
    await one.api.service.stop()
    await one.sql(
        "UPDATE deployment_runs SET status = 'COMPLETED', rank = 331, certainty = 'REPORTED',"
        " end_time = now() - interval '1 hour'"
    )
    registry = CollectorRegistry()
    await UnsettledRuns(database, registry).read()
    assert 3600 <= samples(registry, "unsettled_run_seconds")["NONE"] < 3700


async def test_a_run_that_is_not_read_any_more_grows_old(one: Observed, database: Database) -> None:
    await one.building()
    await one.api.service.stop()
    await one.sql("UPDATE deployment_runs SET last_observed_time = now() - interval '1 hour'")
    registry = CollectorRegistry()
    await UnsettledRuns(database, registry).read()
    assert samples(registry, "unsettled_run_seconds")["NONE"] >= 3600


async def test_without_a_database_there_are_no_numbers(one: Observed) -> None:
    database = await Database.open(one.database_url, role=WORKER_ROLE, max_connections=1)
    registry = CollectorRegistry()
    metrics = UnsettledRuns(database, registry)
    await metrics.read()
    await database.close()
    with pytest.raises((asyncpg.InterfaceError, OSError)):
        await metrics.read()
    assert samples(registry, "unsettled_runs") == {}
    assert samples(registry, "unsettled_run_seconds") == {}


async def test_settled_runs_cost_nothing(one: Observed) -> None:
    (job,) = await one.sql("SELECT tenant_id, job_id FROM cicd_jobs")
    (web,) = await one.sql("SELECT deployment_id FROM deployments")
    await one.sql(
        """
        INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status, rank,
            certainty, settle_time, shown, generation, build_number, end_time)
        SELECT $1, $3, n, $2, 'EXTERNAL', 'ENDED', 'COMPLETED', 351, 'CONFIRMED', now(), true, 1, n, now()
        FROM generate_series(1, 20000) AS n
        """,
        *job,
        *web,
    )
    await one.sql("ANALYZE deployment_runs")
    (row,) = await one.sql(f"EXPLAIN (FORMAT JSON) {unsettled.BY_REASON}")
    plan = row[0] if isinstance(row[0], str) else json.dumps(row[0])
    assert "deployment_runs_active" in plan
