"""One HTTP request on its way through Jenkins."""

from __future__ import annotations

import email
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote

from aiohttp import web

from jenkins_simulator.core.controller import Controller
from jenkins_simulator.core.model import Folder, Item, Job, QueueItem
from jenkins_simulator.core.parameters import ParameterDefinition, ParameterValue, Submitted
from jenkins_simulator.core.permissions import Permission
from jenkins_simulator.http import answers
from jenkins_simulator.http.answers import Answer
from jenkins_simulator.http.security import Caller, Sessions
from jenkins_simulator.remote_api.beans import find_bean
from jenkins_simulator.remote_api.exported import Exporter


@dataclass
class Call:
    """A request with its caller, its decoded path and its parameters of query and form."""

    request: web.BaseRequest
    controller: Controller
    sessions: Sessions
    caller: Caller
    body: bytes
    parameters: dict[str, list[str]]
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    new_session: str | None = None

    def begin_session(self) -> str:
        """Start the session whose cookie goes out with the answer."""
        self.new_session = self.sessions.new()
        return self.new_session

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.request.method

    @property
    def base(self) -> str:
        """Scheme and authority as the client sees them; redirects and Location are built from it."""
        headers = self.request.headers
        scheme = headers.get("X-Forwarded-Proto", "http")
        host = str(headers.get("X-Forwarded-Host", headers.get("Host", "")))
        port = headers.get("X-Forwarded-Port")
        if port and ":" not in host and port != {"http": "80", "https": "443"}.get(scheme):
            host = f"{host}:{port}"
        return f"{scheme}://{host}"

    def index(self, title: str) -> Answer:
        """The page of an object: its path must end with a slash, or the caller is sent there."""
        path, mark, query = self.request.raw_path.partition("?")
        if not path.endswith("/"):
            return answers.nothing(302, f"{self.base}{path}/{mark}{query}")
        return answers.page(title)

    @property
    def directory(self) -> str:
        """Where a redirect to "." leads."""
        path = self.request.raw_path.partition("?")[0]
        return self.base + path[: path.rindex("/") + 1]

    def parameter(self, name: str) -> str | None:
        """The first value of a parameter."""
        values = self.parameters.get(name)
        return values[0] if values else None

    def submitted(self) -> Submitted:
        """The build parameters that this request brings."""
        return Submitted(self.parameters, self.files, self.controller.newest_build)

    def require(self, permission: Permission) -> None:
        """Refuse the call unless the caller has this permission."""
        self.caller.require(permission)

    def exporter(self) -> Exporter:
        """The exporter that sees what this caller sees."""
        return Exporter(find_bean, ApiContext(self))


class ApiContext:
    """What beans need to know of the request."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._queue = call.controller.queue
        self._root_url = call.controller.root_url or call.base + "/"
        self.notification_plugin = call.controller.config.notification_plugin
        self.plugins = call.controller.config.plugins

    def absolute(self, url: str) -> str:
        """The absolute form of a URL relative to the root."""
        return self._root_url + url

    def queued_item_of(self, job: Job) -> QueueItem | None:
        """The job's live queue item."""
        return self._queue.of_job(job)

    def is_stuck(self, item: QueueItem) -> bool:
        """Whether an item waits suspiciously long."""
        return self._queue.is_stuck(item)

    def why(self, item: QueueItem) -> str | None:
        """Why an item waits."""
        return self._queue.why(item)

    def default_of(self, definition: ParameterDefinition) -> ParameterValue | None:
        """The default value of a parameter."""
        return self._call.submitted().default_of(definition)

    def visible(self, folder: Folder) -> list[Item]:
        """The children that the caller may know of."""
        return folder.sorted_items() if self._call.caller.may(Permission.ITEM_READ) else []


def path_tokens(raw_path: str) -> list[str]:
    """Decoded path segments; empty ones do not count, so trailing slashes change nothing."""
    path = raw_path.partition("?")[0]
    return [unquote(segment) for segment in path.split("/") if segment]


def read_parameters(request: web.BaseRequest, body: bytes) -> dict[str, list[str]]:
    """Parameters of the query and of a form body, in this order."""
    found: dict[str, list[str]] = {}
    _add(found, parse_qs(request.raw_path.partition("?")[2], keep_blank_values=True).items())
    content_type = request.headers.get("Content-Type", "")
    kind = content_type.lower()
    if kind.startswith("application/x-www-form-urlencoded"):
        charset = request.charset or "utf-8"
        form = parse_qs(body.decode(errors="replace"), keep_blank_values=True, encoding=charset)
        _add(found, form.items())
    elif kind.startswith("multipart/form-data"):
        for name, file_name, content in _multipart(content_type, body):
            if file_name is None:
                _add(found, [(name, [content.decode(errors="replace")])])
    return found


def read_files(request: web.BaseRequest, body: bytes) -> dict[str, tuple[str, bytes]]:
    """The files of a multipart form, as name and content, by the names of their fields."""
    content_type = request.headers.get("Content-Type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        return {}
    return {
        name: (file_name, content)
        for name, file_name, content in _multipart(content_type, body)
        if file_name is not None
    }


def _add(found: dict[str, list[str]], more: Iterable[tuple[str, list[str]]]) -> None:
    for name, values in more:
        found.setdefault(name, []).extend(values)


def _multipart(content_type: str, body: bytes) -> list[tuple[str, str | None, bytes]]:
    """The fields of a multipart form (name, file name, content), read as the mail message that it is."""
    message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    fields = []
    for part in message.walk():
        name = part.get_param("name", header="Content-Disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            fields.append((name, part.get_filename(), payload))
    return fields
