"""One log line for each committed transition, with the wording of the integration guide."""

from __future__ import annotations

from collections.abc import Sequence

from deployment_service.domain.events import EventSource, NewEvent
from deployment_service.runtime.logs import log

# The guide names the tag of webhooks; every other source has a tag of the same form.
_TAGS = {
    EventSource.WEBHOOK: "[@webhook:jenkins]",
    EventSource.READ: "[@read:jenkins]",
    EventSource.DISPATCHER: "[@dispatcher:jenkins]",
    EventSource.API: "[@api]",
}


def write(tenant_slug: str, events: Sequence[NewEvent]) -> None:
    """Log every event that changes the status of a deployment or of a run. Call after the commit."""
    for event in events:
        line = _line(event)
        if line is not None:
            log.info(
                line,
                tenant=tenant_slug,
                deployment=event.deployment_slug,
                run=event.run_number,
                job=str(event.job_id) if event.job_id else None,
                build=event.build_number,
                source=event.source.value,
                old_status=event.old_status.value.lower(),
                failure_cause=event.failure_cause.value if event.failure_cause else None,
            )


def _line(event: NewEvent) -> str | None:
    tag = _TAGS[event.source]
    old_deployment_status = event.old_deployment_status or event.deployment_status
    if event.deployment_status is not old_deployment_status:
        subject, status = f"deployment status: {event.deployment_id}", event.deployment_status
    elif event.status is not event.old_status:
        subject = f"run status: {event.deployment_id}/runs/{event.run_number}"
        status = event.status
    else:
        return None
    return f"{tag} Updating {subject} -> {status.value.lower()}"
