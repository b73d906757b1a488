"""Build the event of a run's transition. No I/O."""

from __future__ import annotations

from deployment_service.domain.actors import Actor
from deployment_service.domain.events import EventSource, NewEvent
from deployment_service.domain.runs import Run, Transition
from deployment_service.storage.runs.runs import DeploymentState


def event_of(
    deployment: DeploymentState,
    run: Run,
    transition: Transition,
    *,
    source: EventSource,
    actor: Actor,
    build_url: str,
) -> NewEvent:
    """Return the event of a transition, without ``old_deployment_status``.

    The deployment's revision must be incremented already.
    """
    is_current = deployment.current_run_id == run.run_id
    return NewEvent(
        deployment_id=deployment.deployment_id,
        deployment_slug=deployment.slug,
        revision=deployment.revision,
        type=transition.type,
        source=source,
        old_status=transition.old_status,
        status=transition.status,
        deployment_status=transition.status if is_current else deployment.status,
        run_number=run.number,
        job_id=run.job_id,
        build_number=run.build.number if run.build else None,
        certainty=transition.certainty,
        correction=transition.correction,
        failure_cause=transition.failure_cause,
        message=transition.message,
        waiting_for=None if transition.status.final else run.waiting_for,
        waiting_reason="" if transition.status.final else run.waiting_reason,
        build_url=build_url,
        failure_message=run.failure_message if transition.failure_cause else "",
        actor=actor,
    )
