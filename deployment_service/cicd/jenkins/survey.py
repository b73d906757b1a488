"""Find out what answers at a provider's URL, and what its account may do there. Changes nothing in Jenkins.

Permissions are tried in three ways. A page that needs one is read. Or a request is sent that Jenkins checks for the
permission first and must refuse afterwards, whatever happens meanwhile: `createItem` and `createCredentials` without
a Content-Type (400, recorded; Credentials plugin, `doCreateCredentials`). Or GET is sent to `buildWithParameters`,
which starts nothing (405 with `Allow: POST`, recorded; 403 comes first in `BuildAuthorizationToken.checkPermission`).
Job/Cancel and Job/Delete can't be tried like that.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from deployment_service.cicd.errors import ProviderError
from deployment_service.cicd.jenkins import replies
from deployment_service.cicd.jenkins.authors import Author, author_of
from deployment_service.cicd.jenkins.http import (
    TOO_LARGE,
    UNTRUSTED,
    HttpReply,
    HttpRequest,
    TransportFailure,
)
from deployment_service.cicd.jenkins.secrets import STORE, without_content
from deployment_service.cicd.jenkins.views import NOTIFICATION_PROPERTY
from deployment_service.cicd.names import job_path
from deployment_service.domain.egress import check_http_url, first_invisible
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.provider_facts import (
    Access,
    ControllerFacts,
    FolderFacts,
    Place,
    PluginFacts,
)

MAX_FOLDERS = 10
"""Folders beyond these are not tried out."""
_ROOTS = ("hudson.model.Hudson", "jenkins.model.Jenkins")
_KINDS = (
    ("folder", "Folder"),
    ("folder", "MultiBranchProject"),
    ("view", "View"),
    ("job", "Project"),
    ("job", "WorkflowJob"),
)
_FOLDER_WORDS = ("Folder", "MultiBranchProject")
# Statuses of a front by which the address can't be that of a Jenkins; others may be of the moment.
_WRONG_ADDRESS = (400, 401, 404, 405, 406, 407, 410, 421)
_INSIDE_PATH = re.compile(r"/(?:job|view|user|computer|queue|me|manage)(?:/|$)")
_SAMPLES = 50
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,40}")
_MAX_ACCOUNT_CHARS = 200
# The answer with a configuration has no header of Jenkins (recorded); a page of something else begins otherwise.
_CONFIG_XML = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?<(?!html\b)[a-z]", re.IGNORECASE)

Perform = Callable[[HttpRequest, float], Awaitable[HttpReply]]
Decode = Callable[[HttpReply], Awaitable[dict[str, Any]]]


class Survey:
    """One survey. Every request ends within ``timeout_s``, all together within the ``limit_s`` of ``run``."""

    def __init__(self, perform: Perform, decode: Decode, base_url: str, timeout_s: float) -> None:
        """``decode`` returns an answer's object; it raises ProviderError if it is none of Jenkins'."""
        self._perform = perform
        self._decode = decode
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._facts = ControllerFacts(Place.UNREACHABLE, "nothing was answered in time")

    async def run(self, folders: Sequence[str], limit_s: float) -> ControllerFacts:
        """Return what was found when everything was tried, or the time was up."""
        self._facts = replace(self._facts, network_detail=True)
        try:
            async with asyncio.timeout(limit_s):
                await self._root()
                if self._facts.place is Place.ROOT:
                    await self._rest(folders[:MAX_FOLDERS])
        except TimeoutError:
            return replace(self._facts, complete=False)
        return replace(self._facts, complete=len(folders) <= MAX_FOLDERS)

    def _note(self, **found: Any) -> None:
        self._facts = replace(self._facts, **found)

    # --- what answers

    async def _root(self) -> None:
        before = time.time()
        try:
            reply = await self._get("api/json", "url,useSecurity")
        except TransportFailure as failure:
            self._note(**_of_failure(failure))
            return
        offset = clock_offset_s(reply.headers.get("Date", ""), before, time.time())
        self._note(clock_offset_s=offset, network_detail=False, status=reply.status)
        self._note(version=_version(reply))
        try:
            data = await self._decode(reply) if reply.status == 200 else None
        except ProviderError:
            data = None
        if data is not None:
            self._note(**_of_object(data, self._base_url, "X-Jenkins" in reply.headers))
        else:
            self._note(**_of_refusal(reply, self._base_url))
        if self._facts.place is Place.ROOT:
            await self._who()

    async def _who(self) -> None:
        """Find out which account Jenkins sees. Only its root has this page, which needs no permission."""
        try:
            reply = await self._get("whoAmI/api/json", "name,anonymous")
            data = await self._decode(reply) if reply.status == 200 else None
        except (TransportFailure, ProviderError):
            return
        if data is None:
            hidden = reply.status == 404 and self._facts.overall_read is Access.MISSING
            if hidden and author_of(reply) is not Author.FRONT:
                self._note(**_of_refusal(reply, self._base_url))
            return
        name = data.get("name")
        account = name[:_MAX_ACCOUNT_CHARS] if isinstance(name, str) else ""
        if first_invisible(account) is not None:
            account = ""
        self._note(account=account, anonymous=data.get("anonymous") is True)

    # --- what the account may do

    async def _rest(self, folders: Sequence[str]) -> None:
        if self._facts.overall_read is Access.MISSING:
            return
        self._note(folders=tuple(FolderFacts(name) for name in folders))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lists())
            group.create_task(self._plugins())
            group.create_task(self._secrets())
            group.create_task(self._each_folder(folders))

    async def _lists(self) -> None:
        self._note(queue_problem=await self._problem_of("queue", "items[id]{0,1}"))
        self._note(executors_problem=await self._problem_of("computer", "computer[idle]{0,1}"))

    async def _problem_of(self, path: str, tree: str) -> str:
        try:
            reply = await self._get(f"{path}/api/json", tree)
            await self._decode(reply)
        except TransportFailure as failure:
            return failure.reason
        except ProviderError as error:
            return error.detail
        return ""

    async def _plugins(self) -> None:
        """Read the list of plugins. It takes more rights than most accounts have; then jobs may show it."""
        try:
            reply = await self._get("pluginManager/api/json", "plugins[shortName,version,active]")
            plugins = (await self._decode(reply)).get("plugins")
        except (TransportFailure, ProviderError):
            return
        if not isinstance(plugins, list):
            return
        found = [one for one in plugins if _is_notification(one)]
        version = str(found[0].get("version", "")) if found else ""
        shown = version if _VERSION.fullmatch(version) else ""
        self._note(plugin=PluginFacts(bool(found), shown))

    async def _secrets(self) -> None:
        # Without the permission to view it Jenkins hides the store.
        request = HttpRequest("GET", f"{STORE}/api/json", {"tree": "urlName"})
        view = await self._access(request, missing=(403, 404))
        self._note(secrets_view=view)
        if view is Access.GRANTED:
            self._note(secrets_create=await self._access(without_content(), refusal=400))

    async def _each_folder(self, folders: Sequence[str]) -> None:
        for name in folders:
            async for facts in self._folder(name):
                others = tuple(
                    facts if one.full_name == name else one for one in self._facts.folders
                )
                self._note(folders=others)

    async def _folder(self, name: str) -> Any:
        """Yield what is known of a folder, each time a little more."""
        path = f"{job_path(name)}/" if name else ""
        try:
            reply = await self._get(
                f"{path}api/json", f"jobs[name,buildable,property[_class]]{{0,{_SAMPLES}}}"
            )
            author = author_of(reply)
            # 403: it may be discovered and not read.
            hidden = reply.status == 403 and author is Author.JENKINS
            if hidden or (reply.status == 404 and author is not Author.FRONT):
                yield FolderFacts(name, Access.MISSING)
                return
            data = await self._decode(reply)
        except (TransportFailure, ProviderError) as error:
            yield FolderFacts(name, problem=getattr(error, "message", str(error)))
            return
        is_folder = not name or any(word in str(data.get("_class")) for word in _FOLDER_WORDS)
        facts = FolderFacts(name, Access.GRANTED, is_folder=is_folder)
        yield facts
        if not is_folder:
            return
        listed = data.get("jobs")
        jobs = [job for job in listed if isinstance(job, dict)] if isinstance(listed, list) else []
        if self._facts.plugin.installed is None and any(map(_has_property, jobs)):
            self._note(plugin=PluginFacts(True))
        create = await self._access(HttpRequest("POST", f"{path}createItem"), refusal=400)
        facts = replace(facts, create=create)
        yield facts
        sample = _sample(jobs)
        if sample:
            full_name = f"{name}/{sample}" if name else sample
            facts = replace(facts, sample_job=full_name)
            yield await self._job(facts, job_path(full_name))

    async def _job(self, facts: FolderFacts, path: str) -> FolderFacts:
        if self._facts.security is True:
            # Where nothing is checked, an old Jenkins may take a GET for a start.
            request = HttpRequest("GET", f"{path}/buildWithParameters")
            facts = replace(facts, build=await self._access(request, refusal=405))
        config = HttpRequest("GET", f"{path}/config.xml", max_answer_bytes=4 * 2**20)
        return replace(facts, configure=await self._access(config))

    async def _access(
        self, request: HttpRequest, *, refusal: int = 200, missing: Sequence[int] = (403,)
    ) -> Access:
        """Return what an answer proves.

        ``refusal``: the status that comes after the permission was found; ``missing``: those that come if it wasn't.
        """
        try:
            reply = await self._perform(request, self._timeout_s)
        except TransportFailure:
            return Access.UNKNOWN
        author = author_of(reply)
        by_jenkins = author is not Author.FRONT or _CONFIG_XML.match(reply.body)
        if reply.status == refusal and by_jenkins:
            return Access.GRANTED
        if reply.status not in missing or author is not Author.JENKINS:
            return Access.UNKNOWN
        # A plugin may refuse for reasons of its own. To an anonymous caller Jenkins names no permission.
        named = reply.status != 403 or replies.required_permission(reply) is not None
        return Access.MISSING if named or self._facts.anonymous else Access.UNKNOWN

    async def _get(self, path: str, tree: str) -> HttpReply:
        return await self._perform(HttpRequest("GET", path, {"tree": tree}), self._timeout_s)


def _of_failure(failure: TransportFailure) -> dict[str, Any]:
    """Return what it shows that no usable answer came."""
    if failure.reason.startswith(UNTRUSTED):
        return {"place": Place.UNTRUSTED, "detail": failure.reason, "network_detail": False}
    if failure.reason.startswith(TOO_LARGE):
        return {"place": Place.NOT_JENKINS, "detail": failure.reason, "network_detail": False}
    return {"place": Place.UNREACHABLE, "detail": failure.reason}


def _of_object(data: dict[str, Any], base_url: str, marked: bool) -> dict[str, Any]:
    """Return what a JSON object at `api/json` shows."""
    java_class = str(data.get("_class", ""))
    if java_class in _ROOTS or (not java_class and "useSecurity" in data):
        url = data.get("url")
        security = data.get("useSecurity")
        return {
            "place": Place.ROOT,
            "overall_read": Access.GRANTED,
            "own_url": _clean_url(url) if isinstance(url, str) else None,
            "security": security if isinstance(security, bool) else None,
        }
    if not java_class and not marked:
        return {
            "place": Place.NOT_JENKINS,
            "detail": "the answer is JSON that Jenkins doesn't send",
        }
    kind = next((word for word, part in _KINDS if part in java_class), "page")
    return {
        "place": Place.INSIDE,
        "object_kind": kind,
        "suggested_url": root_above(base_url),
    }


def _of_refusal(reply: HttpReply, base_url: str) -> dict[str, Any]:
    """Return what any other answer to the request for `api/json` shows."""
    status, author = reply.status, author_of(reply)
    found: dict[str, Any] = {
        "place": Place.UNAVAILABLE,
        "detail": replies.described_author(reply),
        "by_front": author is Author.FRONT,
    }
    if 300 <= status < 400:
        found |= {"place": Place.REDIRECT, "suggested_url": _redirected(reply, base_url)}
    elif status == 200:
        found |= {"place": Place.NOT_JENKINS, "detail": "it answered with a page instead of data"}
    elif status == 401 and author is not Author.FRONT:
        found |= {"place": Place.REFUSED}
    elif status == 403 and author is Author.JENKINS:
        found |= {"place": Place.ROOT, "overall_read": Access.MISSING}
    elif status == 404 and author is not Author.FRONT:
        found |= {"place": Place.NO_SUCH_PAGE, "suggested_url": root_above(base_url)}
    elif status in _WRONG_ADDRESS and author not in (Author.STARTING, Author.JENKINS):
        found |= {"place": Place.NOT_JENKINS}
    return found


def root_above(base_url: str) -> str:
    """Return the part of a URL that leads to a root of Jenkins; empty if none shows in it."""
    path = urlsplit(base_url).path
    inside = _INSIDE_PATH.search(path)
    return _clean_url(urljoin(base_url, path[: inside.start()] + "/")) if inside else ""


def _redirected(reply: HttpReply, base_url: str) -> str:
    """Return where a redirect of `api/json` has its root; empty if it leads to something else, such as a login."""
    try:
        target = urlsplit(urljoin(f"{base_url}api/json", reply.headers.get("Location", "")))
    except ValueError:
        return ""
    root, found, rest = target.path.rpartition("api/json")
    if not found or rest.strip("/"):
        return ""
    return _clean_url(f"{target.scheme}://{target.netloc}{root}")


def _clean_url(text: str) -> str:
    """Return a URL of an answer if it is one that a provider may have; empty otherwise."""
    try:
        return check_http_url(text, field="url")
    except InvalidArgument:
        return ""


def clock_offset_s(date: str, before: float, after: float) -> float | None:
    """Return by how much a clock is ahead, given its answer's Date and when the request began and ended.

    A Date has whole seconds, so a clock that is right gives 0 (RFC 9110, 6.6.1). None: there is no Date.
    """
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    shown = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if shown + 1 < before:
        return shown + 1 - before
    return max(0.0, shown - after)


def _version(reply: HttpReply) -> str:
    version = reply.headers.get("X-Jenkins", "")
    return version if _VERSION.fullmatch(version) else ""


def _is_notification(plugin: object) -> bool:
    return (
        isinstance(plugin, dict)
        and plugin.get("shortName") == "notification"
        and plugin.get("active") is not False
    )


def _has_property(job: dict[str, Any]) -> bool:
    properties = job.get("property")
    return isinstance(properties, list) and any(
        isinstance(one, dict) and one.get("_class") == NOTIFICATION_PROPERTY for one in properties
    )


def _sample(jobs: list[dict[str, Any]]) -> str:
    """Return the name of a job to try permissions at; one that builds, if there is one."""
    plain = [job for job in jobs if isinstance(job.get("name"), str) and "buildable" in job]
    plain.sort(key=lambda job: job["buildable"] is not True)
    return next((name for job in plain if _is_segment(name := str(job["name"]))), "")


def _is_segment(name: str) -> bool:
    try:
        job_path(name)
    except ValueError:
        return False
    return "/" not in name
