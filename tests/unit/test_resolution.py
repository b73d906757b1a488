"""ResolveRun: nothing but an operator changes the end that an operator decided."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.domain.certainty import Certainty
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.resolution import MAX_REASON_CHARS, Resolution, resolve
from deployment_service.domain.run_transitions import (
    detach_build,
    detach_external_build,
    end_without_build,
    without_resolution,
)
from deployment_service.domain.runs import Build, Run, TriggerState
from deployment_service.domain.status import DeploymentStatus, FailureCause
from tests.unit.test_certainty import Step, a_run, absences, after, at, reads, reports

ENDS = ["COMPLETED", "FAILED", "CANCELLED"]
HIGHEST = Build(1, 9)


def resolved(run: Run, status: str = "FAILED", reason: str = "The node is gone.") -> Run:
    return resolve(run, Resolution.of(status, reason), highest=HIGHEST, now=at(50))[0]


def end_of(run: Run) -> tuple[object, ...]:
    """All that an operator's end consists of."""
    return (
        *(run.state, run.status, run.certainty, run.settle_time, run.end_time),
        *(run.failure_cause, run.failure_message, run.trigger_state),
    )


@given(
    st.lists(reports | reads | absences, max_size=5),
    st.sampled_from(ENDS),
    st.lists(reports | reads | absences, max_size=5),
)
def test_reports_and_reads_never_change_the_end_that_an_operator_decided(before, status, later):
    decided = resolved(after(*before)[0], status)
    run, history = decided, []
    for step in later:
        run, transitions = step.apply(run)
        history += transitions
    assert (end_of(run), history) == (end_of(decided), [])


@pytest.mark.parametrize("status", ENDS)
def test_losing_its_build_does_not_reopen_a_resolved_run(status):
    decided = resolved(after(Step("building", 1))[0], status)
    freed, history = detach_build(decided)
    assert (end_of(freed), freed.build, freed.shown, history) == (end_of(decided), None, False, [])
    gave_up, history = detach_external_build(decided, at(60))
    assert (end_of(gave_up), gave_up.build, history) == (end_of(decided), None, [])


@pytest.mark.parametrize(("certain", "cause"), list(product((True, False), FailureCause)))
def test_no_conclusion_of_ours_changes_it(certain, cause):
    decided = resolved(a_run(), "COMPLETED")
    assert end_without_build(
        decided, cause, "It is gone.", certain=certain, highest=HIGHEST, now=at(60)
    ) == (decided, [])


@pytest.mark.parametrize(("first", "second"), list(product(ENDS, ENDS)))
def test_an_operator_corrects_an_operator(first, second):
    """Also to a lower severity."""
    run = resolved(a_run(), first)
    corrected, event = resolve(
        run, Resolution.of(second, "It was the other one."), highest=HIGHEST, now=at(60)
    )
    assert (corrected.status, corrected.certainty) == (second, Certainty.CONFIRMED)
    assert "the other one" in corrected.failure_message == event.message
    assert event.correction == (first != second)


@pytest.mark.parametrize("status", ENDS)
@pytest.mark.parametrize("state", list(TriggerState))
def test_what_becomes_of_the_trigger(status, state):
    """Nothing more is sent; a build that Jenkins was given stays the run's."""
    run = resolved(replace(a_run(), trigger_state=state), status)
    open_states = (TriggerState.WAITING, TriggerState.SENDING)
    assert run.trigger_state is (TriggerState.ENDED if state in open_states else state)
    assert (run.waiting_for, run.confirm_due_time, run.settled) == (None, None, True)


@pytest.mark.parametrize(
    ("steps", "status", "kind", "correction"),
    [
        ([Step("building", 1)], "COMPLETED", "DEPLOYMENT_STATUS_UPDATE", False),
        ([Step("building", 1)], "FAILED", "DEPLOYMENT_STATUS_UPDATE", False),
        ([Step("FINALIZED", 1, "SUCCESS")], "COMPLETED", "DEPLOYMENT_RUN_SETTLED", False),
        ([Step("FINALIZED", 1, "SUCCESS")], "FAILED", "DEPLOYMENT_STATUS_UPDATE", True),
        ([Step("FINALIZED", 1, "FAILURE")], "FAILED", "DEPLOYMENT_STATUS_UPDATE", True),
        ([Step("absent", 1)], "CANCELLED", "DEPLOYMENT_STATUS_UPDATE", True),
        ([Step("read", 1, "FAILURE")], "COMPLETED", "DEPLOYMENT_STATUS_UPDATE", True),
        (
            [Step("COMPLETED", 1, "SUCCESS"), Step("absent", 2)],
            "COMPLETED",
            "DEPLOYMENT_RUN_SETTLED",
            False,
        ),
    ],
)
def test_its_event(steps, status, kind, correction):
    """One event that settles the run; a correction where an end stood already."""
    run, event = resolve(
        after(*steps)[0], Resolution.of(status, "Seen."), highest=HIGHEST, now=at(9)
    )
    assert (event.type, event.correction) == (kind, correction)
    assert (event.status, event.certainty) == (status, Certainty.CONFIRMED)
    assert (run.failure_cause is None) == (status == "COMPLETED") == (event.failure_cause is None)


def test_a_run_without_any_build_that_did_not_complete_has_failed_to_run():
    run = replace(a_run(), build=None)
    for status in ENDS:
        _, event = resolve(run, Resolution.of(status, "Seen."), highest=HIGHEST, now=at(9))
        completed = status == "COMPLETED"
        kind = "DEPLOYMENT_STATUS_UPDATE" if completed else "DEPLOYMENT_RUN_FAILURE"
        assert event.type == kind


def test_the_external_run_that_a_higher_build_becomes_has_no_end_of_the_operator():
    decided = resolved(after(Step("building", 1))[0])
    run = without_resolution(decided)
    assert (run.status, run.certainty, run.end_time) == (DeploymentStatus.RUNNING, None, None)
    assert (run.failure_cause, run.failure_message, run.resolved) == (None, "", False)
    read, _ = Step("read", 2, "SUCCESS").apply(run)
    assert (read.status, read.certainty) == ("COMPLETED", Certainty.CONFIRMED)


@pytest.mark.parametrize(
    ("status", "reason", "field"),
    [
        ("RUNNING", "x", "status"),
        ("PENDING", "x", "status"),
        ("UNSPECIFIED", "x", "status"),
        ("completed", "x", "status"),
        ("", "x", "status"),
        ("FAILED", "", "reason"),
        ("FAILED", " \u00a0 ", "reason"),
        ("FAILED", "x" * (MAX_REASON_CHARS + 1), "reason"),
    ],
)
def test_only_final_statuses_with_a_reason(status, reason, field):
    with pytest.raises(InvalidArgument) as refused:
        Resolution.of(status, reason)
    assert refused.value.field == field
