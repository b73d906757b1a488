"""Single entry point that turns build observations into status changes and events.

Webhooks, dispatcher and reconciler use it: lock, read, decide with the rules of ``domain``, write in sets, append.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from deployment_service.domain.attribution import (
    BuildRef,
    Observation,
    Outcome,
    Owner,
    Verdict,
    external_owner,
    owner_of,
)
from deployment_service.domain.duplicates import external_noticed, possible_duplicate
from deployment_service.domain.event_actors import actor_of
from deployment_service.domain.events import EventSource, NewEvent
from deployment_service.domain.parameters import RUN_ID_PARAMETER
from deployment_service.domain.problems import TOO_MANY_EXTERNAL_RUNS
from deployment_service.domain.run_transitions import (
    detach_build,
    detach_external_build,
    end_without_build,
    observe,
    still_current,
    without_resolution,
)
from deployment_service.domain.runs import (
    Build,
    Run,
    RunSource,
    StatusUpdate,
    Transition,
    TriggerState,
    current_run,
)
from deployment_service.domain.status import (
    UNKNOWN,
    Authority,
    BuildState,
    DeploymentStatus,
    FailureCause,
    Severity,
    Stage,
)
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.events import events
from deployment_service.storage.reports import reports
from deployment_service.storage.reports.reports import ReportedJob
from deployment_service.storage.runs import runs
from deployment_service.storage.runs.runs import DeploymentState
from deployment_service.unit_of_work.load import LoadedState
from deployment_service.unit_of_work.run_events import event_of
from deployment_service.unit_of_work.status_updates import (
    update_of,
    update_of_pending,
    verdict_of,
    verdict_of_pending,
)

_READ_RANK = BuildState(Stage.FINAL, Authority.READ, Severity.SUCCESS).rank


class RunUnitOfWork(LoadedState):
    """Merges observations into runs and writes the changes and their events. Create it with ``open``."""

    def observe(self, observation: Observation) -> Outcome:
        """Merge an observation of one build; return its result."""
        job = self._jobs[observation.job_id]
        if observation.build_ref.read and self._begins_generation(job, observation):
            job.generation += 1
            self._new_generations.add(job.job_id)
        statuses_before = {d: state.status for d, state in self._deployments.items()}
        owner = owner_of(
            observation.build_ref,
            job.generation,
            self._mapped[job.job_id],
            [run for run in self._runs.values() if run.job_id == job.job_id],
            builds_name_their_run=job.builds_name_their_run,
            token_exposed=job.token_exposed,
        )
        if owner.external_of is not None and self.external_runs_left() <= 0:
            owner = Owner(verdict=Verdict.DEFERRED, message=TOO_MANY_EXTERNAL_RUNS.message)
        if owner.verdict is not None:
            if observation.build_ref.read:
                self._note_job_status(job, observation)
            return Outcome(owner.verdict, owner.message, request_refresh=owner.request_refresh)
        if owner.run is not None and owner.run.deployment_id not in self._deployments:
            return Outcome(
                Verdict.NO_MAPPING,
                "The build belongs to a run of a deployment that was deleted.",
                run_id=owner.run.run_id,
            )
        if owner.evict is not None:
            self._evict(owner.evict)
        build = Build(job.generation, observation.build_ref.number)
        run = self._owner_run(owner, job.job_id, build, observation)
        deployment = self._deployments[run.deployment_id]
        state_before = run.state if run.run_id not in self._new else None
        self._apply(run, update_of(observation, build))
        if self._runs[run.run_id].shown:
            self._note_job_status(job, observation)
            self._apply_pending(job.job_id, build, run.run_id)
        after = self._runs[run.run_id].state
        return Outcome(
            verdict_of(state_before, after, observation),
            deployment_slug=deployment.slug,
            old_status=statuses_before[deployment.deployment_id],
            status=deployment.status,
            request_refresh=owner.request_refresh,
            run_id=run.run_id,
        )

    def settle_removed_build(self, job_id: uuid.UUID, number: int) -> None:
        """Settle the pending reports of a build that Jenkins removed before any read.

        If they name a run of ours, the run keeps the reported end. Otherwise the build becomes an external run that is
        never current.
        """
        build = Build(self._jobs[job_id].generation, number)
        pending = self._pending.get((job_id, number), [])
        named = {delivery.named_run_id for delivery in pending}
        open_runs = (r for r in self._runs.values() if not r.shown and not r.resolved)
        run = next((r for r in open_runs if r.run_id in named), None)
        if run is None and self.external_runs_left() <= 0:
            return  # The reports stay pending until the next read.
        self._pending.pop((job_id, number), None)
        if run is None:
            build_ref = BuildRef(number, next(iter(named - {None}), None))
            owner = external_owner(build_ref, build, self._mapped[job_id])
            if owner.external_of is None:
                verdict = owner.verdict or Verdict.STALE
                self._settled += [(delivery.delivery_id, verdict, None) for delivery in pending]
                return
            run = self._external(
                owner.external_of, job_id, build, Observation(job_id, build_ref, UNKNOWN)
            )
        for delivery in pending:
            self._apply(self._runs[run.run_id], update_of_pending(delivery, build))
            self._settled.append((delivery.delivery_id, Verdict.APPLIED, run.run_id))
        run = self._runs[run.run_id]
        message = "Jenkins no longer has the build: its record was removed before it was read."
        highest = Build(0, 0) if run.source is RunSource.EXTERNAL else run.after
        self.move(
            *end_without_build(
                run, FailureCause.BUILD_LOST, message, certain=False, highest=highest, now=self._now
            )
        )

    def _begins_generation(self, job: ReportedJob, observation: Observation) -> bool:
        """Return whether a shown number has a later start time now: the job was deleted and created again."""
        number, started = observation.build_ref.number, observation.timestamp_ms or 0
        return any(
            run.shown
            and run.build == Build(job.generation, number)
            and run.job_id == job.job_id
            and started > (run.build_timestamp_ms or started)
            for run in self._runs.values()
        )

    def _apply_pending(self, job_id: uuid.UUID, build: Build, run_id: uuid.UUID) -> None:
        """Apply the pending reports of a build; reports that carry another run id become STALE."""
        for delivery in self._pending.pop((job_id, build.number), ()):
            run = self._runs[run_id]
            named = delivery.named_run_id
            stored = str(run_id) if run.source is RunSource.SERVICE else None
            stored = stored or run.parameters.get(RUN_ID_PARAMETER)
            if named is not None and str(named) != stored:
                self._settled.append((delivery.delivery_id, Verdict.STALE, None))
                continue
            self._apply(run, update_of_pending(delivery, build))
            self._settled.append((delivery.delivery_id, verdict_of_pending(delivery, run), run_id))

    def _evict(self, run: Run) -> None:
        """Remove the build from a run, because Jenkins shows another build with its number."""
        if run.source is RunSource.SERVICE:
            self._released.add(run.run_id)
            self.detach_build(run)
        else:
            self.detach_external_build(run)

    def detach_external_build(self, run: Run) -> None:
        """Remove the build from an external run."""
        self._released.add(run.run_id)
        self.move(*detach_external_build(run, self._now))

    def detach_build(self, run: Run) -> Run:
        """Remove the build from a run of ours; return the changed run."""
        detached, transitions = detach_build(run)
        self.move(detached, transitions)
        return detached

    def move(self, run: Run, transitions: Sequence[Transition]) -> None:
        """Record a changed run and append its transitions as events."""
        before = self._runs.get(run.run_id)
        if before is not None and run.state < before.state:
            self._forced.add(run.run_id)
        self._runs[run.run_id] = run
        self._changed.add(run.run_id)
        deployment = self._deployments.get(run.deployment_id)
        if deployment is None:
            return  # The deployment was deleted: no watch shows its events.
        self._touched_deployments.add(run.deployment_id)
        self._refresh(deployment)
        for transition in transitions:
            self._append(deployment, run, transition)
        # The last event carries the deployment's status, also if it differs from the status of the run.
        if transitions:
            self._events[-1] = replace(self._events[-1], deployment_status=deployment.status)
            self._announced[deployment.deployment_id] = deployment.status

    def append(self, event: NewEvent) -> None:
        """Append an event that concerns no run. Its revision must be the deployment's next one."""
        self._deployments[event.deployment_id].revision = event.revision
        self._touched_deployments.add(event.deployment_id)
        self._events.append(event)

    def deployment(self, deployment_id: uuid.UUID) -> DeploymentState:
        """Return a loaded deployment with the pending changes."""
        return self._deployments[deployment_id]

    async def write(self) -> int | None:
        """Write all changes and append the events; return the last sequence, None without events."""
        self._announce_current_runs()
        connection, tenant = self._connection, self._tenant_id
        changed = [self._runs[run_id] for run_id in sorted(self._changed - self._new)]
        # Runs that lost their build are written first: a unique index allows one run for each build.
        released = [run for run in changed if run.run_id in self._released]
        others = [run for run in changed if run.run_id not in self._released]
        await runs.update(connection, tenant, released, self._forced)
        await runs.update(connection, tenant, others, self._forced)
        await runs.insert_external(connection, tenant, [self._runs[r] for r in self._new])
        await runs.write_deployments(
            connection, tenant, [self._deployments[d] for d in sorted(self._touched_deployments)]
        )
        for job_id in sorted(self._new_generations):
            await reports.write_generation(
                connection, tenant, job_id, self._jobs[job_id].generation
            )
        await reports.write_job_status(
            connection, tenant, [self._jobs[j] for j in self._touched_jobs]
        )
        await reports.settle_pending(connection, tenant, self._settled)
        await reports.disprove(connection, tenant, self._disproved)
        return await events.append(connection, tenant, self._events) if self._events else None

    def _note_job_status(self, job: ReportedJob, observation: Observation) -> None:
        position = (job.generation, observation.build_ref.number, observation.state.rank)
        # A read that shows the build running withdraws a reported end.
        withdrawn = (
            observation.building and position[:2] == job.last[:2] and job.last[2] < _READ_RANK
        )
        if (position >= job.last or withdrawn) and observation.status_text:
            job.last, job.status = position, observation.status_text
            self._touched_jobs.add(job.job_id)

    def _owner_run(
        self, owner: Owner, job_id: uuid.UUID, build: Build, observation: Observation
    ) -> Run:
        if owner.external_of is not None:
            return self._external(owner.external_of, job_id, build, observation)
        assert owner.run is not None
        if owner.reassign:
            return self._reassign(owner.run)
        return self.detach_build(owner.run) if owner.release else owner.run

    def _external(
        self, deployment_id: uuid.UUID, job_id: uuid.UUID, build: Build, observation: Observation
    ) -> Run:
        parameters = dict(observation.build_ref.parameters or {})
        if observation.build_ref.run_id is not None:
            parameters[RUN_ID_PARAMETER] = str(observation.build_ref.run_id)
        run = self._new_run(deployment_id, job_id, parameters)
        run = replace(run, build=build, queue_id=observation.build_ref.queue_id)
        repeated = (
            self._runs.get(observation.build_ref.run_id) if observation.build_ref.run_id else None
        )
        first = external_noticed(repeated)
        self.move(run, [first] if observation.state.stage == 0 or repeated else [])
        return run

    def _new_run(
        self, deployment_id: uuid.UUID, job_id: uuid.UUID, parameters: dict[str, str]
    ) -> Run:
        number = self._next_numbers[deployment_id]
        self._next_numbers[deployment_id] = number + 1
        run = Run(
            uuid.uuid4(),
            deployment_id,
            number,
            job_id,
            RunSource.EXTERNAL,
            TriggerState.ENDED,
            parameters=parameters,
        )
        self._new.add(run.run_id)
        return run

    def _reassign(self, run: Run) -> Run:
        """Detach a run from its build, because a lower build carries its id too. The old build becomes external."""
        repeated = {**run.parameters, RUN_ID_PARAMETER: str(run.run_id)}
        external = self._new_run(run.deployment_id, run.job_id, repeated)
        external = replace(
            without_resolution(run),
            parameters=repeated,
            run_id=external.run_id,
            number=external.number,
            source=RunSource.EXTERNAL,
            requested_by=None,
            trigger_state=TriggerState.ENDED,
        )
        self.move(external, [possible_duplicate(run, external.status)])
        return self.detach_build(run)

    def _apply(self, run: Run, update: StatusUpdate) -> None:
        policy = self._deployments[run.deployment_id].unstable_policy
        discards = self._jobs[run.job_id].discards_builds
        moved, transitions = observe(
            run, update, policy, self._now, read_at_completed=discards is not False
        )
        self._note_disproved(run, moved)
        if replace(moved, last_observed_time=run.last_observed_time) != run or transitions:
            self.move(moved, transitions)

    def _refresh(self, deployment: DeploymentState) -> None:
        own = [r for r in self._runs.values() if r.deployment_id == deployment.deployment_id]
        current = current_run(own)
        completed = current_run(
            r for r in own if r.settled and r.status is DeploymentStatus.COMPLETED
        )
        if current is None:
            return
        deployment.current_run_id, deployment.status = current.run_id, current.status
        deployment.last_completed_run_id = completed.run_id if completed else None

    def _announce_current_runs(self) -> None:
        """Append an event for each deployment whose status changed only because another run became current.

        Without it the fold of the events would differ from the deployment's status.
        """
        for deployment_id in sorted(self._touched_deployments):
            deployment = self._deployments[deployment_id]
            if deployment.status is not self._announced[deployment_id]:
                assert deployment.current_run_id is not None
                run = self._runs[deployment.current_run_id]
                self._append(deployment, run, still_current(run))

    def _append(self, deployment: DeploymentState, run: Run, transition: Transition) -> None:
        deployment.revision += 1
        event = event_of(
            deployment,
            run,
            transition,
            source=self._source,
            actor=self._actor or actor_of(self._source, run, transition),
            build_url=self._build_url(run),
        )
        old_status = self._announced[deployment.deployment_id]
        self._announced[deployment.deployment_id] = event.deployment_status
        self._events.append(replace(event, old_deployment_status=old_status))


async def observe_builds(
    connection: Connection,
    tenant_id: uuid.UUID,
    observations: Sequence[Observation],
    *,
    source: EventSource,
    removed_builds: Sequence[tuple[uuid.UUID, int]] = (),
) -> tuple[list[Outcome], int | None]:
    """Merge observations of builds of locked jobs; return the result of each, and the last sequence.

    ``removed_builds``: builds (job, number) with pending reports that Jenkins no longer has.
    """
    unit = await RunUnitOfWork.open(
        connection,
        tenant_id,
        {o.job_id for o in observations} | {job_id for job_id, _ in removed_builds},
        source=source,
        numbers={o.build_ref.number for o in observations}
        | {number for _, number in removed_builds},
        run_ids={o.build_ref.run_id for o in observations if o.build_ref.run_id},
    )
    outcomes = [unit.observe(observation) for observation in observations]
    for job_id, number in removed_builds:
        unit.settle_removed_build(job_id, number)
    return outcomes, await unit.write()
