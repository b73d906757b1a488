"""A restart of Jenkins and replicas that answer by turns. Defends P3, P4: a new session alone proves nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from deployment_service.domain.sessions import SessionSeen, alternate, note_sessions, restart_time

START = datetime(2026, 1, 1, tzinfo=UTC)


def after(*shown):
    """What is known after these answers, given as (seconds, sessions); and the time of the last one."""
    known: tuple[SessionSeen, ...] = ()
    now = START
    for seconds, sessions in shown:
        now = START + timedelta(seconds=seconds)
        known = note_sessions(known, sessions.split(), now)
    return known, now


@pytest.mark.parametrize(
    ("shown", "restarted_at", "by_turns"),
    [
        ([(0, "a")], None, False),
        ([(0, "a"), (5, "b")], None, False),
        ([(0, "a"), (5, "b"), (60, "b")], None, False),
        ([(0, "a"), (5, "b"), (66, "b")], 5, False),
        ([(0, "a"), (5, "b"), (66, "b"), (3600, "b")], 5, False),
        ([(0, "a"), (5, "a b"), (70, "b")], 5, False),
        ([(0, "a"), (5, "b"), (10, "a"), (15, "b")], None, True),
        ([(0, "a b"), (5, "a b"), (3600, "a b")], None, True),
        ([(0, "a b"), (5, "b"), (50, "b")], None, False),
        ([(0, "a"), (5, "b"), (10, "c"), (15, "a")], None, False),
        ([(0, "a"), (5, "b"), (10, "c"), (15, "a"), (20, "b")], None, True),
        ([(0, "a"), (5, "b"), (10, "a b"), (3600, "a")], None, True),
        ([(0, "a"), (5, "b"), (70, "c"), (140, "c")], 70, False),
        ([(0, ""), (5, "")], None, False),
    ],
)
def test_a_restart_is_a_new_session_with_the_old_ones_absent(shown, restarted_at, by_turns):
    known, now = after(*shown)
    expected = None if restarted_at is None else START + timedelta(seconds=restarted_at)
    assert restart_time(known, now) == expected
    assert alternate(known) == by_turns


def test_a_new_session_with_each_answer_is_no_restart_and_stays_bounded():
    known, now = after(*((second, f"s{second}") for second in range(0, 600, 5)))
    assert restart_time(known, now) is None
    assert len(known) == 8
