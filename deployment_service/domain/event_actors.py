"""The actor of a transition that no caller requested. Pure."""

from __future__ import annotations

from deployment_service.domain.actors import JENKINS, THIS_SERVICE, Actor
from deployment_service.domain.events import EventSource, EventType
from deployment_service.domain.runs import Run, RunSource, Transition
from deployment_service.domain.status import FailureCause

# The service concludes these from an absence; no action in Jenkins caused them.
_CONCLUSIONS = (
    FailureCause.BUILD_LOST,
    FailureCause.TRIGGER_DEADLINE,
    FailureCause.TRIGGER_OUTCOME_UNKNOWN,
)


def actor_of(source: EventSource, run: Run, transition: Transition) -> Actor:
    """Return the actor of a transition that no caller requested."""
    if source in (EventSource.API, EventSource.DISPATCHER):
        return THIS_SERVICE
    if transition.failure_cause in _CONCLUSIONS:
        return THIS_SERVICE
    waits = transition.type is EventType.DEPLOYMENT_RUN_WAITING
    starts = run.source is RunSource.EXTERNAL and not transition.status.final and not waits
    return (run.requested_by if starts else None) or JENKINS
