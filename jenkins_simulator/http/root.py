"""What can be asked of the controller itself."""

from __future__ import annotations

from jenkins_simulator.core.model import QueueItem
from jenkins_simulator.core.permissions import Permission
from jenkins_simulator.http import answers
from jenkins_simulator.http import api as web_api
from jenkins_simulator.http import credentials as web_credentials
from jenkins_simulator.http import items as web_items
from jenkins_simulator.http import root_objects as beans_root
from jenkins_simulator.http.answers import Answer
from jenkins_simulator.http.call import Call
from jenkins_simulator.remote_api.items import AllView

_UNPROTECTED = {
    "login",
    "loginError",
    "logout",
    "signup",
    "whoAmI",
    "accessDenied",
    "oops",
    "error",
}
_BUILT_IN = (["(built-in)"], ["(master)"])
_CRUMB_XPATHS = {
    "/*/crumbRequestField/text()": "{field}",
    "/*/crumb/text()": "{crumb}",
    'concat(//crumbRequestField,":",//crumb)': "{field}:{crumb}",
    "concat(//crumbRequestField,':',//crumb)": "{field}:{crumb}",
}


async def dispatch(call: Call, path: list[str]) -> Answer:
    """Answer a request by its first path segment."""
    head, rest = (path[0], path[1:]) if path else ("", [])
    if head not in _UNPROTECTED:
        call.require(Permission.OVERALL_READ)
    if head in ("", "login"):
        if rest:
            raise answers.not_found()
        page = answers.page("Jenkins")
        page.sized = head == "login"
        return page
    if head == "job":
        return await web_items.dispatch(call, call.controller.root, rest)
    if head == "view" and rest and rest[0] == "all":
        if rest[1:2] == ["api"]:
            return web_api.serve(call, rest[2:], AllView(call.controller.root), "allView")
        return await dispatch(call, rest[1:])
    if head in _API_ROOTS and rest[:1] == ["api"]:
        return _API_ROOTS[head](call, rest[1:])
    if head == "queue":
        return _queue(call, rest)
    if head == "credentials":
        return web_credentials.dispatch(call, call.controller.root, rest)
    if head == "crumbIssuer" and rest[:1] == ["api"]:
        return _crumb(call, rest[1:])
    if head == "user" and len(rest) >= 2 and rest[1] == "api" and rest[0] in call.controller.users:
        return web_api.serve(call, rest[2:], beans_root.user(call, rest[0]), "user")
    if head == "computer" and rest[:1] in _BUILT_IN and rest[1:2] == ["api"]:
        node = beans_root.computer(call)
        return web_api.serve(call, rest[2:], node, "masterComputer")
    return _action(call, [head, *rest])


def _missing() -> Answer:
    raise answers.not_found()


def _action(call: Call, path: list[str]) -> Answer:
    root = call.controller.root
    if path[0] == "api":
        return web_api.serve(call, path[1:], beans_root.hudson(call), "hudson")
    if path == ["createItem"]:
        return web_items.create_item(call, root)
    if path == ["checkJobName"]:
        return web_items.check_job_name(call, root)
    if path == ["scriptText"]:
        # The script console itself is not simulated: an administrator gets a 404.
        call.require(Permission.ADMINISTER)
    if path in (["quietDown"], ["cancelQuietDown"]):
        return _quiet_down(call, quiet=path == ["quietDown"])
    if path in (["me"], ["manage"], ["computer"], ["whoAmI"]):
        return call.index(path[0])
    return _missing()


def _quiet_down(call: Call, *, quiet: bool) -> Answer:
    if call.method != "POST":
        raise answers.post_required()
    call.require(Permission.ADMINISTER)
    call.controller.quieting_down = quiet
    call.controller.queue.maintain()
    return answers.nothing(302, call.directory)


def _who_am_i(call: Call, rest: list[str]) -> Answer:
    return web_api.serve(call, rest, beans_root.who_am_i(call.caller), "whoAmI")


def _computers(call: Call, rest: list[str]) -> Answer:
    return web_api.serve(call, rest, beans_root.computers(call), "computerSet")


def _plugins(call: Call, rest: list[str]) -> Answer:
    call.require(Permission.ADMINISTER)
    return web_api.serve(call, rest, beans_root.plugins(call.controller), "localPluginManager")


def _me(call: Call, rest: list[str]) -> Answer:
    if call.caller.is_anonymous:
        raise answers.login_required()
    return web_api.serve(call, rest, beans_root.user(call, call.caller.name), "user")


_API_ROOTS = {"whoAmI": _who_am_i, "computer": _computers, "pluginManager": _plugins, "me": _me}


def _crumb(call: Call, rest: list[str]) -> Answer:
    """Crumbs are bound to a session, so asking for one begins a session."""
    session = call.sessions.of(call.request) or call.begin_session()
    issuer = beans_root.crumb_issuer(call.sessions, call.caller, session)
    template = _CRUMB_XPATHS.get(call.parameter("xpath") or "") if rest == ["xml"] else None
    if template is None:
        return web_api.serve(call, rest, issuer, "defaultCrumbIssuer")
    filled = template.format(field=issuer.values["crumbRequestField"], crumb=issuer.values["crumb"])
    return answers.api_text(filled, "text/plain;charset=utf-8")


# --- the queue


def _queue(call: Call, rest: list[str]) -> Answer:
    if rest[:1] == ["api"]:
        return web_api.serve(call, rest[1:], beans_root.queue(call), "queue")
    if rest == ["cancelItem"]:
        return _cancel_item(call)
    if len(rest) >= 2 and rest[0] == "item":
        return _queue_item(call, rest[1], rest[2:])
    return call.index("Build Queue") if not rest else _missing()


def _queue_item(call: Call, item_id: str, rest: list[str]) -> Answer:
    item = _known_item(call, item_id)
    if item is None:
        raise answers.not_found()
    if rest[:1] == ["api"]:
        if not call.caller.may(Permission.ITEM_READ):
            raise answers.hidden(anonymous=call.caller.is_anonymous)
        java_class = item.state.value.rpartition("$")[2]
        return web_api.serve(call, rest[1:], item, java_class[:1].lower() + java_class[1:])
    if rest == ["cancelQueue"]:
        if call.method != "POST":
            raise answers.post_required()
        if call.caller.may(Permission.ITEM_CANCEL):
            call.controller.cancel(item)
        return answers.nothing(204)
    if not rest:
        path = call.request.raw_path.partition("?")[0]
        if not path.endswith("/"):
            return call.index("")
        return answers.text(
            f"Queue item exists. For details check, for example, {path}api/json?tree="
            "cancelled,executable[url]"
        )
    return _missing()


def _known_item(call: Call, item_id: str | None) -> QueueItem | None:
    known = call.caller.may(Permission.ITEM_DISCOVER)
    if item_id is None or not item_id.isdecimal() or not known:
        return None
    return call.controller.queue.get(int(item_id))


def _cancel_item(call: Call) -> Answer:
    if call.method != "POST":
        raise answers.post_required()
    item_id = call.parameter("id")
    item = _known_item(call, item_id) if call.caller.may(Permission.ITEM_READ) else None
    if item is None:
        raise answers.error(404, f"Provided id ({item_id}) not found")
    if not call.caller.may(Permission.ITEM_CANCEL):
        raise answers.error(422, f"Item for id ({item_id}) is not cancellable")
    if not call.controller.cancel(item):
        raise answers.error(500, f"Could not cancel run for id {item_id}")
    return answers.nothing(204)
