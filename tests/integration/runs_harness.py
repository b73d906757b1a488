"""What brings runs through Jenkins, on top of ``jobs_harness``: dispatcher, reconciler, reports."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry

from deployment_service.actions.cancel_run import Cancelled, CancelRun, RunCanceller
from deployment_service.actions.report import ReportBuilds
from deployment_service.actions.run_deployment import RunDeployment, RunStarter, Started
from deployment_service.domain.attribution import BuildRef, Observation
from deployment_service.domain.events import EventSource
from deployment_service.domain.names import RunName
from deployment_service.domain.reports import BuildReport, Phase, Proof, ReportResult, ReportSource
from deployment_service.domain.status import RUNNING
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.row_signals import RowSignals
from deployment_service.unit_of_work.run_unit_of_work import observe_builds
from deployment_service.workers.controllers.controllers import Controllers
from deployment_service.workers.controllers.finder import ControllerFinder
from deployment_service.workers.controllers.origin_budget import OriginBudget
from deployment_service.workers.dispatcher.dispatcher import Dispatcher
from deployment_service.workers.dispatcher.settings import DispatcherSettings
from deployment_service.workers.reconciler.confirmer import Confirmer, ConfirmerSettings
from deployment_service.workers.reconciler.detection import Detection
from deployment_service.workers.reconciler.reconciler import Reconciler
from deployment_service.workers.reconciler.settings import ReconcilerSettings
from tests.integration.jobs_harness import LIMITS, Jobs, eventually, jenkins_client

QUICK = DispatcherSettings(
    request_timeout_s=1.0,
    send_within_s=1.0,
    quarantine_s=0.2,
    probe_interval_s=0.2,
    first_retry_s=0.05,
    longest_retry_s=0.2,
)
OFTEN = ReconcilerSettings(
    read_interval_s=0.1, polling_interval_s=0.1, lost_after_s=0.3, probe_interval_s=0.1
)
CONFIRM_SOON = ConfirmerSettings(poll_s=0.1, unsaved_retry_s=0.05, retry_s=0.1)


@dataclass
class Runs:
    """One process that runs deployments."""

    jobs: Jobs
    starter: RunStarter
    dispatcher: Dispatcher
    reconciler: Reconciler
    confirmer: Confirmer
    report: ReportBuilds
    canceller: RunCanceller

    async def start(self, name: str = "web", **fields: Any) -> Started:
        remaining_s = fields.pop("remaining_s", 10.0)
        fields.setdefault("request", self.jobs.request("RunDeployment"))
        command = RunDeployment(self.jobs.tenant, name, **fields)
        return await self.starter.start(command, remaining_s=remaining_s)

    async def cancel(self, name: str = "web", number: int = 1, **fields: Any) -> Cancelled:
        remaining_s = fields.pop("remaining_s", 10.0)
        run = RunName(self.jobs.tenant.slug, name, number)
        return await self.canceller.cancel(
            CancelRun(self.jobs.tenant, run, **fields), remaining_s=remaining_s
        )

    async def run(self, run_id: uuid.UUID) -> asyncpg.Record:
        (row,) = await self.jobs.sql("SELECT * FROM deployment_runs WHERE run_id = $1", run_id)
        return row

    async def runs(self) -> list[asyncpg.Record]:
        return await self.jobs.sql("SELECT * FROM deployment_runs ORDER BY deployment_id, number")

    async def deployment(self, name: str = "web") -> asyncpg.Record:
        (row,) = await self.jobs.sql("SELECT * FROM deployments WHERE slug = $1", name)
        return row

    async def history(self, name: str = "web") -> list[tuple[str, str, str]]:
        """Type, old and new status of the events about runs.

        Without RUN_WAITING: whether a short build is seen to wait depends on when Jenkins is read.
        """
        rows = await self.jobs.sql(
            "SELECT * FROM deployment_events WHERE deployment_slug = $1 AND run_number IS NOT NULL"
            " AND type <> 'DEPLOYMENT_RUN_WAITING' ORDER BY sequence",
            name,
        )
        return [
            (row["type"].removeprefix("DEPLOYMENT_"), row["old_status"], row["status"])
            for row in rows
        ]

    async def until(self, run_id: uuid.UUID, **wanted: Any) -> asyncpg.Record:
        async def check() -> bool:
            row = await self.run(run_id)
            return all(row[name] == value for name, value in wanted.items())

        await eventually(check, f"run has {wanted}")
        return await self.run(run_id)

    async def until_announced(self, run_id: uuid.UUID) -> None:
        """Until a request for the run may be on its way to Jenkins."""

        async def check() -> bool:
            return bool((await self.run(run_id))["unclear_until"])

        await eventually(check, "the request was announced")

    async def show(
        self,
        job_id: uuid.UUID,
        number: int,
        *,
        run_id: uuid.UUID | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        """As if Jenkins had been read and had shown this build, running."""
        build_ref = BuildRef(
            number,
            run_id,
            True,
            parameters=parameters or {},
            read=True,
            timestamp_ms=2**42 + number,
        )
        tenant_id = self.jobs.tenant.tenant_id

        async def work(connection: Connection) -> None:
            await locks.lock_jobs(connection, tenant_id, [job_id])
            read_time = await connection.fetchval("SELECT now()")
            seen = Observation(
                job_id, build_ref, RUNNING, "RUNNING", build_ref.timestamp_ms, read_time=read_time
            )
            await observe_builds(connection, tenant_id, [seen], source=EventSource.READ)

        await self.jobs.databases.worker.transaction(work)

    async def tell(self, *reports: BuildReport) -> list[ReportResult]:
        return await self.report(reports)


def plugin(
    job_id: uuid.UUID, number: int, phase: str, status: str = "", **more: Any
) -> BuildReport:
    """What the Notification plugin says, and is believed if nothing else is said of its proof."""
    more.setdefault("proof", Proof.SIGNATURE)
    return BuildReport(
        "tenants/demo",
        str(job_id),
        number,
        status,
        Phase(phase),
        ReportSource.NOTIFICATION_PLUGIN,
        **more,
    )


def guide(job_id: uuid.UUID, number: int, status: str, **more: Any) -> BuildReport:
    """What a body in the guide's form says, and is believed likewise."""
    more.setdefault("proof", Proof.SIGNATURE)
    return BuildReport(
        "tenants/demo",
        str(job_id),
        number,
        status,
        Phase.UNSPECIFIED,
        ReportSource.GUIDE,
        **more,
    )


@contextlib.asynccontextmanager
async def runs_of(
    jobs: Jobs,
    *,
    dispatcher_settings: DispatcherSettings = QUICK,
    reconciler_settings: ReconcilerSettings = OFTEN,
    dispatch: bool = True,
    reconcile: bool = True,
    confirm: bool | None = None,
    confirmer_settings: ConfirmerSettings = CONFIRM_SOON,
    trigger_deadline_s: float = 60.0,
    wait_s: float = 5.0,
    registry: CollectorRegistry | None = None,
    requests_per_second: float | None = None,
) -> AsyncIterator[Runs]:
    """One process. ``requests_per_second``: the budget of each origin, None: no limit.

    ``dispatch``, ``reconcile`` or ``confirm`` False: that worker isn't started.

    ``confirm`` is like ``reconcile`` by default.
    """
    signals = RowSignals()
    budget = None
    if requests_per_second is not None:
        budget = OriginBudget(
            jobs.databases.worker, requests_per_second=requests_per_second, registry=registry
        )
    controllers = Controllers(jenkins_client, jobs.box.decrypt, LIMITS, budget=budget)
    find = ControllerFinder(jobs.databases.worker, controllers)

    def committed(_: uuid.UUID) -> None:
        jobs.commits.append(None)

    dispatcher = Dispatcher(
        jobs.databases.worker,
        find,
        jobs.box,
        committed=committed,
        settled=signals.notify,
        settings=dispatcher_settings,
    )
    reconciler = Reconciler(
        jobs.databases.worker,
        find,
        committed=committed,
        settings=reconciler_settings,
        detection=Detection(
            read_interval_s=reconciler_settings.read_interval_s,
            polling_interval_s=reconciler_settings.polling_interval_s,
            request_timeout_s=1.0,
            registry=registry,
        ),
    )
    starter = RunStarter(
        jobs.databases.api,
        signals,
        jobs.box,
        committed=committed,
        wake_dispatcher=dispatcher.wake,
        wait_s=wait_s if dispatch else 0.0,
        trigger_deadline_s=trigger_deadline_s,
    )
    canceller = RunCanceller(
        jobs.databases.api,
        signals,
        committed=committed,
        wake_reconciler=reconciler.wake,
        wait_s=wait_s if reconcile else 0.0,
    )
    confirmer = Confirmer(
        jobs.databases.worker, find, committed=committed, settings=confirmer_settings
    )
    report = ReportBuilds(
        jobs.databases.worker,
        committed=committed,
        reported=confirmer.wake,
        refresh_requested=reconciler.wake,
    )
    if dispatch:
        await dispatcher.start()
    if reconcile:
        await reconciler.start()
    if confirm if confirm is not None else reconcile:
        await confirmer.start()
    try:
        yield Runs(jobs, starter, dispatcher, reconciler, confirmer, report, canceller)
    finally:
        await dispatcher.stop()
        await reconciler.stop()
        await confirmer.stop()
        await controllers.close()
