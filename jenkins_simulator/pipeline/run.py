"""One run of a Pipeline: the values that its script sees, and which step is which."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jenkins_simulator.core.controller import Controller
from jenkins_simulator.core.jobxml import replace_parameters
from jenkins_simulator.core.model import Build, Result
from jenkins_simulator.core.parameters import ParameterDefinition, ParameterKind, ParameterValue
from jenkins_simulator.core.variables import environment_of
from jenkins_simulator.pipeline.interpreter import Closure, Evaluator, ScriptFailure, to_text
from jenkins_simulator.pipeline.interruptions import INTERRUPTED, Interrupted

_PARAMETER_STEPS = {
    "string": ParameterKind.STRING,
    "text": ParameterKind.TEXT,
    "booleanParam": ParameterKind.BOOLEAN,
    "choice": ParameterKind.CHOICE,
    "password": ParameterKind.PASSWORD,
}
# Steps that only wrap their body, as far as the API shows.
_TRANSPARENT_TEXT = """
stage steps script timestamps ansiColor wrap withCredentials dir lock container ws milestone
configFileProvider sshagent waitUntil
"""
_TRANSPARENT = frozenset(_TRANSPARENT_TEXT.split())
_IGNORED_TEXT = """
checkout git archiveArtifacts junit stash unstash cleanWs deleteDir pipelineTriggers
buildDiscarder logRotator disableConcurrentBuilds cron scm skipDefaultCheckout disableResume
durabilityHint library writeFile
"""
_IGNORED = frozenset(_IGNORED_TEXT.split())


class CurrentBuild:
    """`currentBuild` in a script."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self.number = build.number
        self.displayName = build.display_name

    @property
    def result(self) -> str | None:
        """Null while all is well."""
        return self._build.result.name if self._build.result else None

    @property
    def currentResult(self) -> str:  # noqa: N802 - the name that scripts use
        """Never null."""
        return self.result or "SUCCESS"

    def assign(self, name: str, value: Any) -> bool:
        """`currentBuild.result = …` only ever makes it worse; unknown names mean FAILURE."""
        if name == "description":
            self._build.description = to_text(value)
        elif name == "result" and value is not None:
            known = Result.__members__.get(to_text(value).upper(), Result.FAILURE)
            self._build.worsen(known)
        elif name != "displayName":
            return name == "result"
        return True


Step = Callable[[list[Any], dict[str, Any]], Awaitable[Any]]


class PipelineRun:
    """One run: the values that the script sees, and its steps."""

    def __init__(self, controller: Controller, build: Build) -> None:
        self.controller = controller
        self.build = build
        self.environment = environment_of(controller, build)
        self._values: dict[str, Any] = {
            "params": {p.name: p.value for p in build.parameters or ()},
            "env": self.environment,
            "currentBuild": CurrentBuild(build),
            "scm": None,
        }
        self.evaluator = Evaluator(self.call, self._look_up, self._assign_member)
        self._steps: dict[str, Step] = {}
        self.declarative: Callable[[PipelineRun, Closure], Awaitable[None]] | None = None

    def _look_up(self, name: str) -> Any:
        if name == "env":
            self.build.read_environment = True
        if name in self._values:
            return self._values[name]
        if name in self.environment:
            self.build.read_environment = True
            return self.environment[name]
        if name in ("any", "none"):
            return name
        if name in self._steps or name in _IGNORED or name in _TRANSPARENT:
            return None
        raise ScriptFailure(
            f"groovy.lang.MissingPropertyException: No such property: {name} for class: groovy.lang.Binding"
        )

    def _assign_member(self, owner: Any, name: str, value: Any) -> bool:
        if isinstance(owner, CurrentBuild):
            return owner.assign(name, value)
        if isinstance(owner, dict):
            owner[name] = to_text(value) if owner is self.environment else value
            return True
        return False

    async def call(self, name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
        """Run a step by its name; a closure at the end is the step's body."""
        await self.controller.until_up()
        self.check_interrupt()
        if name == "pipeline" and self.declarative is not None:
            return await self.declarative(self, arguments[0])
        if name in _PARAMETER_STEPS:
            return _definition(_PARAMETER_STEPS[name], named)
        if name in _IGNORED:
            return None
        if name == "parameters":
            return arguments[0] if arguments else []
        step = self._steps.get(name)
        if step is None and name not in _TRANSPARENT:
            raise ScriptFailure(
                f"java.lang.NoSuchMethodError: No such DSL method '{name}' found among steps"
            )
        body = arguments[-1] if arguments and isinstance(arguments[-1], Closure) else None
        self.build.console.line(f"[Pipeline] {name}")
        try:
            if step is not None:
                value = await step(arguments, named)
            else:
                label = to_text(arguments[0]) if name == "stage" and len(arguments) > 1 else None
                value = await self.body(body, label) if body else None
        finally:
            if body is not None:
                self.build.console.line(f"[Pipeline] // {name}")
        await self.controller.until_up()
        return value

    async def body(self, closure: Closure, label: str | None = None) -> Any:
        """Run the body of a block step; stages and branches have a label."""
        self.build.console.line("[Pipeline] {" + (f" ({label})" if label is not None else ""))
        try:
            return await self.evaluator.call(closure)
        finally:
            self.build.console.line("[Pipeline] }")

    def check_interrupt(self) -> None:
        """Raise if the build has been stopped."""
        if self.build.abort.is_set():
            why = self.build.interruption
            if why is not None and not why.is_announced:
                self.build.console.line(why.text)
            raise Interrupted(INTERRUPTED)

    async def until(self, waiting: Awaitable[Any]) -> Any:
        """Wait for something, or until the build is stopped."""
        task = asyncio.ensure_future(waiting)
        stopped = asyncio.create_task(self.build.abort.wait())
        pending: set[asyncio.Future[Any]] = {task, stopped}
        try:
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            self.check_interrupt()
            return task.result()
        finally:
            stopped.cancel()
            if not task.done():
                task.cancel()

    def add_steps(self, steps: Mapping[str, Step]) -> None:
        """Give the script these steps."""
        self._steps.update(steps)

    @staticmethod
    def is_interruption(failure: ScriptFailure) -> bool:
        """Whether the build was stopped, rather than having failed."""
        return isinstance(failure, Interrupted)

    @contextmanager
    def after_interruption(self) -> Iterator[None]:
        """Let steps run although the build has been stopped: `post` does."""
        before, self.build.abort = self.build.abort, asyncio.Event()
        try:
            yield
        finally:
            self.build.abort = before

    def declare(self, declared: list[ParameterDefinition], *, keep_foreign: bool) -> None:
        """Write parameters that the Jenkinsfile declares into the job's configuration."""
        job = self.build.job
        names = {definition.name for definition in declared}
        formerly = job.declared_parameters or frozenset()
        foreign = [
            definition
            for definition in job.config.parameters or ()
            if definition.name not in names and definition.name not in formerly
        ]
        replace_parameters(job.xml, (*declared, *(foreign if keep_foreign else ())))
        job.save()
        job.declared_parameters = frozenset(names)


def _definition(kind: ParameterKind, named: dict[str, Any]) -> ParameterDefinition | ParameterValue:
    """A parameter that a Jenkinsfile declares, or a value that it gives to the `build` step."""
    if "value" in named:
        value = named["value"]
        given = value if kind is ParameterKind.BOOLEAN else to_text(value)
        return ParameterValue(kind, to_text(named.get("name") or ""), given)
    choices = named.get("choices") or ()
    listed = choices.split("\n") if isinstance(choices, str) else [to_text(one) for one in choices]
    default = named.get("defaultValue")
    return ParameterDefinition(
        kind,
        name=to_text(named.get("name") or ""),
        default="" if default is None else to_text(default),
        description=named.get("description"),
        choices=tuple(listed),
        trim=bool(named.get("trim")),
    )
