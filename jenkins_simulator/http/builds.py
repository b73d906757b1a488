"""What can be asked of a build: its JSON, its console, stop, delete."""

from __future__ import annotations

import mimetypes

from jenkins_simulator.core.model import Build, Decision, Job
from jenkins_simulator.core.permissions import Permission
from jenkins_simulator.http import answers
from jenkins_simulator.http import api as web_api
from jenkins_simulator.http.answers import Answer
from jenkins_simulator.http.call import Call
from jenkins_simulator.remote_api.items import PERMALINKS

_STOPPING = ("stop", "term", "kill")


def find_build(job: Job, token: str) -> Build | None:
    """The build of a path segment: a number or a permalink."""
    if token.isdecimal():
        return job.builds.get(int(token))
    finder = PERMALINKS.get(token)
    return finder(job) if finder else None


def is_build_token(token: str) -> bool:
    """Whether a segment below a job can only name a build."""
    return token.isdecimal() or token in PERMALINKS


async def dispatch(call: Call, build: Build, rest: list[str]) -> Answer:
    """Answer a request below `job/J/7/`."""
    if not rest:
        return call.index(f"{build.job.full_display_name} {build.display_name}")
    action, below = rest[0], rest[1:]
    if action == "api":
        name = "workflowRun" if build.job.is_pipeline else "freeStyleBuild"
        return web_api.serve(call, below, build, name)
    if action in _STOPPING and not below:
        return _stop(call, build, action)
    if action in _POSTS and not below:
        if call.method != "POST":
            raise answers.post_required()
        return _POSTS[action](call, build)
    if action == "input" and len(below) == 2:
        return _input(call, build, below[0], below[1])
    return _read(call, build, action, below)


def _read(call: Call, build: Build, action: str, below: list[str]) -> Answer:
    if action == "consoleText" and not below:
        answer = answers.text(build.console.plain)
        # A Pipeline's log is streamed: Jetty does not know its length.
        answer.sized = not build.job.is_pipeline
        return answer
    if action == "logText" and below in (["progressiveText"], ["progressiveHtml"]):
        return _progressive(call, build, html=below[0] == "progressiveHtml")
    if action == "buildNumber" and not below:
        return answers.text(str(build.number), "text/plain;charset=us-ascii")
    if action in ("console", "consoleFull", "changes", "configure") and not below:
        return answers.page(f"{build.job.full_display_name} {build.display_name} Console")
    if action == "artifact" and "/".join(below) in build.artifacts:
        path = call.controller.workspaces.path(build.job.full_name).joinpath(*below)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Answer(200, path.read_bytes(), [("Content-Type", kind)])
    raise answers.not_found()


def _progressive(call: Call, build: Build, *, html: bool) -> Answer:
    start = call.parameter("start") or "0"
    if not start.lstrip("-").isdecimal():
        raise answers.oops(f"For input string: {start}")
    size = len(build.console.raw_bytes)
    offset = int(start) if 0 <= int(start) <= size else 0
    text = build.console.plain_from(offset).replace("\r\n", "\n").replace("\n", "\r\n")
    answer = answers.text(text, f"text/{'html' if html else 'plain'};charset=utf-8")
    answer.headers.append(("X-Text-Size", str(size)))
    if build.building:
        answer.headers.append(("X-More-Data", "true"))
    return answer


def _stop(call: Call, build: Build, action: str) -> Answer:
    if action != "stop":
        return _end_now(call, build, action)
    if call.method != "POST":
        raise answers.post_required()
    if build.building:
        call.require(Permission.ITEM_CANCEL)
        call.controller.stop(build, call.caller.name)
    return answers.nothing(302, call.request.headers.get("Referer") or call.directory)


def _end_now(call: Call, build: Build, action: str) -> Answer:
    """`term` and `kill`, which only Pipelines have; neither insists on a POST."""
    if not build.job.is_pipeline:
        raise answers.not_found()
    call.require(Permission.ITEM_CANCEL)
    if action == "kill":
        call.controller.kill(build)
    else:
        # No user is named: the steps just fail.
        call.controller.stop(build, None)
    return answers.nothing(200)


def _delete(call: Call, build: Build) -> Answer:
    call.require(Permission.RUN_DELETE)
    if build.keep_forever:
        why = "This record is explicitly marked to be kept."
        shown = f"{build.job.full_display_name} {build.display_name}"
        raise answers.failure(f"Unable to delete {shown}: {why}")
    build.job.builds.pop(build.number, None)
    return answers.nothing(302, f"{call.base}/{build.job.url}")


def _toggle_keep(call: Call, build: Build) -> Answer:
    call.require(Permission.RUN_UPDATE)
    build.keep_forever = not build.keep_forever
    return answers.nothing(302, call.request.headers.get("Referer") or call.directory)


def _describe(call: Call, build: Build) -> Answer:
    call.require(Permission.RUN_UPDATE)
    build.description = call.parameter("description")
    return answers.nothing(302, call.directory)


def _input(call: Call, build: Build, input_id: str, action: str) -> Answer:
    waiting = build.waiting_for_input
    if (
        waiting is None
        or waiting.id != input_id
        or action not in ("proceed", "proceedEmpty", "abort")
    ):
        raise answers.not_found()
    if call.method != "POST":
        raise answers.post_required()
    proceeds = action != "abort"
    # The permission to proceed includes the permission to abort.
    needed = [Permission.ITEM_BUILD, *([] if proceeds else [Permission.ITEM_CANCEL])]
    if not any(call.caller.may(one) for one in needed):
        lacking, what = ("Build", "submit") if proceeds else ("Cancel", "cancel")
        raise answers.failure(f"You need to have Job/{lacking} permissions to {what} this.")
    if waiting.decision.done():
        raise answers.failure("This input has been already given")
    waiting.decision.set_result(Decision(call.caller.name, proceeds))
    return answers.nothing(200)


_POSTS = {"doDelete": _delete, "toggleLogKeep": _toggle_keep, "submitDescription": _describe}
