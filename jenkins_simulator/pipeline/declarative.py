"""Declarative Pipelines: `pipeline { agent … stages { … } post { … } }`."""

from __future__ import annotations

from typing import Any

from jenkins_simulator.core.model import Result
from jenkins_simulator.core.parameters import ParameterDefinition
from jenkins_simulator.pipeline.groovy_nodes import Assignment, Block, CallOf, Literal, Name
from jenkins_simulator.pipeline.interpreter import Closure, Scope, ScriptFailure, to_text
from jenkins_simulator.pipeline.run import PipelineRun


async def run(pipeline: PipelineRun, closure: Closure) -> None:
    """Run the whole of it; `post` comes last, whatever happened."""
    sections = _sections(closure.block)
    if "stages" not in sections:
        raise ScriptFailure(
            "org.codehaus.groovy.control.MultipleCompilationErrorsException: stages"
        )
    await _declare(pipeline, sections.get("parameters"), closure.scope)
    await _environment(pipeline, sections.get("environment"), closure.scope)

    async def stages() -> None:
        await _guarded(pipeline, sections, closure.scope, sections["stages"])

    if _agent(sections) == "none":
        await stages()
    else:
        await _on_node(pipeline, stages)


async def _on_node(pipeline: PipelineRun, inner: Any) -> None:
    """Run something on a node: the step's body is a closure that calls it."""
    body = Closure(Block((CallOf(Name("stagesOfPipeline"), (), ()),)), Scope())

    async def stages(_: list[Any], __: dict[str, Any]) -> None:
        await inner()

    pipeline.add_steps({"stagesOfPipeline": stages})
    await pipeline.call("node", [body], {})


async def _guarded(
    pipeline: PipelineRun, sections: dict[str, Any], scope: Scope, stages: Block
) -> None:
    """Run stages and then the `post` section of their owner, which may itself fail."""
    failure: ScriptFailure | None = None
    try:
        for statement in stages.statements:
            if isinstance(statement, CallOf):
                await _stage(pipeline, statement, scope)
    except ScriptFailure as caught:
        failure = caught
    await _post(pipeline, sections.get("post"), scope, failure)
    if failure is not None:
        raise failure


async def _stage(pipeline: PipelineRun, call: CallOf, scope: Scope) -> None:
    body = call.arguments[-1]
    if not isinstance(body, Block):
        raise ScriptFailure("org.codehaus.groovy.control.MultipleCompilationErrorsException: stage")
    sections = _sections(body)
    console = pipeline.build.console
    console.line("[Pipeline] stage")
    console.line(
        "[Pipeline] { "
        + f"({to_text(await pipeline.evaluator.evaluate(call.arguments[0], scope))})"
    )
    if await _is_wanted(pipeline, sections.get("when"), scope):
        await _environment(pipeline, sections.get("environment"), scope)
        nested = sections.get("stages") or sections.get("parallel")
        if nested is not None:
            await _guarded(pipeline, sections, scope, nested)
        else:
            await _steps(pipeline, sections, scope)
    console.line("[Pipeline] }")
    console.line("[Pipeline] // stage")


async def _steps(pipeline: PipelineRun, sections: dict[str, Any], scope: Scope) -> None:
    failure: ScriptFailure | None = None
    try:
        if isinstance(sections.get("input"), CallOf | Block):
            await pipeline.call("input", ["Proceed?"], {})
        steps = sections.get("steps")
        if isinstance(steps, Block):
            await pipeline.evaluator.run(steps, scope)
    except ScriptFailure as caught:
        failure = caught
    await _post(pipeline, sections.get("post"), scope, failure)
    if failure is not None:
        raise failure


async def _post(
    pipeline: PipelineRun, post: Any, scope: Scope, failure: ScriptFailure | None
) -> None:
    if not isinstance(post, Block):
        return
    build = pipeline.build
    if failure is not None:
        why = build.interruption
        stopped = Result.ABORTED if why is None else why.result
        build.worsen(stopped if pipeline.is_interruption(failure) else Result.FAILURE)
    result = (build.result or Result.SUCCESS).name.lower()
    conditions = {"always", "cleanup", "changed", "completed", result}
    if result != "success":
        conditions.add("unsuccessful")
    for condition, block in _sections(post).items():
        if condition in conditions and isinstance(block, Block):
            with pipeline.after_interruption():
                await pipeline.evaluator.run(block, scope)


async def _is_wanted(pipeline: PipelineRun, when: Any, scope: Scope) -> bool:
    if not isinstance(when, Block):
        return True
    for statement in when.statements:
        if isinstance(statement, CallOf) and isinstance(statement.target, Name):
            kind, arguments = statement.target.name, statement.arguments
            if kind == "expression" and isinstance(arguments[0], Block):
                return bool(await pipeline.evaluator.call(Closure(arguments[0], scope)))
            if kind == "branch":
                wanted = await pipeline.evaluator.evaluate(arguments[0], scope)
                return bool(pipeline.environment.get("BRANCH_NAME") == wanted)
    return True


async def _environment(pipeline: PipelineRun, block: Any, scope: Scope) -> None:
    for statement in block.statements if isinstance(block, Block) else ():
        if isinstance(statement, Assignment) and isinstance(statement.target, Name):
            value = await pipeline.evaluator.evaluate(statement.value, scope)
            pipeline.environment[statement.target.name] = to_text(value)


async def _declare(pipeline: PipelineRun, block: Any, scope: Scope) -> None:
    """Unlike the `properties` step, `parameters { }` keeps what others have added."""
    declared = []
    for statement in block.statements if isinstance(block, Block) else ():
        definition = await pipeline.evaluator.evaluate(statement, scope)
        if isinstance(definition, ParameterDefinition):
            declared.append(definition)
    if declared:
        pipeline.declare(declared, keep_foreign=True)


def _sections(block: Block) -> dict[str, Any]:
    """The sections of a declarative block: a block each, or the argument of `agent any`."""
    found: dict[str, Any] = {}
    for statement in block.statements:
        if isinstance(statement, CallOf) and isinstance(statement.target, Name):
            found[statement.target.name] = statement.arguments[-1] if statement.arguments else None
    return found


def _agent(sections: dict[str, Any]) -> str:
    agent = sections.get("agent")
    if isinstance(agent, Name):
        return agent.name
    return str(agent.value) if isinstance(agent, Literal) else "any"
