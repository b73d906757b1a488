"""The certainty of an end: permutations of reports, reads and conclusions of absence (promises P2 and P7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.domain.certainty import Certainty
from deployment_service.domain.run_transitions import end_without_build, observe
from deployment_service.domain.runs import (
    Build,
    Run,
    RunSource,
    StatusUpdate,
    Transition,
    TriggerState,
)
from deployment_service.domain.status import (
    RUNNING,
    UNKNOWN,
    Authority,
    DeploymentStatus,
    FailureCause,
    UnstablePolicy,
    from_phase,
    from_read,
    from_status_text,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
RESULTS = ["SUCCESS", "UNSTABLE", "FAILURE", "NOT_BUILT", "ABORTED"]
BUILD = Build(1, 7)


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


@dataclass(frozen=True)
class Step:
    """Something that is processed at any time after it has happened."""

    kind: str
    second: int
    result: str = ""

    def apply(self, run: Run) -> tuple[Run, list[Transition]]:
        if self.kind == "absent":
            return end_without_build(
                run,
                FailureCause.BUILD_LOST,
                "It is gone.",
                certain=False,
                highest=BUILD,
                now=at(100),
                time=at(self.second),
            )
        return observe(run, self.claim(), UnstablePolicy.FAILED, at(100))

    def claim(self) -> StatusUpdate:
        match self.kind:
            case "read":
                known = from_read(finished=True, result=self.result)
                return StatusUpdate(known, self.result, BUILD, 1, time=at(self.second), read=True)
            case "building" | "unsaved":
                building = self.kind == "building"
                return StatusUpdate(
                    RUNNING, "", BUILD, 1, time=at(self.second), read=True, building=building
                )
            case "step":
                known = from_status_text(self.result, Authority.STEP)
            case _:
                known = from_phase(self.kind, self.result)
        return StatusUpdate(known, self.result, BUILD, time=at(self.second))


def a_run() -> Run:
    return Run(
        UUID(int=1),
        UUID(int=2),
        1,
        UUID(int=3),
        RunSource.SERVICE,
        TriggerState.ACCEPTED,
        build=BUILD,
    )


def after(*steps: Step) -> tuple[Run, list[Transition]]:
    run, history = a_run(), []
    for step in steps:
        run, transitions = step.apply(run)
        history += transitions
    return run, history


seconds = st.integers(0, 9)
reports = st.builds(
    Step,
    st.sampled_from(["step", "STARTED", "COMPLETED", "FINALIZED"]),
    seconds,
    st.sampled_from(RESULTS),
)
reads = st.builds(
    Step, st.sampled_from(["read", "building", "unsaved"]), seconds, st.sampled_from(RESULTS)
)
absences = st.builds(Step, st.just("absent"), seconds)


def meaning(run: Run) -> tuple[object, ...]:
    return run.state, run.status, run.certainty, run.reported_status, run.failure_cause, run.result


@given(st.lists(reports | reads, max_size=7), st.randoms(use_true_random=False))
def test_the_order_of_reports_and_reads_does_not_matter(steps, random) -> None:
    """P2: what counts is when each happened, and copies change nothing."""
    shuffled = [*steps, *random.sample(steps, random.randint(0, len(steps)))]
    random.shuffle(shuffled)
    assert meaning(after(*steps)[0]) == meaning(after(*shuffled)[0])


@given(st.lists(reports | absences, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_reports_and_of_proofs_of_absence_does_not_matter(steps, random) -> None:
    """P2: a report that is processed after its build was found absent counts as one before it."""
    shuffled = list(steps)
    random.shuffle(shuffled)
    one, other = after(*steps)[0], after(*shuffled)[0]
    assert (one.state, one.status, one.certainty) == (other.state, other.status, other.certainty)


@given(st.lists(reports, max_size=7))
def test_reports_alone_settle_nothing(steps) -> None:
    """P7: whatever is reported, in whichever order, the end is REPORTED."""
    run, history = after(*steps)
    assert run.certainty in (None, Certainty.REPORTED)
    assert not run.settled
    assert {step.certainty for step in history} <= {None, Certainty.REPORTED}


@given(st.lists(reports | reads, max_size=7))
def test_a_withdrawn_end_does_not_come_back(steps) -> None:
    """After a read that shows the build running, only a later report or a read ends the run."""
    withdrawn = Step("building", 10)
    run, _ = after(*steps, withdrawn, *steps)
    if any(step.kind == "read" for step in steps):
        assert run.certainty is Certainty.CONFIRMED
    else:
        assert (run.status, run.certainty, run.end_time) == ("RUNNING", None, None)
        again, _ = after(*steps, withdrawn, Step("FINALIZED", 11, "FAILURE"))
        assert (again.status, again.certainty) == ("FAILED", Certainty.REPORTED)


@given(st.lists(reports | reads, max_size=8))
def test_what_is_shown_follows_from_times_and_ranks_alone(steps) -> None:
    """P2, P7: the rules of docs/explanation/certainty.md, written down a second time.

    Hence a withdrawn end comes back only by a report that is not older than the withdrawing read, or by a read.
    """
    run, _ = after(*steps)
    claims = [(step, step.claim()) for step in steps]
    withdrawn_before = max((s.second for s in steps if s.kind == "building"), default=0)
    read_ends = [claim.state for step, claim in claims if step.kind == "read"]
    reported = [
        claim.state
        for step, claim in claims
        if not claim.read and claim.state.final and step.second >= withdrawn_before
    ]
    if read_ends:
        assert (run.state, run.certainty) == (max(read_ends), Certainty.CONFIRMED)
    elif reported:
        assert (run.state, run.certainty) == (max(reported), Certainty.REPORTED)
    else:
        assert (run.state, run.certainty) == (RUNNING if steps else UNKNOWN, None)


@given(st.lists(reports | reads | absences, max_size=7))
def test_the_first_event_that_is_not_reported_settles(steps) -> None:
    """P8: the fold of the events is what is stored; one settling event per settled end."""
    run, history = after(*steps)
    status: object = DeploymentStatus.PENDING
    certainty = None
    for step in history:
        assert step.old_status == status
        assert (step.status, step.certainty) != (status, certainty) or step.failure_cause
        status, certainty = step.status, step.certainty
    assert (status, certainty) == (run.status, run.certainty)


@given(st.lists(reports | reads | absences, max_size=7))
def test_a_run_never_contradicts_itself(steps) -> None:
    """The rules that the CHECK constraints guard hold by themselves."""
    run, _ = after(*steps)
    assert (run.certainty is None) == (run.end_time is None) == (not run.status.final)
    assert run.settled == (run.certainty in (Certainty.CONFIRMED, Certainty.UNVERIFIABLE))
    rank = run.state.rank
    assert run.certainty is not Certainty.REPORTED or 320 <= rank < 350
    assert (run.certainty is Certainty.CONFIRMED) == (rank >= 350)
    assert run.confirm_due_time is None or run.certainty is Certainty.REPORTED


@pytest.mark.parametrize(
    "reported",
    [
        (Step("FINALIZED", 1, "ABORTED"),),
        (Step("COMPLETED", 1, "SUCCESS"), Step("FINALIZED", 2, "SUCCESS")),
        (Step("step", 3, "failure"),),
        (Step("FINALIZED", 1, "SUCCESS"), Step("step", 2, "NOT_BUILT")),
    ],
)
def test_a_read_that_shows_the_build_running_withdraws_reports(reported) -> None:
    run, history = after(*reported, Step("building", 5))
    assert (run.status, run.certainty, run.reported_status) == ("RUNNING", None, None)
    assert history[-1].correction
    assert history[-1].status == "RUNNING"


def test_a_read_that_began_before_the_report_withdraws_nothing() -> None:
    run, _ = after(Step("FINALIZED", 5, "SUCCESS"), Step("building", 4))
    assert (run.status, run.certainty) == ("COMPLETED", Certainty.REPORTED)


def test_a_build_that_is_not_saved_yet_neither_confirms_nor_withdraws() -> None:
    run, _ = after(Step("COMPLETED", 1, "SUCCESS"), Step("unsaved", 5))
    assert (run.status, run.certainty) == ("COMPLETED", Certainty.REPORTED)


@pytest.mark.parametrize("result", RESULTS)
def test_a_reported_end_whose_build_is_gone_stays_as_unverifiable(result) -> None:
    """Item: four reports of an end, and the record was rotated away."""
    steps = [Step("STARTED", 1), Step("COMPLETED", 2, result), Step("FINALIZED", 3, result)]
    run, history = after(*steps, Step("absent", 9))
    assert (run.certainty, run.result) == (Certainty.UNVERIFIABLE, result)
    assert (run.status, run.reported_status) == (history[-2].status, history[-2].status)
    assert history[-1].type == "DEPLOYMENT_RUN_SETTLED"
    read, history = after(*steps, Step("absent", 9), Step("read", 10, "FAILURE"))
    assert (read.status, read.certainty) == ("FAILED", Certainty.CONFIRMED), "a read reverses it"


def test_a_second_proof_of_absence_settles_nothing_again() -> None:
    steps = [Step("step", 0, "SUCCESS"), Step("absent", 1), Step("absent", 2)]
    run, history = after(*steps)
    assert run.certainty is Certainty.UNVERIFIABLE
    assert [str(step.type) for step in history].count("DEPLOYMENT_RUN_SETTLED") == 1


def test_a_lost_build_that_is_shown_again_is_running_again() -> None:
    run, history = after(Step("STARTED", 1), Step("absent", 5), Step("building", 6))
    assert (run.status, run.failure_cause, history[-1].correction) == ("RUNNING", None, True)


def test_a_confirmed_end_is_settled_by_one_event() -> None:
    steps = [
        Step("FINALIZED", 1, "SUCCESS"),
        Step("read", 2, "SUCCESS"),
        Step("read", 3, "SUCCESS"),
    ]
    run, history = after(*steps)
    assert [str(step.type) for step in history].count("DEPLOYMENT_RUN_SETTLED") == 1
    assert run.certainty is Certainty.CONFIRMED


@pytest.mark.parametrize(
    ("kinds", "due"),
    [
        (["FINALIZED"], 0),
        (["COMPLETED"], 1),
        (["step"], 1),
        (["COMPLETED", "FINALIZED"], 0),
        (["FINALIZED", "COMPLETED"], 0),
        (["STARTED"], None),
    ],
)
def test_when_a_reported_end_is_read(kinds, due) -> None:
    """FINALIZED at once, others a second later; not at all without an end."""
    claims = [Step(kind, 0, "SUCCESS").claim() for kind in kinds]
    run = reduce(
        lambda run, claim: observe(
            run, claim, UnstablePolicy.FAILED, at(0), read_at_completed=False
        )[0],
        claims,
        a_run(),
    )
    assert run.confirm_due_time == (None if due is None else at(due))
    if kinds == ["COMPLETED"]:
        discarding, _ = observe(a_run(), claims[0], UnstablePolicy.FAILED, at(0))
        assert discarding.confirm_due_time == at(0)
