"""The provider port over one Jenkins controller and one account.

python-jenkins blocks, so each call runs on a thread of a small pool; each thread has a client of its own, because
`requests` sessions can't be shared. The task that waits keeps the time: at its deadline, or if it is cancelled, it
aborts the exchange, which frees the thread at once.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from deployment_service.cicd.errors import (
    BuildsWontStop,
    ProtocolError,
    ProviderUnreachable,
)
from deployment_service.cicd.jenkins import replies, views
from deployment_service.cicd.jenkins import trigger_replies as triggers
from deployment_service.cicd.jenkins.authors import Author, Marks, author_of
from deployment_service.cicd.jenkins.configurations import JobConfigurations
from deployment_service.cicd.jenkins.http import (
    NO_ANSWER_IN_TIME,
    HttpReply,
    HttpRequest,
    JenkinsClient,
    TransportFailure,
)
from deployment_service.cicd.jenkins.json import INLINE_BYTES, MIB, AnswerBudget, decode
from deployment_service.cicd.jenkins.survey import Survey
from deployment_service.cicd.jenkins.wire import Exchange
from deployment_service.cicd.names import job_path
from deployment_service.cicd.port import (
    BuildView,
    CancelOutcome,
    ControllerInfo,
    JobBuilds,
    JobView,
    QueueItemView,
    QueueView,
    RunningView,
    TriggerOutcome,
    TriggerReply,
)
from deployment_service.cicd.request_count import note_request
from deployment_service.domain.problems import ProblemReason
from deployment_service.domain.provider_facts import ControllerFacts

# Jenkins itself gives the builds of a job 15 s to end before it answers.
_DELETE_TIMEOUT_S = 30.0
# The rest is enough for a Jenkins that was slow only because of the input.
_SHARE_WITH_INPUT = 0.75
_RESUMES_WITHIN_S = 60.0
_MAX_LIST_BYTES = 2 * MIB

View = TypeVar("View")
MakeView = Callable[[dict[str, Any], str | None], View]


class JenkinsProvider(JobConfigurations):
    """A `CicdProvider`. Nothing is sent before the first call."""

    def __init__(
        self,
        base_url: str,
        username: str,
        secret: str,
        *,
        ca_pem: str | None = None,
        public_only: bool = False,
        timeout_s: float = 15.0,
        workers: int = 8,
        answers: AnswerBudget | None = None,
    ) -> None:
        """`secret` is an API token, or a password (which costs two requests more now and then).

        `ca_pem` is trusted instead of the public CAs. `public_only`: nothing is sent to an address in a loopback,
        link-local or private range, whatever name leads there. `answers`: what they may cost, of its own by default.
        `timeout_s` bounds each request but triggers,
        which bring their own bound; a call that confirms what it did makes two or three. Raises
        ValueError if the URL or the PEM can't be used.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("base_url must be http(s)://host[:port]/[path], without credentials")
        if parts.query or parts.fragment:
            raise ValueError("base_url must not have a query or a fragment")
        self._base_url = base_url.rstrip("/") + "/"
        self._account = username
        self._secret = secret
        self._timeout_s = timeout_s
        self._public_only = public_only
        self._ca_directory = _store_ca(ca_pem) if ca_pem else None
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="jenkins")
        self._local = threading.local()
        self._clients: list[JenkinsClient] = []
        self._exchanges: set[Exchange] = set()
        self._closed = False
        self._marks = Marks()
        self._budget = answers or AnswerBudget()
        self._input_unknown_until = 0.0

    async def ping(self) -> ControllerInfo:
        """See `CicdProvider`."""
        reply = await self._ask(HttpRequest("GET", "whoAmI/api/json", {"tree": "name,anonymous"}))
        name, session = await self._view(reply, lambda data, seen: (data.get("name"), seen))
        if not isinstance(name, str):
            raise ProtocolError("Jenkins doesn't say who we are. Check the provider's base_url.")
        return ControllerInfo(reply.headers.get("X-Jenkins"), name, session)

    async def survey(self, folders: Sequence[str], *, limit_s: float) -> ControllerFacts:
        """See `CicdProvider`."""

        async def decoded(reply: HttpReply) -> dict[str, Any]:
            return await self._view(reply, lambda data, _: data)

        survey = Survey(self._exchange, decoded, self._base_url, self._timeout_s)
        return await survey.run(folders, limit_s)

    async def read_job(self, full_name: str) -> JobView | None:
        """See `CicdProvider`. A folder is returned as a job that isn't buildable."""
        reply = await self._ask(_get(job_path(full_name), views.JOB_TREE))
        return await self._found(reply, lambda data, seen: views.job_view(data, full_name, seen))

    async def delete_job(self, full_name: str) -> bool:
        """See `CicdProvider`. True only after Jenkins no longer has the job."""
        path = job_path(full_name)
        timeout_s = max(self._timeout_s, _DELETE_TIMEOUT_S)
        reply = await self._ask(HttpRequest("POST", f"{path}/doDelete"), timeout_s)
        if self._says_missing(reply):
            return False
        if reply.status == 400:
            reason = replies.quoted_error(reply) or "HTTP 400"
            raise BuildsWontStop(
                f"Jenkins can't delete the job {full_name!r} yet ({reason}).", http_status=400
            )
        if reply.status not in (200, 204, 302):
            raise replies.error_of(reply, self._account)
        # A login page answers 302, too.
        if await self._exists(path):
            raise ProviderUnreachable(f"Jenkins didn't delete the job {full_name!r}. Try again.")
        return True

    async def trigger(
        self,
        full_name: str,
        parameters: Mapping[str, str],
        *,
        parameterised: bool,
        timeout_s: float,
    ) -> TriggerReply:
        """See `CicdProvider`. Parameters go into the body, as access logs hold the query."""
        if parameters and not parameterised:
            return _rejected("Jenkins was not asked to start the job: it defines no parameters.")
        try:
            path = job_path(full_name)
            form = urlencode(parameters, encoding="utf-8", errors="strict").encode()
        except ValueError:
            return _rejected("Jenkins was not asked to start the job: a text can't be encoded.")
        if parameterised:
            content_type = "application/x-www-form-urlencoded"
            request = HttpRequest("POST", f"{path}/buildWithParameters", {}, form, content_type)
        else:
            request = HttpRequest("POST", f"{path}/build")
        try:
            reply = await self._exchange(request, timeout_s)
        except TransportFailure as failure:
            return triggers.failed_trigger(failure)
        return triggers.trigger_reply(reply, path, self._account)

    async def read_queue_item(self, queue_id: str) -> QueueItemView | None:
        """See `CicdProvider`."""
        path = f"queue/item/{quote(queue_id, safe='')}"
        reply = await self._ask(_get(path, views.QUEUE_ITEM_TREE))
        return await self._found(reply, views.queue_item_view)

    async def list_queue(self) -> QueueView:
        """See `CicdProvider`."""
        return await self._view(
            await self._ask(_get_list("queue", views.QUEUE_TREE)), views.queue_view
        )

    async def list_running(self) -> RunningView:
        """See `CicdProvider`."""
        reply = await self._ask_for_builds(_get_list("computer", views.RUNNING_TREE))
        return await self._view(reply, views.running_view)

    async def read_build(self, full_name: str, number: int) -> BuildView | None:
        """See `CicdProvider`."""
        path = f"{job_path(full_name)}/{number}"

        def view(data: dict[str, Any], session: str | None) -> BuildView:
            return views.build_view(data, full_name, session)

        try:
            reply = await self._ask_for_builds(_get(path, views.BUILD_TREE))
            return await self._found(reply, view)
        except ProviderUnreachable as error:
            if error.reason is not ProblemReason.MALFORMED_ANSWER:
                raise
        # Values of megabytes are in the answer: how the build stands can be read without them.
        reply = await self._ask(_get(path, views.BUILD_TREE_WITHOUT_ACTIONS))
        build = await self._found(reply, view)
        return build and replace(build, parameters_shown=False)

    async def list_builds(self, full_name: str, *, limit: int = 50) -> JobBuilds | None:
        """See `CicdProvider`."""
        request = _get_list(job_path(full_name), views.builds_tree(limit))
        reply = await self._ask_for_builds(request)
        return await self._found(reply, lambda data, seen: views.job_builds(data, full_name, seen))

    async def cancel_queue_item(self, queue_id: str) -> CancelOutcome:
        """See `CicdProvider`."""
        reply = await self._ask(HttpRequest("POST", "queue/cancelItem", {"id": queue_id}))
        if reply.status == 204:
            return CancelOutcome.CANCELLED
        if reply.status == 422 and author_of(reply) is not Author.FRONT:
            return CancelOutcome.REFUSED
        if self._says_missing(reply):
            return CancelOutcome.UNKNOWN
        if reply.status == 500:
            # The answer for an item that has left, but also one while Jenkins is overloaded: read the item.
            item = await self.read_queue_item(queue_id)
            if item is None:
                return CancelOutcome.UNKNOWN
            if item.left:
                return CancelOutcome.ALREADY_LEFT
        raise replies.error_of(reply, self._account)

    async def stop_build(self, full_name: str, number: int) -> bool:
        """See `CicdProvider`."""
        path = f"{job_path(full_name)}/{number}"
        reply = await self._ask(HttpRequest("POST", f"{path}/stop"))
        if self._says_missing(reply):
            return False
        if reply.status == 302 and replies.leads_to(reply, path):
            return True
        raise replies.error_of(reply, self._account)

    async def close(self) -> None:
        """See `CicdProvider`."""
        self._closed = True
        for exchange in list(self._exchanges):
            exchange.abort()
        # Not waited for: a thread may be in the system's resolver, which can't be interrupted. It
        # finds its exchange aborted and sends nothing.
        self._threads.shutdown(wait=False)
        for client in self._clients:
            client.close()
        if self._ca_directory is not None:
            self._ca_directory.cleanup()

    async def _exists(self, path: str) -> bool:
        """Whether Jenkins shows a job."""
        reply = await self._ask(_get(path, "url"))
        return await self._found(reply, lambda data, _: data) is not None

    async def _found(self, reply: HttpReply, make: MakeView[View]) -> View | None:
        """As ``_view``; None if Jenkins answered that there is no such thing."""
        return None if self._says_missing(reply) else await self._view(reply, make)

    async def _ask_for_builds(self, request: HttpRequest) -> HttpReply:
        """Ask for builds, and whether they wait for input as long as that doesn't hold up the rest.

        Jenkins answers that only once it has resumed the Pipeline, a minute after its start at worst. Both
        requests together take no longer than one may: the bound for finding a build's end hangs on it.
        """
        self._check_budget()
        now = asyncio.get_running_loop().time()
        timeout_s = self._timeout_s
        if now >= self._input_unknown_until:
            try:
                return await self._exchange(request, timeout_s * _SHARE_WITH_INPUT)
            except TransportFailure as failure:
                if failure.reason != NO_ANSWER_IN_TIME:
                    raise replies.unreachable(failure) from None
            self._input_unknown_until = now + _RESUMES_WITHIN_S
            timeout_s *= 1 - _SHARE_WITH_INPUT
        without = {"tree": views.without_input(request.params["tree"])}
        return await self._ask(replace(request, params=without), timeout_s)

    async def _view(self, reply: HttpReply, make: MakeView[View]) -> View:
        """Decode an answer and make a view of it, on a thread unless it is small."""
        if len(reply.body) <= INLINE_BYTES:
            return self._decoded(reply, make)
        return await asyncio.wrap_future(self._threads.submit(self._decoded, reply, make))

    def _decoded(self, reply: HttpReply, make: MakeView[View]) -> View:
        if reply.status != 200:
            raise replies.error_of(reply, self._account)
        begun = time.thread_time()
        try:
            data = decode(reply.body)
            if not self._marks.is_from_jenkins(reply):
                raise replies.error_of(reply, self._account)
            if not isinstance(data, dict):
                raise ProtocolError("Jenkins' answer is no object. Check the provider's base_url.")
            return make(data, replies.session_of(reply))
        except ValueError:
            raise replies.error_of(reply, self._account) from None
        finally:
            self._budget.spend(len(reply.body), time.thread_time() - begun)

    def _says_missing(self, reply: HttpReply) -> bool:
        """Say whether Jenkins itself, rather than a proxy that can't find it, answered 404."""
        return reply.status == 404 and author_of(reply) is not Author.FRONT

    async def _ask(self, request: HttpRequest, timeout_s: float | None = None) -> HttpReply:
        if request.method == "GET":
            self._check_budget()
        try:
            return await self._exchange(request, timeout_s or self._timeout_s)
        except TransportFailure as failure:
            raise replies.unreachable(failure) from None

    def _check_budget(self) -> None:
        if self._budget.exhausted():
            raise ProviderUnreachable(
                "Jenkins' answers cost more than a tenant may use in a minute. Reading goes on in the next one.",
                reason=ProblemReason.MALFORMED_ANSWER,
            )

    async def _exchange(self, request: HttpRequest, timeout_s: float) -> HttpReply:
        if self._closed:
            raise TransportFailure("the provider was closed", sent=False)
        note_request()
        exchange = Exchange(timeout_s, public_only=self._public_only)
        self._exchanges.add(exchange)
        future = self._threads.submit(self._perform, request, exchange)
        try:
            async with asyncio.timeout(timeout_s):
                reply = await asyncio.wrap_future(future)
        except TimeoutError:
            exchange.abort()
            raise TransportFailure(NO_ANSWER_IN_TIME, sent=exchange.sent) from None
        finally:
            exchange.abort()
            self._exchanges.discard(exchange)
        self._marks.note(reply)
        return replace(reply, mark_expected=self._marks.expected)

    def _perform(self, request: HttpRequest, exchange: Exchange) -> HttpReply:
        """Carry out an exchange, with a new crumb if one is needed. Runs on a thread of the pool."""
        client: JenkinsClient | None = getattr(self._local, "client", None)
        if client is None:
            verify = str(Path(self._ca_directory.name) / "ca.pem") if self._ca_directory else True
            client = JenkinsClient(self._base_url, self._account, self._secret, verify)
            self._local.client = client
            self._clients.append(client)
        try:
            reply = client.perform(request, exchange)
            if reply.status != 403 or b"No valid crumb" not in reply.body:
                return reply
            # Only passwords need crumbs, which live as long as the session that Jenkins keeps for us.
            exchange.nothing_done()
            return client.perform_with_new_crumb(request, exchange) or reply
        except TransportFailure:
            raise
        except Exception as error:
            # For any error the caller must get whether the request was sent.
            raise TransportFailure("an unexpected failure", sent=exchange.sent) from error


def _get(path: str, tree: str) -> HttpRequest:
    return HttpRequest("GET", f"{path}/api/json", {"tree": tree})


def _get_list(path: str, tree: str) -> HttpRequest:
    return replace(_get(path, tree), max_answer_bytes=_MAX_LIST_BYTES)


def _rejected(message: str) -> TriggerReply:
    return TriggerReply(TriggerOutcome.REJECTED, message=message)


def _store_ca(pem: str) -> tempfile.TemporaryDirectory[str]:
    """Put a PEM where `requests` can read it: in a directory that only we may enter."""
    try:
        ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError, TypeError):
        raise ValueError("ca_pem isn't a certificate in PEM form") from None
    directory = tempfile.TemporaryDirectory(prefix="jenkins-ca-")
    (Path(directory.name) / "ca.pem").write_text(pem, encoding="ascii")
    return directory
