"""The provider port over one Jenkins controller and one account.

python-jenkins blocks, so each call runs on a thread of a small pool; each thread has a client of its own, because
`requests` sessions can't be shared. The task that waits keeps the time: at its deadline, or if it is cancelled, it
aborts the exchange, which frees the thread at once.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
import threading
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from . import jenkins_replies as replies
from . import jenkins_secrets as secrets
from . import jenkins_views as views
from . import job_xml
from .errors import (
    DefinitionInvalid,
    FolderMissing,
    JobExists,
    ProtocolError,
    ProviderError,
    ProviderUnreachable,
)
from .jenkins_http import HttpReply, HttpRequest, JenkinsClient, TransportFailure
from .jenkins_wire import Exchange
from .names import job_path, parent_and_name
from .port import (
    RUN_ID_PARAMETER,
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
    WebhookEndpoint,
)

_Answer = tuple[dict[str, Any], str | None]


class JenkinsProvider:
    """A `CicdProvider`. Nothing is sent before the first call."""

    def __init__(
        self,
        base_url: str,
        username: str,
        secret: str,
        *,
        ca_pem: str | None = None,
        timeout_s: float = 15.0,
        workers: int = 8,
    ) -> None:
        """`secret` is an API token, or a password (which costs two requests more now and then).

        `ca_pem` is trusted instead of the public CAs. `timeout_s` bounds each request but triggers,
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
        self._ca_directory = _store_ca(ca_pem) if ca_pem else None
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="jenkins")
        self._local = threading.local()
        self._clients: list[JenkinsClient] = []
        self._exchanges: set[Exchange] = set()
        self._closed = False
        self._mark_seen = False

    async def ping(self) -> ControllerInfo:
        """See `CicdProvider`."""
        reply = await self._ask(HttpRequest("GET", "whoAmI/api/json", {"tree": "name,anonymous"}))
        data, session = self._data(reply)
        name = data.get("name")
        if not isinstance(name, str):
            raise ProtocolError("Jenkins doesn't say who we are. Check the provider's base_url.")
        return ControllerInfo(reply.headers.get("X-Jenkins"), name, session)

    async def read_job(self, full_name: str) -> JobView | None:
        """See `CicdProvider`. A folder is returned as a job that isn't buildable."""
        answer = await self._read(job_path(full_name), views.JOB_TREE)
        return answer and views.job_view(answer[0], full_name, answer[1])

    async def create_job(self, full_name: str, config_xml: str) -> None:
        """See `CicdProvider`."""
        path = job_path(full_name)
        folder, name = parent_and_name(full_name)
        reply = await self._ask(
            HttpRequest(
                "POST",
                f"{job_path(folder)}/createItem" if folder else "createItem",
                {"name": name},
                config_xml.encode("utf-8"),
                "application/xml; charset=utf-8",
            )
        )
        if reply.status == 200:
            return
        if self._says_missing(reply) and folder:
            raise FolderMissing(
                f"Jenkins has no folder {folder!r}, or the account {self._account!r} can't see it. "
                "Create it, or grant Job/Read on it.",
                http_status=404,
            )
        if reply.status in (400, 500):
            raise await self._creation_error(reply, path, full_name)
        raise replies.error_of(reply, self._account)

    async def _creation_error(self, reply: HttpReply, path: str, full_name: str) -> ProviderError:
        """Find out what 400 and 500 mean, as Jenkins uses each for several things."""
        said = replies.quoted_error(reply)
        # Also proves that Jenkins works: 500 is its answer to bad XML, but also to bad moments.
        if await self._read(path, "url") is not None or "already exists" in said:
            return JobExists(f"Jenkins has a job {full_name!r} already.", http_status=reply.status)
        if reply.status == 400:
            reason = said or "HTTP 400"
        else:
            reason = "HTTP 500; often a plugin that the job needs isn't installed"
        return DefinitionInvalid(
            f"Jenkins refuses the job {full_name!r} ({reason}). Mend its name or definition.",
            http_status=reply.status,
        )

    async def declare_parameters(self, full_name: str, names: Collection[str]) -> None:
        """See `CicdProvider`."""
        path = f"{job_path(full_name)}/config.xml"
        reply = await self._ask(HttpRequest("GET", path))
        if reply.status != 200:
            raise replies.error_of(reply, self._account)
        changed = job_xml.with_parameters(
            reply.body.decode("utf-8", "replace"), [RUN_ID_PARAMETER, *names]
        )
        body = changed.encode("utf-8")
        reply = await self._ask(
            HttpRequest("POST", path, {}, body, "application/xml; charset=utf-8")
        )
        if reply.status != 200:
            raise replies.error_of(reply, self._account)

    async def set_webhook(self, full_name: str, endpoint: WebhookEndpoint) -> bool:
        """See `CicdProvider`."""
        path = f"{job_path(full_name)}/config.xml"
        reply = await self._ask(HttpRequest("GET", path))
        if reply.status != 200:
            raise replies.error_of(reply, self._account)
        changed = job_xml.with_webhook(reply.body.decode("utf-8", "replace"), endpoint)
        if changed is None:
            return False
        body = changed.encode("utf-8")
        reply = await self._ask(
            HttpRequest("POST", path, {}, body, "application/xml; charset=utf-8")
        )
        if reply.status != 200:
            raise replies.error_of(reply, self._account)
        return True

    async def put_secret(self, secret_id: str, text: str) -> bool:
        """See `CicdProvider`. 500 is Jenkins' answer if it doesn't know what a secret text is."""
        reply = await self._ask(secrets.create(secret_id, text))
        if reply.status == 409:
            reply = await self._ask(secrets.update(secret_id, text))
        if reply.status in (403, 500) or self._says_missing(reply):
            return False
        if reply.status != 200:
            raise replies.error_of(reply, self._account)
        return True

    async def delete_secret(self, secret_id: str) -> None:
        """See `CicdProvider`."""
        await self._ask(secrets.delete(secret_id))

    async def delete_job(self, full_name: str) -> bool:
        """See `CicdProvider`. True only after Jenkins no longer knows the job."""
        path = job_path(full_name)
        reply = await self._ask(HttpRequest("POST", f"{path}/doDelete"))
        if self._says_missing(reply):
            return False
        if reply.status not in (200, 204, 302):
            raise replies.error_of(reply, self._account)
        # A login page answers 302, too.
        if await self._read(path, "url") is not None:
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
            return replies.failed_trigger(failure)
        return replies.trigger_reply(reply, path, self._account, knows_mark=self._mark_seen)

    async def read_queue_item(self, queue_id: int) -> QueueItemView | None:
        """See `CicdProvider`."""
        answer = await self._read(f"queue/item/{queue_id}", views.QUEUE_ITEM_TREE)
        return answer and views.queue_item_view(*answer)

    async def list_queue(self) -> QueueView:
        """See `CicdProvider`."""
        return views.queue_view(*await self._read_existing("queue", views.QUEUE_TREE))

    async def list_running(self) -> RunningView:
        """See `CicdProvider`."""
        return views.running_view(*await self._read_existing("computer", views.RUNNING_TREE))

    async def read_build(self, full_name: str, number: int) -> BuildView | None:
        """See `CicdProvider`."""
        answer = await self._read(f"{job_path(full_name)}/{number}", views.BUILD_TREE)
        return answer and views.build_view(answer[0], full_name, answer[1])

    async def list_builds(self, full_name: str, *, limit: int = 50) -> JobBuilds | None:
        """See `CicdProvider`."""
        answer = await self._read(job_path(full_name), views.builds_tree(limit))
        return answer and views.job_builds(answer[0], full_name, answer[1])

    async def cancel_queue_item(self, queue_id: int) -> CancelOutcome:
        """See `CicdProvider`."""
        reply = await self._ask(HttpRequest("POST", "queue/cancelItem", {"id": str(queue_id)}))
        if reply.status == 204:
            return CancelOutcome.CANCELLED
        if reply.status == 422:
            return CancelOutcome.REFUSED
        if self._says_missing(reply):
            return CancelOutcome.UNKNOWN
        if reply.status == 500:
            # Said of an item that has left, but also in bad moments: the item itself knows.
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

    async def _read(self, path: str, tree: str) -> _Answer | None:
        """Read some JSON and the session; None if Jenkins says that there is no such thing."""
        reply = await self._ask(HttpRequest("GET", f"{path}/api/json", {"tree": tree}))
        return None if self._says_missing(reply) else self._data(reply)

    async def _read_existing(self, path: str, tree: str) -> _Answer:
        return self._data(await self._ask(HttpRequest("GET", f"{path}/api/json", {"tree": tree})))

    def _data(self, reply: HttpReply) -> _Answer:
        if reply.status != 200:
            raise replies.error_of(reply, self._account)
        try:
            data = json.loads(reply.body)
        except (ValueError, RecursionError):
            raise replies.error_of(reply, self._account) from None
        if not isinstance(data, dict):
            raise ProtocolError("Jenkins answered with nonsense. Check the provider's base_url.")
        return data, replies.session_of(reply)

    def _says_missing(self, reply: HttpReply) -> bool:
        """Say whether Jenkins itself, rather than a proxy that can't find it, answered 404."""
        return reply.status == 404 and (replies.from_jenkins(reply) or not self._mark_seen)

    async def _ask(self, request: HttpRequest) -> HttpReply:
        try:
            return await self._exchange(request, self._timeout_s)
        except TransportFailure as failure:
            raise replies.unreachable(failure) from None

    async def _exchange(self, request: HttpRequest, timeout_s: float) -> HttpReply:
        if self._closed:
            raise TransportFailure("the provider was closed", sent=False)
        exchange = Exchange(timeout_s)
        self._exchanges.add(exchange)
        future = self._threads.submit(self._perform, request, exchange)
        try:
            async with asyncio.timeout(timeout_s):
                reply = await asyncio.wrap_future(future)
        except TimeoutError:
            exchange.abort()
            raise TransportFailure("no answer in time", sent=exchange.sent) from None
        finally:
            exchange.abort()
            self._exchanges.discard(exchange)
        self._mark_seen = self._mark_seen or replies.from_jenkins(reply)
        return reply

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
            # Whatever it is, the caller must learn whether the request had left.
            raise TransportFailure("an unexpected failure", sent=exchange.sent) from error


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
