"""What a run is, how a claim moves it, and which run is a deployment's current one. Pure.

A run only ever moves up in the order of ``domain.status``; each change of its status is a
``Transition``, which the caller commits as an event.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from deployment_service.domain.events import EventType
from deployment_service.domain.status import (
    NOTHING,
    QUEUED,
    Authority,
    DeploymentStatus,
    FailureCause,
    Knowledge,
    Severity,
    Stage,
    UnstablePolicy,
    deployment_status,
    failure_cause,
    presumed,
)


class RunSource(StrEnum):
    SERVICE = "SERVICE"
    EXTERNAL = "EXTERNAL"


class TriggerState(StrEnum):
    """How far the trigger of a run is. ENDED: no (further) request will be sent for it."""

    WAITING = "WAITING"
    SENDING = "SENDING"
    ACCEPTED = "ACCEPTED"
    ENDED = "ENDED"


class WaitingFor(StrEnum):
    TRIGGER = "TRIGGER"
    QUEUE = "QUEUE"
    INPUT = "INPUT"


@dataclass(frozen=True, slots=True)
class Build:
    """A build's key within its job. ``generation`` tells apart jobs that were made again under one name."""

    generation: int
    number: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run as stored, without what only the dispatcher needs."""

    run_id: uuid.UUID
    deployment_id: uuid.UUID
    number: int
    job_id: uuid.UUID
    source: RunSource
    trigger_state: TriggerState
    known: Knowledge = NOTHING
    status: DeploymentStatus = DeploymentStatus.PENDING
    result: str = ""
    confirmed: bool = False
    failure_cause: FailureCause | None = None
    failure_message: str = ""
    waiting_for: WaitingFor | None = None
    waiting_reason: str = ""
    build: Build | None = None
    build_timestamp_ms: int | None = None
    queue_id: str | None = None
    first_build_number: int | None = None
    after: Build = field(default=Build(0, 0))
    start_time: datetime | None = None
    end_time: datetime | None = None
    last_observed_time: datetime | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def unresolved(self) -> bool:
        """Intended, not ended, and Jenkins has not said which build it is."""
        return self.source is RunSource.SERVICE and self.build is None and self.end_time is None

    @property
    def active(self) -> bool:
        return self.end_time is None


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody says of a run's build. ``word`` is the status as it came."""

    known: Knowledge
    word: str = ""
    build: Build | None = None
    build_timestamp_ms: int | None = None
    queue_id: str | None = None
    waiting_for: WaitingFor | None = None
    waiting_reason: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a run's status, to be committed as an event."""

    type: EventType
    old_status: DeploymentStatus
    status: DeploymentStatus
    confirmed: bool = False
    correction: bool = False
    failure_cause: FailureCause | None = None
    message: str = ""


_CANCELLATIONS = (FailureCause.CANCELLED, FailureCause.CANCELLED_IN_JENKINS)
ACCEPTED_BY_JENKINS = Claim(QUEUED, waiting_for=WaitingFor.QUEUE)


def observe(
    run: Run, claim: Claim, policy: UnstablePolicy, now: datetime
) -> tuple[Run, list[Transition]]:
    """Merge a claim about the run's build into the run; say which transitions that makes."""
    known = max(run.known, claim.known)
    accepted = run.source is RunSource.SERVICE and claim.known.stage > Stage.UNKNOWN
    moved = replace(
        run,
        known=known,
        build=run.build or claim.build,
        build_timestamp_ms=run.build_timestamp_ms or claim.build_timestamp_ms,
        queue_id=run.queue_id or claim.queue_id,
        trigger_state=TriggerState.ACCEPTED if accepted else run.trigger_state,
        last_observed_time=now,
    )
    transitions: list[Transition] = []
    if run.known.authority is Authority.PRESUMPTION and claim.known.stage > Stage.UNKNOWN:
        # What we had concluded is in doubt: Jenkins is asked (again) how the build ends.
        moved = replace(moved, confirmed=False)
    if known.stage > Stage.UNKNOWN and run.status is DeploymentStatus.PENDING:
        moved = replace(moved, status=DeploymentStatus.RUNNING, start_time=now)
        transitions.append(_started(run))
    if known.final:
        moved = _waiting(moved, None, "")
        if known > run.known:
            moved, ended = _end(moved, claim.word, policy, now)
            transitions += ended
    elif claim.known == known:
        moved = _waiting(moved, claim.waiting_for, claim.waiting_reason)
    return moved, transitions


def end_without_build(
    run: Run, cause: FailureCause, message: str, *, certain: bool, highest: Build, now: datetime
) -> tuple[Run, list[Transition]]:
    """End a run that got no build, or whose build is lost, by our own conclusion.

    ``certain``: nothing is in Jenkins, so nobody needs to look again.
    ``highest`` is the highest build of the job that is known now: a run without a build ranks just above it.
    """
    known = presumed(Severity.ABORTED if cause in _CANCELLATIONS else Severity.FAILURE)
    if run.known >= known:
        return run, []
    status = deployment_status(known, UnstablePolicy.FAILED)
    ended = replace(
        _waiting(run, None, ""),
        known=known,
        status=status,
        trigger_state=TriggerState.ENDED,
        confirmed=certain,
        failure_cause=cause,
        failure_message=message,
        after=highest,
        last_observed_time=run.last_observed_time or now,
        end_time=now,
    )
    return ended, [
        Transition(
            EventType.DEPLOYMENT_STATUS_UPDATE if run.build else EventType.DEPLOYMENT_RUN_FAILURE,
            run.status,
            status,
            confirmed=certain,
            failure_cause=cause,
            message=message,
        )
    ]


def without_build(run: Run) -> tuple[Run, list[Transition]]:
    """Take a run of ours back to where Jenkins has accepted it: the build that it was tied to isn't its own."""
    freed = replace(
        run,
        known=QUEUED,
        status=DeploymentStatus.RUNNING,
        build=None,
        build_timestamp_ms=None,
        queue_id=None,
        result="",
        confirmed=False,
        failure_cause=None,
        failure_message="",
        end_time=None,
    )
    if run.status is freed.status:
        return freed, []
    why = "The run's own build is another one."
    kind = EventType.DEPLOYMENT_STATUS_UPDATE
    return freed, [Transition(kind, run.status, freed.status, correction=True, message=why)]


def give_up_build(run: Run, now: datetime) -> tuple[Run, list[Transition]]:
    """Take its number from an external run: it is another run's, or Jenkins has not issued it yet.

    How the run has ended stays; if it goes on it ends as lost. It then ranks below all others.
    """
    ended, transitions = end_without_build(
        run,
        FailureCause.BUILD_LOST,
        f"Jenkins has no such build: number {run.build.number if run.build else 0} is another one.",
        certain=True,
        highest=Build(0, 0),
        now=now,
    )
    return replace(ended, build=None, after=Build(0, 0), confirmed=True), transitions


def order_key(run: Run) -> tuple[int, int, int]:
    """Where a run stands among the runs of its deployment; the greatest is the current one.

    It doesn't depend on when we heard of what. The columns order_generation and order_position are
    the same rule in SQL.
    """
    if run.unresolved:
        return (2**31 - 1, 1, run.number)
    if run.build is None:
        return (run.after.generation, 2 * run.after.number + 1, run.number)
    return (run.build.generation, 2 * run.build.number, run.number)


def current_run(runs: Iterable[Run]) -> Run | None:
    """The run that the deployment's status speaks of; None before the first."""
    return max(runs, key=order_key, default=None)


def _started(run: Run) -> Transition:
    own = run.source is RunSource.SERVICE
    return Transition(
        EventType.DEPLOYMENT_RUN_START if own else EventType.DEPLOYMENT_STATUS_UPDATE,
        run.status,
        DeploymentStatus.RUNNING,
        message="Jenkins accepted the run." if own else "A build was started in Jenkins.",
    )


def _end(
    run: Run, word: str, policy: UnstablePolicy, now: datetime
) -> tuple[Run, list[Transition]]:
    """Give a run, whose ``known`` is final and better than before, the status that follows from it."""
    status = deployment_status(run.known, policy)
    cause = failure_cause(run.known, policy)
    message = _message(run, cause)
    ended = replace(
        run,
        status=status,
        result=word,
        confirmed=run.known.confirmed,
        failure_cause=cause,
        failure_message=message,
        end_time=run.end_time or now,
    )
    if (status, cause) == (run.status, run.failure_cause):
        return ended, []
    return ended, [
        Transition(
            EventType.DEPLOYMENT_STATUS_UPDATE,
            run.status,
            status,
            confirmed=ended.confirmed,
            correction=run.status.final,
            failure_cause=cause,
            message=message,
        )
    ]


def _waiting(run: Run, what: WaitingFor | None, why: str) -> Run:
    return replace(run, waiting_for=what, waiting_reason=why)


_MESSAGES = {
    FailureCause.BUILD_FAILED: "The build failed: see its console output.",
    FailureCause.BUILD_UNSTABLE: "The build is unstable, which counts as a failure here: see its test results.",
    FailureCause.NOT_BUILT: "Jenkins did not build it: an earlier stage or a condition of the job prevented it.",
    FailureCause.CANCELLED_IN_JENKINS: "The build was aborted in Jenkins.",
}


def _message(run: Run, cause: FailureCause | None) -> str:
    if cause is None:
        return ""
    if run.known.authority is Authority.PRESUMPTION:
        return run.failure_message
    return _MESSAGES[cause]
