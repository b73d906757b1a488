"""``make demo``: deployments are created, run through a simulated Jenkins and followed live to their end.

The demo shows only the events of the stream. At the end they are compared with what really
happened: the simulator's ledger. The exit code is 0 only if both agree.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from rich.console import Console
from rich.text import Text

from deployment_service.client import DeploymentClient, DeploymentServiceError
from deployment_service.client.cli.output import event_line, status_name
from deployment_service.client.waiting import FINAL
from deployment_service.v1 import deployment_service_pb2 as pb
from devstack.children import StackError
from devstack.demo_check import StreamResult, differences
from devstack.demo_view import Board
from devstack.postgres import PostgresFailed
from devstack.stack import DevStack
from jenkins_simulator import LedgerBuild

LedgerReader = Callable[[DevStack], Sequence[LedgerBuild]]

_PIPELINE = """\
pipeline {
  agent any
  stages {
    stage('Build')  { steps { echo "building $VERSION"; sleep 1 } }
    stage('Test')   { steps { sh 'sleep 1; echo all tests passed' } }
    stage('Deploy') { steps { echo 'deployed'; sleep 1 } }
  }
}
"""
_JOBS_WITHIN_S = 20.0
_RUNS_WITHIN_S = 45.0


@dataclass(frozen=True)
class Planned:
    """A deployment of the demo, and how it ought to end."""

    slug: str
    title: str
    job: pb.DeploymentJob
    ends: str
    stopped_after_s: float | None = None
    """A user stops its build in Jenkins this many seconds after its start."""


PLAN = (
    Planned(
        "web",
        "a shell step that succeeds",
        pb.DeploymentJob(freestyle_shell="sleep 2"),
        "completed",
    ),
    Planned(
        "billing",
        "a shell step that fails",
        pb.DeploymentJob(freestyle_shell="sleep 3\necho 'no space left' >&2\nexit 1"),
        "failed",
    ),
    Planned(
        "search",
        "hangs; someone aborts it in Jenkins",
        pb.DeploymentJob(freestyle_shell="sleep 600"),
        "cancelled",
        stopped_after_s=2.0,
    ),
    Planned(
        "shop", "a Pipeline with stages", pb.DeploymentJob(pipeline_script=_PIPELINE), "completed"
    ),
)


class DemoFailed(Exception):
    """The demo failed; the message has the cause."""


def read_ledger(stack: DevStack) -> Sequence[LedgerBuild]:
    """What really happened in the simulated Jenkins."""
    assert stack.simulator is not None
    return stack.simulator.ledger.builds()


class Demo:
    """One run of the demo on a fresh stack."""

    def __init__(self, stack: DevStack, client: DeploymentClient, console: Console) -> None:
        self._stack = stack
        self._client = client
        self._console = console
        self.board = Board(console, {one.slug: one.title for one in PLAN})
        self._events: list[pb.DeploymentEvent] = []
        self._ready: set[str] = set()
        self._runs: dict[str, pb.Run] = {}
        self._changed = asyncio.Event()

    async def play(self, ledger_reader: LedgerReader) -> None:
        """Create, run, follow, show the history, compare."""
        token = (await self._client.list_deployments()).resume_token
        with self.board:
            async with self._following(token):
                await asyncio.gather(*(self._create(one) for one in PLAN))
                await self._until(
                    lambda: len(self._ready) == len(PLAN), _JOBS_WITHIN_S, self._missing_jobs
                )
                await asyncio.gather(*(self._run(one) for one in PLAN))
                await asyncio.gather(
                    self._until(self._all_ended, _RUNS_WITHIN_S, self._missing_ends),
                    *(self._stop_build(one) for one in PLAN if one.stopped_after_s),
                )
        await self._show_history()
        self._compare(await self._ended_builds(ledger_reader))

    @asynccontextmanager
    async def _following(self, token: str) -> AsyncIterator[None]:
        follower = asyncio.create_task(self._follow(token))
        try:
            yield
        finally:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)

    async def _follow(self, token: str) -> None:
        async with self._client.watch(resume_token=token) as watch:
            async for event in watch:
                self._events.append(event)
                self.board.apply(event)
                self._changed.set()

    async def _create(self, planned: Planned) -> None:
        definition = pb.Deployment(
            display_name=planned.title,
            provider=self._stack.provider,
            job=planned.job,
            parameter_definitions=[pb.ParameterDefinition(name="VERSION", default_value="1.4.2")],
        )
        made = await self._client.create_deployment(planned.slug, definition)
        job = made.deployment.cicd_job
        while job.state == pb.CICD_JOB_STATE_CREATING:
            await asyncio.sleep(0.2)
            job = (await self._client.get_deployment(planned.slug)).cicd_job
        if job.state != pb.CICD_JOB_STATE_READY:
            raise DemoFailed(f"The job of {planned.slug} wasn't created: {job.state_message}")
        self._ready.add(planned.slug)
        self._changed.set()

    async def _run(self, planned: Planned) -> None:
        answer = await self._client.run_deployment(planned.slug)
        self._runs[planned.slug] = answer.run

    async def _stop_build(self, planned: Planned) -> None:
        """Press the stop button, as someone in Jenkins would, once the build has run a while."""
        run = self._runs[planned.slug]
        while not run.build_number:
            await asyncio.sleep(0.2)
            run = await self._client.get_run(run.name)
        await asyncio.sleep(planned.stopped_after_s or 0)
        jenkins = self._stack.jenkins
        proof = base64.b64encode(f"{jenkins.user}:{jenkins.token}".encode()).decode()
        async with aiohttp.ClientSession(headers={"Authorization": f"Basic {proof}"}) as session:
            async with session.post(f"{run.build_url}stop", allow_redirects=False) as answer:
                if answer.status >= 400:
                    raise DemoFailed(f"Jenkins refused to stop {planned.slug}: {answer.status}")

    async def _until(
        self, condition: Callable[[], object], timeout_s: float, missing: Callable[[], str]
    ) -> None:
        """Wait for what the stream brings; fail with what is ``missing``."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise DemoFailed(f"After {timeout_s:g} s: {missing()}") from None

    def _all_ended(self) -> bool:
        return all(row.status in FINAL for row in self.board.rows.values())

    def _missing_jobs(self) -> str:
        missing = [one.slug for one in PLAN if one.slug not in self._ready]
        return f"no job in Jenkins yet for {', '.join(missing)}."

    def _missing_ends(self) -> str:
        rows = self.board.rows.items()
        missing = [
            f"{slug} ({status_name(row.status)}, {row.note})"
            for slug, row in rows
            if row.status not in FINAL
        ]
        return f"the stream has no end of {', '.join(missing)}."

    async def _show_history(self) -> None:
        self._console.print(Text("\nThe stored history:", style="bold"))
        history = [event async for event in self._client.history()]
        for event in history:
            self._console.print(event_line(event))
        head = self._events[-1].sequence
        received = [event.sequence for event in self._events]
        if received != [event.sequence for event in history if event.sequence <= head]:
            raise DemoFailed(f"The stream has events {received}, which differ from the history.")

    async def _ended_builds(self, ledger_reader: LedgerReader) -> Sequence[LedgerBuild]:
        """Return the record of builds once all have ended: a result is reported shortly before that."""
        for _ in range(50):
            builds = ledger_reader(self._stack)
            if all(build.result for build in builds):
                return builds
            await asyncio.sleep(0.1)
        return ledger_reader(self._stack)

    def _compare(self, builds: Sequence[LedgerBuild]) -> None:
        results = [
            StreamResult(
                one.slug, self._runs[one.slug].uid, status_name(row.status), row.build, one.ends
            )
            for one in PLAN
            for row in (self.board.rows[one.slug],)
        ]
        if problems := differences(results, builds):
            lines = "\n  ".join(problems)
            raise DemoFailed(f"The stream differs from Jenkins:\n  {lines}")


def main(ledger_reader: LedgerReader = read_ledger) -> None:
    """Run the demo; exit 0 on success, 1 on failure, 130 if interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m devstack.demo",
        description="Shows deployments being created, run and followed, on a stack of its own. "
        "It reads no settings from the environment and never connects to a real Jenkins.",
    )
    parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    try:
        asyncio.run(_main(console, ledger_reader))
    except (DemoFailed, StackError, PostgresFailed, DeploymentServiceError) as error:
        console.print(Text(f"\nThe demo failed. {error}", style="bold red"))
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("\nInterrupted; all processes have ended.")
        sys.exit(130)


async def _main(console: Console, ledger_reader: LedgerReader) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    output: list[str] = []

    def record(name: str, line: str) -> None:
        if "code=OK" not in line:
            output.append(f"{name:>8} │ {line}")

    stack = DevStack(
        sink=record,
        progress=lambda what: console.print(Text(f"{what} …", style="dim")),
    )
    async with stack:
        console.print(Text("\nRunning four deployments at once:\n", style="bold"))
        failing = asyncio.create_task(stack.failure())
        async with stack.client() as client:
            playing = asyncio.create_task(Demo(stack, client, console).play(ledger_reader))
            try:
                await asyncio.wait((playing, failing), return_when=asyncio.FIRST_COMPLETED)
                if not playing.done():
                    raise StackError(failing.result())
                playing.result()
            except (DemoFailed, StackError, DeploymentServiceError):
                console.print(Text("\nThe last output of the processes:", style="bold"))
                for line in output[-40:]:
                    console.print(Text(line, style="dim"))
                raise
            finally:
                for one in (playing, failing):
                    one.cancel()
                await asyncio.gather(playing, failing, return_exceptions=True)
    console.print(
        Text("\nThe stream matches the builds in Jenkins: ", style="bold green").append(
            "two completed, one failed, one cancelled; each run one build."
        )
    )


if __name__ == "__main__":
    main()
