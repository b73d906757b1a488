"""What goes wrong in a round of chaos: processes die and stall, Jenkins lies, forgets and restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from xml.etree import ElementTree

from devstack.children import Child
from devstack.stack import DevStack
from jenkins_simulator import (
    Build,
    JenkinsSimulator,
    NotificationFault,
    RequestFault,
    Result,
    SeedJob,
)

TRIGGER, CREATE = "/buildWithParameters|/build$", "/createItem"

# The last word on each result: what a held build of a round ends with.
FATES = [Result.SUCCESS] * 6 + [Result.FAILURE] * 2 + [Result.UNSTABLE, Result.NOT_BUILT]


@dataclass(frozen=True)
class Turmoil:
    """How much of what. Pauses are the longest between two blows, in seconds; 0: none.

    ``longest_stall_s`` and ``longest_delay_s`` stay within what quarantine and ``send_within_s`` allow for:
    the one exception of P3, a request that arrives after all that, has a test of its own.
    """

    kill_every_s: float = 5.0
    kill_gateway_every_s: float = 9.0
    stall_every_s: float = 7.0
    restart_every_s: float = 9.0
    forget_every_s: float = 1.5
    longest_stall_s: float = 2.0
    longest_delay_s: float = 2.0
    lost_webhooks: float = 0.2
    late_webhooks: float = 0.2
    double_webhooks: float = 0.15
    disordered_webhooks: float = 0.15
    bad_triggers: float = 0.25
    bad_reads: float = 0.06
    endpoint_every_s: float = 4.0
    """One of Jenkins' endpoints fails alone, for at most ``longest_outage_s``."""
    longest_outage_s: float = 3.0
    proxy_answers: float = 0.06
    """A proxy answers in Jenkins' place: it limits the rate of triggers, and shows its own pages to reads."""
    retries: float = 1.0
    """How often a retry plugin starts a failed build again, with the same parameters and causes."""
    seed_jobs: float = 6.0
    """How many jobs a seed job overwrites every ``seed_every_s``, parameters and more: see ``overwritten``."""
    seed_every_s: float = 3.0
    secret_every_s: float = 15.0
    """A secret text is lost. A job has three repairs, then no webhooks: its ends are read, and a service that is killed
    every few seconds reads little, since each time its leases must run out first."""
    rotate_every_s: float = 5.0
    """The records of builds that end within the next second are rotated away, at COMPLETED or at FINALIZED."""


USUAL_START_S = 2.5
"""How long the service starts on a machine of its own."""
CALM = Turmoil(**dict.fromkeys((one.name for one in fields(Turmoil)), 0.0))
# The endpoints that tell how builds stand: each has another that can replace it.
SOURCES = ("queue", "queue_item", "executors", "build", "job")


class Storm:
    """A round's turmoil while it is entered. ``blows`` counts them."""

    def __init__(self, stack: DevStack, turmoil: Turmoil, seed: int) -> None:
        assert stack.simulator is not None
        self._stack = stack
        self._jenkins: JenkinsSimulator = stack.simulator
        self._turmoil = turmoil
        self._seed = seed
        self._tasks: list[asyncio.Task[None]] = []
        self._processes = asyncio.Lock()
        self._repairs: set[asyncio.Task[object]] = set()
        self.blows: Counter[str] = Counter()
        self.seeded: set[str] = set()
        """The jobs that a seed job overwrites."""
        self.slowest_start_s = 0.0
        """How long the service has taken to start, at most."""
        self._slowness = 1.0

    async def __aenter__(self) -> Storm:
        turmoil = self._turmoil
        self._break_requests()
        self._jenkins.set_conditions(retry_times=int(turmoil.retries))
        for number, (every_s, blow) in enumerate(
            (
                (turmoil.kill_every_s, self._kill_service),
                (turmoil.kill_gateway_every_s, self._kill_gateway),
                (turmoil.stall_every_s, self._stall_service),
                (turmoil.restart_every_s, self._restart_jenkins),
                (turmoil.forget_every_s, self._forget_item),
                (turmoil.endpoint_every_s, self._fail_endpoint),
                (turmoil.secret_every_s, self._lose_secret),
                (turmoil.rotate_every_s, self._rotate_records),
                (turmoil.seed_jobs and turmoil.seed_every_s, self._seed_job),
            )
        ):
            if every_s:
                dice = random.Random(self._seed * 100 + number)
                self._tasks.append(asyncio.create_task(self._strike(every_s, blow, dice)))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Everything that was broken works again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._repairs)
        self._jenkins.faults.clear()
        self._jenkins.set_conditions(retry_times=0, seed_jobs=(), record_gone_at=None)
        for child in (self._stack.service, self._stack.gateway):
            await _up(child)

    def check(self) -> None:
        """Raise what has ended a task of ours: a process, for one, that doesn't start again."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _strike(
        self, every_s: float, blow: Callable[[random.Random], Awaitable[str]], dice: random.Random
    ) -> None:
        while True:
            # A service that is killed before it has read anything does not get any further. So on a machine that other
            # work slows down there is more time between two blows.
            await asyncio.sleep(dice.uniform(0.2, 1.0) * every_s * self._slowness)
            self.blows[await blow(dice)] += 1

    async def _repair(self, work: Coroutine[object, object, object]) -> None:
        """What must be done to its end, even if the storm is over meanwhile."""
        task = asyncio.create_task(work)
        self._repairs.add(task)
        task.add_done_callback(self._repairs.discard)
        await asyncio.shield(task)

    async def _kill_service(self, dice: random.Random) -> str:
        async with self._processes:
            await self._stack.kill_service()
            await asyncio.sleep(dice.uniform(0, 0.5))
            began = time.monotonic()
            await self._repair(self._stack.start_service())
            start_s = time.monotonic() - began
            self.slowest_start_s = max(self.slowest_start_s, start_s)
            self._slowness = max(1.0, start_s / USUAL_START_S)
        return "service killed"

    async def _kill_gateway(self, dice: random.Random) -> str:
        await self._stack.kill_gateway()
        await asyncio.sleep(dice.uniform(0, 0.5))
        await self._repair(self._stack.start_gateway())
        return "gateway killed"

    async def _stall_service(self, dice: random.Random) -> str:
        async with self._processes:
            pid = self._stack.service.pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(dice.uniform(0.2, 1.0) * self._turmoil.longest_stall_s)
            finally:
                os.kill(pid, signal.SIGCONT)
        return "service stalled"

    async def _restart_jenkins(self, dice: random.Random) -> str:
        hard = dice.random() < 0.6
        down_s = dice.uniform(0.0, 1.0)
        await self._repair(self._jenkins.restart(hard=hard, down_s=down_s))
        return "Jenkins killed" if hard else "Jenkins restarted"

    async def _forget_item(self, dice: random.Random) -> str:
        items = [i for i in self._jenkins.controller.queue.items() if not i.placeholder_of]
        if not items:
            return "queue found empty"
        self._jenkins.forget_queue_item(dice.choice(items).id)
        return "queue item forgotten"

    async def _fail_endpoint(self, dice: random.Random) -> str:
        endpoint = dice.choice(SOURCES)
        outages = [
            RequestFault(endpoint=endpoint, jenkins_status=500),
            RequestFault(endpoint=endpoint, delay_before_s=self._turmoil.longest_delay_s),
        ]
        if endpoint != "job":
            # Without the permission to read a job a trigger is refused, and rightly: that ends the run.
            outages.append(RequestFault(endpoint=endpoint, jenkins_status=403))
        outage = dice.choice(outages)
        rules = self._jenkins.faults.requests
        rules.insert(0, outage)
        try:
            await asyncio.sleep(dice.uniform(0.3, 1.0) * self._turmoil.longest_outage_s)
        finally:
            rules[:] = [rule for rule in rules if rule is not outage]
        return "endpoint failing alone"

    async def _lose_secret(self, dice: random.Random) -> str:
        kept = sorted(self._jenkins.controller.credentials)
        if not kept:
            return "no secret text found"
        self._jenkins.lose_secrets(re.escape(dice.choice(kept)))
        return "secret text lost"

    async def _rotate_records(self, dice: random.Random) -> str:
        self._jenkins.set_conditions(record_gone_at=dice.choice(("COMPLETED", "FINALIZED")))
        try:
            await asyncio.sleep(dice.uniform(0.2, 1.0))
        finally:
            self._jenkins.set_conditions(record_gone_at=None)
        return "records rotated away"

    async def _seed_job(self, dice: random.Random) -> str:
        """Let a seed job take over one more job, of those that have been built: so they were ours."""
        jobs = sorted({build.job for build in self._jenkins.ledger.builds()} - self.seeded)
        if not jobs or len(self.seeded) >= self._turmoil.seed_jobs:
            return "seed jobs at work"
        name, keeps_signs = dice.choice(jobs), bool(len(self.seeded) % 2)
        self.seeded.add(name)
        xml = overwritten(self._jenkins.job(name).xml, keeps_signs=keeps_signs)
        seeds = self._jenkins.controller.conditions.seed_jobs
        self._jenkins.set_conditions(
            seed_jobs=(*seeds, SeedJob(name, xml, self._turmoil.seed_every_s))
        )
        return "job seeded"

    def _break_requests(self) -> None:
        turmoil, add = self._turmoil, self._jenkins.faults.add
        self._jenkins.faults.reseed(self._seed)
        for path, some in ((TRIGGER, turmoil.bad_triggers), (CREATE, turmoil.bad_triggers)):
            part = RequestFault("POST", path, probability=some / 4)
            add(replace(part, reset=True, do_work=True))
            add(replace(part, status=502))
            add(replace(part, reset=True))
            add(replace(part, delay_before_s=turmoil.longest_delay_s))
        read = RequestFault("GET", probability=turmoil.bad_reads / 3)
        add(replace(read, status=502))
        add(replace(read, reset=True))
        add(replace(read, delay_after_s=turmoil.longest_delay_s))
        proxy = RequestFault("POST", TRIGGER, probability=turmoil.proxy_answers)
        add(replace(proxy, status=429, retry_after="1"))
        page = RequestFault("GET", probability=turmoil.proxy_answers / 4)
        for status in (302, 403, 404, 429):
            add(replace(page, status=status, location="/sso" if status == 302 else None))
        add(NotificationFault(probability=turmoil.lost_webhooks, drop=True))
        add(NotificationFault(probability=turmoil.double_webhooks, duplicates=2))
        add(NotificationFault(probability=turmoil.late_webhooks, delay_s=turmoil.longest_delay_s))
        add(NotificationFault(probability=turmoil.disordered_webhooks, reorder=True))


class Fates:
    """Ends each build of a round after a while with a result, both by chance. ``enter`` it around the round."""

    def __init__(self, jenkins: JenkinsSimulator, seed: int, longest_s: float) -> None:
        self._jenkins = jenkins
        self._dice = random.Random(seed)
        self._longest_s = longest_s
        self._known: set[Build] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Fates:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for build in self._jenkins.controller.running_builds():
                if build not in self._known:
                    self._known.add(build)
                    after_s = self._dice.uniform(0.0, self._longest_s)
                    result = self._dice.choice(FATES)
                    loop.call_later(after_s, self._jenkins.controller.release, build, result)
            await asyncio.sleep(0.02)


def overwritten(config: ElementTree.Element, *, keeps_signs: bool) -> str:
    """Return the config.xml that a seed job writes over one of ours: the same builds, without parameters.

    ``keeps_signs``: the mark in the description and the endpoint stay, so that the job is still recognised as ours.
    """
    root = deepcopy(config)
    properties = root.find("properties")
    for one in list(properties if properties is not None else ()):
        if not keeps_signs or one.tag.endswith("ParametersDefinitionProperty"):
            properties.remove(one)  # type: ignore[union-attr]
    description = root.find("description")
    if description is not None and not keeps_signs:
        description.text = "Written by a seed job."
    return ElementTree.tostring(root, encoding="unicode")


async def _up(child: Child) -> None:
    if child.pid is None:
        await child.start()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGCONT)
