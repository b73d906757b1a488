"""The state that one transaction locks and reads about the jobs of its observations."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Self

from deployment_service.cicd.names import build_url
from deployment_service.domain.actors import Actor
from deployment_service.domain.attribution import (
    DeploymentOfJob,
)
from deployment_service.domain.events import EventSource, NewEvent
from deployment_service.domain.problems import EXTERNAL_RUNS_PER_HOUR
from deployment_service.domain.runs import (
    Build,
    Run,
    RunSource,
)
from deployment_service.domain.status import (
    DeploymentStatus,
)
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.reports import reports
from deployment_service.storage.reports.reports import PendingDelivery, ReportedJob
from deployment_service.storage.runs import runs
from deployment_service.storage.runs.runs import DeploymentState


class LoadedState:
    """The state of some jobs of one tenant in one transaction, and its pending changes. Create it with ``open``."""

    def __init__(
        self,
        connection: Connection,
        tenant_id: uuid.UUID,
        source: EventSource,
        now: datetime,
        actor: Actor | None = None,
    ) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._source = source
        self._now = now
        self._actor = actor
        self._jobs: dict[uuid.UUID, ReportedJob] = {}
        self._mapped: dict[uuid.UUID, list[DeploymentOfJob]] = {}
        self._deployments: dict[uuid.UUID, DeploymentState] = {}
        self._runs: dict[uuid.UUID, Run] = {}
        self._pending: dict[tuple[uuid.UUID, int], list[PendingDelivery]] = {}
        self._next_numbers: dict[uuid.UUID, int] = {}
        self._changed: set[uuid.UUID] = set()
        self._forced: set[uuid.UUID] = set()
        """Runs whose end was withdrawn: they are written although their state ranks lower than the stored one."""
        self._released: set[uuid.UUID] = set()
        self._new: set[uuid.UUID] = set()
        self._new_generations: set[uuid.UUID] = set()
        self._touched_jobs: set[uuid.UUID] = set()
        self._touched_deployments: set[uuid.UUID] = set()
        self._announced: dict[uuid.UUID, DeploymentStatus] = {}
        """The status of each deployment in its latest event."""
        self._settled: list[tuple[int, str, uuid.UUID | None]] = []
        self._disproved: list[tuple[uuid.UUID, datetime]] = []
        self._events: list[NewEvent] = []

    @classmethod
    async def open(
        cls,
        connection: Connection,
        tenant_id: uuid.UUID,
        job_ids: Collection[uuid.UUID],
        *,
        source: EventSource,
        numbers: Collection[int] = (),
        run_ids: Collection[uuid.UUID] = (),
        actor: Actor | None = None,
    ) -> Self:
        """Lock and read everything that observations of these builds or runs can change.

        The jobs must be locked already (``locks.lock_jobs``).
        ``numbers``, ``run_ids``: builds and runs that the observations name.
        ``actor``: the actor of the changes, if a caller requested them.
        """
        unit = cls(connection, tenant_id, source, await runs.now(connection), actor)
        jobs = list(job_ids)
        affected = await locks.lock_affected_runs(
            connection, tenant_id, jobs, list(numbers), list(run_ids)
        )
        unit._mapped = await runs.deployments_of_jobs(connection, tenant_id, jobs)
        deployment_ids = sorted(
            {d.deployment_id for mapped in unit._mapped.values() for d in mapped}
        )
        await locks.lock_deployments(connection, tenant_id, deployment_ids)
        unit._jobs = await reports.read_jobs(connection, tenant_id, jobs)
        unit._deployments = await runs.read_deployments(connection, tenant_id, deployment_ids)
        unit._announced = {d: state.status for d, state in unit._deployments.items()}
        locked = await runs.read(connection, tenant_id, affected)
        others = await runs.read_highest_others(connection, tenant_id, deployment_ids, affected)
        unit._runs = {run.run_id: run for run in [*locked, *others]}
        unit._next_numbers = await runs.next_numbers(connection, tenant_id, deployment_ids)
        for delivery in await reports.read_pending(connection, tenant_id, jobs, numbers):
            key = (delivery.job_id, delivery.build_number)
            unit._pending.setdefault(key, []).append(delivery)
        return unit

    def external_runs_left(self) -> int:
        """Return how many external runs the tenant may still get within this hour."""
        made = max((job.external_runs for job in self._jobs.values()), default=0)
        new = sum(self._runs[run_id].source is RunSource.EXTERNAL for run_id in self._new)
        return EXTERNAL_RUNS_PER_HOUR - made - new

    @property
    def now(self) -> datetime:
        """Return the time of the transaction, by the database's clock."""
        return self._now

    def run(self, run_id: uuid.UUID) -> Run | None:
        """Return a loaded run with the pending changes; None if its deployment was deleted."""
        run = self._runs.get(run_id)
        return run if run is not None and run.deployment_id in self._deployments else None

    def job(self, job_id: uuid.UUID) -> ReportedJob | None:
        """Return a loaded job; None if it does not exist."""
        return self._jobs.get(job_id)

    def highest_build(self, deployment_id: uuid.UUID) -> Build:
        """Return the highest build of the deployment's runs; 0 of generation 0 if there is none."""
        own = [r for r in self._runs.values() if r.deployment_id == deployment_id]
        return max(
            (run.build or run.after for run in own),
            key=lambda build: (build.generation, build.number),
            default=Build(0, 0),
        )

    def _note_disproved(self, before: Run, after: Run) -> None:
        """Note that a read has shown a build running of which an end had been reported."""
        if before.reports and after.building_time and after.building_time != before.building_time:
            self._disproved.append((after.run_id, after.building_time))

    def _build_url(self, run: Run) -> str:
        """Return the URL of a run's build; empty if the run has no build."""
        job = self._jobs.get(run.job_id)
        if job is None or run.build is None or not job.base_url:
            return ""
        return build_url(job.base_url, job.full_name, run.build.number)
