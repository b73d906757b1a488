"""Pauses between retries grow to a limit, and differ between callers."""

from __future__ import annotations

from itertools import islice

import pytest

from deployment_service.runtime.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    assert list(islice(Backoff(0.5, 3.0, jitter=0).pauses(), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("failures", [0, 3, 30, 10**9])
def test_jitter_only_shortens_a_pause_and_leaves_its_share(failures: int) -> None:
    backoff, whole = Backoff(1.0, 8.0, jitter=0.25), Backoff(1.0, 8.0, jitter=0)
    pauses = {backoff.pause_s(failures) for _ in range(100)}
    longest = whole.pause_s(failures)
    assert len(pauses) > 1
    assert all(0.75 * longest <= pause <= longest for pause in pauses)


def test_a_first_pause_above_the_longest_is_cut() -> None:
    assert Backoff(1.0, 0.2, jitter=0).pause_s(0) == 0.2
