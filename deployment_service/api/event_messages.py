"""Committed events as messages of the contract."""

from __future__ import annotations

from typing import cast

from deployment_service.api.actor_messages import actor_message
from deployment_service.api.problem_messages import problem_message
from deployment_service.domain.certainty import Certainty
from deployment_service.domain.events import Event, EventSource, EventType, WaitingFor
from deployment_service.domain.names import DeploymentName, RunName
from deployment_service.domain.problems import ObservationProblem
from deployment_service.domain.status import DeploymentStatus, FailureCause
from deployment_service.v1 import deployment_service_pb2 as pb

# The contract's enums have prefixes, the domain's do not. Built at import, so that a value missing in the contract
# fails before the first call. (The stubs declare int in place of the enum.) A value in none of the tables was written
# by a newer replica (rolling upgrade): its event is sent with that field unspecified.
TYPES = {
    one: cast("pb.DeploymentEvent.Type", pb.DeploymentEvent.Type.Value(one.value))
    for one in EventType
}
_SOURCES = {
    one: cast("pb.EventSource", pb.EventSource.Value(f"EVENT_SOURCE_{one.value}"))
    for one in EventSource
}
_STATUSES = {
    one: cast("pb.DeploymentStatus", pb.DeploymentStatus.Value(f"DEPLOYMENT_STATUS_{one.value}"))
    for one in DeploymentStatus
}
_CERTAINTIES = {
    one: cast("pb.Certainty", pb.Certainty.Value(f"CERTAINTY_{one.value}")) for one in Certainty
}
_WAITING_FOR = {
    one: cast("pb.WaitingFor", pb.WaitingFor.Value(f"WAITING_FOR_{one.value}"))
    for one in WaitingFor
}
_CAUSES = {
    one: cast("pb.FailureCause", pb.FailureCause.Value(f"FAILURE_CAUSE_{one.value}"))
    for one in FailureCause
}


def to_message(tenant_slug: str, event: Event) -> pb.DeploymentEvent:
    """The message of an event."""
    message = pb.DeploymentEvent(
        sequence=event.sequence,
        revision=event.revision,
        type=TYPES.get(event.type, pb.DeploymentEvent.TYPE_UNSPECIFIED),
        deployment=str(DeploymentName(tenant_slug, event.deployment_slug)),
        deployment_uid=str(event.deployment_id),
        cicd_job_id="" if event.job_id is None else str(event.job_id),
        build_number=event.build_number or 0,
        deployment_status=_STATUSES.get(event.deployment_status, pb.DEPLOYMENT_STATUS_UNSPECIFIED),
        source=_SOURCES.get(event.source, pb.EVENT_SOURCE_UNSPECIFIED),
        certainty=_CERTAINTIES.get(event.certainty, pb.CERTAINTY_UNSPECIFIED)
        if event.certainty
        else pb.CERTAINTY_UNSPECIFIED,
        correction=event.correction,
        message=event.message,
        old_deployment_status=_STATUSES.get(
            event.old_deployment_status, pb.DEPLOYMENT_STATUS_UNSPECIFIED
        )
        if event.old_deployment_status
        else pb.DEPLOYMENT_STATUS_UNSPECIFIED,
        waiting_for=_WAITING_FOR.get(event.waiting_for, pb.WAITING_FOR_UNSPECIFIED)
        if event.waiting_for
        else pb.WAITING_FOR_UNSPECIFIED,
        waiting_reason=event.waiting_reason,
        build_url=event.build_url,
        failure_message=event.failure_message,
        actor=actor_message(event.actor),
    )
    if event.run_number is not None:
        message.run = str(RunName(tenant_slug, event.deployment_slug, event.run_number))
        message.run_status = _STATUSES.get(event.status, pb.DEPLOYMENT_STATUS_UNSPECIFIED)
        # Only the first event of a run has PENDING; what it stores as old status is the deployment's.
        if event.status is not DeploymentStatus.PENDING:
            message.old_run_status = _STATUSES.get(
                event.old_status, pb.DEPLOYMENT_STATUS_UNSPECIFIED
            )
    if event.failure_cause is not None:
        message.failure_cause = _CAUSES.get(event.failure_cause, pb.FAILURE_CAUSE_UNSPECIFIED)
    if event.problem_since is not None and event.problem_reason is not None:
        # Its message is coarse: all watchers of a tenant get the same.
        problem = ObservationProblem(event.problem_since, event.problem_reason, event.message)
        message.observation_problem.CopyFrom(problem_message(problem, in_full=True))
    if event.create_time is not None:
        message.create_time.FromDatetime(event.create_time)
    return message


def to_bytes(tenant_slug: str, event: Event) -> bytes:
    """Return the serialized message, which the tail shares between all streams."""
    return to_message(tenant_slug, event).SerializeToString()
