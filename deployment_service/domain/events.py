"""Events: the committed facts in a tenant's history."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from deployment_service.domain.actors import Actor
from deployment_service.domain.certainty import Certainty
from deployment_service.domain.status import DeploymentStatus, FailureCause


class EventType(StrEnum):
    DEPLOYMENT_STATUS_UPDATE = "DEPLOYMENT_STATUS_UPDATE"
    DEPLOYMENT_RUN_START = "DEPLOYMENT_RUN_START"
    DEPLOYMENT_RUN_FAILURE = "DEPLOYMENT_RUN_FAILURE"
    DEPLOYMENT_CREATED = "DEPLOYMENT_CREATED"
    DEPLOYMENT_UPDATED = "DEPLOYMENT_UPDATED"
    DEPLOYMENT_DELETED = "DEPLOYMENT_DELETED"
    DEPLOYMENT_JOB_UPDATE = "DEPLOYMENT_JOB_UPDATE"
    DEPLOYMENT_RUN_SETTLED = "DEPLOYMENT_RUN_SETTLED"
    DEPLOYMENT_RUN_WAITING = "DEPLOYMENT_RUN_WAITING"
    DEPLOYMENT_JOB_DRIFTED = "DEPLOYMENT_JOB_DRIFTED"
    DEPLOYMENT_POSSIBLE_DUPLICATE = "DEPLOYMENT_POSSIBLE_DUPLICATE"
    DEPLOYMENT_OBSERVATION_PROBLEM = "DEPLOYMENT_OBSERVATION_PROBLEM"


class WaitingFor(StrEnum):
    """The thing that an active run waits for."""

    TRIGGER = "TRIGGER"
    QUEUE = "QUEUE"
    INPUT = "INPUT"


class EventSource(StrEnum):
    API = "API"
    DISPATCHER = "DISPATCHER"
    WEBHOOK = "WEBHOOK"
    READ = "READ"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append. The database assigns its sequence and time.

    ``revision``: the deployment's revision, already incremented in the same transaction.
    ``old_deployment_status``: None if the event does not change the deployment's status.
    ``problem_since``, ``problem_reason``: of an observation problem, whose message is ``message``.
    ``old_labels``: the labels that an update replaced.
    """

    deployment_id: uuid.UUID
    deployment_slug: str
    revision: int
    type: EventType
    source: EventSource
    old_status: DeploymentStatus
    status: DeploymentStatus
    deployment_status: DeploymentStatus
    run_number: int | None = None
    job_id: uuid.UUID | None = None
    build_number: int | None = None
    certainty: Certainty | None = None
    correction: bool = False
    failure_cause: FailureCause | None = None
    message: str = ""
    old_deployment_status: DeploymentStatus | None = None
    actor: Actor | None = None
    waiting_for: WaitingFor | None = None
    waiting_reason: str = ""
    build_url: str = ""
    failure_message: str = ""
    problem_since: datetime | None = None
    problem_reason: str | None = None
    old_labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Event(NewEvent):
    """A committed event. ``labels``: those of its deployment then; None: written before they were recorded."""

    labels: Mapping[str, str] | None = None
    sequence: int = 0
    create_time: datetime | None = None


class Until(StrEnum):
    """The kind of end of the current runs at which a watch ends."""

    REPORTED = "REPORTED"
    SETTLED = "SETTLED"


@dataclass(frozen=True, slots=True)
class End:
    """Whether a deployment's current run has ended, at a sequence of its tenant's history."""

    sequence: int
    over: bool
    """Whether its current run has ended, or it was deleted."""
    settled: bool
    """Whether the end of its current run is settled as well."""

    def reached(self, until: Until) -> bool:
        """Return whether a watch with this ``until`` need not wait for the deployment any longer."""
        return self.settled if until is Until.SETTLED else self.over
