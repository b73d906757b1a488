"""What the remote API shows of queue items."""

from __future__ import annotations

from typing import Any

from jenkins_simulator.core.model import ItemState, QueueItem
from jenkins_simulator.remote_api.exported import Bean
from jenkins_simulator.remote_api.shared import Causes, P, Parameters, Shown


def _params_text(item: QueueItem) -> str:
    return "".join(
        f"\n{p.name}={'****' if p.is_sensitive else p.text}" for p in item.parameters or ()
    )


def _queue_actions(item: QueueItem, _: Any) -> list[object]:
    actions: list[object] = [] if item.parameters is None else [Parameters(item.parameters)]
    return [*actions, Causes(item.causes)] if item.causes else actions


def _task(item: QueueItem, _: Any) -> object:
    if item.placeholder_of is None:
        return item.job
    task = "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask"
    build = item.placeholder_of
    name = f"part of {build.job.full_display_name} {build.display_name}"
    return Shown(task, {"fullDisplayName": name, "name": name, "url": build.url})


_QUEUE_ITEM_HEAD = (
    P("actions", _queue_actions),
    P("blocked", lambda i, c: i.state is ItemState.BLOCKED, 999),
    P("buildable", lambda i, c: i.state is ItemState.BUILDABLE, 999),
    P("id", lambda i, c: i.id, 999),
    P("inQueueSince", lambda i, c: int(i.entered_at * 1000), 999),
    P("params", lambda i, c: _params_text(i), 999),
    P("stuck", lambda i, c: c.is_stuck(i), 999),
    P("task", _task, 999),
    P("url", lambda i, c: f"queue/item/{i.id}/", 999),
    P("why", lambda i, c: c.why(i), 999),
)
_SINCE = P("buildableStartMilliseconds", lambda i, c: int(i.buildable_since * 1000), 999)
_TAIL = {
    ItemState.WAITING: (P("timestamp", lambda i, c: int(i.due_at * 1000), 999),),
    ItemState.BLOCKED: (_SINCE,),
    ItemState.BUILDABLE: (_SINCE, P("pending", lambda i, c: False, 999)),
    ItemState.LEFT: (
        P("cancelled", lambda i, c: i.cancelled, 999),
        P("executable", lambda i, c: i.build, 999),
    ),
}
QUEUE_ITEM_BEANS = {
    state: Bean(state.value, _QUEUE_ITEM_HEAD + tail) for state, tail in _TAIL.items()
}
