"""The order of what is known of a build (promise P2)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.domain.run_transitions import end_without_build, observe
from deployment_service.domain.runs import (
    Build,
    Run,
    RunSource,
    StatusUpdate,
    Transition,
    TriggerState,
    current_run,
    order_key,
)
from deployment_service.domain.status import (
    QUEUED,
    RUNNING,
    UNKNOWN,
    Authority,
    BuildState,
    DeploymentStatus,
    FailureCause,
    Severity,
    Stage,
    UnstablePolicy,
    deployment_status,
    from_phase,
    from_read,
    from_status_text,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FINALS = [
    BuildState(Stage.FINAL, authority, severity)
    for authority in list(Authority)[1:]
    for severity in list(Severity)[1:]
]
EVERYTHING = [UNKNOWN, QUEUED, RUNNING, *FINALS]
# No report and no read has an operator's authority: test_resolution.py has what an operator decides.
CLAIMED = [known for known in EVERYTHING if known.authority is not Authority.OPERATOR]

claims = st.builds(
    StatusUpdate,
    st.sampled_from(CLAIMED),
    status_text=st.sampled_from(["SUCCESS", "whatever", ""]),
    build=st.just(Build(1, 7)),
)
sources = st.sampled_from(list(RunSource))
policies = st.sampled_from(list(UnstablePolicy))


def a_run(
    source: RunSource = RunSource.SERVICE, number: int = 1, build: Build | None = None
) -> Run:
    state = TriggerState.SENDING if source is RunSource.SERVICE else TriggerState.ENDED
    return Run(UUID(int=number), UUID(int=99), number, UUID(int=98), source, state, build=build)


def a_settled_run(number: int, build: Build, source: RunSource = RunSource.SERVICE) -> Run:
    """A run whose build Jenkins has shown."""
    return replace(a_run(source, number, build), shown=True, settle_time=NOW)


def told(
    run: Run, heard: list[StatusUpdate], policy: UnstablePolicy
) -> tuple[Run, list[Transition]]:
    history = []
    for claim in heard:
        run, transitions = observe(run, claim, policy, NOW)
        history += transitions
    return run, history


def test_rank_has_the_same_order_as_the_points() -> None:
    """The guard in SQL compares ranks."""
    for left, right in itertools.product(EVERYTHING, repeat=2):
        assert (left < right) == (left.rank < right.rank)
        assert BuildState.from_rank(left.rank) == left


@given(st.lists(claims, max_size=6), st.randoms(use_true_random=False), sources, policies)
def test_order_and_repetition_do_not_matter(heard, random, source, policy) -> None:
    """P2: every permutation and duplication of a set of reports ends the same."""
    shuffled = [*heard, *random.sample(heard, random.randint(0, len(heard)))]
    random.shuffle(shuffled)
    one, _ = told(a_run(source), heard, policy)
    other, _ = told(a_run(source), shuffled, policy)
    assert (one.state, one.status, one.certainty, one.failure_cause) == (
        other.state,
        other.status,
        other.certainty,
        other.failure_cause,
    )
    assert one.state == reduce(max, (claim.state for claim in heard), UNKNOWN)


@given(st.lists(claims, max_size=6), sources, policies)
def test_the_history_leads_to_the_status(heard, source, policy) -> None:
    """P8: each transition starts where the one before ended and tells news; the last one is what is stored."""
    run, history = told(a_run(source), heard, policy)
    at: tuple[object, ...] = (DeploymentStatus.PENDING, None, None)
    for step in history:
        assert step.old_status == at[0]
        assert (step.status, step.failure_cause, step.certainty) != at
        settles = step.type == "DEPLOYMENT_RUN_SETTLED"
        assert step.correction == (at[2] is not None and not settles)
        assert not settles or at[2] == "REPORTED"
        at = (step.status, step.failure_cause, step.certainty)
    assert at == (run.status, run.failure_cause, run.certainty)


@given(st.sampled_from(CLAIMED), st.text(max_size=12))
def test_a_status_that_nobody_knows_never_moves_a_run(known, status_text) -> None:
    """P2"""
    if from_status_text(status_text, Authority.STEP) != UNKNOWN:
        return
    before, _ = told(a_run(), [StatusUpdate(known)], UnstablePolicy.FAILED)
    after, history = told(
        before,
        [StatusUpdate(from_status_text(status_text, Authority.STEP), status_text)],
        UnstablePolicy.FAILED,
    )
    assert (after.status, after.state, history) == (before.status, before.state, [])


@pytest.mark.parametrize(
    ("status_text", "status"),
    [
        ("success", "COMPLETED"),
        ("SUCCESS", "COMPLETED"),
        ("failure", "FAILED"),
        ("FAILED", "FAILED"),
        ("running", "RUNNING"),
        ("unstable", "FAILED"),
        ("aborted", "CANCELLED"),
        ("not_built", "CANCELLED"),
        ("", "PENDING"),
        ("weird", "PENDING"),
    ],
)
def test_the_guides_mapping(status_text: str, status: str) -> None:
    known = from_status_text(status_text, Authority.STEP)
    assert deployment_status(known, UnstablePolicy.FAILED) == status


def test_a_status_with_queued_or_started_means_running() -> None:
    assert from_phase("QUEUED", "") == RUNNING
    assert from_phase("STARTED", "UNSTABLE") == RUNNING


def test_a_finalized_word_beats_a_completed_one_and_reading_beats_both() -> None:
    completed = from_phase("COMPLETED", "SUCCESS")
    finalized = from_phase("FINALIZED", "FAILURE")
    assert completed < finalized < from_read(finished=True, result="SUCCESS")
    assert from_read(finished=False, result="UNSTABLE") == RUNNING


def test_a_finished_build_without_a_known_result_does_not_run_for_ever() -> None:
    assert from_read(finished=True, result=None).final


def test_a_presumption_is_corrected_by_a_build_that_shows_up() -> None:
    """P3: a build that shows up later is shown."""
    lost, (failure,) = end_without_build(
        a_run(),
        FailureCause.TRIGGER_OUTCOME_UNKNOWN,
        "unknown",
        certain=False,
        highest=Build(1, 3),
        now=NOW,
    )
    assert (failure.type, lost.certainty) == ("DEPLOYMENT_RUN_FAILURE", "UNVERIFIABLE")
    found, (correction,) = observe(
        lost,
        StatusUpdate(from_read(finished=True, result="SUCCESS"), "SUCCESS", Build(1, 4)),
        UnstablePolicy.FAILED,
        NOW,
    )
    assert correction.correction
    assert (found.status, found.failure_cause) == (DeploymentStatus.COMPLETED, None)


@pytest.mark.parametrize("read", [True, False])
def test_a_build_that_is_known_late_and_is_gone_was_lost(read: bool) -> None:
    """P2: as if it had been known before it was looked for in vain, whether a read or a kept report says so."""
    unknown, _ = end_without_build(
        a_run(),
        FailureCause.TRIGGER_OUTCOME_UNKNOWN,
        "unknown",
        certain=False,
        highest=Build(1, 3),
        now=NOW,
    )
    claim = StatusUpdate(RUNNING, build=Build(1, 4), time=NOW - timedelta(seconds=1), read=read)
    found, (correction,) = observe(unknown, claim, UnstablePolicy.FAILED, NOW)
    assert (found.status, found.failure_cause) == ("FAILED", "BUILD_LOST")
    assert (found.certainty, found.build) == ("UNVERIFIABLE", Build(1, 4))
    assert (correction.type, correction.correction) == ("DEPLOYMENT_STATUS_UPDATE", True)
    assert correction.failure_cause == "BUILD_LOST"
    assert observe(found, claim, UnstablePolicy.FAILED, NOW)[1] == []


runs_of_a_deployment = st.lists(
    st.tuples(sources, st.none() | st.builds(Build, st.integers(1, 2), st.integers(1, 5))),
    min_size=1,
    max_size=6,
    unique_by=lambda pair: pair[1] or object(),
)


@given(runs_of_a_deployment, st.randoms(use_true_random=False))
def test_current_run_does_not_depend_on_the_order_of_hearing(pairs, random) -> None:
    """P2: nor does it change because of a finished run of another, lower build."""
    runs = [
        a_settled_run(number, build, source) if build else a_run(source, number)
        for number, (source, build) in enumerate(pairs, 1)
        if build is not None or source is RunSource.SERVICE
    ]
    shuffled = list(runs)
    random.shuffle(shuffled)
    assert current_run(runs) == current_run(shuffled)
    unsettled = [run for run in runs if run.source is RunSource.SERVICE and not run.settled]
    if unsettled:
        assert current_run(runs) == unsettled[-1]


def test_a_run_without_a_build_ranks_just_above_what_was_known_when_it_ended() -> None:
    refused, _ = end_without_build(
        a_run(number=2),
        FailureCause.TRIGGER_REJECTED,
        "no",
        certain=True,
        highest=Build(1, 3),
        now=NOW,
    )
    before, after = a_settled_run(1, Build(1, 3)), a_settled_run(3, Build(1, 4))
    assert order_key(before) < order_key(refused) < order_key(after)
