"""Resolution of a run by an operator, for when Jenkins can no longer show its end. Pure.

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
    """The end that an operator sets for a run. Create it with ``of``."""

    status: DeploymentStatus
    reason: str

    @classmethod
    def of(cls, status: str, reason: str) -> Resolution:
        """Return a validated resolution.

        Raises:
            InvalidArgument: the status is not final, or the reason is empty or too long.
        """
        ends = {str(end): end for end in _SEVERITIES}
        if status not in ends:
            raise InvalidArgument("status", f"must be a final status: {', '.join(ends)}")
        stripped = reason.strip()
        if not stripped:
            raise InvalidArgument(
                "reason", "is required: it becomes part of the history of the run"
            )
        if len(stripped) > MAX_REASON_CHARS:
            raise InvalidArgument("reason", f"must have at most {MAX_REASON_CHARS} characters")
        return cls(ends[status], stripped)

    @property
    def state(self) -> BuildState:
        """Return the state of the end. It ranks above every state from Jenkins."""
        return BuildState(Stage.FINAL, Authority.OPERATOR, _SEVERITIES[self.status])

    @property
    def message(self) -> str:
        """Return the message for the run and the event."""
        return f"An operator resolved the run: {self.reason}"


def resolve(
    run: Run, resolution: Resolution, *, highest: Build, now: datetime
) -> tuple[Run, Transition]:
    """End and settle a run by the decision of an operator.

    ``highest``: the highest known build of the job. A run without a shown build ranks just above it.
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
    unchanged = (run.status, run.failure_cause) == (ended.status, cause)
    return ended, Transition(
        _event_type(run, resolution.status, unchanged=unchanged),
        run.status,
        ended.status,
        certainty=ended.certainty,
        correction=run.status.final and not unchanged,
        failure_cause=cause,
        message=resolution.message,
    )


def _event_type(run: Run, status: DeploymentStatus, *, unchanged: bool) -> EventType:
    if unchanged:
        return EventType.DEPLOYMENT_RUN_SETTLED
    without_build = run.source is RunSource.SERVICE and run.build is None
    if without_build and not run.status.final and status is not DeploymentStatus.COMPLETED:
        return EventType.DEPLOYMENT_RUN_FAILURE
    return EventType.DEPLOYMENT_STATUS_UPDATE


def show_build(run: Run, update: StatusUpdate, now: datetime) -> Run:
    """Return a resolved run with the build that a read shows. Its end stays unchanged."""
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
