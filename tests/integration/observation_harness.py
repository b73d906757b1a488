"""A running service whose Jenkins can be made unobservable, as tenants and operators see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from deployment_service.domain.access import Role
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from jenkins_simulator import (
    DEFAULT_API_TOKEN,
    JenkinsSimulator,
    RequestFault,
    SimulatedUser,
    SimulatorConfig,
)
from tests.integration.jobs_harness import eventually
from tests.support.api import Api, request_id, running_api

DEMO = "tenants/demo"
PROVIDER = f"{DEMO}/providers/main"
QUICK: dict[str, Any] = {
    "trigger_wait_s": 5,
    "read_interval_s": 0.1,
    "polling_interval_s": 0.1,
    "request_timeout_s": 1,
    "probe_interval_s": 0.2,
}


@dataclass
class Observed:
    """``viewer``: the metadata of a key of the tenant; an operator uses ``api.as_admin``."""

    api: Api
    jenkins: JenkinsSimulator
    database_url: str
    viewer: tuple[tuple[str, str], ...]

    async def create(self, slug: str = "web", **fields: Any) -> pb.Deployment:
        request = pb.CreateDeploymentRequest(
            parent=DEMO,
            deployment_id=slug,
            deployment=pb.Deployment(
                provider=PROVIDER, job=pb.DeploymentJob(freestyle_shell="exit 0"), **fields
            ),
            request_id=request_id(),
        )
        answer: pb.CreateDeploymentResponse = await self.api.deployments.CreateDeployment(
            request, metadata=self.api.as_admin
        )

        async def ready() -> bool:
            return (await self.deployment(slug)).cicd_job.state == pb.CICD_JOB_STATE_READY

        await eventually(ready, "the job exists")
        return answer.deployment

    async def start(self, slug: str = "web", **fields: Any) -> str:
        """Run a deployment; return the run's name."""
        request = pb.RunDeploymentRequest(
            name=f"{DEMO}/deployments/{slug}", request_id=request_id(), **fields
        )
        answer: pb.RunDeploymentResponse = await self.api.deployments.RunDeployment(
            request, metadata=self.api.as_admin
        )
        return answer.run.name

    async def building(self, slug: str = "web") -> str:
        """Run a deployment and return the name of the run once its build is known, which goes on."""
        self.jenkins.hold(f"demo.{slug}")
        name = await self.start(slug)

        async def known() -> bool:
            return bool((await self.run(name)).build_number)

        await eventually(known, "the build is known")
        return name

    async def run(self, name: str, *, operator: bool = False) -> pb.Run:
        request = pb.GetRunRequest(name=name)
        metadata = self.api.as_admin if operator else self.viewer
        answer: pb.GetRunResponse = await self.api.deployments.GetRun(request, metadata=metadata)
        return answer.run

    async def explain(self, name: str) -> pb.ExplainRunResponse:
        request = pb.ExplainRunRequest(name=name)
        answer: pb.ExplainRunResponse = await self.api.deployments.ExplainRun(
            request, metadata=self.viewer
        )
        return answer

    async def deployment(self, slug: str = "web") -> pb.Deployment:
        request = pb.GetDeploymentRequest(name=f"{DEMO}/deployments/{slug}")
        answer: pb.GetDeploymentResponse = await self.api.deployments.GetDeployment(
            request, metadata=self.viewer
        )
        return answer.deployment

    async def provider(self) -> admin.Provider:
        request = admin.GetProviderRequest(name=PROVIDER)
        answer: admin.GetProviderResponse = await self.api.admin.GetProvider(
            request, metadata=self.api.as_admin
        )
        return answer.provider

    async def until_problem(self, name: str, reason: str) -> pb.ObservationProblem:
        """Wait until the run says that it has a problem of this kind; return it."""
        wanted = pb.ObservationProblemReason.Value(f"OBSERVATION_PROBLEM_REASON_{reason}")

        async def check() -> bool:
            return (await self.run(name)).observation_problem.reason == wanted

        await eventually(check, f"the run has the problem {reason}")
        return (await self.run(name)).observation_problem

    async def until_provider_has(self, reason: str) -> None:
        wanted = pb.ObservationProblemReason.Value(f"OBSERVATION_PROBLEM_REASON_{reason}")

        async def check() -> bool:
            return (await self.provider()).observation_problem.reason == wanted

        await eventually(check, f"the provider has the problem {reason}")

    async def until_no_problem(self) -> None:
        """Wait until neither the provider nor any job has a problem."""

        async def check() -> bool:
            jobs = await self.sql("SELECT FROM cicd_jobs WHERE problem_since IS NOT NULL")
            return not jobs and not (await self.provider()).HasField("observation_problem")

        await eventually(check, "the problems have ended")

    async def until_settled(self, name: str) -> pb.Run:
        async def check() -> bool:
            return (await self.run(name)).HasField("settle_time")

        await eventually(check, "the run is settled")
        return await self.run(name)

    async def cycles(self, count: int = 3) -> None:
        """Wait until so many cycles have begun and ended since now."""
        for _ in range(count):
            (before,) = await self.sql("SELECT now() AS time")

            async def later(since: Any = before["time"]) -> bool:
                rows = await self.sql("SELECT next_poked_cycle_time AS time FROM cicd_controllers")
                # A cycle that ends sets this half a second ahead.
                return all((row["time"] - since).total_seconds() > 0.5 for row in rows)

            await eventually(later, "a cycle has ended")

    async def age_problems(self) -> None:
        """Let all problems have begun a minute ago."""
        for table, column in (
            ("cicd_jobs", "problem_since"),
            ("cicd_providers", "problem_since"),
            ("deployment_runs", "cancel_problem_since"),
        ):
            await self.sql(f"UPDATE {table} SET {column} = {column} - interval '1 min'")

    async def sql(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    def revoke_token(self) -> None:
        self.jenkins.set_user("admin", SimulatedUser(api_token="another"))

    def fault(self, *arguments: Any, **fields: Any) -> None:
        self.jenkins.faults.add(RequestFault(*arguments, **fields))


@asynccontextmanager
async def observed(database_url: str, **settings: Any) -> AsyncIterator[Observed]:
    """A service with a tenant, its provider and the deployment ``web``."""
    config = SimulatorConfig(quiet_period_s=0.0, executors=8)
    async with (
        JenkinsSimulator(config) as jenkins,
        running_api(database_url, **QUICK | settings) as api,
    ):
        await api.admin.CreateTenant(
            admin.CreateTenantRequest(tenant_id="demo"), metadata=api.as_admin
        )
        await api.admin.CreateProvider(
            admin.CreateProviderRequest(
                parent=DEMO,
                provider_id="main",
                provider=admin.Provider(
                    base_url=jenkins.url, username="admin", api_token=DEFAULT_API_TOKEN
                ),
            ),
            metadata=api.as_admin,
        )
        viewer = await api.key(Role.VIEWER, "demo")
        one = Observed(api, jenkins, database_url, viewer)
        await one.create()
        yield one
