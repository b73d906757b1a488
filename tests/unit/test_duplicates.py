"""When a second build with a run's id may be stopped. Defends P9: each condition alone keeps it going."""

import itertools

import pytest

from deployment_service.domain.duplicates import DuplicateBuild, SentAttempts, unmet_stop_condition

LATE = SentAttempts(unanswered=1, answered=1, stopped=0)
OURS = DuplicateBuild(only_our_cause=True, started_ms=150, own_end_ms=None)


@pytest.mark.parametrize(
    ("attempts", "build", "obstacle"),
    [
        (LATE, OURS, None),
        (LATE, DuplicateBuild(True, 150, 151), None),
        (SentAttempts(2, 1, 1), OURS, None),
        (SentAttempts(2, 0, 0), OURS, None),
        (SentAttempts(0, 1, 0), OURS, "(a)"),
        (SentAttempts(1, 1, 1), OURS, "(a)"),
        (SentAttempts(1, 0, 0), OURS, "(a)"),
        (SentAttempts(0, 0, 0), OURS, "(a)"),
        (LATE, DuplicateBuild(False, 150, None), "(b)"),
        (LATE, DuplicateBuild(True, None, None), "(c)"),
        (LATE, DuplicateBuild(True, 150, 150), "(c)"),
        (LATE, DuplicateBuild(True, 150, 100), "(c)"),
    ],
)
def test_the_conditions(attempts, build, obstacle):
    found = unmet_stop_condition(attempts, build)
    assert found == obstacle or (found or "").startswith(obstacle or "never")


def test_no_more_builds_are_stopped_than_requests_are_unanswered():
    for unanswered, answered in itertools.product(range(4), range(4)):
        stopped = 0
        while unmet_stop_condition(SentAttempts(unanswered, answered, stopped), OURS) is None:
            stopped += 1
        assert stopped == max(unanswered - (0 if answered else 1), 0)
