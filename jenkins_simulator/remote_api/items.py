"""What the remote API shows of jobs and folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jenkins_simulator.core.config import DISPLAY_URL
from jenkins_simulator.core.jobxml import NOTIFICATION_PROPERTY, JobKind
from jenkins_simulator.core.model import Build, Folder, Job, Result
from jenkins_simulator.remote_api.builds import DISPLAY_ACTION
from jenkins_simulator.remote_api.exported import Bean, Property, Unexported
from jenkins_simulator.remote_api.shared import P, ParametersProperty, Shown

_JOB_CLASS = {
    JobKind.FREESTYLE: "hudson.model.FreeStyleProject",
    JobKind.PIPELINE: "org.jenkinsci.plugins.workflow.job.WorkflowJob",
    JobKind.FOLDER: JobKind.FOLDER.value,
    JobKind.MULTIBRANCH: JobKind.MULTIBRANCH.value,
}
_UNSUCCESSFUL = (Result.UNSTABLE, Result.FAILURE, Result.NOT_BUILT, Result.ABORTED)
_CONCLUSIVE = (Result.SUCCESS, Result.UNSTABLE, Result.FAILURE)
_BUILDS_SHOWN = 100
_RECENT = 5


@dataclass(frozen=True)
class AllView:
    """The one view that each folder has."""

    folder: Folder


def color_of(job: Job) -> str:
    """The ball: result of the last build, `_anime` while one is on an executor."""
    last = job.last_build()
    if job.config.disabled or job.deleted:
        base = "disabled"
    else:
        finished = next((b for b in job.builds_newest_first() if not b.building), None)
        base = _ball(finished.result) if finished else "notbuilt"
    return base + "_anime" if last is not None and last.building else base


def _ball(result: Result | None) -> str:
    return {
        Result.SUCCESS: "blue",
        Result.UNSTABLE: "yellow",
        Result.FAILURE: "red",
        Result.ABORTED: "aborted",
    }.get(result or Result.NOT_BUILT, "notbuilt")


def health_of(job: Job) -> list[Shown]:
    """The weather: how many of the last five builds failed."""
    builds = job.builds_newest_first()
    # Jenkins looks anew only when another build has ended, though it then counts one that runs.
    ended = next((b for b in builds[:2] if not b.building), None)
    if ended is None:
        return []
    if job.weather is None or job.weather[0] != ended.number:
        job.weather = (ended.number, _recently_failed(builds))
    failed, total = job.weather[1]
    score = 100 * (total - failed) // total
    text = f"{failed} out of the last {total} builds failed."
    if failed in (0, total):
        text = "All recent builds failed." if failed else "No recent builds failed."
    level = {0: "00to19", 1: "20to39", 2: "40to59", 3: "60to79"}.get(score // 20, "80plus")
    values = {
        "description": "Build stability: " + text,
        "iconClassName": f"icon-health-{level}",
        "iconUrl": f"health-{level}.png",
        "score": score,
    }
    return [Shown("hudson.model.HealthReport", values, visibility=2)]


def _recently_failed(builds: list[Build]) -> tuple[int, int]:
    """How many failed, and of how many: newer ones than the last failure count whatever they are."""
    ended = [None if b.building else b.result for b in builds]
    if Result.FAILURE not in ended:
        return 0, len(builds)
    newer = min(ended.index(Result.FAILURE), _RECENT)
    conclusive = [result for result in ended[newer:] if result in _CONCLUSIVE][: _RECENT - newer]
    return conclusive.count(Result.FAILURE), newer + len(conclusive)


def _newest(job: Job, *results: Result) -> Build | None:
    finished = (b for b in job.builds_newest_first() if not b.building)
    return next((b for b in finished if b.result in results), None)


def _completed(job: Job) -> Build | None:
    return next((b for b in job.builds_newest_first() if not b.in_progress), None)


def _job_actions(job: Job, ctx: Any) -> list[object]:
    actions: list[object] = []
    if job.config.parameters is not None:
        actions.append(ParametersProperty(job.config.parameters))
    actions += [Unexported(), Unexported()]
    if DISPLAY_URL in ctx.plugins:
        url = ctx.absolute(job.url)
        actions.append(Shown(DISPLAY_ACTION + "JobDisplayAction", {"displayUrl": url}))
    actions.append(_credentials_action())
    return actions


def _credentials_action() -> Shown:
    java_class = "com.cloudbees.plugins.credentials.ViewCredentialsAction"
    return Shown(java_class, {"stores": {}})


def _properties_of(job: Job, ctx: Any) -> list[object]:
    shown: list[object] = []
    for name in job.config.properties:
        if name == "hudson.model.ParametersDefinitionProperty":
            shown.append(ParametersProperty(job.config.parameters or ()))
        elif name != NOTIFICATION_PROPERTY or ctx.notification_plugin is not None:
            shown.append(Shown(name))
    return shown


PERMALINKS: dict[str, Callable[[Job], Build | None]] = {
    "firstBuild": lambda job: job.builds[min(job.builds)] if job.builds else None,
    "lastBuild": lambda job: job.last_build(),
    "lastCompletedBuild": _completed,
    "lastFailedBuild": lambda job: _newest(job, Result.FAILURE),
    "lastStableBuild": lambda job: _newest(job, Result.SUCCESS),
    "lastSuccessfulBuild": lambda job: _newest(job, Result.SUCCESS, Result.UNSTABLE),
    "lastUnstableBuild": lambda job: _newest(job, Result.UNSTABLE),
    "lastUnsuccessfulBuild": lambda job: _newest(job, *_UNSUCCESSFUL),
}


def _permalink(name: str) -> Property:
    return P(name, lambda job, ctx: PERMALINKS[name](job))


_ITEM_HEAD = (
    P("description", lambda i, c: i.config.description),
    P("displayName", lambda i, c: i.display_name),
    P("displayNameOrNull", lambda i, c: i.config.display_name),
    P("fullDisplayName", lambda i, c: i.full_display_name),
    P("fullName", lambda i, c: i.full_name),
    P("name", lambda i, c: i.name, 999),
    P("url", lambda i, c: c.absolute(i.url), 999),
)
_IN_QUEUE = P("inQueue", lambda j, c: c.queued_item_of(j) is not None)
_QUEUE_ITEM = P("queueItem", lambda j, c: c.queued_item_of(j))
_JOB = (
    P("actions", _job_actions),
    *_ITEM_HEAD,
    P("allBuilds", lambda j, c: j.builds_newest_first(), -2),
    P("buildable", lambda j, c: j.is_buildable),
    P("builds", lambda j, c: j.builds_newest_first()[:_BUILDS_SHOWN]),
    P("color", lambda j, c: color_of(j), 2),
    _permalink("firstBuild"),
    P("healthReport", lambda j, c: health_of(j), expected="hudson.model.HealthReport"),
    _IN_QUEUE,
    P("keepDependencies", lambda j, c: False),
    _permalink("lastBuild"),
    _permalink("lastCompletedBuild"),
    _permalink("lastFailedBuild"),
    _permalink("lastStableBuild"),
    _permalink("lastSuccessfulBuild"),
    _permalink("lastUnstableBuild"),
    _permalink("lastUnsuccessfulBuild"),
    P("nextBuildNumber", lambda j, c: j.next_build_number),
    P("property", _properties_of, inline=True),
    _QUEUE_ITEM,
)
_FREESTYLE_TAIL = (
    P("concurrentBuild", lambda j, c: j.config.concurrent),
    P("disabled", lambda j, c: j.config.disabled),
    P("downstreamProjects", lambda j, c: []),
    P("labelExpression", lambda j, c: None),
    P(
        "scm",
        lambda j, c: Shown("hudson.scm.NullSCM", {"browser": None, "type": "hudson.scm.NullSCM"}),
    ),
    P("upstreamProjects", lambda j, c: []),
)
_PIPELINE_TAIL = (
    P("concurrentBuild", lambda j, c: j.config.concurrent),
    P("disabled", lambda j, c: j.config.disabled),
    _IN_QUEUE,
    _QUEUE_ITEM,
    P("resumeBlocked", lambda j, c: False),
)

_FOLDER_TAIL = (
    P("healthReport", lambda f, c: []),
    P("jobs", lambda f, c: c.visible(f)),
    P("primaryView", lambda f, c: AllView(f)),
    P("views", lambda f, c: [AllView(f)]),
)


VIEW_BEAN = Bean(
    "hudson.model.AllView",
    (
        P("description", lambda v, c: None),
        P("jobs", lambda v, c: c.visible(v.folder)),
        P("name", lambda v, c: "All" if v.folder.parent else "all", 2),
        P("property", lambda v, c: [], inline=True),
        P("url", lambda v, c: c.absolute(v.folder.url), 2),
    ),
)
JOB_BEANS = {
    JobKind.FREESTYLE: Bean(_JOB_CLASS[JobKind.FREESTYLE], _JOB + _FREESTYLE_TAIL),
    JobKind.PIPELINE: Bean(
        _JOB_CLASS[JobKind.PIPELINE],
        tuple(p for p in _JOB if p not in (_IN_QUEUE, _QUEUE_ITEM)) + _PIPELINE_TAIL,
    ),
}
FOLDER_BEAN = Bean(
    lambda f: _JOB_CLASS[f.config.kind],
    (P("actions", lambda f, c: [Unexported(), _credentials_action()]), *_ITEM_HEAD, *_FOLDER_TAIL),
)
