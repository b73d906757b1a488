"""Convert observations to status updates, and their effects to verdicts. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from deployment_service.domain.attribution import Observation, Outcome, Verdict
from deployment_service.domain.events import WaitingFor
from deployment_service.domain.runs import Build, Run, StatusUpdate
from deployment_service.storage.reports.reports import PendingDelivery


def update_of(observation: Observation, build: Build) -> StatusUpdate:
    """Return the status update of an observation."""
    return StatusUpdate(
        observation.state,
        observation.status_text,
        build,
        observation.timestamp_ms,
        observation.build_ref.queue_id,
        WaitingFor.INPUT if observation.waiting_for_input else None,
        "An input step of the Pipeline waits for a person."
        if observation.waiting_for_input
        else "",
        time=observation.read_time,
        read=observation.build_ref.read,
        building=observation.building,
        unsaved_result=observation.unsaved_result,
        interruption=observation.interruption,
        started_by=observation.started_by,
    )


def update_of_pending(delivery: PendingDelivery, build: Build) -> StatusUpdate:
    """Return the status update of a pending delivery."""
    return StatusUpdate(
        delivery.state,
        delivery.status_text,
        build,
        queue_id=delivery.queue_id,
        time=delivery.create_time,
    )


def verdict_of(before: object, after: object, observation: Observation) -> Verdict:
    """Return the verdict of an observation. ``before``: the state of the run before it; None for a new run."""
    if before is None or before != after:
        return Verdict.APPLIED
    return Verdict.DUPLICATE if observation.state == after else Verdict.STALE


def verdict_of_pending(delivery: PendingDelivery, run: Run) -> Verdict:
    """Return the verdict of a pending delivery of ``run``: a read that began after it may have disproved its end."""
    building_time = run.building_time
    disproved = (
        delivery.state.final and building_time is not None and delivery.create_time < building_time
    )
    return Verdict.DISPROVED if disproved else Verdict.APPLIED


def jobs_to_refresh(
    observations: Iterable[Observation], outcomes: Iterable[Outcome]
) -> set[uuid.UUID]:
    """Return the jobs that must be read soon, by the results of their observations."""
    return {
        observation.job_id
        for observation, outcome in zip(observations, outcomes, strict=True)
        if outcome.request_refresh
    }
