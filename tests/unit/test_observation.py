"""Whose problem a failed call is: the smallest thing that explains it."""

from __future__ import annotations

import datetime
import itertools
import uuid

import pytest

from deployment_service.domain.observation import CycleObservation
from deployment_service.domain.problems import (
    ObservationProblem,
    Problem,
    ProblemReason,
    coarse_message,
)

WEB, API = uuid.UUID(int=3), uuid.UUID(int=4)
UNAVAILABLE_ERRORS = Problem.of(ProblemReason.UNREACHABLE, "away")
REFUSED = Problem.of(ProblemReason.REFUSED, "refused")
FORBIDDEN = Problem.of(ProblemReason.PERMISSION_MISSING, "forbidden")
HIDDEN = Problem.of(ProblemReason.JOB_NOT_SHOWN, "hidden")


def test_a_cycle_without_calls_says_nothing() -> None:
    verdicts = CycleObservation().verdicts()
    assert (verdicts.asked, verdicts.provider, verdicts.jobs) == (False, None, {})


def test_lists_that_fail_are_the_providers_problem() -> None:
    seen = CycleObservation()
    seen.failed(REFUSED)
    assert seen.verdicts().provider == REFUSED


def test_an_answer_ends_the_providers_problem() -> None:
    seen = CycleObservation()
    seen.answered()
    assert seen.verdicts().provider is None


@pytest.mark.parametrize("problem", [UNAVAILABLE_ERRORS, REFUSED, FORBIDDEN, HIDDEN])
def test_a_job_that_fails_alone_is_its_own_problem(problem: Problem) -> None:
    for order in itertools.permutations(range(3)):
        seen = CycleObservation()
        steps = [
            lambda seen=seen: seen.answered(),
            lambda seen=seen: seen.job_failed(WEB, problem),
            lambda seen=seen: seen.job_shown(API),
        ]
        for place in order:
            steps[place]()
        verdicts = seen.verdicts()
        assert verdicts.asked
        assert verdicts.provider is None
        assert verdicts.jobs == {WEB: problem, API: None}


def test_jobs_that_all_fail_for_a_reason_of_the_network_are_the_providers_problem() -> None:
    """What is stored of the jobs stays as it is: nothing became known of them."""
    seen = CycleObservation()
    seen.job_failed(WEB, UNAVAILABLE_ERRORS)
    seen.job_failed(API, UNAVAILABLE_ERRORS)
    verdicts = seen.verdicts()
    assert verdicts.provider == UNAVAILABLE_ERRORS
    assert verdicts.jobs == {}


@pytest.mark.parametrize("problem", [FORBIDDEN, HIDDEN])
def test_what_only_jenkins_can_say_of_a_job_is_an_answer(problem: Problem) -> None:
    seen = CycleObservation()
    seen.job_failed(WEB, problem)
    verdicts = seen.verdicts()
    assert verdicts.asked
    assert verdicts.provider is None
    assert verdicts.jobs == {WEB: problem}


def test_a_failure_counts_more_than_an_answer_about_the_same_job() -> None:
    """One of its runs was read and another one wasn't."""
    seen = CycleObservation()
    seen.job_shown(WEB)
    seen.job_failed(WEB, UNAVAILABLE_ERRORS)
    assert seen.verdicts().jobs == {WEB: UNAVAILABLE_ERRORS}


def test_a_cycle_that_is_cut_short_is_a_problem_though_some_of_it_was_answered() -> None:
    seen = CycleObservation()
    seen.answered()
    slow = Problem.of(ProblemReason.SLOW, "slow")
    seen.cut_short(slow)
    assert seen.verdicts().provider == slow


@pytest.mark.parametrize("problem", [FORBIDDEN, UNAVAILABLE_ERRORS])
def test_lists_that_fail_are_no_problem_while_jobs_are_shown(problem: Problem) -> None:
    seen = CycleObservation()
    seen.failed(problem)
    seen.job_shown(WEB)
    verdicts = seen.verdicts()
    assert verdicts.provider is None
    assert verdicts.jobs == {WEB: None}


def test_lists_and_jobs_that_are_refused_alike_are_the_providers_problem() -> None:
    seen = CycleObservation()
    seen.failed(FORBIDDEN)
    seen.job_failed(WEB, HIDDEN)
    verdicts = seen.verdicts()
    assert verdicts.provider == FORBIDDEN
    assert verdicts.jobs == {WEB: HIDDEN}


def test_messages_can_be_stored() -> None:
    assert len(Problem.of(ProblemReason.SLOW, "x" * 2000).message) == 500
    assert Problem.of(ProblemReason.SLOW, " \x00").message


@pytest.mark.parametrize("reason", ProblemReason)
def test_tenants_read_details_of_accounts_and_jobs_only(reason: ProblemReason) -> None:
    shown = coarse_message(reason, "10.0.0.7: nginx/1.2 said no")
    kept = {
        ProblemReason.REFUSED,
        ProblemReason.PERMISSION_MISSING,
        ProblemReason.JOB_NOT_SHOWN,
    }
    assert ("nginx" in shown) == (reason in kept)


def test_a_reason_of_a_newer_replica_is_shown_coarsely() -> None:
    assert "10.0.0.7" not in coarse_message("NEWER_THAN_THIS", "10.0.0.7")


def test_a_cancel_request_that_waits_is_told() -> None:
    since = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    problem = ObservationProblem(since, "REFUSED", "Give it a token.", cancelling=True)
    assert problem.shown(in_full=False) == "The run could not be cancelled yet. Give it a token."
