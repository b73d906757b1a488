"""One Jenkins controller: its jobs, its queue and its running builds."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from jenkins_simulator.core.clock import Clock
from jenkins_simulator.core.conditions import Conditions, SeedJob
from jenkins_simulator.core.config import SimulatorConfig
from jenkins_simulator.core.console import Console
from jenkins_simulator.core.durations import estimated_duration_ms
from jenkins_simulator.core.faults import Faults
from jenkins_simulator.core.ledger import Ledger
from jenkins_simulator.core.model import (
    Build,
    Cause,
    Folder,
    Interruption,
    Item,
    Job,
    Origin,
    QueueItem,
    Result,
    SecretTexts,
    upstream_of,
)
from jenkins_simulator.core.parameters import ParameterValue, default_values, still_defined
from jenkins_simulator.core.scheduler import BuildQueue, Executors
from jenkins_simulator.core.shell import Workspaces

HOLD_MARK = "simulator: hold"


class Controller:
    """Jenkins without HTTP; everything in memory, and kept over restarts as a real one would."""

    def __init__(
        self,
        config: SimulatorConfig,
        clock: Clock,
        run_build: Callable[[Controller, Build], Coroutine[Any, Any, None]],
        write_seed: Callable[[Controller, SeedJob], Coroutine[Any, Any, None]],
    ) -> None:
        self.config = config
        self.clock = clock
        self._run_build = run_build
        self._write_seed = write_seed
        self.users = dict(config.users)
        self.credentials = SecretTexts(config.credentials)
        self.anonymous_permissions = config.anonymous_permissions
        self.ledger = Ledger()
        self.faults = Faults(config.fault_seed)
        self.workspaces = Workspaces()
        self.root = Folder.root()
        self.executors = Executors(config.executors)
        self.quieting_down = False
        self.conditions = config.conditions
        self._sessions = [_new_session()]
        self._answers = 0
        self._seeding: set[asyncio.Task[None]] = set()
        self.root_url: str | None = None
        self._held_jobs: set[str] = set()
        self._up = asyncio.Event()
        self.queue = BuildQueue(
            clock,
            self.executors,
            config.left_item_ttl_s,
            self._start_build,
            lambda: self.quieting_down,
            lambda: self.conditions.first_queue_id,
            config.leave_queue_s,
            config.queue_round_s,
        )
        self._running: set[Build] = set()

    # --- jobs

    def find(self, full_name: str) -> Item | None:
        """The folder or job of that full name."""
        item: Item | None = self.root
        for name in full_name.split("/"):
            item = item.find(name) if isinstance(item, Folder) else None
        return item

    def job(self, full_name: str) -> Job:
        """The job of that full name; raises KeyError."""
        item = self.find(full_name)
        if not isinstance(item, Job):
            raise KeyError(full_name)
        return item

    def newest_build(self, full_name: str) -> int | None:
        """The number of a job's newest build."""
        job = self.find(full_name)
        newest = job.last_build() if isinstance(job, Job) else None
        return None if newest is None else newest.number

    def secret_of(self, job: Job, credential_id: str) -> str | None:
        """The secret text of that id that a job finds: its folders' stores come first."""
        folder = job.parent
        while folder is not None:
            if credential_id in folder.credentials:
                return folder.credentials[credential_id]
            folder = folder.parent
        return self.credentials.get(credential_id)

    def delete(self, item: Item) -> None:
        """Delete a job or folder: queued items are cancelled, running builds aborted."""
        for job in list(item.jobs()) if isinstance(item, Folder) else [item]:
            assert isinstance(job, Job)
            job.deleted = True
            for queued in [i for i in self.queue.items() if i.job is job]:
                self.cancel(queued)
            for build in job.builds.values():
                self.stop(build, "SYSTEM")
            job.builds.clear()
        assert item.parent is not None
        item.parent.items.pop(item.name, None)

    def rotate(self, job: Job) -> None:
        """Delete old builds by the job's build discarder; the last good ones are always kept."""
        keep = job.config.builds_to_keep
        if keep is None:
            return
        builds = job.builds_newest_first()
        kept = set(builds[:keep])
        for results in ({Result.SUCCESS}, {Result.SUCCESS, Result.UNSTABLE}):
            kept.update([b for b in builds if not b.in_progress and b.result in results][:1])
        for build in builds:
            if build not in kept and not build.in_progress and not build.keep_forever:
                self.discard(build)

    def discard(self, build: Build) -> None:
        """Delete the record of a build."""
        if build.job.builds.pop(build.number, None) is not None:
            self.ledger.record_gone(build)

    # --- the queue

    def schedule(
        self,
        job: Job,
        parameters: tuple[ParameterValue, ...] | None,
        cause: Cause,
        quiet_period_s: float | None = None,
    ) -> tuple[QueueItem, bool]:
        """Queue a build; the flag is true for a new item, false for a reused one."""
        item, created = self._enqueue(job, parameters, [cause], quiet_period_s)
        if created:
            self.ledger.item_accepted(item, cause.user)
        return item, created

    def start_again(
        self, build: Build, origin: Origin, *, user: str | None = None, after_s: float = 0.0
    ) -> QueueItem:
        """Queue a build with the parameters of another, and its causes unless a `user` is given."""
        causes = list(build.causes) if user is None else [Cause(user=user)]
        item, created = self._enqueue(build.job, build.parameters, causes, after_s)
        if created:
            item.origin, item.retry_of = origin, build
            self.ledger.item_accepted(item, causes[0].user if causes else None)
        return item

    def _enqueue(
        self,
        job: Job,
        parameters: tuple[ParameterValue, ...] | None,
        causes: Sequence[Cause],
        quiet_period_s: float | None,
    ) -> tuple[QueueItem, bool]:
        if quiet_period_s is None:
            own = job.config.quiet_period_s
            quiet_period_s = self.config.quiet_period_s if own is None else own
        item, created = self.queue.schedule(job, parameters, causes, quiet_period_s)
        if not created:
            self.ledger.item_folded(item)
        return item, created

    def cancel(self, item: QueueItem) -> bool:
        """Cancel a queue item; False if it had left."""
        cancelled = self.queue.cancel(item)
        if cancelled:
            self.ledger.item_cancelled(item)
        return cancelled

    # --- builds

    def hold(self, full_name: str) -> None:
        """Let every further build of this job wait for `release`."""
        self._held_jobs.add(full_name)

    def is_held(self, build: Build) -> bool:
        """Whether the build waits for a test instead of running its script."""
        config = build.job.config
        texts = [config.script, *(builder.command for builder in config.builders)]
        return build.job.full_name in self._held_jobs or any(HOLD_MARK in text for text in texts)

    def release(self, build: Build, result: Result) -> None:
        """End a held build with this result."""
        if build.released is None:
            build.released = asyncio.get_running_loop().create_future()
        if not build.released.done():
            build.released.set_result(result)

    def stop(self, build: Build, user: str | None) -> None:
        """Interrupt a build, and note by whom if that is given; one that has ended is left alone."""
        if self._interrupt(build, None if user is None else Interruption.by(user)):
            self.ledger.build_stopped(build, user)

    def _interrupt(self, build: Build, why: Interruption | None) -> bool:
        if not build.building or build.abort.is_set():
            return False
        build.interruption = why
        build.stopped_at = self.clock.now()
        build.abort.set()
        return True

    def _supersede(self, job: Job, newest: Build) -> None:
        """Interrupt the older builds of a job that keeps only the newest."""
        for build in job.builds.values():
            why = Interruption.superseded(newest.display_name)
            if build is not newest and self._interrupt(build, why):
                build.console.line(why.text)

    def start_downstream(self, build: Build) -> None:
        """Queue the jobs that a successful build starts."""
        if build.result is not Result.SUCCESS:
            return
        cause = Cause(upstream=upstream_of(build, by_build_step=False))
        for name in build.job.config.downstream:
            job = self.find(name)
            if isinstance(job, Job) and job.is_buildable:
                self.schedule(job, default_values(job.config.parameters, self.newest_build), cause)

    @staticmethod
    def kill(build: Build) -> None:
        """End a Pipeline without asking its steps; one that has ended is left alone."""
        if build.building:
            build.console.line("Hard kill!")
            build.killed.set()

    def running_builds(self) -> list[Build]:
        """Builds on executors of either kind."""
        return sorted(self._running, key=lambda build: build.started_at)

    def _start_build(self, item: QueueItem) -> None:
        if item.placeholder_of is not None:
            self.executors.acquire(item.placeholder_of)
            item.granted.set()
            return
        job = item.job
        build = Build(
            job,
            job.next_build_number,
            item.id,
            still_defined(job.config.parameters, item.parameters),
            item.causes,
            entered_queue_at=item.entered_at,
            started_at=self.clock.now(),
            console=Console(),
            estimated_ms=estimated_duration_ms(job),
            origin=item.origin,
            retry_of=item.retry_of,
        )
        if not job.is_pipeline:
            build.executor_number = self.executors.acquire(build) or 0
        job.next_build_number += 1
        job.builds[build.number] = item.build = build
        item.has_build.set()
        self._running.add(build)
        if job.config.abort_previous:
            self._supersede(job, build)
        self.ledger.build_started(build, item)
        build.task = asyncio.get_running_loop().create_task(self._run_build(self, build))

    def build_left_executor(self, build: Build) -> None:
        """A build is over: make room for the next."""
        self._running.discard(build)
        build.on_executor = False
        self.executors.release(build)
        self.queue.maintain()

    # --- life

    async def until_up(self) -> None:
        """Wait while the controller is down: a Pipeline's steps outlive it, its reports do not."""
        await self._up.wait()

    def come_up(self) -> None:
        """Begin (again) to work."""
        self._up.set()
        self.queue.maintain()
        self.apply_conditions(self.conditions)

    @property
    def session(self) -> str:
        """The session of this start, which answers show as X-Jenkins-Session."""
        return self._sessions[0]

    def session_of_next_answer(self) -> str:
        """The session of the replica that gives the next answer: replicas take turns."""
        while len(self._sessions) < self.conditions.sessions:
            self._sessions.append(_new_session())
        self._answers += 1
        return self._sessions[self._answers % self.conditions.sessions]

    def apply_conditions(self, conditions: Conditions) -> None:
        """Replace the conditions: seed jobs begin to write, or stop."""
        self.conditions = conditions
        for task in self._seeding:
            task.cancel()
        for seed in conditions.seed_jobs:
            task = asyncio.get_running_loop().create_task(self._write_seed(self, seed))
            self._seeding.add(task)
            task.add_done_callback(self._seeding.discard)

    async def go_down(self, *, hard: bool) -> None:
        """End all that a dying controller ends."""
        self._up.clear()
        self.queue.halt()
        dying = [build for build in self.running_builds() if not build.job.is_pipeline]
        for build in dying:
            self._lose(build, hard=hard)
        await _until_ended(dying)

    def _lose(self, build: Build, *, hard: bool) -> None:
        """End a freestyle build that dies with the controller: it sends no more notifications.

        A result that was final stays, and what was FINALIZED is on disk; only notifications are cut off.
        """
        if build.task is not None:
            build.task.cancel()
        self._running.discard(build)
        self.executors.release(build)
        build.on_executor = False
        if not build.in_progress:
            return
        was_building = build.building
        build.building = build.in_progress = False
        build.duration_ms = max(1, self.clock.now_ms() - build.timestamp_ms)
        lost = hard or not self.config.stop_saves_builds
        if lost:
            build.job.builds.pop(build.number, None)
        elif was_building:
            build.worsen(Result.ABORTED)
            build.console.line("Build was aborted")
            build.console.line("Finished: ABORTED")
        self.ledger.build_ended(build, self.clock.now(), lost=lost)

    def restore(self, *, hard: bool) -> None:
        """Drop and restore the state that a restart drops and restores."""
        self._sessions = [_new_session()]
        self.quieting_down = False
        for job in self.root.jobs():
            job.weather = None
        saved_before = self.clock.now() - self.config.queue_saved_every_s if hard else None
        self.queue.restore(saved_before=saved_before)
        if self.conditions.resume_with_new_queue_id:
            for build in reversed(self.running_builds()):
                build.queue_id = self.queue.next_id()
        when = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(self.clock.now()))
        for build in self.running_builds():
            build.console.line(f"Resuming build at {when} after Jenkins restart")
            if build.sleeps_until is not None:
                left_s = max(0, round(build.sleeps_until - self.clock.now()))
                build.console.line(f"Sleeping for {left_s} sec")
            build.console.line(f"Ready to run at {when}")

    async def close(self) -> None:
        """End all builds and their processes."""
        self.queue.halt()
        self.faults.clear()
        self.apply_conditions(Conditions())
        running = self.running_builds()
        for build in running:
            if build.task is not None:
                build.task.cancel()
        await _until_ended(running)
        self.workspaces.close()


async def _until_ended(builds: list[Build]) -> None:
    """Wait for cancelled builds, so that their processes have ended too."""
    tasks = [build.task for build in builds if build.task is not None]
    await asyncio.gather(*tasks, return_exceptions=True)


def _new_session() -> str:
    return secrets.token_hex(4)
