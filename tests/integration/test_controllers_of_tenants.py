"""A controller is (tenant, provider): naming another tenant's Jenkins neither shows nor delays its builds (P6)."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio

from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.domain.sessions import SessionSeen
from deployment_service.storage import controllers
from deployment_service.storage.runs import reconcile
from jenkins_simulator import (
    ALL_PERMISSIONS,
    DEFAULT_API_TOKEN,
    READ_ONLY,
    JenkinsSimulator,
    Permission,
    SimulatedUser,
    SimulatorConfig,
)
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import Jobs, adopt, eventually, jobs_of
from tests.integration.runs_harness import Runs, runs_of

SECRET = "only-for-alpha"
JOB = """
    <project><concurrentBuild>true</concurrentBuild><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>
      <hudson.model.StringParameterDefinition><name>DEPLOYMENT_RUN_ID</name></hudson.model.StringParameterDefinition>
      <hudson.model.StringParameterDefinition><name>TARGET</name></hudson.model.StringParameterDefinition>
    </parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties></project>
"""
OTHER_TOKEN = "11" + "ab" * 16
USERS = {
    "admin": SimulatedUser(permissions=ALL_PERMISSIONS),
    "visitor": SimulatedUser(api_token=OTHER_TOKEN, permissions=READ_ONLY - {Permission.ITEM_READ}),
}
# account and token of beta's provider after it was moved to alpha's Jenkins
CREDENTIALS = {
    "a garbage token": ("admin", "11" + "00" * 16),
    "an empty token": ("admin", ""),
    "an account of its own without the job": ("visitor", OTHER_TOKEN),
}


@dataclass
class Tenants:
    """Two tenants, each with a job `app` in a Jenkins of its own, which one process reads."""

    alpha: Jobs
    beta: Jobs
    runs: Runs
    jenkins: JenkinsSimulator

    async def move_beta(self, account: str, token: str) -> None:
        """Beta's provider now names alpha's Jenkins."""
        await self.alpha.sql(
            "UPDATE cicd_providers SET base_url = $2, username = $3, api_token_encrypted = $4, version = version + 1"
            " WHERE tenant_id = $1",
            self.beta.tenant.tenant_id,
            self.jenkins.url,
            account,
            self.alpha.box.encrypt(token.encode()) if token else None,
        )

    async def beta_waits(self, count: int = 1) -> None:
        """Runs of beta that Jenkins is said to have accepted, so that its controller is read."""
        await self.alpha.sql(
            "INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status,"
            " rank, queue_id, first_build_number, start_time)"
            " SELECT m.tenant_id, m.deployment_id, 100 + n, m.job_id, 'SERVICE', 'ACCEPTED', 'RUNNING', 100,"
            " (900000 + n)::text, 1, now() FROM deployment_cicd_mappings AS m, generate_series(1, $2) AS n"
            " WHERE m.tenant_id = $1",
            self.beta.tenant.tenant_id,
            count,
        )

    async def build_of_a_person(self, client: JenkinsProvider) -> None:
        """Somebody of alpha starts a build in Jenkins; wait until alpha's run of it is there."""
        await client.trigger("app", {"TARGET": SECRET}, parameterised=True, timeout_s=5)

        async def known() -> bool:
            return bool(
                await self.alpha.sql(
                    "SELECT FROM deployment_runs WHERE tenant_id = $1 AND source = 'EXTERNAL'",
                    self.alpha.tenant.tenant_id,
                )
            )

        await eventually(known, "the build is a run of alpha")

    async def cycles_of_beta(self, count: int) -> None:
        """Wait until beta's controller was read this often."""
        key = (self.beta.tenant.tenant_id, self.beta.provider_id)
        times: set[object] = set()

        async def read() -> bool:
            (row,) = await self.alpha.sql(
                "SELECT next_cycle_time FROM cicd_controllers WHERE (tenant_id, provider_id) = ($1, $2)",
                *key,
            )
            times.add(row["next_cycle_time"])
            return len(times) > count

        await eventually(read, "beta's controller was read")

    async def rows_of(self, jobs: Jobs) -> str:
        """All that a viewer of the tenant may see of it: runs, events, the job."""
        found = [
            await self.alpha.sql(
                f"SELECT t::text FROM {table} AS t WHERE tenant_id = $1", jobs.tenant.tenant_id
            )
            for table in ("deployments", "deployment_runs", "deployment_events", "cicd_jobs")
        ]
        return json.dumps([row[0] for rows in found for row in rows])


@pytest_asyncio.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    config = SimulatorConfig(quiet_period_s=0.0, executors=8, users=USERS)
    async with JenkinsSimulator(config) as simulator:
        yield simulator


@pytest_asyncio.fixture
async def tenants(databases: Databases, jenkins: JenkinsSimulator) -> AsyncIterator[Tenants]:
    async with (
        JenkinsSimulator(SimulatorConfig(quiet_period_s=0.0)) as elsewhere,
        jobs_of(databases, jenkins.url, slug="demo", webhook_base_url="") as alpha,
        jobs_of(databases, elsewhere.url, slug="beta", box=alpha.box, webhook_base_url="") as beta,
        runs_of(alpha) as runs,
    ):
        for where in (jenkins, elsewhere):
            where.create_job("app", JOB)
        await alpha.create("web", adopt("app"))
        await beta.create("web", adopt("app"))
        await beta.keeper.stop()
        yield Tenants(alpha, beta, runs, jenkins)


@pytest.mark.parametrize("credential", CREDENTIALS)
async def test_a_provider_that_names_anothers_jenkins_sees_nothing_of_it(
    tenants: Tenants, client: JenkinsProvider, credential: str
) -> None:
    """P6: of builds that run and that have ended, of runs and of builds that a person started; alpha's settle."""
    tenants.jenkins.hold("app")
    await tenants.move_beta(*CREDENTIALS[credential])
    await tenants.beta_waits()
    started = await tenants.runs.start("web", parameters={"TARGET": SECRET})
    await tenants.runs.until(started.run_id, build_number=1)
    await tenants.build_of_a_person(client)
    await tenants.cycles_of_beta(3)
    for number in (1, 2):
        tenants.jenkins.release("app", number)
    await tenants.runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    await tenants.cycles_of_beta(2)
    seen = await tenants.rows_of(tenants.beta)
    assert SECRET not in seen
    assert str(started.run_id) not in seen
    assert "EXTERNAL" not in seen
    assert SECRET in await tenants.rows_of(tenants.alpha)


async def test_who_holds_anothers_token_changes_nothing_of_its_runs(
    tenants: Tenants, client: JenkinsProvider
) -> None:
    """P6: that token shows the builds to its holder, by requests of beta's own; alpha's runs are alpha's."""
    tenants.jenkins.hold("app")
    await tenants.move_beta("admin", DEFAULT_API_TOKEN)
    await tenants.beta_waits()
    started = await tenants.runs.start("web", parameters={"TARGET": SECRET})
    await tenants.runs.until(started.run_id, build_number=1)
    await tenants.build_of_a_person(client)
    await tenants.cycles_of_beta(3)
    tenants.jenkins.release("app", 1)
    await tenants.runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    mine = await tenants.alpha.sql(
        "SELECT source FROM deployment_runs WHERE tenant_id = $1 ORDER BY number",
        tenants.alpha.tenant.tenant_id,
    )
    assert [one["source"] for one in mine] == ["SERVICE", "EXTERNAL"]


async def test_thousands_of_runs_of_one_tenant_push_no_other_out_of_a_cycle(
    tenants: Tenants,
) -> None:
    """P6: all of them are longer unobserved than the other tenant's, in the same Jenkins and account."""
    tenants.jenkins.hold("app")
    await tenants.move_beta(*CREDENTIALS["a garbage token"])
    await tenants.beta_waits(5000)
    started = await tenants.runs.start("web")
    await tenants.runs.until(started.run_id, build_number=1)
    tenants.jenkins.release("app", 1)
    await tenants.runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert await tenants.alpha.sql("SELECT 1 FROM deployment_runs HAVING count(*) = 5001")


async def test_tenants_take_turns_however_many_controllers_one_has(databases: Databases) -> None:
    """P6: 200 controllers of one tenant that have waited longest come one by one beside a single one."""
    async with jobs_of(databases, "http://j.invalid", keep=False) as jobs:
        await _add_providers(jobs, jobs.tenant.tenant_id, 200)
        other = uuid.uuid4()
        await jobs.sql("INSERT INTO tenants (tenant_id, slug) VALUES ($1, 'other')", other)
        await _add_providers(jobs, other, 1)
        async with databases.worker.acquire() as connection:
            owner = uuid.uuid4()
            claimed = await _claim(connection, owner, limit=0)
            await jobs.sql(
                "UPDATE cicd_controllers SET next_cycle_time = now() - interval '1 hour' WHERE tenant_id <> $1",
                other,
            )
            claimed = await _claim(connection, owner, limit=2)
            assert {turn.tenant_id for turn in claimed} == {jobs.tenant.tenant_id, other}
            claimed = await _claim(connection, owner, limit=100)
            assert len(claimed) == 7, "with the one that is leased already the tenant has eight"
            assert not await _claim(connection, owner, limit=100)
            await controllers.give_back_all(connection, owner)
            assert len(await _claim(connection, owner, limit=100)) == 9


async def _claim(connection, owner, *, limit):
    return await controllers.claim_controllers(
        connection, owner, lease_s=60, limit=limit, per_tenant=8
    )


async def _add_providers(jobs: Jobs, tenant_id: uuid.UUID, count: int) -> None:
    await jobs.sql(
        "INSERT INTO cicd_providers (tenant_id, slug, base_url) SELECT $1, 'p' || n, 'http://j.invalid/'"
        " FROM generate_series(1, $2) AS n",
        tenant_id,
        count,
    )


async def test_a_controller_goes_with_its_provider_and_keeps_its_state_when_the_token_changes(
    databases: Databases,
) -> None:
    async with jobs_of(databases, "http://j.invalid/", keep=False) as jobs:
        owner = uuid.uuid4()
        async with databases.worker.acquire() as connection:
            (turn,) = await _claim(connection, owner, limit=1)
            seen = SessionSeen("one", turn.now, turn.now)
            await controllers.end_cycle(connection, turn, owner, next_in_s=0, sessions=[seen])
            await jobs.sql("UPDATE cicd_providers SET username = 'new', version = version + 1")
            (turn,) = await _claim(connection, owner, limit=1)
            assert turn.sessions == (seen,)
            await controllers.end_cycle(connection, turn, owner, next_in_s=0, sessions=[seen])
            # The sessions of another Jenkins are no restart of this one.
            await jobs.sql("UPDATE cicd_providers SET base_url = 'http://other.invalid/'")
            (turn,) = await _claim(connection, owner, limit=1)
            assert turn.sessions == ()
        await jobs.sql("DELETE FROM cicd_providers")
        assert not await jobs.sql("SELECT FROM cicd_controllers")


_FILL = """
    WITH t AS (INSERT INTO tenants (slug) SELECT 't' || n FROM generate_series(1, 20) AS n RETURNING tenant_id),
    p AS (INSERT INTO cicd_providers (tenant_id, slug, base_url) SELECT tenant_id, 'p' || n, 'http://j.invalid/'
        FROM t, generate_series(1, 5) AS n RETURNING tenant_id, provider_id),
    j AS (INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin, state, next_try_time, next_sweep_time)
        SELECT tenant_id, provider_id, 'job-' || n, 'ADOPTED', 'READY', NULL, now() + interval '1 hour'
        FROM p, generate_series(1, 20) AS n RETURNING tenant_id, provider_id, job_id, full_name),
    d AS (INSERT INTO deployments (tenant_id, slug, provider_id, job_kind, job_spec, status)
        SELECT tenant_id, 'd' || replace(job_id::text, '-', ''), provider_id, 'EXISTING', '{}', 'RUNNING' FROM j
        RETURNING tenant_id, deployment_id, slug),
    m AS (INSERT INTO deployment_cicd_mappings (tenant_id, deployment_id, job_id)
        SELECT d.tenant_id, d.deployment_id, j.job_id FROM d
        JOIN j ON j.tenant_id = d.tenant_id AND d.slug = 'd' || replace(j.job_id::text, '-', '')
        RETURNING tenant_id, deployment_id, job_id)
    INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status, rank,
        queue_id, start_time)
    SELECT tenant_id, deployment_id, n, job_id, 'SERVICE', 'ACCEPTED', 'RUNNING', 100, n::text, now()
    FROM m, generate_series(1, 10) AS n
"""


@pytest.mark.parametrize("what", ["UNCONFIRMED", "TO_STOP", "JOBS_TO_READ", "JOBS_NAMED", "CLAIM"])
async def test_a_cycle_reads_only_what_is_its_controllers(databases: Databases, what: str) -> None:
    """P6: by index, however much the other tenants have: 2,000 jobs and 20,000 runs here."""
    async with jobs_of(databases, "http://j.invalid", keep=False) as jobs:
        await jobs.sql(_FILL)
        (key,) = await jobs.sql("SELECT tenant_id, provider_id FROM deployments LIMIT 1")
        await jobs.sql("ANALYZE")
        async with databases.worker.acquire() as connection:
            statement, arguments = getattr(reconcile, what, controllers.CLAIM), [*key]
            if what == "JOBS_NAMED":
                arguments.append(["job-1", "job-2"])
            if what == "CLAIM":
                await _claim(connection, uuid.uuid4(), limit=1)
                arguments = [uuid.uuid4(), timedelta(seconds=1), 16, 8]
            transaction = connection.transaction()
            await transaction.start()
            plan = await connection.fetchval(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments
            )
            await transaction.rollback()
    (top,) = json.loads(plan) if isinstance(plan, str) else plan
    read = {
        (node["Relation Name"], node["Node Type"], _rows(node))
        for node in _nodes(top["Plan"])
        if node.get("Relation Name") in ("deployment_runs", "cicd_jobs")
    }
    assert read
    assert not [one for one in read if one[1] == "Seq Scan"], read
    assert max(rows for _, _, rows in read) <= 200, read


def _nodes(node):
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def _rows(node) -> int:
    return int(node["Actual Rows"] * node["Actual Loops"]) + int(
        node.get("Rows Removed by Filter", 0)
    )
