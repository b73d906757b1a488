"""Running the Jenkinsfile of a build, from the first step to its result."""

from __future__ import annotations

import re
import uuid

from jenkins_simulator.core.controller import Controller
from jenkins_simulator.core.model import Build, Result
from jenkins_simulator.pipeline import declarative
from jenkins_simulator.pipeline.groovy import Parser
from jenkins_simulator.pipeline.groovy_tokens import GroovyError
from jenkins_simulator.pipeline.interpreter import ScriptFailure
from jenkins_simulator.pipeline.interruptions import Interrupted
from jenkins_simulator.pipeline.run import PipelineRun
from jenkins_simulator.pipeline.steps import Steps


async def run_pipeline(controller: Controller, build: Build) -> Result:
    """Run the job's script and return the worst of what happened."""
    run = PipelineRun(controller, build)
    run.add_steps(Steps(run).all())
    run.declarative = declarative.run
    console = build.console
    console.line("[Pipeline] Start of Pipeline")
    failure: ScriptFailure | GroovyError | None = None
    try:
        await run.evaluator.run_script(Parser(build.job.config.script).script())
    except (ScriptFailure, GroovyError) as caught:
        failure = caught
    console.line("[Pipeline] End of Pipeline")
    if failure is None:
        return build.result or Result.SUCCESS
    if isinstance(failure, Interrupted):
        if failure.why is not None:
            build.interruption = failure.why
            console.line(failure.why.text)
        console.line(f"org.jenkinsci.plugins.workflow.actions.ErrorAction$ErrorId: {uuid.uuid4()}")
        return Result.ABORTED if build.interruption is None else build.interruption.result
    # Java's exceptions come with their class, the `error` step's with a word of the console's.
    by_class = re.match(r"[\w.]+\.\w+(Exception|Error)\b", str(failure))
    console.line(str(failure) if by_class else f"ERROR: {failure}")
    return Result.FAILURE
