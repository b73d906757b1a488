"""Transitions of a run: the only functions that change its status, certainty or build. Pure.

Each returns the changed run and the transitions, which the caller commits as events.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from deployment_service.domain.actors import Actor
from deployment_service.domain.certainty import (
    Certainty,
    add_absence,
    add_read,
    add_report,
    certainty_of,
)
from deployment_service.domain.events import EventType, WaitingFor
from deployment_service.domain.resolution import show_build
from deployment_service.domain.run_waiting import set_waiting, waiting_changed
from deployment_service.domain.runs import (
    Build,
    Run,
    RunSource,
    StatusUpdate,
    Transition,
    TriggerState,
)
from deployment_service.domain.status import (
    QUEUED,
    RUNNING,
    Authority,
    DeploymentStatus,
    FailureCause,
    Severity,
    Stage,
    UnstablePolicy,
    deployment_status,
    failure_cause,
    presumed,
)

_CANCELLATIONS = (
    FailureCause.CANCELLED,
    FailureCause.CANCELLED_IN_JENKINS,
    FailureCause.DEPLOYMENT_DELETED,
)
ACCEPTED_BY_JENKINS = StatusUpdate(QUEUED, waiting_for=WaitingFor.QUEUE)


def observe(
    run: Run,
    update: StatusUpdate,
    policy: UnstablePolicy,
    now: datetime,
    *,
    read_at_completed: bool = True,
) -> tuple[Run, list[Transition]]:
    """Merge a status update of the run's build; return the changed run and its transitions.

    ``read_at_completed``: Jenkins may discard the build right after COMPLETED (see ``confirm_due``).
    """
    if run.resolved:
        return show_build(run, update, now), []
    time = update.time or now
    if update.read:
        evidence = add_read(run.evidence, update.state, time, building=update.building)
    else:
        evidence = add_report(run.evidence, update.state, time, update.status_text)
    state = evidence.state
    accepted = run.source is RunSource.SERVICE and update.state.stage > Stage.UNKNOWN
    moved = replace(
        run,
        state=state,
        reports=evidence.reports,
        building_time=evidence.building_time,
        absent_time=evidence.absent_time,
        unsaved_result=update.unsaved_result or run.unsaved_result,
        build=run.build or update.build,
        build_timestamp_ms=run.build_timestamp_ms or update.build_timestamp_ms,
        shown=run.shown or (update.read and update.build is not None),
        queue_id=run.queue_id or update.queue_id,
        requested_by=_requester(run, update),
        trigger_state=TriggerState.ACCEPTED if accepted else run.trigger_state,
        last_observed_time=now,
    )
    transitions: list[Transition] = []
    if state.stage > Stage.UNKNOWN and run.status is DeploymentStatus.PENDING:
        moved = replace(moved, status=DeploymentStatus.RUNNING, start_time=now)
        transitions.append(_started(run))
    if state.final:
        moved = set_waiting(moved, None, "")
        moved, ended = _end(moved, run, update, policy, now)
        transitions += ended
    elif run.status.final:
        moved = _reopened(moved)
        transitions.append(_correction(run, DeploymentStatus.RUNNING, "Jenkins shows its build."))
    elif update.state == state and (update.read or state > run.state):
        # Only a read shows whether the build waits at an input step; a repeated report does not.
        moved = set_waiting(moved, update.waiting_for, update.waiting_reason)
        if not transitions:
            transitions += waiting_changed(run, moved)
    due = confirm_due(moved, update, time, read_at_completed=read_at_completed)
    return replace(moved, confirm_due_time=due), transitions


def _requester(run: Run, update: StatusUpdate) -> Actor | None:
    """Return the requester of a run: the caller for a run of ours, else the actor that started its build."""
    if run.source is RunSource.SERVICE:
        return run.requested_by
    return run.requested_by or update.started_by


_FINALIZED_COMES_WITHIN = timedelta(seconds=1)


def confirm_due(
    run: Run, update: StatusUpdate, time: datetime, *, read_at_completed: bool
) -> datetime | None:
    """Return when the reported end of a run must be read; None if the run has no end, or it is settled.

    After FINALIZED the read is due at once. Before it the build may not be saved yet, so after other reports it is due
    one second later, unless Jenkins may discard the build by then (``read_at_completed``).
    """
    if run.certainty is not Certainty.REPORTED:
        return None
    if update.read or not update.state.final:
        return run.confirm_due_time
    at_once = update.state.authority is Authority.PLUGIN_FINALIZED or (
        read_at_completed and update.state.authority is Authority.PLUGIN_COMPLETED
    )
    due = time if at_once else time + _FINALIZED_COMES_WITHIN
    return min(due, run.confirm_due_time or due)


def end_without_build(
    run: Run,
    cause: FailureCause,
    message: str,
    *,
    certain: bool,
    highest: Build,
    now: datetime,
    time: datetime | None = None,
) -> tuple[Run, list[Transition]]:
    """End a run that got no build, or whose build is lost, by a conclusion of the service.

    ``certain``: Jenkins has proven that nothing of the run exists, so the run is CONFIRMED. Otherwise it is
    UNVERIFIABLE, and a reported end stays.
    ``time``: when the read began that shows the absence; by default ``now``.
    ``highest``: the highest known build of the job. A run without a build ranks just above it.
    """
    state = presumed(Severity.ABORTED if cause in _CANCELLATIONS else Severity.FAILURE)
    if run.state.authority >= Authority.READ or (
        run.state.authority is Authority.PRESUMPTION and run.state >= state
    ):
        return run, []
    before = replace(run.evidence, reports=()) if certain else run.evidence
    evidence = add_absence(before, state, time or now)
    if evidence == run.evidence:
        return run, []
    if run.certainty is Certainty.UNVERIFIABLE and not certain:
        return replace(run, absent_time=evidence.absent_time), []
    reported = evidence.reported
    ended = replace(
        set_waiting(run, None, ""),
        state=evidence.state,
        reports=evidence.reports,
        absent_time=evidence.absent_time,
        reported_status=run.reported_status if reported else None,
        trigger_state=TriggerState.ENDED,
        certainty=Certainty.CONFIRMED if certain else Certainty.UNVERIFIABLE,
        settle_time=now,
        confirm_due_time=None,
        after=highest,
        last_observed_time=run.last_observed_time or now,
        end_time=run.end_time or now,
    )
    if reported:
        kind, message = EventType.DEPLOYMENT_RUN_SETTLED, f"{message} {_UNVERIFIABLE}"
        return ended, [_settled(kind, run.status, ended, message)]
    ended = replace(
        ended,
        status=deployment_status(state, UnstablePolicy.FAILED),
        failure_cause=cause,
        failure_message=message,
    )
    own = run.source is RunSource.SERVICE and run.build is None
    kind = EventType.DEPLOYMENT_RUN_FAILURE if own else EventType.DEPLOYMENT_STATUS_UPDATE
    return ended, [replace(_settled(kind, run.status, ended, message), correction=run.status.final)]


_UNVERIFIABLE = "Its status stays the one that webhooks reported; it can no longer be verified."


def detach_build(run: Run) -> tuple[Run, list[Transition]]:
    """Return a run of ours to the state after acceptance, without a build: its build belongs to another run.

    An end that an operator set stays.
    """
    if run.resolved:
        return replace(run, build=None, build_timestamp_ms=None, shown=False, queue_id=None), []
    detached = replace(
        _reopened(run),
        state=QUEUED,
        status=DeploymentStatus.RUNNING,
        reports=(),
        building_time=None,
        absent_time=None,
        unsaved_result="",
        build=None,
        build_timestamp_ms=None,
        shown=False,
        queue_id=None,
    )
    if run.status is detached.status:
        return detached, []
    return detached, [_correction(run, detached.status, "The run's own build is another one.")]


def _reopened(run: Run) -> Run:
    """Return the run without its end, which was withdrawn."""
    return replace(
        run,
        status=DeploymentStatus.RUNNING,
        result="",
        certainty=None,
        settle_time=None,
        reported_status=None,
        confirm_due_time=None,
        failure_cause=None,
        failure_message="",
        end_time=None,
    )


def without_resolution(run: Run) -> Run:
    """Return the run without an operator's end: running until its build is read."""
    if not run.resolved:
        return run
    return replace(_reopened(run), state=RUNNING, reports=())


def detach_external_build(run: Run, now: datetime) -> tuple[Run, list[Transition]]:
    """Remove the build from an external run: the number belongs to another run, or Jenkins has not issued it yet.

    The run keeps its end; an active run ends with cause BUILD_LOST. It then ranks below all other runs.
    """
    ended, transitions = end_without_build(
        run,
        FailureCause.BUILD_LOST,
        f"Jenkins has no such build: number {run.build.number if run.build else 0} is another one.",
        certain=False,
        highest=Build(0, 0),
        now=now,
    )
    if not ended.settled:
        ended = replace(ended, certainty=Certainty.UNVERIFIABLE, settle_time=now)
    return replace(
        ended, build=None, shown=False, after=Build(0, 0), confirm_due_time=None
    ), transitions


def still_current(run: Run) -> Transition:
    """Return the transition that announces an unchanged run as its deployment's current run."""
    return Transition(
        EventType.DEPLOYMENT_STATUS_UPDATE,
        run.status,
        run.status,
        certainty=run.certainty,
        failure_cause=run.failure_cause,
        message="This run is now the deployment's current run.",
    )


def _started(run: Run) -> Transition:
    own = run.source is RunSource.SERVICE
    return Transition(
        EventType.DEPLOYMENT_RUN_START if own else EventType.DEPLOYMENT_STATUS_UPDATE,
        run.status,
        DeploymentStatus.RUNNING,
        message="Jenkins accepted the run." if own else "A build was started in Jenkins.",
    )


def _end(
    run: Run, before: Run, update: StatusUpdate, policy: UnstablePolicy, now: datetime
) -> tuple[Run, list[Transition]]:
    """Set the status and certainty of a run with a final ``state``, by its evidence."""
    if run.state.authority is Authority.PRESUMPTION and run.state == before.state:
        return _correct_unknown_outcome(run, before)
    status = deployment_status(run.state, policy)
    cause = _cause(run, policy)
    reported = run.evidence.reported
    certainty = certainty_of(run.evidence)
    unchanged = certainty is before.certainty and status is before.status
    settle_time = (before.settle_time if unchanged else None) or now
    message = _message(run, before, cause, update.interruption)
    ended = replace(
        run,
        status=status,
        result=_result(run, before, update),
        certainty=certainty,
        settle_time=settle_time if certainty and certainty.settled else None,
        reported_status=deployment_status(reported.state, policy) if reported else None,
        failure_cause=cause,
        failure_message=message,
        end_time=run.end_time or now,
    )
    changed = (status, cause) != (run.status, run.failure_cause)
    if not changed and certainty is before.certainty:
        return ended, []
    settles = not changed and certainty is not Certainty.REPORTED
    kind = EventType.DEPLOYMENT_RUN_SETTLED if settles else EventType.DEPLOYMENT_STATUS_UPDATE
    step = _settled(kind, run.status, ended, message)
    return ended, [replace(step, correction=run.status.final and not settles)]


def _correct_unknown_outcome(run: Run, before: Run) -> tuple[Run, list[Transition]]:
    """Correct the cause TRIGGER_OUTCOME_UNKNOWN if a report shows the build after the probes found none."""
    unknown = run.failure_cause is FailureCause.TRIGGER_OUTCOME_UNKNOWN
    if not unknown or before.build is not None or run.build is None:
        return run, []
    message = "Jenkins started the build but no longer shows it. Its result is unknown."
    lost = replace(run, failure_cause=FailureCause.BUILD_LOST, failure_message=message)
    step = _settled(EventType.DEPLOYMENT_STATUS_UPDATE, run.status, lost, message)
    return lost, [replace(step, correction=True)]


def _result(run: Run, before: Run, update: StatusUpdate) -> str:
    """Return the status text of the end that is shown."""
    if run.state.authority >= Authority.READ:
        return update.status_text if run.state > before.state else before.result
    reported = run.evidence.reported
    return reported.status_text if reported else ""


def _settled(kind: EventType, old_status: DeploymentStatus, ended: Run, message: str) -> Transition:
    return Transition(
        kind,
        old_status,
        ended.status,
        certainty=ended.certainty,
        failure_cause=ended.failure_cause,
        message=message,
    )


def _correction(run: Run, status: DeploymentStatus, message: str) -> Transition:
    """Return a transition that withdraws an end."""
    kind = EventType.DEPLOYMENT_STATUS_UPDATE
    return Transition(kind, run.status, status, correction=True, message=message)


_MESSAGES = {
    FailureCause.BUILD_FAILED: "The build failed: see its console output.",
    FailureCause.BUILD_UNSTABLE: "The build is unstable, which counts as a failure here: see its test results.",
    FailureCause.NOT_BUILT: "The build ended with the result NOT_BUILT: it was started, but ended early.",
    FailureCause.CANCELLED_IN_JENKINS: "The build was aborted in Jenkins.",
}


def _cause(run: Run, policy: UnstablePolicy) -> FailureCause | None:
    if run.state.authority is Authority.PRESUMPTION:
        return run.failure_cause or FailureCause.BUILD_LOST
    return failure_cause(run.state, policy)


def _message(run: Run, before: Run, cause: FailureCause | None, interruption: str) -> str:
    """Return why a run failed: the text of its cause, and the interruption that Jenkins shows."""
    if cause is None:
        return ""
    if run.state.authority is Authority.PRESUMPTION:
        return run.failure_message
    if interruption and cause in _INTERRUPTIONS:
        return f"{_INTERRUPTIONS[cause]} {interruption}."
    if cause is before.failure_cause and before.failure_message:
        return before.failure_message
    return _MESSAGES[cause]


_INTERRUPTIONS = {
    FailureCause.NOT_BUILT: "The build was started, and ended with the result NOT_BUILT:",
    FailureCause.CANCELLED_IN_JENKINS: "The build was aborted in Jenkins:",
}
