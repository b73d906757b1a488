"""What the remote API shows of the controller itself: root, computers, users, plugins."""

from __future__ import annotations

from jenkins_simulator.core.controller import Controller
from jenkins_simulator.core.durations import estimated_duration_ms
from jenkins_simulator.core.model import Build
from jenkins_simulator.core.permissions import Permission
from jenkins_simulator.http.call import ApiContext, Call
from jenkins_simulator.http.security import Caller, Sessions
from jenkins_simulator.remote_api.items import AllView
from jenkins_simulator.remote_api.shared import Shown

_NODE_DESCRIPTION = "the Jenkins controller's built-in node"
_LABELS = [Shown("hudson.model.labels.LabelAtom", {"name": "built-in"}, visibility=2)]
_LABELS_EXPECTED = (("assignedLabels", "hudson.model.labels.LabelAtom"),)
_MONITORS = ("SwapSpace", "TemporarySpace", "DiskSpace", "Architecture", "ResponseTime", "Clock")
_PLUGINS = {
    "cloudbees-folder": "6.901.vb_4c7a_da_75da_3",
    "workflow-aggregator": "596.v8c21c963d92d",
    "matrix-auth": "3.2.1",
}


def hudson(call: Call) -> Shown:
    """The root of the API."""
    controller, ctx = call.controller, ApiContext(call)
    view = AllView(controller.root)
    reason = None
    return Shown(
        "hudson.model.Hudson",
        {
            "assignedLabels": _LABELS,
            "mode": "NORMAL",
            "nodeDescription": _NODE_DESCRIPTION,
            "nodeName": "",
            "numExecutors": controller.config.executors,
            "description": None,
            "jobs": ctx.visible(controller.root),
            "overallLoad": {},
            "primaryView": view,
            "quietDownReason": reason,
            "quietingDown": controller.quieting_down,
            "slaveAgentPort": -1,
            "unlabeledLoad": Shown("jenkins.model.UnlabeledLoadStatistics"),
            "url": controller.root_url,
            "useCrumbs": True,
            "useSecurity": True,
            "views": [view],
        },
        expected=_LABELS_EXPECTED,
    )


_STUB_ITEM = "hudson.model.Queue$StubItem"
_STUB_TASK = "hudson.model.Queue$StubTask"


def queue(call: Call) -> Shown:
    """The queue; who may only know of jobs sees nothing but their names in it."""
    items = call.controller.queue.items()
    readable = call.caller.may(Permission.ITEM_READ)
    discoverable = not readable and call.caller.may(Permission.ITEM_DISCOVER)
    stubs = [_stub(item.job.name) for item in items if discoverable]
    values: dict[str, object] = {"discoverableItems": stubs, "items": items if readable else []}
    return Shown(
        "hudson.model.Queue",
        values,
        inline=("discoverableItems", "items"),
        expected=(("discoverableItems", _STUB_ITEM),),
    )


def _stub(name: str) -> Shown:
    task = Shown(_STUB_TASK, {"name": name}, visibility=999)
    return Shown(_STUB_ITEM, {"task": task}, visibility=999, expected=(("task", _STUB_TASK),))


def computers(call: Call) -> Shown:
    """All nodes, of which there is one."""
    controller = call.controller
    return Shown(
        "hudson.model.ComputerSet",
        {
            "busyExecutors": sum(1 for slot in controller.executors.slots if slot),
            "computer": [computer(call)],
            "displayName": "Nodes",
            "totalExecutors": controller.config.executors,
        },
        inline=("computer",),
    )


def computer(call: Call) -> Shown:
    """The built-in node with its executors: heavyweight ones, and one per running Pipeline."""
    controller, ctx = call.controller, ApiContext(call)
    slots = controller.executors.slots
    one_off = [build for build in controller.running_builds() if build.job.is_pipeline]
    visible = call.caller.may(Permission.ITEM_READ)
    executors = [_executor(number, build, ctx, visible) for number, build in enumerate(slots)]
    return Shown(
        "hudson.model.Hudson$MasterComputer",
        {
            "actions": [],
            "assignedLabels": _LABELS,
            "description": _NODE_DESCRIPTION,
            "displayName": "Built-In Node",
            "executors": executors,
            "icon": "symbol-computer",
            "iconClassName": "symbol-computer",
            "idle": not one_off and not any(slots),
            "jnlpAgent": False,
            "launchSupported": True,
            "loadStatistics": Shown("hudson.model.Label$1"),
            "manualLaunchAllowed": True,
            "monitorData": {
                f"hudson.node_monitors.{name}Monitor": None
                for name in _MONITORS
                if call.caller.may(Permission.COMPUTER_CONNECT)
            },
            "numExecutors": controller.config.executors,
            "offline": False,
            "offlineCause": None,
            "offlineCauseReason": "",
            "oneOffExecutors": [_executor(-1, build, ctx, visible) for build in one_off],
            "temporarilyOffline": False,
        },
        expected=(*_LABELS_EXPECTED, ("executors", _EXECUTOR), ("oneOffExecutors", _EXECUTOR)),
    )


_EXECUTOR = "hudson.model.Executor"


def _executor(number: int, build: Build | None, ctx: ApiContext, visible: bool) -> Shown:
    return Shown(
        _EXECUTOR,
        {
            "currentExecutable": _executable(number, build, ctx) if visible else None,
            "idle": build is None,
            "likelyStuck": False,
            "number": number,
            "progress": -1,
        },
    )


def _executable(number: int, build: Build | None, ctx: ApiContext) -> Build | Shown | None:
    if build is None or not build.job.is_pipeline or number < 0:
        return build
    # On a heavyweight executor a Pipeline shows only the body of its `node` step: no parameters.
    task = "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask"
    name = f"part of {build.job.full_display_name} {build.display_name}"
    return Shown(
        task + "$PlaceholderExecutable",
        {
            "displayName": name,
            "estimatedDuration": estimated_duration_ms(build.job),
            "fullDisplayName": name,
            "number": build.number,
            "timestamp": build.timestamp_ms,
            "url": ctx.absolute(build.url),
        },
    )


def who_am_i(caller: Caller) -> Shown:
    """The caller as Jenkins sees it."""
    return Shown(
        "hudson.security.WhoAmI",
        {
            "anonymous": caller.is_anonymous,
            "authenticated": True,
            "authorities": ["anonymous" if caller.is_anonymous else "authenticated"],
            "name": caller.name,
        },
    )


def crumb_issuer(sessions: Sessions, caller: Caller, session: str) -> Shown:
    """A crumb for this caller and session."""
    values = {"crumb": sessions.crumb(caller.name, session), "crumbRequestField": "Jenkins-Crumb"}
    return Shown("hudson.security.csrf.DefaultCrumbIssuer", values)


def user(call: Call, name: str) -> Shown:
    """A user's page."""
    values: dict[str, object] = {
        "absoluteUrl": ApiContext(call).absolute(f"user/{name}"),
        "description": None,
        "fullName": name,
        "id": name,
        "property": [],
    }
    return Shown("hudson.model.User", values)


def plugins(controller: Controller) -> Shown:
    """The installed plugins."""
    versions = dict(_PLUGINS)
    if controller.config.notification_plugin is not None:
        versions["notification"] = controller.config.notification_plugin
    shown = [
        Shown(
            "hudson.PluginWrapper",
            {
                "active": True,
                "enabled": True,
                "longName": name,
                "shortName": name,
                "version": version,
            },
        )
        for name, version in sorted(versions.items())
    ]
    return Shown(
        "hudson.LocalPluginManager",
        {"plugins": shown},
        expected=(("plugins", "hudson.PluginWrapper"),),
    )
