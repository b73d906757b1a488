"""P3, P4: the service is killed at every failpoint there is, and every run ends as if nothing had happened.

First the stories are told undisturbed, by a service that notes every point that it reaches; that says
which story leads to which point. Then, for each point, one is told while the service dies there.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest

from devstack.postgres import EmbeddedPostgres
from tests.chaos.points import all_points, database_points
from tests.chaos.stories import STORIES
from tests.chaos.telling import Story, tell
from tests.chaos.world import world
from tests.fixtures_stack import fresh_database

AT_ONCE = 8

# Why no story leads there. Nothing that triggers a build or commits what became of one may be in here.
NOT_REACHED = {
    "provider.set_webhook": "only rotating webhook keys makes it, which touches no run",
    "provider.survey": "only checking a provider, an operator's call, makes it",
    "provider.ping": "only PingProvider, an operator's call, makes it",
    **dict.fromkeys(
        (
            "provider.lost_state",
            "provider.restore_state",
            "provider.has_secret",
            "commit.compare._commit",
            "statement.comparer.JobComparer._compare",
        ),
        "comparing a job, a quarter of an hour after it was made, touches no run; the next makes up for it",
    ),
    "statement.report._TenantWork._answer_tests": "a test report: nothing is stored",
    "commit.steps.TriggerSteps._commit": "notes for P9 that a request was answered after a read had shown its build; "
    "without the note the attempt counts as unanswered, as after any death. "
    "tests/integration/test_runs_lost_answers.py has it",
    "statement.attempt.undo_creation": "needs a creation that was stalled for longer than lease and quarantine; "
    "tests/integration/test_jobs_faults.py has it",
}
# The part of it that every run of the tests takes: what stands between a request and its build.
SAMPLE = (
    "provider.trigger.before",
    "provider.trigger.after",
    "provider.read_queue_item.after",
    "commit.create_deployment.DeploymentCreator._commit.after",
    "commit.attempt.record.before",
    "commit.run_deployment.RunStarter.start.after",
    "commit.steps.TriggerSteps.begin_send.after",
    "commit.steps.TriggerSteps.accepted.before",
    "commit.steps.TriggerSteps.accepted.after",
    "commit.cancel_run.RunCanceller.cancel.after",
    "provider.stop_build.after",
    "provider.cancel_queue_item.before",
    "commit.steps.ReconcileSteps.end.after",
    "commit.report._TenantWork._apply.after",
)


@dataclass(frozen=True)
class Way:
    """A story that leads to a point. It dies there the first time, or the ``nth`` if idling leads there too."""

    story: Story
    nth: int


@dataclass(frozen=True)
class Kill:
    """Where the service is to die, and all the ways that were seen to lead there."""

    point: str
    ways: tuple[Way, ...]

    def __str__(self) -> str:
        return f"{self.point} in " + ", ".join(f"{w.story.__name__}@{w.nth}" for w in self.ways)


@pytest.mark.timeout(400)
async def test_killed_at_the_most_delicate_points(
    postgres: EmbeddedPostgres, migrated_template: str
) -> None:
    """P3, P4: a sample; ``make chaos`` takes all of them."""
    reached = await trace(postgres, migrated_template)
    assert set(SAMPLE) <= set(reached)
    await kill_all(postgres, migrated_template, [reached[point] for point in SAMPLE])


@pytest.mark.full
@pytest.mark.timeout(1200)
async def test_killed_at_every_point(postgres: EmbeddedPostgres, migrated_template: str) -> None:
    """P3, P4"""
    reached = await trace(postgres, migrated_template)
    await kill_all(postgres, migrated_template, reached.values())


async def trace(postgres: EmbeddedPostgres, template: str) -> dict[str, Kill]:
    """Tell every story undisturbed; return for each point the stories that lead to it."""
    ways: dict[str, dict[Story, Way]] = defaultdict(dict)
    found: dict[Story, dict[str, int]] = {}

    async def one(story: Story) -> None:
        async with (
            fresh_database(postgres, template=template) as url,
            world(url, failpoints="*=note") as w,
        ):
            idle = dict(w.reached)
            await tell(story, w)
            assert w.deaths == 0
            found[story] = {point: idle.get(point, 0) + 1 for point in w.reached}

    listed = all_points()
    wanted = {point for point in listed if point.rpartition(".")[0] not in NOT_REACHED}
    # Two points lie on the side of a race that a busy machine loses now and then.
    for _ in range(3):
        await _each(STORIES, one)
        for story in STORIES:
            for point, nth in found[story].items():
                ways[point].setdefault(story, Way(story, nth))
        if wanted <= set(ways):
            break
    missing = wanted - set(ways)
    beyond = set(ways) - listed - database_points(elsewhere=True)
    unlisted = {p for p in beyond if not p.startswith("statement.")}
    print(f"{len(listed)} failpoints; {len(STORIES)} stories lead to {len(listed & set(ways))}")
    assert unlisted == set(), "points that the list doesn't know"
    assert not missing, f"{sorted(missing)}: no story leads there"
    # Statements elsewhere are reads: of keys, of answers, of the history.
    return {point: Kill(point, tuple(by.values())) for point, by in ways.items() if point in listed}


async def kill_all(postgres: EmbeddedPostgres, template: str, kills: Iterable[Kill]) -> None:
    survived: list[str] = []

    async def once(point: str, way: Way) -> int:
        failpoint = f"{point}@{way.nth}=crash"
        async with (
            fresh_database(postgres, template=template) as url,
            world(url, failpoints=failpoint) as w,
        ):
            try:
                await tell(way.story, w)
            except Exception as error:
                where = f"{failpoint} in {way.story.__name__}"
                raise AssertionError(f"killed at {where}: {error}") from error
            return w.deaths

    async def one(kill: Kill) -> None:
        # A race may lead a story past the point: then run another story that reaches it. A point that only idling
        # reaches may come too late in the story: then kill the process when it first idles there, and let the next
        # process run the story.
        for way in (*kill.ways, kill.ways[0], replace(kill.ways[0], nth=1)):
            if await once(kill.point, way) == 1:
                return
        survived.append(str(kill))

    await _each(list(kills), one)
    assert survived == []


async def _each(things, work) -> None:
    """A few at once: most of the time is waiting for leases and quarantines."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(thing) -> None:
        async with places:
            await work(thing)

    async with asyncio.TaskGroup() as group:
        for thing in things:
            group.create_task(one(thing))
