"""An operator decides how a run has ended: the way out when Jenkins can't say it any more. Pure.

The end has the highest authority: reports and reads never change it, only an operator does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from deployment_service.domain.certainty import Certainty
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.events import EventType
from deployment_service.domain.runs import (
    Build,
    Run,
    RunSource,
    StatusUpdate,
    Transition,
    TriggerState,
)
from deployment_service.domain.status import (
    Authority,
    BuildState,
    DeploymentStatus,
    FailureCause,
    Severity,
    Stage,
)

MAX_REASON_CHARS = 500
_SEVERITIES = {
    DeploymentStatus.COMPLETED: Severity.SUCCESS,
    DeploymentStatus.FAILED: Severity.FAILURE,
    DeploymentStatus.CANCELLED: Severity.ABORTED,
}


@dataclass(frozen=True, slots=True)
class Resolution:
    """The end that an operator gives a run. Use ``of``."""

    status: DeploymentStatus
    reason: str

    @classmethod
    def of(cls, status: str, reason: str) -> Resolution:
        """Check what a caller asks for. Raises InvalidArgument."""
        ends = {str(end): end for end in _SEVERITIES}
        if status not in ends:
            raise InvalidArgument("status", f"must be a final status: {', '.join(ends)}")
        stripped = reason.strip()
        if not stripped:
            raise InvalidArgument("reason", "is required: it stands in the history of the run")
        if len(stripped) > MAX_REASON_CHARS:
            raise InvalidArgument("reason", f"must have at most {MAX_REASON_CHARS} characters")
        return cls(ends[status], stripped)

    @property
    def state(self) -> BuildState:
        """The point in the order: above everything that Jenkins says."""
        return BuildState(Stage.FINAL, Authority.OPERATOR, _SEVERITIES[self.status])

    @property
    def message(self) -> str:
        """What the run and the event say."""
        return f"An operator resolved the run: {self.reason}"


def resolve(
    run: Run, resolution: Resolution, *, highest: Build, now: datetime
) -> tuple[Run, Transition]:
    """End a run as an operator says, and settle it.

    ``highest`` is the highest build of the job that is known now: a run without a shown build ranks just above it.
    """
    completed = resolution.status is DeploymentStatus.COMPLETED
    cause = None if completed else FailureCause.RESOLVED_BY_OPERATOR
    unsent = run.trigger_state in (TriggerState.WAITING, TriggerState.SENDING)
    ended = replace(
        run,
        state=resolution.state,
        status=resolution.status,
        result="",
        certainty=Certainty.CONFIRMED,
        settle_time=now,
        confirm_due_time=None,
        failure_cause=cause,
        failure_message=resolution.message,
        waiting_for=None,
        waiting_reason="",
        trigger_state=TriggerState.ENDED if unsent else run.trigger_state,
        after=highest,
        end_time=run.end_time or now,
    )
    same = (run.status, run.failure_cause) == (ended.status, cause)
    return ended, Transition(
        _event_type(run, resolution.status, same=same),
        run.status,
        ended.status,
        certainty=ended.certainty,
        correction=run.status.final and not same,
        failure_cause=cause,
        message=resolution.message,
    )


def _event_type(run: Run, status: DeploymentStatus, *, same: bool) -> EventType:
    if same:
        return EventType.DEPLOYMENT_RUN_SETTLED
    detach_build = run.source is RunSource.SERVICE and run.build is None
    if detach_build and not run.status.final and status is not DeploymentStatus.COMPLETED:
        return EventType.DEPLOYMENT_RUN_FAILURE
    return EventType.DEPLOYMENT_STATUS_UPDATE


def show_build(run: Run, update: StatusUpdate, now: datetime) -> Run:
    """Note which build a resolved run has, once Jenkins shows it. Its end stays."""
    if not update.read or update.build is None:
        return run
    return replace(
        run,
        build=run.build or update.build,
        build_timestamp_ms=run.build_timestamp_ms or update.build_timestamp_ms,
        shown=True,
        queue_id=run.queue_id or update.queue_id,
        last_observed_time=now,
    )
