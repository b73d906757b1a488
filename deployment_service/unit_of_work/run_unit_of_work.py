"""Single entry point that turns build observations into status changes and events.

Webhooks, dispatcher and reconciler use it: lock, read, decide with the rules of ``domain``, write in sets, append.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
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
from deployment_service.storage.reports.reports import JobState
from deployment_service.storage.runs import runs
from deployment_service.storage.runs.runs import DeploymentState
from deployment_service.unit_of_work.load import LedgerState
from deployment_service.unit_of_work.status_updates import (
    update_of,
    update_of_pending,
    verdict_of,
    verdict_of_pending,
)

_READ_RANK = BuildState(Stage.FINAL, Authority.READ, Severity.SUCCESS).rank


class RunUnitOfWork(LedgerState):
    """Decides and writes what observations change. Use ``open``."""

    def observe(self, seen: Observation) -> Outcome:
        """Merge what is said of one build."""
        job = self._jobs[seen.job_id]
        if seen.build_ref.read and self._begins_generation(job, seen):
            job.generation += 1
            self._new_generations.add(job.job_id)
        statuses_before = {d: state.status for d, state in self._deployments.items()}
        owner = owner_of(
            seen.build_ref,
            job.generation,
            self._mapped[job.job_id],
            [run for run in self._runs.values() if run.job_id == job.job_id],
            builds_name_their_run=job.builds_name_their_run,
            token_exposed=job.token_exposed,
        )
        if owner.external_of is not None and self.external_runs_left() <= 0:
            owner = Owner(verdict=Verdict.DEFERRED, message=TOO_MANY_EXTERNAL_RUNS.message)
        if owner.verdict is not None:
            if seen.build_ref.read:
                self._note_job_status(job, seen)
            return Outcome(owner.verdict, owner.message, request_refresh=owner.request_refresh)
        if owner.run is not None and owner.run.deployment_id not in self._deployments:
            return Outcome(
                Verdict.NO_MAPPING,
                "The build belongs to a run of a deployment that was deleted.",
                run_id=owner.run.run_id,
            )
        if owner.evict is not None:
            self._release_build(owner.evict)
        build = Build(job.generation, seen.build_ref.number)
        run = self._owner_run(owner, job.job_id, build, seen)
        deployment = self._deployments[run.deployment_id]
        known_before = run.state if run.run_id not in self._new else None
        self._apply(run, update_of(seen, build))
        if self._runs[run.run_id].shown:
            self._note_job_status(job, seen)
            self._apply_pending(job.job_id, build, run.run_id)
        after = self._runs[run.run_id].state
        return Outcome(
            verdict_of(known_before, after, seen),
            deployment_slug=deployment.slug,
            old_status=statuses_before[deployment.deployment_id],
            status=deployment.status,
            request_refresh=owner.request_refresh,
            run_id=run.run_id,
        )

    def gone(self, job_id: uuid.UUID, number: int) -> None:
        """Settle the pending reports of a build that Jenkins has issued and removed before any read.

        A run of ours that they name keeps their end; otherwise it is an external run that is never current.
        """
        build = Build(self._jobs[job_id].generation, number)
        waiting = self._kept.get((job_id, number), [])
        named = {kept.named_run_id for kept in waiting}
        open_runs = (r for r in self._runs.values() if not r.shown and not r.resolved)
        run = next((r for r in open_runs if r.run_id in named), None)
        if run is None and self.external_runs_left() <= 0:
            return  # the reports wait for the next read
        self._kept.pop((job_id, number), None)
        if run is None:
            build_ref = BuildRef(number, next(iter(named - {None}), None))
            owner = external_owner(build_ref, build, self._mapped[job_id])
            if owner.external_of is None:
                self._settled += [
                    (k.delivery_id, owner.verdict or Verdict.STALE, None) for k in waiting
                ]
                return
            run = self._external(
                owner.external_of, job_id, build, Observation(job_id, build_ref, UNKNOWN)
            )
        for kept in waiting:
            self._apply(self._runs[run.run_id], update_of_pending(kept, build))
            self._settled.append((kept.delivery_id, Verdict.APPLIED, run.run_id))
        run = self._runs[run.run_id]
        why = "Jenkins no longer has the build: its record was removed before it was read."
        highest = Build(0, 0) if run.source is RunSource.EXTERNAL else run.after
        self.move(
            *end_without_build(
                run, FailureCause.BUILD_LOST, why, certain=False, highest=highest, now=self._now
            )
        )

    def _begins_generation(self, job: JobState, seen: Observation) -> bool:
        """Whether a shown number comes again with a later start: the job was deleted and made again."""
        number, started = seen.build_ref.number, seen.timestamp_ms or 0
        return any(
            run.shown
            and run.build == Build(job.generation, number)
            and run.job_id == job.job_id
            and started > (run.build_timestamp_ms or started)
            for run in self._runs.values()
        )

    def _apply_pending(self, job_id: uuid.UUID, build: Build, run_id: uuid.UUID) -> None:
        """Apply the reports that waited for a build; not those that name another run than it has."""
        for kept in self._kept.pop((job_id, build.number), ()):
            run = self._runs[run_id]
            named = kept.named_run_id
            stored = str(run_id) if run.source is RunSource.SERVICE else None
            stored = stored or run.parameters.get(RUN_ID_PARAMETER)
            if named is not None and str(named) != stored:
                self._settled.append((kept.delivery_id, Verdict.STALE, None))
                continue
            self._apply(run, update_of_pending(kept, build))
            self._settled.append((kept.delivery_id, verdict_of_pending(kept, run), run_id))

    def _release_build(self, run: Run) -> None:
        """Take its number from a run: Jenkins shows another build under it."""
        if run.source is RunSource.SERVICE:
            self._gave_up.add(run.run_id)
            self.free(run)
        else:
            self.detach_external_build(run)

    def detach_external_build(self, run: Run) -> None:
        """Take its number from an external run."""
        self._gave_up.add(run.run_id)
        self.move(*detach_external_build(run, self._now))

    def free(self, run: Run) -> Run:
        """Take its build from a run of ours; return the run as it then is."""
        freed, transitions = detach_build(run)
        self.move(freed, transitions)
        return freed

    def move(self, run: Run, transitions: Sequence[Transition]) -> None:
        """Take over a run that a rule has changed, with its transitions."""
        before = self._runs.get(run.run_id)
        if before is not None and run.state < before.state:
            self._forced.add(run.run_id)  # an end was withdrawn
        self._runs[run.run_id] = run
        self._changed.add(run.run_id)
        deployment = self._deployments.get(run.deployment_id)
        if deployment is None:
            return  # No watcher follows the run of a deleted deployment.
        self._touched_deployments.add(run.deployment_id)
        self._refresh(deployment)
        for transition in transitions:
            self._append(deployment, run, transition)
        # Intermediate steps of one claim are told in order; what counts at the end is the deployment's own status.
        if transitions:
            self._events[-1] = replace(self._events[-1], deployment_status=deployment.status)
            self._told[deployment.deployment_id] = deployment.status

    def append(self, event: NewEvent) -> None:
        """Append an event that isn't about a run; its revision must be the deployment's next."""
        self._deployments[event.deployment_id].revision = event.revision
        self._touched_deployments.add(event.deployment_id)
        self._events.append(event)

    def deployment(self, deployment_id: uuid.UUID) -> DeploymentState:
        return self._deployments[deployment_id]

    async def write(self) -> int | None:
        """Write everything and append the events; return the last sequence, None if there are none."""
        self._tell_of_other_current_runs()
        at, tenant = self._connection, self._tenant_id
        changed = [self._runs[run_id] for run_id in sorted(self._changed - self._new)]
        # Runs that gave their build away are written first: a build has one owner at any time.
        gave_up = [run for run in changed if run.run_id in self._gave_up]
        await runs.update(at, tenant, gave_up, self._forced)
        await runs.update(
            at, tenant, [r for r in changed if r.run_id not in self._gave_up], self._forced
        )
        await runs.insert_external(at, tenant, [self._runs[run_id] for run_id in self._new])
        await runs.write_deployments(
            at, tenant, [self._deployments[d] for d in sorted(self._touched_deployments)]
        )
        for job_id in sorted(self._new_generations):
            await reports.write_generation(at, tenant, job_id, self._jobs[job_id].generation)
        await reports.write_job_status(at, tenant, [self._jobs[j] for j in self._touched_jobs])
        await reports.settle_kept(at, tenant, self._settled)
        await reports.disprove(at, tenant, self._disproved)
        return await events.append(at, tenant, self._events) if self._events else None

    def _note_job_status(self, job: JobState, seen: Observation) -> None:
        place = (job.generation, seen.build_ref.number, seen.state.rank)
        # A read that shows the build running withdraws an end that was reported.
        withdrawn = seen.building and place[:2] == job.last[:2] and job.last[2] < _READ_RANK
        if (place >= job.last or withdrawn) and seen.status_text:
            job.last, job.status = place, seen.status_text
            self._touched_jobs.add(job.job_id)

    def _owner_run(self, owner: Owner, job_id: uuid.UUID, build: Build, seen: Observation) -> Run:
        if owner.external_of is not None:
            return self._external(owner.external_of, job_id, build, seen)
        assert owner.run is not None
        if owner.reassign:
            return self._take_over(owner.run)
        return self.free(owner.run) if owner.release else owner.run

    def _external(
        self, deployment_id: uuid.UUID, job_id: uuid.UUID, build: Build, seen: Observation
    ) -> Run:
        parameters = dict(seen.build_ref.parameters or {})
        if seen.build_ref.run_id is not None:
            parameters[RUN_ID_PARAMETER] = str(seen.build_ref.run_id)
        run = self._new_run(deployment_id, job_id, parameters)
        run = replace(run, build=build, queue_id=seen.build_ref.queue_id)
        repeated = self._runs.get(seen.build_ref.run_id) if seen.build_ref.run_id else None
        first = external_noticed(repeated)
        self.move(run, [first] if seen.state.stage == 0 or repeated else [])
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

    def _take_over(self, run: Run) -> Run:
        """A run turns out to be a lower build than the one it was tied to, which somebody else started."""
        repeated = {**run.parameters, RUN_ID_PARAMETER: str(run.run_id)}
        stranger = self._new_run(run.deployment_id, run.job_id, repeated)
        stranger = replace(
            without_resolution(run),
            parameters=repeated,
            run_id=stranger.run_id,
            number=stranger.number,
            source=RunSource.EXTERNAL,
            requested_by=None,
            trigger_state=TriggerState.ENDED,
        )
        self.move(stranger, [possible_duplicate(run, stranger.status)])
        return self.free(run)

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

    def _tell_of_other_current_runs(self) -> None:
        """A deployment stands otherwise though no run has moved: nobody should have to guess that from events."""
        for deployment_id in sorted(self._touched_deployments):
            deployment = self._deployments[deployment_id]
            if deployment.status is not self._told[deployment_id]:
                assert deployment.current_run_id is not None
                run = self._runs[deployment.current_run_id]
                self._append(deployment, run, still_current(run))

    def _append(self, deployment: DeploymentState, run: Run, transition: Transition) -> None:
        deployment.revision += 1
        is_current = deployment.current_run_id == run.run_id
        deployment_status = transition.status if is_current else deployment.status
        old_deployment_status = self._told[deployment.deployment_id]
        self._told[deployment.deployment_id] = deployment_status
        self._events.append(
            NewEvent(
                deployment_id=deployment.deployment_id,
                deployment_slug=deployment.slug,
                revision=deployment.revision,
                type=transition.type,
                source=self._source,
                old_status=transition.old_status,
                status=transition.status,
                deployment_status=deployment_status,
                old_deployment_status=old_deployment_status,
                run_number=run.number,
                job_id=run.job_id,
                build_number=run.build.number if run.build else None,
                certainty=transition.certainty,
                correction=transition.correction,
                failure_cause=transition.failure_cause,
                message=transition.message,
                waiting_for=None if transition.status.final else run.waiting_for,
                waiting_reason="" if transition.status.final else run.waiting_reason,
                build_url=self._build_url(run),
                failure_message=run.failure_message if transition.failure_cause else "",
                actor=self._actor or actor_of(self._source, run, transition),
            )
        )


async def observe_builds(
    connection: Connection,
    tenant_id: uuid.UUID,
    seen: Sequence[Observation],
    *,
    source: EventSource,
    gone: Sequence[tuple[uuid.UUID, int]] = (),
) -> tuple[list[Outcome], int | None]:
    """Merge observations about builds of locked jobs; return what each did and the last sequence.

    ``gone``: builds (job, number) that pending reports name and Jenkins no longer has.
    """
    unit = await RunUnitOfWork.open(
        connection,
        tenant_id,
        {o.job_id for o in seen} | {job_id for job_id, _ in gone},
        source=source,
        numbers={o.build_ref.number for o in seen} | {number for _, number in gone},
        run_ids={o.build_ref.run_id for o in seen if o.build_ref.run_id},
    )
    outcomes = [unit.observe(observation) for observation in seen]
    for job_id, number in gone:
        unit.gone(job_id, number)
    return outcomes, await unit.write()


def jobs_to_refresh(seen: Iterable[Observation], outcomes: Iterable[Outcome]) -> set[uuid.UUID]:
    return {o.job_id for o, outcome in zip(seen, outcomes, strict=True) if outcome.request_refresh}
