"""The verdict of a report that waited for its build."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from deployment_service.domain.attribution import Verdict
from deployment_service.domain.runs import Run, RunSource, TriggerState
from deployment_service.domain.status import RUNNING, Authority, BuildState, Severity, Stage
from deployment_service.storage.reports.reports import PendingDelivery
from deployment_service.unit_of_work.status_updates import verdict_of_pending

STORED = datetime(2026, 3, 1, tzinfo=UTC)
RUN = Run(UUID(int=7), UUID(int=1), 1, UUID(int=3), RunSource.SERVICE, TriggerState.ACCEPTED)
END = BuildState(Stage.FINAL, Authority.PLUGIN_FINALIZED, Severity.SUCCESS)


@pytest.mark.parametrize(
    ("state", "building_after_s", "verdict"),
    [
        (END, None, Verdict.APPLIED),
        (END, -1, Verdict.APPLIED),
        (END, 0, Verdict.APPLIED),
        (END, 1, Verdict.DISPROVED),
        (RUNNING, 1, Verdict.APPLIED),
    ],
)
def test_only_a_later_read_that_shows_the_build_running_disproves_an_end(
    state: BuildState, building_after_s: int | None, verdict: Verdict
):
    seen = None if building_after_s is None else STORED + timedelta(seconds=building_after_s)
    kept = PendingDelivery(
        delivery_id=1,
        job_id=RUN.job_id,
        build_number=1,
        state=state,
        status_text="SUCCESS",
        queue_id=None,
        create_time=STORED,
        named_run_id=None,
    )
    assert verdict_of_pending(kept, replace(RUN, building_time=seen)) is verdict
