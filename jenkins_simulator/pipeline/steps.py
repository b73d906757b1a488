"""The steps that do something: of Pipelines, scripted or declarative."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from jenkins_simulator.core.console import Console
from jenkins_simulator.core.model import (
    Cause,
    Decision,
    Interruption,
    Job,
    PendingInput,
    QueueItem,
    Result,
    upstream_of,
)
from jenkins_simulator.core.parameters import ParameterDefinition, default_values
from jenkins_simulator.pipeline.interpreter import Closure, ScriptFailure, to_text
from jenkins_simulator.pipeline.interruptions import INTERRUPTED, Interrupted
from jenkins_simulator.pipeline.run import PipelineRun, Step
from jenkins_simulator.plugins import notification as notifications

_UNITS_S = {
    "NANOSECONDS": 1e-9,
    "MICROSECONDS": 1e-6,
    "MILLISECONDS": 1e-3,
    "SECONDS": 1.0,
    "MINUTES": 60.0,
    "HOURS": 3600.0,
    "DAYS": 86_400.0,
}


_TIMED_OUT = Interruption(
    "Timeout has been exceeded",
    "org.jenkinsci.plugins.workflow.steps.TimeoutStepExecution$ExceededTimeout",
)


class Steps:
    """Each method `step_x` is the step `x`: positional arguments, named ones."""

    def __init__(self, run: PipelineRun) -> None:
        self._run = run
        self._nodes = 0

    def all(self) -> dict[str, Step]:
        """Return every step by its name in scripts."""
        return {
            name.removeprefix("step_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("step_")
        }

    async def step_echo(self, arguments: list[Any], named: dict[str, Any]) -> None:
        """`echo 'text'`."""
        self._run.build.console.line(to_text(_first(arguments, named, "message")))

    step_println = step_echo

    async def step_error(self, arguments: list[Any], named: dict[str, Any]) -> None:
        """`error 'text'`."""
        raise ScriptFailure(to_text(_first(arguments, named, "message")))

    async def step_unstable(self, arguments: list[Any], named: dict[str, Any]) -> None:
        """`unstable 'text'`: the result is set, and the build continues."""
        self._run.build.console.line(f"WARNING: {to_text(_first(arguments, named, 'message'))}")
        self._run.build.worsen(Result.UNSTABLE)

    async def step_sh(self, arguments: list[Any], named: dict[str, Any]) -> Any:
        """`sh 'script'`, or with `returnStatus` or `returnStdout`."""
        script = to_text(_first(arguments, named, "script"))
        captured = Console() if named.get("returnStdout") else None
        code = await self._run.controller.workspaces.run(
            self._run.build, script, self._run.environment, captured, self._interrupting
        )
        if self._run.build.abort.is_set():
            self._run.build.console.line(f"script returned exit code {143 if code < 0 else code}")
            raise Interrupted(INTERRUPTED)
        if named.get("returnStatus"):
            return code
        if code:
            raise ScriptFailure(f"script returned exit code {code}")
        return captured.raw if captured else None

    def _interrupting(self) -> None:
        console, why = self._run.build.console, self._run.build.interruption
        console.line("Sending interrupt signal to process")
        if why is not None and not why.is_announced:
            console.line(why.text)

    async def step_sleep(self, arguments: list[Any], named: dict[str, Any]) -> None:
        """`sleep 5`, `sleep time: 1, unit: 'MINUTES'`."""
        seconds = _seconds(arguments, named, default_unit="SECONDS")
        self._run.build.console.line(f"Sleeping for {seconds:g} sec")
        clock, build = self._run.controller.clock, self._run.build
        build.sleeps_until = clock.now() + seconds
        try:
            await self._run.until(clock.sleep(seconds))
        finally:
            build.sleeps_until = None

    async def step_input(self, arguments: list[Any], named: dict[str, Any]) -> None:
        """`input 'Proceed?'`: waits for a decision."""
        decision: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        message = to_text(_first(arguments, named, "message"))
        ok = to_text(named.get("ok") or "Proceed")
        # Without an id, Jenkins takes the digest of the message; it always capitalises.
        digest = hashlib.md5(message.encode(), usedforsecurity=False).hexdigest()
        input_id = to_text(named.get("id") or digest)
        input_id = input_id[:1].upper() + input_id[1:]
        build = self._run.build
        build.waiting_for_input = PendingInput(input_id, message, ok, decision)
        build.asked_for_input = True
        build.console.line(message)
        build.console.line(f"{ok} or Abort")
        try:
            decided: Decision = await self._run.until(decision)
        finally:
            build.waiting_for_input = None
        if not decided.proceeds:
            now_ms = self._run.controller.clock.now_ms()
            raise Interrupted(INTERRUPTED, Interruption.rejection(decided.user, now_ms))
        build.approvers.append(decided.user)
        build.console.line(f"Approved by {decided.user}")

    async def step_node(self, arguments: list[Any], named: dict[str, Any]) -> Any:
        """`node { … }`: the body needs an executor, and queues for one."""
        queue, build = self._run.controller.queue, self._run.build
        if self._nodes == 0:
            item = queue.add_placeholder(build)
            if not item.granted.is_set():
                build.console.line("Still waiting to schedule task")
                build.console.line("Waiting for next available executor")
            try:
                await self._run.until(item.granted.wait())
            except BaseException:
                queue.cancel(item)
                raise
        workspace = self._run.controller.workspaces.path(build.job.full_name)
        build.console.line(f"Running on Jenkins in {workspace}")
        self._nodes += 1
        try:
            return await self._run.body(arguments[-1])
        finally:
            self._nodes -= 1
            if self._nodes == 0:
                self._run.controller.executors.release(build)
                queue.maintain()

    async def step_timeout(self, arguments: list[Any], named: dict[str, Any]) -> Any:
        """`timeout(time: 1, unit: 'MINUTES') { … }`."""
        seconds = _seconds(arguments[:-1], named, default_unit="MINUTES")
        body = asyncio.ensure_future(self._run.body(arguments[-1]))
        timer = asyncio.create_task(self._run.controller.clock.sleep(seconds))
        pending: set[asyncio.Future[Any]] = {body, timer}
        try:
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if body.done():
                return body.result()
            self._run.build.console.line("Cancelling nested steps due to timeout")
            raise Interrupted(INTERRUPTED, _TIMED_OUT)
        finally:
            timer.cancel()
            body.cancel()
            await asyncio.gather(body, return_exceptions=True)

    async def step_retry(self, arguments: list[Any], named: dict[str, Any]) -> Any:
        """`retry(3) { … }`."""
        count = int(_first(arguments, named, "count"))
        for left in range(count - 1, -1, -1):
            try:
                return await self._run.body(arguments[-1])
            except Interrupted:
                raise
            except ScriptFailure as failure:
                if left == 0:
                    raise
                self._run.build.console.line(f"ERROR: {failure}\nRetrying")
        return None

    async def step_catchError(self, arguments: list[Any], named: dict[str, Any]) -> None:  # noqa: N802
        """`catchError { … }`: the build continues with a worse result."""
        try:
            await self._run.body(arguments[-1])
        except Interrupted:
            raise
        except ScriptFailure as failure:
            self._run.build.console.line(f"ERROR: {failure}")
            result = to_text(named.get("buildResult") or "FAILURE")
            self._run.build.worsen(Result.__members__.get(result, Result.FAILURE))

    async def step_warnError(self, arguments: list[Any], named: dict[str, Any]) -> None:  # noqa: N802
        """`warnError('text') { … }`."""
        await self.step_catchError(arguments, {"buildResult": "UNSTABLE"})

    async def step_withEnv(self, arguments: list[Any], named: dict[str, Any]) -> Any:  # noqa: N802
        """`withEnv(['A=b']) { … }`."""
        before = dict(self._run.environment)
        for entry in arguments[0]:
            name, _, value = to_text(entry).partition("=")
            self._run.environment[name] = value
        try:
            return await self._run.body(arguments[-1])
        finally:
            self._run.environment.clear()
            self._run.environment.update(before)

    async def step_parallel(self, arguments: list[Any], named: dict[str, Any]) -> None:
        """`parallel a: { … }, b: { … }`; it fails when all branches are done."""
        branches = {**(arguments[0] if arguments else {}), **named}
        bodies = [
            self._run.body(closure, f"Branch: {to_text(name)}")
            for name, closure in branches.items()
            if isinstance(closure, Closure)
        ]
        for outcome in await asyncio.gather(*bodies, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def step_properties(self, arguments: list[Any], named: dict[str, Any]) -> None:
        """`properties([parameters([…])])`: from its second run on, it drops what it doesn't list."""
        listed = [one for group in arguments[0] if isinstance(group, list) for one in group]
        declared = [one for one in listed if isinstance(one, ParameterDefinition)]
        if declared:
            self._run.declare(
                declared, keep_foreign=self._run.build.job.declared_parameters is None
            )

    async def step_build(self, arguments: list[Any], named: dict[str, Any]) -> None:
        """`build job: 'x', parameters: […], wait: true`: starts another job."""
        controller, build = self._run.controller, self._run.build
        name = to_text(_first(arguments, named, "job"))
        build.console.line(f"Scheduling project: {name}")
        job = controller.find(name)
        if not isinstance(job, Job):
            raise ScriptFailure(f"No item named {name} found")
        values = default_values(job.config.parameters, controller.newest_build)
        given = {one.name: one for one in named.get("parameters") or ()}
        if values is not None:
            values = tuple(given.get(value.name, value) for value in values)
        cause = Cause(upstream=upstream_of(build, by_build_step=True))
        item, _ = controller.schedule(job, values, cause, 0.0)
        if named.get("wait", True):
            await self._until_built(item, propagate=bool(named.get("propagate", True)))

    async def _until_built(self, item: QueueItem, *, propagate: bool) -> None:
        started = await self._run.until(item.started())
        self._run.build.console.line(f"Starting building: {started.job.name} #{started.number}")
        if started.task is not None:
            await self._run.until(asyncio.shield(started.task))
        if propagate and started.result is not Result.SUCCESS:
            shown = f"{started.job.full_name} #{started.number}"
            status = started.result.name if started.result else "UNKNOWN"
            raise ScriptFailure(
                f"{shown} completed with status {status} (propagate: false to ignore)"
            )

    async def step_notifyEndpoints(self, arguments: list[Any], named: dict[str, Any]) -> None:  # noqa: N802
        """The Notification plugin's step: any phase, at any time."""
        phase = to_text(named.get("phase") or "STARTED").upper()
        await notifications.notify_manually(
            self._run.controller, self._run.build, phase, named.get("notes"), named.get("loglines")
        )


def _first(arguments: list[Any], named: dict[str, Any], name: str) -> Any:
    return arguments[0] if arguments else named.get(name, "")


def _seconds(arguments: list[Any], named: dict[str, Any], *, default_unit: str) -> float:
    amount = float(_first(arguments, named, "time") or 0)
    return amount * _UNITS_S[to_text(named.get("unit") or default_unit)]
