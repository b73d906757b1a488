"""Assigns the entries of queue and executors to the unconfirmed runs of a controller. Pure.

Most runs are in one of the two lists: the queue, which is read first, or the executors. A run in neither has changed
and is read by itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from deployment_service.cicd.port import (
    RUN_ID_PARAMETER,
    BuildView,
    JobBuilds,
    QueueItemView,
    QueueView,
    RunningView,
)
from deployment_service.domain.actors import Actor, jenkins_actor
from deployment_service.domain.attribution import BuildRef, Observation
from deployment_service.domain.events import WaitingFor
from deployment_service.domain.runs import Run, RunSource
from deployment_service.domain.status import from_read
from deployment_service.storage.runs.reconcile import ReadJob, Unconfirmed

_REASON_LENGTH = 500


@dataclass(slots=True)
class Findings:
    """``unchanged``: (run, waiting_for, reason) of runs that are as they were. ``to_cancel``: runs that are to
    be cancelled, with where they are. ``started``: (job, build) of runs whose build is shown for the first time.
    ``changed``: runs to read by themselves. ``unknown_builds``: running builds that are no run's."""

    unchanged: list[tuple[Unconfirmed, WaitingFor | None, str]] = field(default_factory=list)
    to_cancel: list[tuple[Unconfirmed, QueueItemView | BuildView]] = field(default_factory=list)
    started: list[tuple[ReadJob, BuildView]] = field(default_factory=list)
    changed: list[Unconfirmed] = field(default_factory=list)
    unknown_builds: list[BuildView] = field(default_factory=list)


def classify(runs: Sequence[Unconfirmed], queue: QueueView, running: RunningView) -> Findings:
    """Return what the two lists show of each run."""
    found = Findings()
    assigned: set[tuple[str, int]] = set()
    builds = {(build.job_full_name, build.number): build for build in running.builds}
    # The lowest number that carries an id is its run's: others are copies.
    by_run_id = {
        (build.job_full_name, build.parameters.get(RUN_ID_PARAMETER)): build
        for build in sorted(running.builds, key=lambda build: -build.number)
    }
    items = {item.parameters.get(RUN_ID_PARAMETER): item for item in queue.items}
    items_by_id = {item.queue_id: item for item in queue.items}
    taken = {(i.job.full_name, i.run.build.number) for i in runs if i.run.build is not None}
    free = [build for place, build in builds.items() if place not in taken]
    for item in runs:
        run = item.run
        if run.build is not None:
            place = (item.job.full_name, run.build.number)
            assigned.add(place)
            build = builds.get(place)
            changed = build is None or _is_another(run, build) or may_be_a_copy(run, build)
            if build is None or changed or run.end_time is not None:
                found.changed.append(item)
            elif not run.shown:
                # Only a report gave it the number. It is cancelled once the build is known as the run's own.
                found.started.append((item.job, build))
            else:
                found.unchanged.append((item, *_waits_for_input(build)))
                if item.to_cancel:
                    found.to_cancel.append((item, build))
            continue
        mine = by_run_id.get((item.job.full_name, str(run.run_id))) or _by_queue_id(item, free)
        queued = items.get(str(run.run_id)) or items_by_id.get(run.queue_id or "")
        if mine is not None and may_be_a_copy(run, mine):
            assigned.add((mine.job_full_name, mine.number))
            found.changed.append(item)
        elif mine is not None and mine.job_full_name == item.job.full_name:
            assigned.add((mine.job_full_name, mine.number))
            found.started.append((item.job, mine))
            if item.to_cancel:
                found.to_cancel.append((item, mine))
        elif (
            queued is not None
            and is_items_run(queued, item)
            and (run.end_time is None or item.to_stop)
        ):
            found.unchanged.append((item, WaitingFor.QUEUE, (queued.why or "")[:_REASON_LENGTH]))
            if item.to_cancel:
                found.to_cancel.append((item, queued))
        else:
            found.changed.append(item)
    found.unknown_builds = [build for place, build in builds.items() if place not in assigned]
    return found


def is_items_run(queued: QueueItemView, item: Unconfirmed) -> bool:
    """Return whether the queue item is the run's: Jenkins issues ids again after a crash."""
    if queued.job_full_name != item.job.full_name:
        return False
    run_id = queued.parameters.get(RUN_ID_PARAMETER)
    if run_id is None:
        return queued.queue_id == item.run.queue_id
    return run_id == str(item.run.run_id)


def observation(job: ReadJob, build: BuildView, *, by_executor: bool = False) -> Observation:
    """Return a build that Jenkins has shown as an observation.

    ``by_executor``: it is from the list of executors, which has a build until it is saved: ``building`` proves nothing.
    """
    build_ref = BuildRef(
        build.number,
        run_id_of(build),
        run_id_known=build.parameters_shown,
        queue_id=build.queue_id,
        parameters=build.parameters if build.parameters_shown else None,
        read=True,
        timestamp_ms=build.timestamp_ms,
    )
    state = from_read(finished=build.finished, result=build.result)
    status_text = (build.result or "FINISHED") if build.finished else "RUNNING"
    unsaved = not build.building and not build.finished
    return Observation(
        job.job_id,
        build_ref,
        state,
        status_text,
        build.timestamp_ms,
        waiting_for_input=build.waiting_for_input,
        read_time=job.asked_time,
        building=build.building and not by_executor,
        interruption=build.interruption,
        started_by=started_by(build),
        unsaved_result=(build.result or "") if unsaved and not by_executor else "",
    )


def started_by(build: BuildView) -> Actor | None:
    """Return what started a build: an account before any other cause; None if its causes are not shown."""
    causes = sorted(build.causes, key=lambda cause: not cause.by_user)
    return jenkins_actor(causes[0].user_id, causes[0].description) if causes else None


def run_id_of(build: BuildView) -> uuid.UUID | None:
    """Return the run id that the build carries; None if it has none, or no UUID."""
    try:
        return uuid.UUID(build.parameters.get(RUN_ID_PARAMETER, ""))
    except ValueError:
        return None


def may_be_a_copy(run: Run, build: BuildView) -> bool:
    """Return whether a build may have copied the run's id from a lower one, so that the job's builds must be read.

    A retry plugin or a person may have started the run's build again. A build is no copy if Jenkins has shown it as
    the run's, if it came of the run's queue item, or if it is the first that could come of the request.
    """
    if run.shown or run_id_of(build) != run.run_id:
        return False
    if run.queue_id is not None and build.queue_id == run.queue_id:
        return False
    return build.number > (run.first_build_number or 1)


def is_reused_number(run: Run, build: BuildView) -> bool:
    """Return whether the number of the run's build is another build's now: the job was created again."""
    return run.build is not None and run.build.number == build.number and _is_another(run, build)


def _is_another(run: Run, build: BuildView) -> bool:
    # A queue id is no identity: a Pipeline that resumes after a restart of Jenkins has another one.
    if run.shown and run.build_timestamp_ms and build.timestamp_ms:
        return run.build_timestamp_ms != build.timestamp_ms
    run_id = run_id_of(build)
    if run.source is RunSource.SERVICE and run_id is not None:
        return run_id != run.run_id
    return not run.shown and _differ(run.queue_id, build.queue_id)


def _differ(stored: object, shown: object) -> bool:
    return bool(stored) and bool(shown) and stored != shown


def _by_queue_id(item: Unconfirmed, builds: Iterable[BuildView]) -> BuildView | None:
    """Return the build that came from the run's queue item, if it lacks our parameter."""
    if not item.run.queue_id:
        return None
    return next(
        (
            build
            for build in builds
            if build.queue_id == item.run.queue_id
            and build.job_full_name == item.job.full_name
            and RUN_ID_PARAMETER not in build.parameters
            and build.number >= (item.run.first_build_number or 1)
        ),
        None,
    )


def _waits_for_input(build: BuildView) -> tuple[WaitingFor | None, str]:
    if build.waiting_for_input:
        return WaitingFor.INPUT, "An input step of the Pipeline waits for a person."
    return None, ""


def own_build(item: Unconfirmed, builds: JobBuilds) -> BuildView | None:
    """Return the lowest build that carries the run's id, or that lacks our parameter and came from its queue item."""
    run = item.run
    mine = [
        build
        for build in builds.builds
        if build.number >= (run.first_build_number or 1)
        and (
            run_id_of(build) == run.run_id
            or (
                RUN_ID_PARAMETER not in build.parameters
                and run.queue_id is not None
                and build.queue_id == run.queue_id
            )
        )
    ]
    return min(mine, key=lambda build: build.number, default=None)
