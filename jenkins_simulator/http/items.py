"""What can be asked of folders and jobs: create, read, configure, rename, delete."""

from __future__ import annotations

import copy
from collections.abc import Callable

from jenkins_simulator.core.jobxml import BadXml, JobKind, parse_xml, set_text, write_xml
from jenkins_simulator.core.model import Folder, Item, Job, add_item, encode_segment
from jenkins_simulator.core.permissions import Permission
from jenkins_simulator.core.saved_xml import write
from jenkins_simulator.http import answers
from jenkins_simulator.http import api as web_api
from jenkins_simulator.http import builds as web_builds
from jenkins_simulator.http import credentials as web_credentials
from jenkins_simulator.http import triggers as web_triggers
from jenkins_simulator.http.answers import Answer
from jenkins_simulator.http.call import Call
from jenkins_simulator.remote_api.items import AllView

_NO_NAME = "No name is specified"
_LONGEST_NAME_BYTES = 255
_UNSAFE = "?*/\\%!@#$^&|<>[]:;"
_MODES = {
    "hudson.model.FreeStyleProject": JobKind.FREESTYLE,
    "org.jenkinsci.plugins.workflow.job.WorkflowJob": JobKind.PIPELINE,
    JobKind.FOLDER.value: JobKind.FOLDER,
    JobKind.MULTIBRANCH.value: JobKind.MULTIBRANCH,
}
_XML_NAMES = {
    JobKind.FREESTYLE: "freeStyleProject",
    JobKind.PIPELINE: "workflowJob",
    JobKind.FOLDER: "folder",
    JobKind.MULTIBRANCH: "workflowMultiBranchProject",
}


async def dispatch(call: Call, folder: Folder, rest: list[str]) -> Answer:
    """Answer a request below `job/` of a folder: names lead downwards, the rest is an action."""
    item = folder.find(rest[0]) if rest else None
    if item is None:
        raise answers.not_found() if call.method != "DELETE" else answers.bare(404)
    if not call.caller.may(Permission.ITEM_READ):
        if call.caller.may(Permission.ITEM_DISCOVER):
            raise answers.hidden(anonymous=call.caller.is_anonymous)
        raise answers.not_found()
    below = rest[1:]
    if isinstance(item, Folder):
        return await dispatch_folder(call, item, below)
    assert isinstance(item, Job)
    return await _dispatch_job(call, item, below)


async def dispatch_folder(call: Call, folder: Folder, rest: list[str]) -> Answer:
    """Answer a request to a folder that is not the root."""
    if len(rest) >= 2 and rest[0] in ("view", "job"):
        if rest[0] == "job":
            return await dispatch(call, folder, rest[1:])
        if rest[1].lower() == "all":
            if rest[2:3] == ["api"]:
                return web_api.serve(call, rest[3:], AllView(folder), "allView")
            return await dispatch_folder(call, folder, rest[2:])
    if rest[:1] == ["api"]:
        return web_api.serve(call, rest[1:], folder, _XML_NAMES[folder.config.kind])
    if rest == ["createItem"]:
        return create_item(call, folder)
    if rest == ["checkJobName"]:
        return check_job_name(call, folder)
    if rest[:1] == ["credentials"]:
        return web_credentials.dispatch(call, folder, rest[1:])
    return _common(call, folder, rest)


async def _dispatch_job(call: Call, job: Job, rest: list[str]) -> Answer:
    if rest and web_builds.is_build_token(rest[0]):
        build = web_builds.find_build(job, rest[0])
        if build is None:
            raise answers.not_found()
        return await web_builds.dispatch(call, build, rest[1:])
    if rest[:1] == ["api"]:
        return web_api.serve(call, rest[1:], job, _XML_NAMES[job.config.kind])
    if rest == ["build"]:
        return web_triggers.build(call, job)
    if rest == ["buildWithParameters"]:
        return web_triggers.build_with_parameters(call, job)
    if len(rest) == 1 and rest[0] in _JOB_POSTS:
        if call.method != "POST":
            raise answers.post_required()
        return _JOB_POSTS[rest[0]](call, job)
    return _common(call, job, rest)


def _common(call: Call, item: Item, rest: list[str]) -> Answer:
    if not rest:
        if call.method == "DELETE":
            _delete(call, item)
            return answers.nothing(204)
        return call.index(item.full_display_name)
    if rest == ["move", "move"]:
        if call.method != "POST":
            raise answers.post_required()
        return _move(call, item)
    action = rest[0] if len(rest) == 1 else ""
    if action == "config.xml":
        return _config_xml(call, item)
    if action in _ITEM_POSTS:
        if call.method != "POST":
            raise answers.post_required()
        return _ITEM_POSTS[action](call, item)
    if action == "description":
        return _description(call, item)
    if action in ("configure", "changes", "ws", "confirm-rename", "delete"):
        return answers.page(item.full_display_name)
    raise answers.not_found()


# --- creating


def create_item(call: Call, parent: Folder) -> Answer:
    """`createItem` in the root or in a folder."""
    if call.method != "POST":
        raise answers.post_required()
    call.require(Permission.ITEM_CREATE)
    content_type = call.request.headers.get("Content-Type")
    mode = call.parameter("mode")
    if content_type is None and mode != "copy":
        raise answers.failure("No Content-Type header set")
    name = call.parameter("name")
    if name is None:
        raise answers.failure("Query parameter 'name' is required")
    _check_good_name(name)
    name = name.strip()
    if not name:
        raise answers.failure(_NO_NAME)
    if parent.find(name) is not None:
        raise answers.failure(f"A job already exists with the name ‘{name}’")
    if mode == "copy":
        item = _copy_of(call, parent, name)
    elif (content_type or "").startswith(("application/xml", "text/xml")):
        _add_item(parent, name, _body_text(call))
        return answers.nothing(200)
    elif mode is None:
        raise answers.failure("No mode given")
    elif mode not in _MODES:
        raise answers.failure(f"No item type ‘{mode}’ is known")
    else:
        item = _add_item(parent, name, f"<{_MODES[mode].value}/>")
    return answers.nothing(302, f"{call.base}/{item.url}configure")


def _add_item(parent: Folder, name: str, xml: str) -> Item:
    _check_fits_on_disk(name)
    try:
        return add_item(parent, name, xml)
    except BadXml as error:
        raise answers.oops(str(error)) from error


def _body_text(call: Call) -> str:
    charset = call.request.charset or "utf-8"
    try:
        return call.body.decode(charset)
    except (UnicodeDecodeError, LookupError) as error:
        raise answers.oops(str(error)) from error


def _check_good_name(name: str) -> None:
    if not name:
        raise answers.failure(_NO_NAME)
    if name.strip() in (".", ".."):
        raise answers.failure(f"“{name.strip()}” is not an allowed name")
    for character in name:
        if ord(character) < 32 or 127 <= ord(character) < 160:
            printable = "".join(c if c.isprintable() else f"\\u{ord(c)};" for c in name)
            raise answers.failure(f"No control code is allowed: {printable}")
        if character in _UNSAFE:
            raise answers.failure(f"‘{character}’ is an unsafe character")
    if name.strip().endswith("."):
        raise answers.failure("A name cannot end with ‘.’")


def _check_fits_on_disk(name: str) -> None:
    """Jenkins keeps each item in a directory of its name, and notices only when it makes that."""
    if len(name.encode("utf-8", "replace")) > _LONGEST_NAME_BYTES:
        raise answers.oops("File name too long")


def _copy_of(call: Call, parent: Folder, name: str) -> Item:
    wanted = call.parameter("from")
    if not wanted:
        raise answers.failure("Specify which job to copy")
    relative = f"{parent.full_name}/{wanted}" if parent.full_name else wanted
    full_name = wanted.removeprefix("/") if wanted.startswith("/") else relative
    source = call.controller.find(full_name) or call.controller.find(wanted)
    if source is None or source is call.controller.root:
        raise answers.failure(f"No such job: {wanted}")
    call.require(Permission.ITEM_EXTENDED_READ)
    _check_fits_on_disk(name)
    item: Item = type(source)(name, parent, copy.deepcopy(source.xml), source.xml_version)
    if isinstance(item, Job):
        # Jenkins holds a copy back until its configuration has been saved.
        item.held_off_until_saved = True
    parent.items[name] = item
    return item


def check_job_name(call: Call, parent: Folder) -> Answer:
    """Whether a new item may have this name, as a scrap of HTML."""
    call.require(Permission.ITEM_CREATE)
    name = call.parameter("value") or ""
    html = "<div/>"
    if name and parent.find(name) is not None:
        html = f"<div class=error>A job already exists with the name ‘{name}’</div>"
    elif name:
        try:
            _check_good_name(name)
        except answers.Refusal as refusal:
            html = f"<div class=error>{dict(refusal.answer.headers)['X-Error']}</div>"
    return answers.text(html, "text/html;charset=utf-8")


# --- changing


def _config_xml(call: Call, item: Item) -> Answer:
    if call.method in ("GET", "HEAD"):
        call.require(Permission.ITEM_EXTENDED_READ)
        written = item.is_written_by_jenkins
        xml = write(item.xml) if written else write_xml(item.xml, item.xml_version)
        return Answer(200, xml.encode(), [("Content-Type", "application/xml")])
    if call.method != "POST":
        raise answers.bare(400)
    call.require(Permission.ITEM_CONFIGURE)
    _refuse_for_branch(call, item)
    try:
        root, version = parse_xml(_body_text(call))
    except BadXml as error:
        raise answers.oops(str(error)) from error
    if root.tag != item.config.kind.value:
        raise answers.oops(f"Expecting {item.config.kind.value} but got {root.tag}")
    # Jenkins reads the file anew, which does not count as a save of a copied job.
    item.update(root, version)
    return answers.nothing(200)


def _refuse_for_branch(call: Call, item: Item) -> None:
    """Refuse to configure a job of a multibranch project, as Jenkins does."""
    if isinstance(item, Job) and item.branch is not None:
        raise answers.access_denied(call.caller.name, Permission.ITEM_CONFIGURE)


def _saved(item: Item) -> None:
    if isinstance(item, Job):
        item.held_off_until_saved = False


def _delete(call: Call, item: Item) -> Answer:
    call.require(Permission.ITEM_DELETE)
    _refuse_for_branch(call, item)
    assert item.parent is not None
    above = item.parent.url
    call.controller.delete(item)
    return answers.nothing(302, f"{call.base}/{above}")


def _rename(call: Call, item: Item) -> Answer:
    if not call.caller.may(Permission.ITEM_CONFIGURE):
        # To Jenkins, to rename is to delete and to create.
        call.require(Permission.ITEM_CREATE)
        call.require(Permission.ITEM_DELETE)
    _refuse_for_branch(call, item)
    new_name = (call.parameter("newName") or "").strip()
    _check_good_name(new_name)
    assert item.parent is not None
    if new_name == item.name:
        raise answers.failure("The new name is the same as the current name.")
    clash = item.parent.find(new_name)
    if clash is not None:
        raise answers.failure(f"The name “{new_name}” is already in use.")
    if isinstance(item, Job) and item.is_building():
        raise answers.failure("Unable to rename a job while it is building.")
    _check_fits_on_disk(new_name)
    del item.parent.items[item.name]
    item.name = new_name
    item.parent.items[new_name] = item
    return answers.nothing(302, f"{call.base}/{item.parent.url}job/{encode_segment(new_name)}")


def _move(call: Call, item: Item) -> Answer:
    """Move to another folder, which builds that run do not prevent."""
    call.require(Permission.ITEM_CONFIGURE)
    destination = (call.parameter("destination") or "").strip("/")
    folder = call.controller.find(destination) if destination else call.controller.root
    if not isinstance(folder, Folder):
        raise answers.failure(f"No such folder: {destination}")
    if folder.find(item.name) is not None:
        raise answers.failure(f"The name “{item.name}” is already in use.")
    assert item.parent is not None
    del item.parent.items[item.name]
    item.parent = folder
    folder.items[item.name] = item
    return answers.nothing(302, f"{call.base}/{item.url}")


def _describe(call: Call, item: Item) -> Answer:
    call.require(Permission.ITEM_CONFIGURE)
    _set_description(item, call.parameter("description") or "")
    return answers.nothing(302, call.directory)


def _description(call: Call, item: Item) -> Answer:
    if call.method in ("GET", "HEAD"):
        return answers.text(item.config.description or "")
    text = call.parameter("description")
    if call.method == "POST":
        call.require(Permission.ITEM_CONFIGURE)
    if call.method != "POST" or text is None:
        raise answers.container_error(400, "Bad Request")
    _set_description(item, text)
    return answers.nothing(204)


def _set_description(item: Item, text: str) -> None:
    set_text(item.xml, "description", text)
    item.save()
    _saved(item)


def _set_disabled(disabled: bool) -> Callable[[Call, Job], Answer]:
    def handle(call: Call, job: Job) -> Answer:
        call.require(Permission.ITEM_CONFIGURE)
        set_text(job.xml, "disabled", "true" if disabled else "false")
        if job.config.disabled is not disabled:
            # Asking for what is so already saves nothing.
            _saved(job)
        job.save()
        if disabled:
            queued = call.controller.queue.of_job(job)
            if queued is not None:
                call.controller.cancel(queued)
        return answers.nothing(302, call.directory)

    return handle


def _cancel_queue(call: Call, job: Job) -> Answer:
    call.require(Permission.ITEM_CANCEL)
    item = call.controller.queue.of_job(job)
    if item is not None:
        call.controller.cancel(item)
    return answers.nothing(302, call.request.headers.get("Referer") or call.directory)


_ITEM_POSTS: dict[str, Callable[[Call, Item], Answer]] = {
    "doDelete": _delete,
    "doRename": _rename,
    "confirmRename": _rename,
    "submitDescription": _describe,
}
_JOB_POSTS: dict[str, Callable[[Call, Job], Answer]] = {
    "disable": _set_disabled(True),
    "enable": _set_disabled(False),
    "cancelQueue": _cancel_queue,
}
