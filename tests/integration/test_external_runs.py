"""Builds that the service did not start become runs, but only so many of one tenant in an hour (P4, P6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.domain.problems import EXTERNAL_RUNS_PER_HOUR, coarse_message
from deployment_service.storage.reports import reports
from jenkins_simulator import JenkinsSimulator
from tests.integration.jobs_harness import Jobs, eventually, shell
from tests.integration.runs_harness import Runs, runs_of

_MADE = """
    INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status, rank,
        certainty, settle_time, shown, generation, build_number, build_timestamp_ms, end_time, create_time)
    SELECT m.tenant_id, m.deployment_id, 100000 + n, m.job_id, 'EXTERNAL', 'ENDED', 'COMPLETED', 351, 'CONFIRMED',
        now(), true, 0, n, n, now(), now() - $2::interval
    FROM deployment_cicd_mappings AS m, generate_series(1, $1) AS n
"""


@pytest_asyncio.fixture
async def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest_asyncio.fixture
async def runs(jobs: Jobs, registry: CollectorRegistry) -> Any:
    await jobs.create("web", shell())
    async with runs_of(jobs, registry=registry) as process:
        yield process


async def made(jobs: Jobs, count: int, ago: str = "59 min") -> None:
    connection = f"interval '{ago}'"
    await jobs.sql(_MADE.replace("$2::interval", connection), count)


async def externals(runs: Runs) -> list[int]:
    """The builds in this generation that are external runs."""
    rows = await runs.jobs.sql(
        "SELECT build_number FROM deployment_runs WHERE source = 'EXTERNAL' AND generation > 0 ORDER BY 1"
    )
    return [row["build_number"] for row in rows]


async def build(client: JenkinsProvider, jenkins: JenkinsSimulator, number: int) -> None:
    """A person starts a build; wait until it has ended."""
    await client.trigger("demo.web", {}, parameterised=True, timeout_s=5)

    async def ended() -> bool:
        builds = await client.list_builds("demo.web")
        return bool(builds and any(b.number == number and not b.building for b in builds.builds))

    await eventually(ended, f"build {number} has ended")


async def read_again(runs: Runs) -> None:
    await runs.jobs.sql("UPDATE cicd_jobs SET refresh_request_time = now()")

    async def read() -> bool:
        return (await runs.jobs.row())["refresh_request_time"] is None

    await eventually(read, "the job was read")


async def test_what_is_over_the_bound_becomes_a_run_later_and_the_job_says_so(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider, registry: CollectorRegistry
) -> None:
    await made(runs.jobs, EXTERNAL_RUNS_PER_HOUR - 1)
    for number in (1, 2, 3):
        await build(client, jenkins, number)
    await read_again(runs)
    await read_again(runs)
    assert await externals(runs) == [1]
    row = await runs.jobs.row()
    assert row["problem_reason"] == "MALFORMED_ANSWER"
    assert "records in an hour" in row["problem_message"]
    assert coarse_message(row["problem_reason"], row["problem_message"]) == row["problem_message"]
    assert (registry.get_sample_value("external_runs_deferred_total") or 0) >= 2
    # Our own runs have no part in it.
    started = await runs.start("web")
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    # An hour later.
    await runs.jobs.sql(
        "UPDATE deployment_runs SET create_time = create_time - interval '61 min' WHERE source = 'EXTERNAL'"
    )
    await read_again(runs)
    assert await externals(runs) == [1, 2, 3]

    async def over() -> bool:
        await read_again(runs)
        return (await runs.jobs.row())["problem_reason"] is None

    await eventually(over, "the problem has ended")


@pytest.mark.parametrize("count", [EXTERNAL_RUNS_PER_HOUR, EXTERNAL_RUNS_PER_HOUR + 500])
async def test_at_the_bound_no_run_is_made_not_even_of_a_build_that_runs(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider, count: int
) -> None:
    """Also by the list of executors, which each cycle reads."""
    await made(runs.jobs, count)
    jenkins.hold("demo.web")
    started = await runs.start("web")
    await runs.until(started.run_id, build_number=1)
    jenkins.release("demo.web", 1)
    await runs.until(started.run_id, certainty="CONFIRMED")
    await client.trigger("demo.web", {}, parameterised=True, timeout_s=5)

    async def told() -> bool:
        await read_again(runs)
        return (await runs.jobs.row())["problem_reason"] is not None

    await eventually(told, "the job says so")
    assert await externals(runs) == []
    jenkins.release("demo.web", 2)


async def test_older_runs_and_other_tenants_do_not_count(
    runs: Runs, jenkins: JenkinsSimulator, client: JenkinsProvider
) -> None:
    await made(runs.jobs, EXTERNAL_RUNS_PER_HOUR, "61 min")
    await build(client, jenkins, 1)
    await read_again(runs)
    assert await externals(runs) == [1]


async def test_counting_reads_no_more_than_the_bound(runs: Runs) -> None:
    """By index, of that tenant, however long its history is."""
    await made(runs.jobs, 20_000)
    await runs.jobs.sql(
        "UPDATE deployment_runs SET create_time = now() - interval '2 h' WHERE number > 100500"
    )
    await runs.jobs.sql("ANALYZE deployment_runs")
    job = await runs.jobs.row()
    async with runs.jobs.databases.worker.acquire() as connection:
        plan = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {reports.READ}",
            job["tenant_id"],
            [job["job_id"]],
            EXTERNAL_RUNS_PER_HOUR,
        )
    (top,) = json.loads(plan) if isinstance(plan, str) else plan
    (read,) = [
        node for node in _nodes(top["Plan"]) if node.get("Relation Name") == "deployment_runs"
    ]
    assert read["Index Name"] == "deployment_runs_external"
    assert read["Actual Rows"] <= EXTERNAL_RUNS_PER_HOUR


def _nodes(node: dict[str, Any]) -> Any:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)
