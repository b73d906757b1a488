"""Runs, and the choice of a deployment's current run. Pure. ``run_transitions`` has the changes of a run."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from deployment_service.domain.actors import Actor
from deployment_service.domain.certainty import (
    Certainty,
    Evidence,
    ReportedEnd,
)
from deployment_service.domain.events import EventType, WaitingFor
from deployment_service.domain.status import (
    UNKNOWN,
    Authority,
    BuildState,
    DeploymentStatus,
    FailureCause,
)


class RunSource(StrEnum):
    SERVICE = "SERVICE"
    EXTERNAL = "EXTERNAL"


class TriggerState(StrEnum):
    """The state of a run's trigger. ENDED: no further request will be sent for the run."""

    WAITING = "WAITING"
    SENDING = "SENDING"
    ACCEPTED = "ACCEPTED"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True)
class Build:
    """A build's key within its job. A job that is deleted and created again has a higher ``generation``."""

    generation: int
    number: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run as stored, without the fields that only the dispatcher needs."""

    run_id: uuid.UUID
    deployment_id: uuid.UUID
    number: int
    job_id: uuid.UUID
    source: RunSource
    trigger_state: TriggerState
    state: BuildState = UNKNOWN
    status: DeploymentStatus = DeploymentStatus.PENDING
    result: str = ""
    certainty: Certainty | None = None
    settle_time: datetime | None = None
    reported_status: DeploymentStatus | None = None
    reports: tuple[ReportedEnd, ...] = ()
    building_time: datetime | None = None
    absent_time: datetime | None = None
    unsaved_result: str = ""
    confirm_due_time: datetime | None = None
    failure_cause: FailureCause | None = None
    failure_message: str = ""
    waiting_for: WaitingFor | None = None
    waiting_reason: str = ""
    build: Build | None = None
    build_timestamp_ms: int | None = None
    shown: bool = False
    queue_id: str | None = None
    first_build_number: int | None = None
    after: Build = field(default=Build(0, 0))
    start_time: datetime | None = None
    end_time: datetime | None = None
    last_observed_time: datetime | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    requested_by: Actor | None = None

    @property
    def unresolved(self) -> bool:
        """Return whether the run is ours, has not ended, and has no build yet."""
        return self.source is RunSource.SERVICE and self.build is None and self.end_time is None

    @property
    def active(self) -> bool:
        return self.end_time is None

    @property
    def settled(self) -> bool:
        return self.settle_time is not None

    @property
    def resolved(self) -> bool:
        """Return whether an operator has set the end. Only an operator can then change it."""
        return self.state.authority is Authority.OPERATOR

    @property
    def evidence(self) -> Evidence:
        """Return the evidence, into which later reports and reads are merged."""
        return Evidence(self.state, self.reports, self.building_time, self.absent_time)


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """A status update of a run's build, from a report or a read.

    ``status_text``: the status as received.
    ``time``: when the report was stored, or when the read (``read``) began.
    ``building``: the read showed ``building:true``.
    ``unsaved_result``: the read showed this result of a build that is not saved yet.
    ``interruption``: why the build was interrupted, in Jenkins' words.
    ``started_by``: the actor that started the build.
    """

    state: BuildState
    status_text: str = ""
    build: Build | None = None
    build_timestamp_ms: int | None = None
    queue_id: str | None = None
    waiting_for: WaitingFor | None = None
    waiting_reason: str = ""
    time: datetime | None = None
    read: bool = False
    building: bool = False
    unsaved_result: str = ""
    interruption: str = ""
    started_by: Actor | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a run's status or certainty, to be committed as an event."""

    type: EventType
    old_status: DeploymentStatus
    status: DeploymentStatus
    certainty: Certainty | None = None
    correction: bool = False
    failure_cause: FailureCause | None = None
    message: str = ""


def order_key(run: Run) -> tuple[int, int, int]:
    """Return the sort key of a run among the runs of its deployment. The highest is the current run.

    It does not depend on the order in which reports and reads arrived. The columns ``order_generation`` and
    ``order_position`` are the same rule in SQL.
    """
    if run.source is RunSource.SERVICE and not run.settled:
        return (2**31 - 1, 0, run.number)
    if run.build is not None and run.shown:
        return (run.build.generation, 2 * run.build.number, run.number)
    if run.source is RunSource.EXTERNAL and run.build is not None:
        return (0, 0, run.number)
    return (run.after.generation, 2 * run.after.number + 1, run.number)


def current_run(runs: Iterable[Run]) -> Run | None:
    """Return the run that determines the deployment's status; None if there is none.

    An external run whose build Jenkins has not shown is never current.
    """
    candidates = [r for r in runs if r.shown or r.build is None or r.source is RunSource.SERVICE]
    return max(candidates, key=order_key, default=None)
