"""What a controller takes from the budget of its origin, and how it is used up."""

from __future__ import annotations

import uuid
from typing import cast

import pytest

from deployment_service.cicd.request_count import counted, note_request
from deployment_service.storage.origin_shares import Taken
from deployment_service.workers.controllers.origin_budget import Allowance, OriginBudget


class Budget:
    """Grants what it has; remembers what was asked for."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.asked: list[tuple[int, bool]] = []

    async def take(self, _: uuid.UUID, origin: str, wanted: int, *, ahead: bool) -> Taken:
        assert origin == "http://ci"
        self.asked.append((wanted, ahead))
        granted = min(wanted, self.tokens)
        self.tokens -= granted
        return Taken(granted, 0.0 if granted else 0.7, 2)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def allowance(budget: Budget, clock: Clock | None = None) -> Allowance:
    return Allowance(cast(OriginBudget, budget), uuid.uuid4(), "http://ci", clock or Clock())


async def test_what_was_taken_at_once_is_spent_without_asking_again() -> None:
    budget = Budget(100)
    mine = allowance(budget)
    assert (await mine.take(5)).granted == 5
    assert [await mine.spend(ahead=False) for _ in range(5)] == [0.0] * 5
    assert budget.asked == [(5, False)]
    assert await mine.spend(ahead=True) == 0.0
    assert budget.asked[1:] == [(1, True)]


async def test_an_empty_budget_says_how_long_to_wait_and_keeps_what_it_gave() -> None:
    budget = Budget(1)
    mine = allowance(budget)
    assert (await mine.take(2)).granted == 1
    budget.tokens = 1
    assert (await mine.take(2)).granted == 2, "the first one was kept"
    assert [await mine.spend(ahead=False) for _ in range(2)] == [0.0, 0.0]
    assert await mine.spend(ahead=False) == pytest.approx(0.7)


@pytest.mark.parametrize("sent", [0, 1, 4])
async def test_a_call_counts_as_many_requests_as_it_sent(sent: int) -> None:
    budget = Budget(10)
    mine = allowance(budget)
    await mine.spend(ahead=False)
    mine.settle(sent)
    await mine.spend(ahead=False)
    assert budget.tokens == 10 - max(1, sent + 1)


async def test_what_was_not_used_for_ten_seconds_is_lost_but_a_debt_is_not() -> None:
    budget, clock = Budget(10), Clock()
    mine = allowance(budget, clock)
    await mine.take(5)
    clock.now = 11.0
    await mine.take(1)
    assert budget.asked == [(5, False), (1, False)]
    await mine.spend(ahead=False)
    mine.settle(3)
    clock.now = 30.0
    await mine.take(1)
    assert budget.asked[-1] == (3, False)


async def test_without_a_budget_all_may_be_sent() -> None:
    mine = Allowance(None, uuid.uuid4(), "http://ci")
    assert (await mine.take(10_000)).granted == 10_000
    assert await mine.spend(ahead=False) == 0.0


def test_requests_are_counted_in_the_innermost_block_only() -> None:
    note_request()
    with counted() as outer:
        note_request()
        with counted() as inner:
            note_request()
        note_request()
    assert (outer.sent, inner.sent) == (2, 1)
