"""What a run waits for, and the event of its change. Pure."""

from __future__ import annotations

from dataclasses import replace

from deployment_service.domain.events import EventType, WaitingFor
from deployment_service.domain.runs import Run, Transition

_WAITING_MESSAGES = {
    None: "Jenkins builds the run.",
    WaitingFor.TRIGGER: "The run waits to be triggered.",
    WaitingFor.QUEUE: "The run waits in Jenkins' queue.",
    WaitingFor.INPUT: "An input step of the Pipeline waits for a person.",
}


def set_waiting(run: Run, what: WaitingFor | None, why: str) -> Run:
    """Return the run with what it waits for; None: nothing."""
    return replace(run, waiting_for=what, waiting_reason=why)


def wait_for(run: Run, what: WaitingFor | None, why: str) -> tuple[Run, list[Transition]]:
    """Note what a run that has not ended waits for; None: for nothing, it builds."""
    if run.end_time is not None or run.state.final:
        return run, []
    moved = set_waiting(run, what, why)
    return moved, waiting_changed(run, moved)


def waiting_changed(before: Run, after: Run) -> list[Transition]:
    """Return the transition to what a run waits for now; none if that is the same, also with another reason."""
    if before.waiting_for is after.waiting_for:
        return []
    message = _WAITING_MESSAGES[after.waiting_for]
    kind = EventType.DEPLOYMENT_RUN_WAITING
    return [Transition(kind, after.status, after.status, message=message)]
