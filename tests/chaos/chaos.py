"""A round of chaos: many deployments run while everything fails that can, then every run is judged.

    python -m tests.chaos.chaos --seed 7 --runs 300

A seed repeats what is done to whom with which probability; how it falls in time is the machine's doing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import asyncpg

from deployment_service.client import DeploymentClient
from deployment_service.client.errors import DeploymentServiceError
from deployment_service.domain.parameters import RUN_ID_PARAMETER
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.workers.reconciler.detection import Detection
from devstack.options import StackOptions, simulator_config
from devstack.stack import DevStack
from jenkins_simulator import Conditions, SimulatorConfig
from tests.chaos.turmoil import Fates, Storm, Turmoil
from tests.chaos.verdict import TRIGGERED, Verdict, judge
from tests.chaos.world import SHORT
from tests.fixtures_stack import run_sql

T = TypeVar("T")

SETTINGS = {
    **SHORT,
    "QUARANTINE_S": "2",
    "TRIGGER_WAIT_S": "0.3",
    "TRIGGER_DEADLINE_S": "600",
    "COMPARE_INTERVAL_S": "15",
}
_HELD = {
    "freestyle_shell": "# simulator: hold",
    "pipeline_script": "// simulator: hold\nnode { echo 'x' }",
}
_RUNS = """
    SELECT r.*, j.full_name FROM deployment_runs r JOIN cicd_jobs j USING (tenant_id, job_id)
"""
_ENDED = "SELECT FROM deployment_runs WHERE run_id = $1 AND end_time IS NOT NULL"
_EVENTS = (
    "SELECT * FROM deployment_events WHERE run_number IS NOT NULL ORDER BY tenant_id, sequence"
)
# What Jenkins has lost or rotated away is never confirmed.
_UNSETTLED = """
    SELECT count(*) FROM deployment_runs WHERE end_time IS NULL OR certainty = 'REPORTED' OR (
        source = 'SERVICE' AND certainty IS DISTINCT FROM 'CONFIRMED' AND run_id::text <> ALL($1)
        AND failure_cause IS DISTINCT FROM 'BUILD_LOST'
        AND failure_cause IS DISTINCT FROM 'TRIGGER_OUTCOME_UNKNOWN')
"""

# More than 53 bits, which is all that some JSON readers keep.
FIRST_QUEUE_ID = 7213489120345678901


@dataclass(frozen=True)
class Plan:
    """A round: ``runs`` in all, by ``teams`` that each have a deployment and run it again and again."""

    seed: int
    runs: int = 300
    teams: int = 50
    builds_last_s: float = 1.0
    turmoil: Turmoil = field(default_factory=Turmoil)
    storm_s: float = 600.0
    """How long it blows at most. What has not ended by then ends in the calm, within ``patience_s``, or is missing."""
    patience_s: float = 90.0
    settings: Mapping[str, str] = field(default_factory=lambda: SETTINGS)

    def bound_s(self, slowest_start_s: float = 0.0) -> float:
        """How long after its end a build must be known: the published bound, which holds while Jenkins and a replica
        work, and the longest that they may be away here. A replica starts within 5 s, unless one took longer."""
        seconds = {name: float(value) for name, value in self.settings.items()}
        published = Detection(
            read_interval_s=seconds["READ_INTERVAL_S"],
            polling_interval_s=seconds["POLLING_INTERVAL_S"],
            request_timeout_s=seconds["REQUEST_TIMEOUT_S"],
        )
        breaker_s, starting_s, restarting_s = 12.0, max(5.0, slowest_start_s), 1.5
        away_s = seconds["LEASE_S"] + breaker_s + starting_s + restarting_s
        return published.bound_s(polled=False) + away_s + self.turmoil.longest_stall_s


@dataclass
class Summary:
    plan: Plan
    verdict: Verdict
    blows: Counter[str]
    seconds: float
    watched: int = 0
    unseen: list[int] = field(default_factory=list)
    """Events that a watcher, connected all the time, was not told of."""
    slowest_start_s: float = 0.0

    @property
    def bound_s(self) -> float:
        return self.plan.bound_s(self.slowest_start_s)

    @property
    def right(self) -> bool:
        return self.verdict.right and self.in_time and not self.unseen

    @property
    def in_time(self) -> bool:
        return self.verdict.slowest_s <= self.bound_s

    def __str__(self) -> str:
        verdict = self.verdict
        blows = ", ".join(f"{count} x {what}" for what, count in sorted(self.blows.items()))
        middle = verdict.detection_s[len(verdict.detection_s) // 2] if verdict.detection_s else 0.0
        lines = [
            f"seed {self.plan.seed}: {verdict.runs} runs of {self.plan.teams} deployments in {self.seconds:.0f} s",
            f"  done to them: {blows}",
            f"  builds {verdict.builds}, of which Jenkins lost {verdict.lost} and rotated {verdict.rotated} away;"
            f" never built {verdict.never_built}",
            f"  missing {len(verdict.missing)}, duplicate {len(verdict.duplicate)}, wrong {len(verdict.wrong)},"
            f" aborted that were not ours {len(verdict.harmed)}",
            f"  events watched {self.watched}, not seen {len(self.unseen)}",
            f"  detection: median {middle:.2f} s, slowest {verdict.slowest_s:.2f} s, bound {self.bound_s:.1f} s",
            f"  the service started within {self.slowest_start_s:.1f} s",
        ]
        for kind in ("missing", "duplicate", "wrong", "harmed"):
            lines += [f"  {kind}: {what}" for what in getattr(verdict, kind)[:5]]
        return "\n".join(lines)


@contextlib.asynccontextmanager
async def stack_for(
    plan: Plan, stack_class: type[DevStack] = DevStack, **options: str
) -> AsyncIterator[DevStack]:
    """A stack with a Jenkins that has few executors, so that there is a queue."""
    base = simulator_config()
    simulator: SimulatorConfig = replace(
        base,
        quiet_period_s=0.1,
        executors=6,
        finalize_delay_s=0.05,
        start_up_s=0.1,
        leave_queue_s=0.01,
        conditions=Conditions(sessions=2, first_queue_id=FIRST_QUEUE_ID),
    )
    chosen = StackOptions(simulator=simulator, service_settings=plan.settings, **options)  # type: ignore[arg-type]
    async with stack_class(chosen) as stack:
        # The webhook URLs are kept in secret texts of Jenkins, as they are where consoles are read by many.
        await run_sql(stack.database_url, "UPDATE cicd_providers SET private_console = false")
        # Jobs are compared with what was written into them from the start, not only a quarter of an hour later.
        compare_at_once = "ALTER TABLE cicd_jobs ALTER next_compare_time SET DEFAULT now()"
        await run_sql(stack.database_url, compare_at_once)
        yield stack


async def play(
    stack: DevStack, plan: Plan, progress: Callable[[str], None] = lambda _: None
) -> Summary:
    """Play a round on a fresh stack."""
    assert stack.simulator is not None
    began = time.monotonic()
    async with (
        asyncpg.create_pool(stack.database_url, min_size=0, max_size=4) as pool,
        Fates(stack.simulator, plan.seed, plan.builds_last_s),
        stack.client(timeout_s=20.0) as client,
        _watching(client) as seen,
    ):
        round_ = _Round(pool, plan)
        teams = {asyncio.create_task(round_.team(client, n)) for n in range(plan.teams)}
        storm = Storm(stack, plan.turmoil, plan.seed)

        def tick() -> None:
            progress(round_.state(storm.blows))

        def tick_in_storm() -> None:
            storm.check()
            tick()

        try:
            async with storm:
                left = await _together(teams, plan.storm_s, tick_in_storm)
            await _together(left, plan.patience_s, tick)
        finally:
            await _cancel(teams)
        builds = stack.simulator.ledger.builds()
        lost = [
            b.parameters.get(RUN_ID_PARAMETER, "")
            for b in builds
            if (b.lost or b.record_gone) and b.origin == TRIGGERED
        ]
        await round_.settle(plan.bound_s(storm.slowest_start_s), lost)
        runs, events = await round_.fetch(_RUNS), await round_.fetch(_EVENTS)
        await _until_seen(seen, {event["sequence"] for event in events})
        ledger = stack.simulator.ledger
        verdict = judge(ledger, round_.acknowledged, runs, events, storm.seeded)
    return Summary(
        plan,
        verdict,
        storm.blows,
        time.monotonic() - began,
        len(seen),
        sorted({event["sequence"] for event in events} - seen),
        storm.slowest_start_s,
    )


class _Round:
    def __init__(self, pool: asyncpg.Pool, plan: Plan) -> None:
        self._pool = pool
        self._plan = plan
        self.acknowledged: list[str] = []
        self.ended = 0

    def state(self, blows: Counter[str]) -> str:
        ended, runs = self.ended, self._plan.runs
        return f"{ended:4} of {runs} runs have ended, {sum(blows.values()):3} blows"

    async def team(self, client: DeploymentClient, number: int) -> None:
        """Create a deployment, run it again and again, each time wait for the end."""
        name = f"d{number}"
        kind = list(_HELD)[number % len(_HELD)]
        job = pb.DeploymentJob(**{kind: _HELD[kind]})  # type: ignore[arg-type]
        definition = pb.Deployment(provider="main", job=job)
        dice = random.Random(self._plan.seed * 1000 + number)
        request_id = _request_id(dice)
        await _insist(lambda: client.create_deployment(name, definition, request_id=request_id))
        for _ in range(number, self._plan.runs, self._plan.teams):
            run = partial(client.run_deployment, name, request_id=_request_id(dice))
            uid = (await _insist(run)).run.uid
            self.acknowledged.append(uid)
            while not await self.fetch(_ENDED, uid):  # noqa: ASYNC110  the database tells nobody
                await asyncio.sleep(0.3)
            self.ended += 1

    async def settle(self, within_s: float, lost: list[str]) -> None:
        """In the calm after the storm, everything must become certain. ``lost``: runs whose builds Jenkins lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while (await self.fetch(_UNSETTLED, lost))[0]["count"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        return await self._pool.fetch(statement, *arguments)


async def _insist(call: Callable[[], Awaitable[T]]) -> T:
    """Until it has worked: what changes something carries a request id of its own."""
    while True:
        try:
            return await call()
        except DeploymentServiceError as error:
            if error.reason in ("", "JOB_NOT_READY", "RUN_ACTIVE", "DATABASE_UNAVAILABLE"):
                await asyncio.sleep(0.2)
                continue
            raise


def _request_id(dice: random.Random) -> str:
    return str(uuid.UUID(int=dice.getrandbits(128), version=4))


async def _together(
    tasks: set[asyncio.Task[None]], patience_s: float, tick: Callable[[], None]
) -> set[asyncio.Task[None]]:
    """Wait for all, ``patience_s`` at the most; return those that go on."""
    until = time.monotonic() + patience_s
    waiting = tasks
    while waiting and time.monotonic() < until:
        done, waiting = await asyncio.wait(waiting, timeout=1.0)
        for task in done:
            task.result()
        tick()
    return waiting


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def _watching(client: DeploymentClient) -> AsyncIterator[set[int]]:
    """A watcher from before the first event; the client makes sure itself that nothing is left out."""
    seen: set[int] = set()

    async def watch() -> None:
        async for event in client.watch():
            seen.add(event.sequence)

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
    if isinstance(result, Exception):
        raise result


async def _until_seen(seen: set[int], wanted: set[int]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while not wanted <= seen:  # noqa: ASYNC110  the watcher tells nobody
                await asyncio.sleep(0.05)


def main() -> None:
    """Play one round and say how it went; exit 1 if anything was not right."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--teams", type=int, default=50)
    arguments = parser.parse_args()
    plan = Plan(arguments.seed, arguments.runs, arguments.teams)
    sys.exit(0 if asyncio.run(_main(plan)).right else 1)


async def _main(plan: Plan) -> Summary:
    print(f"seed {plan.seed}; the same again: make chaos SEED={plan.seed}")
    async with stack_for(plan) as stack:
        summary = await play(stack, plan, show_progress)
    print(f"\n{summary}")
    return summary


def show_progress(state: str) -> None:
    if sys.stdout.isatty():
        print(f"\r  {state}", end="", flush=True)


if __name__ == "__main__":
    main()
