"""The Notification plugin: what it posts, when, and how stubbornly."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from jenkins_simulator.core.controller import Controller
from jenkins_simulator.core.jobxml import Endpoint
from jenkins_simulator.core.model import Build, Result
from jenkins_simulator.core.parameters import ParameterValue
from jenkins_simulator.core.variables import environment_of, texts_of
from jenkins_simulator.plugins import java_http

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_.]+)\}|([A-Za-z0-9_]+))")
_NO_URL = (
    'java.lang.NullPointerException: Cannot invoke "String.contains(java.lang.CharSequence)"'
    ' because "expandedUrl" is null'
)
_HANDLER = (
    "Phase.isURLValid(Phase.java:86)",
    "Phase.handle(Phase.java:373)",
    "Phase.handle(Phase.java:72)",
)
_LISTENERS = {
    "STARTED": "onStarted(JobListener.java:34)",
    "COMPLETED": "onCompleted(JobListener.java:39)",
}
_LISTENER = "hudson.model.listeners.RunListener."
_NOTIFY = (
    "jenkins.util.Listeners.lambda$notify$0(Listeners.java:59)",
    "jenkins.util.Listeners.notify(Listeners.java:67)",
)
_FIRE_STARTED = (
    _LISTENER + "lambda$fireStarted$2(RunListener.java:230)",
    *_NOTIFY,
    _LISTENER + "fireStarted(RunListener.java:228)",
    "hudson.model.Run.execute(Run.java:1893)",
)
_FIRE_COMPLETED = (
    _LISTENER + "lambda$fireCompleted$0(RunListener.java:207)",
    *_NOTIFY,
    _LISTENER + "fireCompleted(RunListener.java:205)",
    "hudson.model.Run.execute(Run.java:1936)",
)
_FREESTYLE_RUN = (
    "hudson.model.FreeStyleBuild.run(FreeStyleBuild.java:44)",
    "hudson.model.ResourceController.execute(ResourceController.java:101)",
    "hudson.model.Executor.run(Executor.java:442)",
)
_FINISHED = {Result.SUCCESS, Result.FAILURE, Result.UNSTABLE}


async def notify(controller: Controller, build: Build, phase: str, timestamp_ms: int) -> None:
    """Notify every endpoint of the job; the build waits until all have answered or failed."""
    await controller.until_up()
    if controller.config.notification_plugin is None:
        return
    # The plugin gives QUEUED and FINALIZED no listener: those leave no trace in the console.
    to_console = phase in ("STARTED", "COMPLETED")
    for endpoint in build.job.config.endpoints or ():
        if endpoint.url_or_id.strip() and _wants(endpoint, build, phase):
            delivery = _Delivery(controller, build, endpoint, phase, timestamp_ms, to_console)
            if not await delivery.send():
                return


async def notify_manually(
    controller: Controller, build: Build, phase: str, notes: str | None, loglines: int | None
) -> None:
    """The `notifyEndpoints` step: neither the event nor the branch filter counts."""
    for endpoint in build.job.config.endpoints or ():
        changes: dict[str, Any] = {} if notes is None else {"notes": notes}
        if loglines:
            changes["loglines"] = loglines
        changed = dataclasses.replace(endpoint, branch=".*", **changes)
        if changed.url_or_id.strip() and controller.config.notification_plugin is not None:
            delivery = _Delivery(controller, build, changed, phase, controller.clock.now_ms(), True)
            if not await delivery.send():
                return


def _wants(endpoint: Endpoint, build: Build, phase: str) -> bool:
    event = endpoint.event
    if event is None or event == "all":
        return True
    failed = phase == "FINALIZED" and build.result is Result.FAILURE
    if event == "failedAndFirstSuccess":
        recovered = phase == "FINALIZED" and build.result is Result.SUCCESS
        return failed or (recovered and _previous_result(build) is Result.FAILURE)
    return failed if event == "failed" else event == phase.lower()


def _previous_result(build: Build) -> Result | None:
    for earlier in build.job.builds_newest_first():
        if earlier.number < build.number and earlier.result in _FINISHED:
            return earlier.result
    return None


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace `$NAME` and `${NAME}`; unknown names stay as they are."""
    return _VARIABLE.sub(
        lambda found: environment.get(found.group(1) or found.group(2), found.group(0)), text
    )


class _Delivery:
    """One phase of one build for one endpoint: the first try and its retries."""

    def __init__(
        self,
        controller: Controller,
        build: Build,
        endpoint: Endpoint,
        phase: str,
        timestamp_ms: int,
        to_console: bool,
    ) -> None:
        self._controller = controller
        self._build = build
        self._endpoint = endpoint
        self._phase = phase
        self._timestamp_ms = timestamp_ms
        self._to_console = to_console

    async def send(self) -> bool:
        """Whether the endpoints after this one get their turn.

        The failed flag is never cleared: one failure makes all remaining tries be sent too.
        """
        environment = environment_of(self._controller, self._build)
        if self._lacks_credential():
            return await self._repeat(self._fail_for_lack_of_a_url)
        url, shown = self._target(environment)
        if url is None:
            return not self._is_older_than_1_17()
        if not self._branch_matches(environment.get("BRANCH_NAME")):
            return True
        return await self._repeat(lambda: self._try(url, shown))

    async def _repeat(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        tries_left = self._endpoint.retries
        failed = False
        while True:
            went_well = await attempt()
            if not went_well and tries_left > 0:
                self._log(
                    f"Reattempting to notify endpoint with {self._shown_id()}"
                    f" ({tries_left} tries remaining)"
                )
            failed = failed or not went_well
            tries_left -= 1
            if not failed or tries_left < 0:
                return True

    def _log(self, text: str) -> None:
        if self._to_console:
            self._build.console.line(text)

    def _lacks_credential(self) -> bool:
        endpoint = self._endpoint
        return endpoint.url_type == "SECRET" and self._secret() is None

    def _secret(self) -> str | None:
        return self._controller.secret_of(self._build.job, self._endpoint.url_or_id)

    def _shown_id(self) -> str:
        """What the console shows of the endpoint: a credential's id, or the URL."""
        if self._endpoint.url_type == "SECRET":
            return f"credentials id '{self._endpoint.url_or_id}'"
        environment = environment_of(self._controller, self._build)
        return f"url '{expand(self._endpoint.url_or_id, environment)}'"

    def _target(self, environment: Mapping[str, str]) -> tuple[str | None, str]:
        """The URL, if it is one, and what the console shows of it."""
        endpoint, shown = self._endpoint, self._shown_id()
        text = endpoint.url_or_id
        if endpoint.url_type == "SECRET":
            text = self._secret() or ""
        url = expand(text, environment)
        if "$" in url:
            self._log(f"Ignoring sending notification due to unresolved variable: {shown}")
            return None, shown
        if not url.strip():
            self._log("URL is not set, ignoring call to send notification.")
            return None, shown
        return url, shown

    async def _try(self, url: str, shown: str) -> bool:
        """Whether this try went well."""
        self._log(f"Notifying endpoint with {shown}")
        try:
            await self._post(url)
        except java_http.DeliveryError as error:
            self._log_failure(str(error), ["Protocol"])
            return False
        return True

    async def _fail_for_lack_of_a_url(self) -> bool:
        """Fail as the plugin does when the credential is missing: it does not expect a null."""
        listener = _LISTENERS.get(self._phase, "onCompleted(JobListener.java:39)")
        frames = [*_HANDLER, f"JobListener.{listener}"]
        self._log_failure(_NO_URL, frames)
        return False

    def _log_failure(self, error: str, frames: Sequence[str]) -> None:
        shown = self._shown_id()
        self._log(f"ERROR: Failed to notify endpoint with {shown}")
        trace = "".join(f"\n\tat com.tikal.hudson.plugins.notification.{one}" for one in frames)
        self._log(error + trace + "".join(f"\n\tat {one}" for one in self._callers(frames)))
        self._log(f"Failed to notify endpoint with {shown} - {error}")

    def _callers(self, frames: Sequence[str]) -> Sequence[str]:
        """The frames below the plugin's in a stack trace, which Jenkins writes to the console."""
        if len(frames) == 1:
            return []
        run = () if self._build.job.is_pipeline else _FREESTYLE_RUN
        return [*(_FIRE_STARTED if self._phase == "STARTED" else _FIRE_COMPLETED), *run]

    def _is_older_than_1_17(self) -> bool:
        return version_of(self._controller.config.notification_plugin) < (1, 17)

    def _branch_matches(self, branch_name: str | None) -> bool:
        wanted = self._endpoint.branch
        if self._is_older_than_1_17():
            return True
        if branch_name is None:
            if wanted != ".*":
                self._log("Environment does not contain BRANCH_NAME variable")
            return wanted == ".*"
        # A missing <branch> is null, and null matches nothing: the plugin then fails inside.
        matches = wanted is not None and re.fullmatch(wanted, branch_name) is not None
        if not matches:
            self._log(
                f"Environment variable BRANCH_NAME with value {branch_name} "
                f"does not match configured branch filter {wanted}"
            )
        return matches

    async def _post(self, url: str) -> None:
        content = job_state(
            self._controller, self._build, self._endpoint, self._phase, self._timestamp_ms
        )
        is_json = self._endpoint.format != "XML"
        body = _gson(content) if is_json else _xstream(content)
        content_type = f"application/{'json' if is_json else 'xml'};charset=UTF-8"
        timeout_s = self._endpoint.timeout_ms / 1000 or None

        async def send() -> None:
            await java_http.post(url, body, content_type, timeout_s)

        await self._controller.faults.deliver(self._build.job.full_name, self._phase, send)


def job_state(
    controller: Controller, build: Build, endpoint: Endpoint, phase: str, timestamp_ms: int
) -> dict[str, Any]:
    """The body's content, in the plugin's order; what is null is left out."""
    job = build.job
    state: dict[str, Any] = {}
    root_url = controller.root_url
    if root_url is not None:
        state["full_url"] = root_url + build.url
    state |= {
        "number": build.number,
        "queue_id": build.queue_id,
        "timestamp": timestamp_ms,
        "duration": build.duration_ms,
        "phase": phase,
    }
    if build.result is not None:
        state["status"] = build.result.name
    state |= {"url": build.url, "scm": {"changes": [], "culprits": []}}
    if build.parameters is not None:
        state["parameters"] = _shown_parameters(controller, build.parameters)
    state["log"] = _log_lines(build, endpoint.loglines)
    if endpoint.notes is not None:
        on_workspace = phase not in ("QUEUED", "STARTED")
        environment = environment_of(controller, build)
        state["notes"] = expand(endpoint.notes, environment) if on_workspace else endpoint.notes
    if build.test_summary is not None:
        state["test_summary"] = build.test_summary
    state["artifacts"] = {
        path: {"archive": f"{root_url}{build.url}artifact/{path}"} for path in build.artifacts
    }
    return {"name": job.name, "display_name": job.display_name, "url": job.url, "build": state}


def _shown_parameters(controller: Controller, values: Sequence[ParameterValue]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for value in values:
        if value.is_posted:
            shown |= texts_of(controller, value)
    # Version 1.17 keeps them in a hash map, the others in a sorted one.
    is_hashed = version_of(controller.config.notification_plugin) == (1, 17)
    names = java_http.hash_order(list(shown)) if is_hashed else sorted(shown, key=str.lower)
    return {name: shown[name] for name in names}


def version_of(plugin: str | None) -> tuple[int, ...]:
    """Major and minor number of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", plugin or "")[:2])


def _log_lines(build: Build, count: int) -> str:
    if count == 0:
        return ""
    raw = build.console.raw
    if count < 0:
        return raw
    return "".join(line + "\n" for line in build.console.plain.splitlines()[-count:])


def _gson(content: dict[str, Any]) -> bytes:
    """JSON with the escapes of Gson, which is careful about HTML."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&='\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode(errors="replace")


def _xstream(content: dict[str, Any]) -> bytes:
    return "\n".join(_xml_lines("job", content, "")).encode(errors="replace")


def _xml_lines(name: str, value: object, indent: str) -> list[str]:
    tag = re.sub(r"_(\w)", lambda found: found.group(1).upper(), name)
    if name == "parameters" and isinstance(value, dict):
        return _xml_environment(value, indent)
    if isinstance(value, dict | list):
        children = value.items() if isinstance(value, dict) else [("string", one) for one in value]
        inner = [line for key, one in children for line in _xml_lines(key, one, indent + "  ")]
        return [f"{indent}<{tag}>", *inner, f"{indent}</{tag}>"] if inner else [f"{indent}<{tag}/>"]
    return [f"{indent}<{tag}>{escape(str(value))}</{tag}>"]


def _xml_environment(parameters: dict[str, str], indent: str) -> list[str]:
    """Parameters are a Java map of its own kind, which XStream writes in its own way."""
    lines = [
        f"{indent}<parameters>",
        f"{indent}  <unserializable-parents/>",
        f"{indent}  <tree-map>",
    ]
    lines.append(f'{indent}    <comparator class="hudson.util.CaseInsensitiveComparator"/>')
    for key, value in parameters.items():
        lines.append(f"{indent}    <entry>")
        lines += [f"{indent}      <string>{escape(text)}</string>" for text in (key, value)]
        lines.append(f"{indent}    </entry>")
    return [*lines, f"{indent}  </tree-map>", f"{indent}</parameters>"]
