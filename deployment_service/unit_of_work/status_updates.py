"""From observations to claims about a run, and from what they changed to verdicts. No I/O."""

from __future__ import annotations

from deployment_service.domain.attribution import Observation, Verdict
from deployment_service.domain.events import WaitingFor
from deployment_service.domain.runs import Build, Run, StatusUpdate
from deployment_service.storage.reports.reports import PendingDelivery


def update_of(seen: Observation, build: Build) -> StatusUpdate:
    """Return what an observation claims of its build."""
    return StatusUpdate(
        seen.state,
        seen.status_text,
        build,
        seen.timestamp_ms,
        seen.build_ref.queue_id,
        WaitingFor.INPUT if seen.waiting_for_input else None,
        "An input step of the Pipeline waits for a person." if seen.waiting_for_input else "",
        time=seen.read_time,
        read=seen.build_ref.read,
        building=seen.building,
        unsaved_result=seen.unsaved_result,
        interruption=seen.interruption,
        started_by=seen.started_by,
    )


def update_of_pending(kept: PendingDelivery, build: Build) -> StatusUpdate:
    """Return what a pending delivery claims of its build."""
    return StatusUpdate(
        kept.state, kept.status_text, build, queue_id=kept.queue_id, time=kept.create_time
    )


def verdict_of(before: object, after: object, seen: Observation) -> Verdict:
    """Return what an observation did, by what was known of the run before and after; None: the run is new."""
    if before is None or before != after:
        return Verdict.APPLIED
    return Verdict.DUPLICATE if seen.state == after else Verdict.STALE


def verdict_of_pending(kept: PendingDelivery, run: Run) -> Verdict:
    """Return what a pending delivery did to ``run``: a read that began after it may have disproved its end."""
    building_time = run.building_time
    disproved = kept.state.final and building_time is not None and kept.create_time < building_time
    return Verdict.DISPROVED if disproved else Verdict.APPLIED
