"""Jenkins' JSON into the views of the port. Pure: no I/O.

Each reading has its `tree`, without which Jenkins would read every build from disk. What the answer
must have, or else it isn't Jenkins', raises ProtocolError; what some versions leave out becomes
None.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deployment_service.cicd import names
from deployment_service.cicd.errors import ProtocolError
from deployment_service.cicd.jenkins.job_xml import parse_owner
from deployment_service.cicd.port import (
    RUN_ID_PARAMETER,
    BuildCause,
    BuildView,
    JobBuilds,
    JobView,
    ParameterDefinition,
    QueueItemView,
    QueueView,
    RunningView,
)
from deployment_service.domain.queue_ids import parse_queue_id

_BUILD = (
    "number,queueId,building,inProgress,result,timestamp,duration,"
    "actions[parameters[name,value],causes[userId,shortDescription],waitingForInput]"
)
_ITEM = (
    "id,why,blocked,stuck,cancelled,task[url],executable[number,url],"
    "actions[parameters[name,value]]"
)
_EXECUTOR = f"currentExecutable[url,{_BUILD}]"

BUILD_TREE = _BUILD
BUILD_TREE_WITHOUT_ACTIONS = _BUILD.partition(",actions[")[0]
QUEUE_ITEM_TREE = _ITEM
QUEUE_TREE = f"items[{_ITEM}]"
RUNNING_TREE = f"computer[oneOffExecutors[{_EXECUTOR}],executors[{_EXECUTOR}]]"
JOB_TREE = (
    "fullName,url,buildable,nextBuildNumber,inQueue,concurrentBuild,description,lastBuild[number],"
    "property[parameterDefinitions[name,type,description,choices,defaultParameterValue[value]]]"
)

NOTIFICATION_PROPERTY = "com.tikal.hudson.plugins.notification.HudsonNotificationProperty"
_DISCARDER = "jenkins.model.BuildDiscarderProperty"
_INTERRUPTED = ".InterruptedBuildAction"
_MAX_REASON = 200
_MAX_BUILDS = 100
_INT64_MAX = 2**63 - 1
_INT32_MAX = 2**31 - 1
# As much as a run may have; what is beyond is not stored.
_MAX_PARAMETERS = 200
_MAX_NAME_CHARS = 200
_MAX_VALUE_CHARS = 32 * 1024
_MAX_DEFINITIONS = 500
_MAX_CHOICES = 1000
_MAX_TEXT_CHARS = 64 * 1024


def builds_tree(limit: int) -> str:
    """Return the tree for a job's newest builds; Jenkins shows at most 100."""
    return f"nextBuildNumber,builds[{_BUILD}]{{0,{min(max(limit, 1), _MAX_BUILDS)}}}"


def without_input(tree: str) -> str:
    """Return the tree without what Jenkins may be slow to tell of a Pipeline."""
    return tree.replace(",waitingForInput", "")


def job_view(data: Mapping[str, Any], full_name: str, session: str | None) -> JobView:
    """Read a job. A folder becomes one that isn't buildable, with next_build_number 0."""
    definitions: list[ParameterDefinition] = []
    classes = set()
    for property_ in _dicts(data.get("property")):
        classes.add(property_.get("_class"))
        definitions += map(_definition, _dicts(property_.get("parameterDefinitions")))
    concurrent = data.get("concurrentBuild")
    url = _text(data.get("url"))
    if not url:
        raise _nonsense("url")
    description = _text(data.get("description")) or ""
    last_build = data.get("lastBuild")
    return JobView(
        full_name=_text(data.get("fullName")) or full_name,
        url=url,
        job_class=_text(data.get("_class")) or "",
        buildable=data.get("buildable") is True,
        next_build_number=_number(data.get("nextBuildNumber")) or 0,
        in_queue=data.get("inQueue") is True,
        concurrent=concurrent if isinstance(concurrent, bool) else None,
        parameters=tuple(definitions[:_MAX_DEFINITIONS]),
        description=description,
        owner=parse_owner(description),
        has_notification_property=NOTIFICATION_PROPERTY in classes,
        discards_builds=_DISCARDER in classes,
        last_build_number=_number(last_build.get("number"))
        if isinstance(last_build, dict)
        else None,
        session=session,
    )


def queue_item_view(data: Mapping[str, Any], session: str | None) -> QueueItemView:
    """Read a queue item, alone or out of the queue."""
    task = data.get("task")
    task_url = (_text(task.get("url")) if isinstance(task, dict) else None) or ""
    executable = data.get("executable")
    build = executable if isinstance(executable, dict) else {}
    return QueueItemView(
        queue_id=_required_queue_id(data),
        task_url=task_url,
        job_full_name=names.parse_exact_job_path(task_url),
        parameters=_parameters(data),
        why=_text(data.get("why")),
        left=str(data.get("_class")).endswith("$LeftItem") or "executable" in data,
        cancelled=data.get("cancelled") is True,
        build_number=_number(build.get("number")),
        build_url=_text(build.get("url")),
        stuck=data.get("stuck") is True,
        blocked=data.get("blocked") is True,
        session=session,
    )


def queue_view(data: Mapping[str, Any], session: str | None) -> QueueView:
    """Read the queue."""
    items = _required_list(data, "items")
    return QueueView(tuple(queue_item_view(item, session) for item in _dicts(items)), session)


def build_view(data: Mapping[str, Any], full_name: str, session: str | None) -> BuildView:
    """Read a build, alone, out of its job or out of an executor."""
    in_progress = data.get("inProgress")
    actions = list(_dicts(data.get("actions")))
    # Causes of the start and of an interruption have the same form: the action's class tells them apart.
    interrupted = [a for a in actions if str(a.get("_class", "")).endswith(_INTERRUPTED)]
    reasons = (
        _text(c.get("shortDescription")) for a in interrupted for c in _dicts(a.get("causes"))
    )
    return BuildView(
        job_full_name=full_name,
        number=_required_number(data, "number"),
        queue_id=parse_queue_id(data.get("queueId")),
        # Absence of the word must not look like the end of the build.
        building=data.get("building") is not False,
        in_progress=in_progress if isinstance(in_progress, bool) else None,
        result=_text(data.get("result")),
        timestamp_ms=_int(data.get("timestamp")),
        duration_ms=_int(data.get("duration")),
        parameters=_parameters(data),
        waiting_for_input=any(action.get("waitingForInput") is True for action in actions),
        causes=tuple(_causes(actions)),
        interruption=next(filter(None, reasons), "")[:_MAX_REASON],
        session=session,
    )


def _causes(actions: Iterable[Mapping[str, Any]]) -> Iterator[BuildCause]:
    """Return the causes of the start. An interrupted build shows those of its interruption beside them."""
    for action in actions:
        if (_text(action.get("_class")) or "").endswith(_INTERRUPTED):
            continue
        for cause in _dicts(action.get("causes")):
            user = _text(cause.get("userId")) or ""
            named = (_text(cause.get("_class")) or "").endswith("Cause$UserIdCause") and user
            description = (_text(cause.get("shortDescription")) or "")[:_MAX_REASON]
            yield BuildCause(bool(named), user if named else "", description)


def job_builds(data: Mapping[str, Any], full_name: str, session: str | None) -> JobBuilds:
    """Read a job's newest builds."""
    builds = [
        build_view(build, full_name, session) for build in _dicts(_required_list(data, "builds"))
    ]
    builds.sort(key=lambda build: -build.number)
    return JobBuilds(full_name, _required_number(data, "nextBuildNumber"), tuple(builds), session)


def running_view(data: Mapping[str, Any], session: str | None) -> RunningView:
    """Read what all executors do.

    A Pipeline is seen several times: as itself on a flyweight executor, and as a placeholder, which
    knows less, on the executor of each `node` block.
    """
    builds: dict[tuple[str, int], BuildView] = {}
    for executable in _executables(data):
        found = names.parse_build_path(_text(executable.get("url")) or "")
        if found is None:
            continue  # a configuration of a matrix job, or work that isn't a build
        view = build_view({**executable, "number": found[1]}, found[0], session)
        known = builds.get(found)
        if known is None or (known.queue_id is None and not known.parameters):
            builds[found] = view
    return RunningView(tuple(builds.values()), session)


def _executables(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for computer in _dicts(_required_list(data, "computer")):
        for kind in ("oneOffExecutors", "executors"):
            for executor in _dicts(computer.get(kind)):
                executable = executor.get("currentExecutable")
                if isinstance(executable, dict):
                    yield executable


def _definition(data: Mapping[str, Any]) -> ParameterDefinition:
    default = data.get("defaultParameterValue")
    choices = data.get("choices")
    # Some plugins have a `type` of their own: `PT_TAG` of a Git parameter.
    kind = (_text(data.get("_class")) or "").rpartition(".")[2] or _text(data.get("type")) or ""
    return ParameterDefinition(
        name=_text(data.get("name")) or "",
        kind=kind,
        default=_value(default.get("value")) if isinstance(default, dict) else None,
        choices=tuple(str(choice)[:_MAX_VALUE_CHARS] for choice in choices[:_MAX_CHOICES])
        if isinstance(choices, list)
        else (),
        description=_text(data.get("description")) or "",
    )


def _parameters(data: Mapping[str, Any]) -> dict[str, str]:
    """Collect the parameters of all actions; those without a value (passwords) are left out.

    Values beyond what a run of ours may have are cut.
    """
    found: dict[str, str] = {}
    for action in _dicts(data.get("actions")):
        for parameter in _dicts(action.get("parameters")):
            name, value = _text(parameter.get("name")), _value(parameter.get("value"))
            if not name or value is None or len(name) > _MAX_NAME_CHARS:
                continue
            if len(found) < _MAX_PARAMETERS or name == RUN_ID_PARAMETER:
                found.setdefault(name, value[:_MAX_VALUE_CHARS])
    return found


def _value(value: object) -> str | None:
    """Return a parameter's value as a webhook would spell it: booleans in lower case."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else str(value)


def _text(value: object) -> str | None:
    """Return a text that can be stored: without NUL and lone surrogates, which JSON can hold."""
    if not isinstance(value, str):
        return None
    return value[:_MAX_TEXT_CHARS].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _int(value: object) -> int | None:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return value if is_int and isinstance(value, int) and abs(value) <= _INT64_MAX else None


def _number(value: object) -> int | None:
    """Return a build number, which Jenkins keeps in 32 bits."""
    number = _int(value)
    return number if number is not None and 0 <= number <= _INT32_MAX else None


def _required_number(data: Mapping[str, Any], key: str) -> int:
    value = _number(data.get(key))
    if value is None or value < 1:
        raise _nonsense(key)
    return value


def _required_queue_id(data: Mapping[str, Any]) -> str:
    value = parse_queue_id(data.get("id"))
    if value is None:
        raise _nonsense("id")
    return value


def _required_list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if not isinstance(value, list):
        raise _nonsense(key)
    return value


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _nonsense(key: str) -> ProtocolError:
    return ProtocolError(
        f"Jenkins answered with data that makes no sense ({key}). Check the provider's base_url."
    )
