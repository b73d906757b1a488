"""Concurrent callers share one task, and none of them ends it for the others."""

from __future__ import annotations

import asyncio

import pytest

from deployment_service.runtime.single_flight import SingleFlight


class Reads:
    """Counts reads; ``gate`` holds them up."""

    def __init__(self) -> None:
        self.begun = 0
        self.gate = asyncio.Event()
        self.failure: Exception | None = None
        self.flight: SingleFlight[str, int] = SingleFlight()

    async def read(self) -> int:
        self.begun += 1
        mine = self.begun
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return mine

    def ask(self, key: str = "a") -> asyncio.Task[int]:
        return self.flight.task(key, self.read)


async def test_callers_with_one_key_share_a_task_and_later_ones_start_anew() -> None:
    reads = Reads()
    first, second, other = reads.ask(), reads.ask(), reads.ask("b")
    reads.gate.set()
    assert first is second
    assert [await first, await other] == [1, 2]
    assert await reads.ask() == 3


async def test_a_caller_that_is_cancelled_leaves_the_task_to_others() -> None:
    reads = Reads()
    gone = asyncio.create_task(asyncio.wait_for(asyncio.shield(reads.ask()), 60))
    stays = reads.ask()
    await asyncio.sleep(0)
    gone.cancel()
    reads.gate.set()
    assert await stays == 1


async def test_a_sealed_task_is_not_joined_and_its_end_leaves_the_next_one_alone() -> None:
    reads = Reads()
    first = reads.ask()
    await asyncio.sleep(0)
    reads.flight.seal("a")
    second = reads.ask()
    assert first is not second
    first.cancel()
    await asyncio.wait({first})
    assert reads.ask() is second
    reads.gate.set()
    assert await second == 2


async def test_a_failure_reaches_each_caller_and_the_next_caller_tries_again() -> None:
    reads = Reads()
    reads.failure = ConnectionError("lost")
    reads.gate.set()
    for task in (reads.ask(), reads.ask()):
        with pytest.raises(ConnectionError):
            await task
    reads.failure = None
    assert await reads.ask() == 2


async def test_closing_cancels_sealed_tasks_too() -> None:
    reads = Reads()
    first = reads.ask()
    await asyncio.sleep(0)
    reads.flight.seal("a")
    second = reads.ask()
    await reads.flight.close()
    assert first.cancelled()
    assert second.cancelled()
