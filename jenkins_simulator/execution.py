"""Running builds: the life of one from the executor to FINALIZED."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from jenkins_simulator.core.controller import Controller
from jenkins_simulator.core.model import Build, Cause, Result
from jenkins_simulator.core.parameters import ParameterKind
from jenkins_simulator.core.shell import describe
from jenkins_simulator.core.variables import environment_of
from jenkins_simulator.pipeline.script import run_pipeline
from jenkins_simulator.plugins.notification import notify
from jenkins_simulator.plugins.publishers import publish
from jenkins_simulator.plugins.retry import retry

# Between the end of a Pipeline's script and `building: false`.
_FLOW_ENDS_S = 0.008


async def run_build(controller: Controller, build: Build) -> None:
    """The whole life of a build; cancelled only when the controller dies."""
    _log_causes(build, build.causes)
    if not build.job.is_pipeline:
        build.console.line("Running as SYSTEM")
    # The plugin computes QUEUED's time from the wait in the queue, to a few ms the build's start.
    await notify(controller, build, "QUEUED", controller.clock.now_ms())
    await notify(controller, build, "STARTED", build.timestamp_ms)
    result = await _run_and_stop(controller, build)
    build.worsen(result)
    build.duration_ms = max(1, controller.clock.now_ms() - build.timestamp_ms)
    await controller.until_up()
    build.building = False
    if build.job.is_pipeline:
        build.in_progress = False
    _discard_at(controller, build, "COMPLETED")
    ended_ms = build.timestamp_ms + build.duration_ms
    await notify(controller, build, "COMPLETED", ended_ms)
    controller.start_downstream(build)
    assert build.result is not None
    build.console.line(f"Finished: {build.result.name}")
    await controller.clock.sleep_until(_earliest_final(controller, build))
    build.in_progress = False
    controller.ledger.build_ended(build, controller.clock.now())
    _discard_at(controller, build, "FINALIZED")
    # Jenkins discards old builds before it reports the end of the new one.
    controller.rotate(build.job)
    await notify(controller, build, "FINALIZED", controller.clock.now_ms())
    controller.build_left_executor(build)
    retry(controller, build)


def _log_causes(build: Build, causes: Sequence[Cause], indent: str = "") -> None:
    for cause in causes:
        build.console.started_by(indent + cause.text, cause.user)
        if cause.upstream is not None and cause.upstream.causes:
            build.console.line(f"{indent}originally caused by:")
            _log_causes(build, cause.upstream.causes, indent + " ")


async def _run_and_stop(controller: Controller, build: Build) -> Result:
    """Run the script; what is stopped ends a moment after the stop."""
    build.flow_runs = True
    result = await _execute(controller, build)
    pipeline, config = build.job.is_pipeline, controller.config
    if build.stopped_at is not None:
        takes_s = config.stop_pipeline_s if pipeline else config.stop_freestyle_s
        await controller.clock.sleep_until(build.stopped_at + takes_s)
    build.flow_runs = False
    if pipeline:
        await controller.clock.sleep(_FLOW_ENDS_S)
    return result


def _earliest_final(controller: Controller, build: Build) -> float:
    at = controller.clock.now() + controller.config.finalize_delay_s
    if build.is_first:
        at = max(at, build.started_at + controller.config.first_build_s)
    return at


def _discard_at(controller: Controller, build: Build, phase: str) -> None:
    if controller.conditions.record_gone_at == phase:
        controller.discard(build)


async def _execute(controller: Controller, build: Build) -> Result:
    try:
        if build.job.is_pipeline:
            held = controller.is_held(build)
            script = _hold(build) if held else run_pipeline(controller, build)
            return await _unless_killed(build, script)
        if controller.is_held(build):
            return await _hold(build)
        return await _run_freestyle(controller, build)
    except Exception:
        # A build must end after any failure in it, or its job would be blocked for ever.
        build.console.line("FATAL: " + traceback.format_exc())
        return Result.FAILURE


async def _unless_killed(build: Build, running: Coroutine[Any, Any, Result]) -> Result:
    """A stopped Pipeline ends by itself, through its steps; only a kill ends it without them."""
    script = asyncio.create_task(running)
    killed = asyncio.create_task(build.killed.wait())
    try:
        await asyncio.wait({script, killed}, return_when=asyncio.FIRST_COMPLETED)
        return script.result() if script.done() else Result.ABORTED
    finally:
        killed.cancel()
        script.cancel()
        await asyncio.gather(script, return_exceptions=True)


async def _hold(build: Build) -> Result:
    """Wait until a test releases the build with the result of its choice, or it is stopped."""
    if build.released is None:
        build.released = asyncio.get_running_loop().create_future()
    stopped = asyncio.create_task(build.abort.wait())
    waiting: set[asyncio.Future[Any]] = {build.released, stopped}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
    if build.released.done():
        return build.released.result()
    log_abort(build)
    return Result.ABORTED if build.interruption is None else build.interruption.result


_START_FRAMES = (
    "java.base/java.lang.ProcessImpl.forkAndExec(Native Method)",
    "java.base/java.lang.ProcessImpl.<init>(ProcessImpl.java:314)",
    "java.base/java.lang.ProcessImpl.start(ProcessImpl.java:244)",
    "java.base/java.lang.ProcessBuilder.start(ProcessBuilder.java:1110)",
)
_STEP_FRAMES = (
    "java.base/java.lang.ProcessBuilder.start(ProcessBuilder.java:1143)",
    "java.base/java.lang.ProcessBuilder.start(ProcessBuilder.java:1073)",
    "hudson.Proc$LocalProc.<init>(Proc.java:252)",
    "hudson.Proc$LocalProc.<init>(Proc.java:221)",
    "hudson.Launcher$LocalLauncher.launch(Launcher.java:994)",
    "hudson.Launcher$ProcStarter.start(Launcher.java:506)",
    "hudson.tasks.CommandInterpreter.perform(CommandInterpreter.java:144)",
    "hudson.tasks.CommandInterpreter.perform(CommandInterpreter.java:92)",
    "hudson.tasks.BuildStepMonitor$1.perform(BuildStepMonitor.java:20)",
    "hudson.model.AbstractBuild$AbstractBuildExecution.perform(AbstractBuild.java:818)",
    "hudson.model.Build$BuildExecution.build(Build.java:199)",
    "hudson.model.Build$BuildExecution.doRun(Build.java:164)",
    "hudson.model.AbstractBuild$AbstractBuildExecution.run(AbstractBuild.java:526)",
    "hudson.model.Run.execute(Run.java:1895)",
    "hudson.model.FreeStyleBuild.run(FreeStyleBuild.java:44)",
    "hudson.model.ResourceController.execute(ResourceController.java:101)",
    "hudson.model.Executor.run(Executor.java:442)",
)


def _log_failed_start(build: Build, workspace: Path, error: OSError) -> None:
    """The stack trace of a process that could not be started, for example with too long an environment."""
    why = f"error={error.errno}, {error.strerror}"
    where = f'Cannot run program "/bin/sh" (in directory "{workspace}")'
    lines = ["FATAL: command execution failed", f"java.io.IOException: {why}"]
    lines += [f"\tat {frame}" for frame in _START_FRAMES]
    lines.append(f"Caused: java.io.IOException: {where}: {why}")
    lines += [f"\tat {frame}" for frame in _STEP_FRAMES]
    build.console.line("\n".join(lines))


def log_abort(build: Build) -> None:
    """Write the reason of a stop to the console."""
    if not build.job.is_pipeline:
        build.console.line("Build was aborted")
    why = build.interruption
    if why is not None and not why.is_announced:
        build.console.line(why.text)


async def _run_freestyle(controller: Controller, build: Build) -> Result:
    job, console = build.job, build.console
    workspace = controller.workspaces.path(job.full_name)
    console.line(f"Building in workspace {workspace}")
    environment = environment_of(controller, build)
    for value in build.parameters or ():
        if value.kind is ParameterKind.FILE:
            (workspace / value.name).write_bytes(value.content)
    result = Result.SUCCESS
    for builder in job.config.builders:
        console.line(f"[{job.name}] $ {describe(builder.command)}")
        try:
            code = await controller.workspaces.run(build, builder.command, environment)
        except OSError as error:
            _log_failed_start(build, workspace, error)
            code = -1
        except ValueError as error:
            # A parameter that holds NUL cannot be an environment variable.
            console.line(f"FATAL: command execution failed\njava.io.IOException: {error}")
            code = -1
        if build.abort.is_set():
            result = Result.ABORTED
            break
        if code and code == builder.unstable_return:
            console.line("Build step 'Execute shell' changed build result to UNSTABLE")
            result = Result.UNSTABLE
        elif code:
            console.line("Build step 'Execute shell' marked build as failure")
            result = Result.FAILURE
            break
    if result is Result.ABORTED:
        log_abort(build)
        return result
    return publish(build, workspace).worst(result)
