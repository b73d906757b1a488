"""What the remote API shows of builds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jenkins_simulator.core.config import DECLARATIVE, DISPLAY_URL, SHARED_LIBRARIES
from jenkins_simulator.core.durations import estimated_duration_ms
from jenkins_simulator.core.model import (
    INPUT_PACKAGE,
    Build,
    Interruption,
    PendingInput,
)
from jenkins_simulator.remote_api.exported import Bean, Unexported
from jenkins_simulator.remote_api.shared import Causes, P, Parameters, Shown

_FREESTYLE_BUILD = "hudson.model.FreeStyleBuild"
_PIPELINE_BUILD = "org.jenkinsci.plugins.workflow.job.WorkflowRun"
DISPLAY_ACTION = "org.jenkinsci.plugins.displayurlapi.actions."


@dataclass(frozen=True)
class BuildReference:
    """A Pipeline's neighbouring build: just number and URL."""

    build: Build


def _build_actions(build: Build, ctx: Any) -> list[object]:
    actions: list[object] = [Causes(build.causes)]
    if build.parameters is not None:
        given = Parameters(build.parameters)
        # The `build` step of a Pipeline adds its cause, and a link to itself, first.
        step = any(cause.by_build_step for cause in build.causes)
        actions = [*actions, Unexported(), given] if step else [given, *actions]
    pipeline = build.job.is_pipeline
    if pipeline and SHARED_LIBRARIES in ctx.plugins:
        actions.append(Shown("org.jenkinsci.plugins.workflow.libs.LibrariesAction"))
    if build.read_environment:
        actions.append(Shown("org.jenkinsci.plugins.workflow.cps.EnvActionImpl"))
    if build.asked_for_input:
        actions.append(_input_action(build.waiting_for_input))
    approval = INPUT_PACKAGE + "ApproverAction"
    actions += [Shown(approval, {"userId": user}) for user in build.approvers]
    # A Pipeline notes at once who stops it, a freestyle build at its end.
    if build.interruption is not None and (pipeline or not build.building):
        actions.append(_interruption(build.interruption, ctx))
    if DISPLAY_URL in ctx.plugins:
        actions += [Unexported(), _display_action(build, ctx)]
    if pipeline:
        actions += _flow_actions(ctx, building=build.building)
    return actions


def _interruption(why: Interruption, ctx: Any) -> Shown:
    values: dict[str, object] = {"shortDescription": why.text, **dict(why.details)}
    if "user" in values:
        user = str(values["user"])
        shown = {"absoluteUrl": ctx.absolute(f"user/{user}"), "fullName": user}
        values["user"] = Shown("hudson.model.User", shown, visibility=999)
    cause = Shown(why.java_class, values, visibility=3)
    return Shown("jenkins.model.InterruptedBuildAction", {"causes": [cause]})


def _input_action(waiting: PendingInput | None) -> Shown:
    executions = [] if waiting is None else [_input_execution(waiting)]
    values = {
        "displayName": None if waiting is None else "Paused for Input",
        "executions": executions,
        "waitingForInput": waiting is not None,
    }
    return Shown(INPUT_PACKAGE + "InputAction", values)


def _input_execution(waiting: PendingInput) -> Shown:
    step: dict[str, object] = {
        "id": waiting.id,
        "message": waiting.message,
        "ok": waiting.ok,
        "parameters": [],
        "submitter": None,
        "submitterParameter": None,
    }
    execution = {
        "displayName": waiting.message[:32] + ("..." if len(waiting.message) >= 32 else ""),
        "id": waiting.id,
        "input": Shown(INPUT_PACKAGE + "InputStep", step, visibility=2),
        "settled": waiting.decision.done(),
    }
    return Shown(INPUT_PACKAGE + "InputStepExecution", execution, visibility=2)


def _display_action(build: Build, ctx: Any) -> Shown:
    url = ctx.absolute(build.url)
    return Shown(
        DISPLAY_ACTION + "RunDisplayAction",
        {
            "artifactsUrl": url + "artifact",
            "changesUrl": ctx.absolute(build.job.url) + "changes",
            "displayUrl": url,
            "testsUrl": url + "testReport",
        },
    )


def _flow_actions(ctx: Any, *, building: bool) -> list[object]:
    restart = (
        "org.jenkinsci.plugins.pipeline.modeldefinition.actions.RestartDeclarativePipelineAction"
    )
    graph = "org.jenkinsci.plugins.workflow.job.views.FlowGraphAction"
    actions: list[object] = []
    if DECLARATIVE in ctx.plugins:
        actions.append(Shown(restart, {"restartEnabled": False, "restartableStages": []}))
    actions += [Unexported() for _ in range(3 if building else 1)]
    actions.append(Shown(graph, {"nodes": []}))
    return [*actions, *[Unexported() for _ in range(3)]]


def _executor_of(build: Build, _: Any) -> object:
    if not build.on_executor:
        return None
    pipeline = build.job.is_pipeline
    return Shown(
        "hudson.model.OneOffExecutor" if pipeline else "hudson.model.Executor",
        {
            "currentExecutable": build,
            "idle": False,
            "likelyStuck": False,
            "number": build.executor_number,
            "progress": -1,
        },
    )


def _neighbour(build: Build, step: int) -> BuildReference | None:
    numbers = sorted(build.job.builds)
    beyond = [n for n in numbers if (n - build.number) * step > 0]
    if not beyond:
        return None
    return BuildReference(build.job.builds[min(beyond) if step > 0 else max(beyond)])


def _artifacts(build: Build, _: Any) -> list[Shown]:
    return [
        Shown(
            "hudson.model.Run$Artifact",
            {
                "displayPath": p.rsplit("/", 1)[-1],
                "fileName": p.rsplit("/", 1)[-1],
                "relativePath": p,
            },
            visibility=3,
        )
        for p in build.artifacts
    ]


_IN_PROGRESS = P("inProgress", lambda b, c: b.flow_runs if b.job.is_pipeline else b.in_progress)
_RUN = (
    P("actions", _build_actions),
    P("artifacts", _artifacts, expected="hudson.model.Run$Artifact"),
    P("building", lambda b, c: b.building),
    P("description", lambda b, c: b.description),
    P("displayName", lambda b, c: b.display_name),
    P("duration", lambda b, c: b.duration_ms),
    P("estimatedDuration", lambda b, c: estimated_duration_ms(b.job)),
    P("executor", _executor_of, expected="hudson.model.Executor"),
    P("fingerprint", lambda b, c: [], -1, inline=True),
    P("fullDisplayName", lambda b, c: f"{b.job.full_display_name} {b.display_name}"),
    P("id", lambda b, c: str(b.number)),
    _IN_PROGRESS,
    P("keepLog", lambda b, c: b.keep_forever),
    P("number", lambda b, c: b.number, 2),
    P("queueId", lambda b, c: b.queue_id),
    P("result", lambda b, c: b.result.name if b.result else None),
    P("timestamp", lambda b, c: b.timestamp_ms),
    P("url", lambda b, c: c.absolute(b.url), 2),
)
_FREESTYLE_RUN_TAIL = (
    P("builtOn", lambda b, c: ""),
    P(
        "changeSet",
        lambda b, c: Shown(
            "hudson.scm.EmptyChangeLogSet", {"items": [], "kind": None}, visibility=999
        ),
    ),
    P("culprits", lambda b, c: []),
)
_PIPELINE_RUN_TAIL = (
    P("changeSets", lambda b, c: []),
    P("culprits", lambda b, c: []),
    _IN_PROGRESS,
    P("nextBuild", lambda b, c: _neighbour(b, 1), expected=_PIPELINE_BUILD),
    P("previousBuild", lambda b, c: _neighbour(b, -1), expected=_PIPELINE_BUILD),
)


FREESTYLE_RUN_BEAN = Bean(_FREESTYLE_BUILD, _RUN + _FREESTYLE_RUN_TAIL)
PIPELINE_RUN_BEAN = Bean(
    _PIPELINE_BUILD, tuple(p for p in _RUN if p is not _IN_PROGRESS) + _PIPELINE_RUN_TAIL
)
BUILD_REFERENCE_BEAN = Bean(
    _PIPELINE_BUILD,
    (
        P("number", lambda r, c: r.build.number, 2),
        P("url", lambda r, c: c.absolute(r.build.url), 2),
    ),
)
