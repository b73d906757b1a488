"""A tenant whose Jenkins answers slowly delays neither triggers nor reads of another one's (P3, P4, P6)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

from jenkins_simulator import JenkinsSimulator, RequestFault, SimulatorConfig
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import adopt, eventually, jobs_of
from tests.integration.runs_harness import QUICK, plugin, runs_of
from tests.support.waiting import until

JOB = """
    <project><concurrentBuild>true</concurrentBuild><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>
      <hudson.model.StringParameterDefinition><name>DEPLOYMENT_RUN_ID</name></hudson.model.StringParameterDefinition>
      <hudson.model.StringParameterDefinition><name>TARGET</name></hudson.model.StringParameterDefinition>
    </parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties></project>
"""

_ENDS = """
    INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status, rank,
        certainty, generation, build_number, end_time, last_observed_time, confirm_due_time)
    SELECT m.tenant_id, m.deployment_id, 100 + n, m.job_id, 'SERVICE', 'ENDED', 'COMPLETED', 341, 'REPORTED', 1,
        100 + n, now(), now(), now() - interval '1 min'
    FROM deployment_cicd_mappings AS m, generate_series(1, $2) AS n WHERE m.tenant_id = $1
"""


async def test_reported_ends_of_a_slow_jenkins_delay_no_other_tenants(databases: Databases) -> None:
    """P4, P6: hundreds of ends are due, each read takes seconds; another tenant's end is read at once."""
    config = SimulatorConfig(quiet_period_s=0.0)
    async with (
        JenkinsSimulator(config) as jenkins,
        JenkinsSimulator(config) as slow,
        jobs_of(databases, jenkins.url, webhook_base_url="") as alpha,
        jobs_of(databases, slow.url, slug="beta", box=alpha.box, webhook_base_url="") as beta,
    ):
        for where in (jenkins, slow):
            where.create_job("app", JOB)
        await alpha.create("web", adopt("app"))
        await beta.create("web", adopt("app"))
        slow.faults.add(RequestFault("GET", "/job/app/", delay_before_s=3.0))
        await beta.sql(_ENDS, beta.tenant.tenant_id, 500)
        async with runs_of(alpha, reconcile=False, confirm=True) as runs:
            clock = asyncio.get_running_loop().time
            took_s = []

            def built(number: int) -> bool:
                return number in jenkins.job("app").builds

            for number in (1, 2, 3):
                started = await runs.start("web")
                await until(partial(built, number), what="it is built")
                row = await runs.run(started.run_id)
                begun = clock()
                await runs.tell(
                    plugin(
                        row["job_id"], number, "FINALIZED", "SUCCESS", run_id=str(started.run_id)
                    )
                )
                await runs.until(started.run_id, certainty="CONFIRMED")
                took_s.append(clock() - begun)
            assert sorted(took_s)[1] < 1.5, took_s


_WAITING = """
    WITH p AS (INSERT INTO cicd_providers (tenant_id, slug, base_url, username, api_token_encrypted)
        SELECT tenant_id, 'p' || n, base_url, username, api_token_encrypted FROM cicd_providers,
        generate_series(1, 8) AS n WHERE tenant_id = $1 RETURNING tenant_id, provider_id),
    j AS (INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin, state, next_try_time)
        SELECT tenant_id, provider_id, 'app', 'ADOPTED', 'READY', NULL FROM p RETURNING tenant_id, provider_id, job_id),
    d AS (INSERT INTO deployments (tenant_id, slug, provider_id, job_kind, job_spec)
        SELECT tenant_id, 'd' || row_number() OVER (), provider_id, 'EXISTING', '{}' FROM j
        RETURNING tenant_id, provider_id, deployment_id)
    INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, waiting_for, trigger_state,
        next_try_time, trigger_deadline)
    SELECT d.tenant_id, d.deployment_id, n, j.job_id, 'SERVICE', 'TRIGGER', 'WAITING', now() - interval '1 min',
        now() + interval '10 min' FROM d JOIN j USING (tenant_id, provider_id), generate_series(1, 30) AS n
"""


async def test_runs_that_wait_for_a_tenants_slow_jenkins_hold_up_no_other_tenant(
    databases: Databases,
) -> None:
    """P3, P6: eight providers of one tenant, whose requests take seconds each, with 240 runs to be triggered."""
    config = SimulatorConfig(quiet_period_s=0.0)
    async with (
        JenkinsSimulator(config) as jenkins,
        JenkinsSimulator(config) as slow,
        jobs_of(databases, jenkins.url, webhook_base_url="") as alpha,
        jobs_of(databases, slow.url, slug="beta", box=alpha.box, webhook_base_url="") as beta,
    ):
        jenkins.create_job("app", JOB)
        await alpha.create("web", adopt("app"))
        slow.faults.add(RequestFault(path="/job/app/", delay_before_s=5.0))
        await beta.sql(_WAITING, beta.tenant.tenant_id)
        settings = replace(QUICK, request_timeout_s=8.0, at_once=32, per_tenant=16, per_provider=8)
        async with runs_of(alpha, dispatcher_settings=settings, wait_s=10.0) as runs:

            async def under_way() -> bool:
                (row,) = await alpha.sql(
                    "SELECT count(*) FROM deployment_runs WHERE lease_owner IS NOT NULL"
                )
                return bool(row["count"] >= 16)

            await eventually(under_way, "the slow tenant has all that it gets")
            begun = asyncio.get_running_loop().time()
            started = await runs.start("web")
            await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
            assert asyncio.get_running_loop().time() - begun < 3.0
