"""The HTTP side: from a request to an answer, with crumbs, faults and the start-up page between."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus

from aiohttp import web

from jenkins_simulator.core.controller import Controller
from jenkins_simulator.core.faults import RequestFault
from jenkins_simulator.core.permissions import Permission
from jenkins_simulator.http import answers, control, security
from jenkins_simulator.http import root as web_root
from jenkins_simulator.http.answers import Answer
from jenkins_simulator.http.call import Call, path_tokens, read_files, read_parameters
from jenkins_simulator.http.requests_log import RequestLog
from jenkins_simulator.http.security import CRUMB_FIELD, Sessions
from jenkins_simulator.http.start_up import StartUp

_LONGEST_URI = 8192
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_CONTROL = "/_simulator/"
_NO_ANSWER = 499


class Application:
    """Answers HTTP requests for one controller."""

    def __init__(
        self, controller: Controller, requests: RequestLog, control_api: control.ControlApi
    ) -> None:
        self._controller = controller
        self._requests = requests
        self._control = control_api
        self.sessions = Sessions()
        self.start_up: StartUp | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; what the control path is asked is no part of Jenkins."""
        path = request.raw_path
        if path.startswith(_CONTROL):
            return await self._control.handle(request)
        body_bytes = int(request.headers.get("Content-Length", 0))
        fault = self._controller.faults.for_request(request.method, path, body_bytes)
        try:
            response = await self._answer(request, fault)
        except ConnectionResetError:
            # The client has disconnected; its request is carried out nevertheless.
            response = _reset(request)
        answered = None if response.status == _NO_ANSWER else response.status
        self._requests.add(request.method, path, answered)
        return response

    async def _answer(
        self, request: web.BaseRequest, fault: RequestFault | None
    ) -> web.StreamResponse:
        if fault is None:
            return await self._send(request, *await self._work(request))
        if fault.delay_before_s:
            await asyncio.sleep(fault.delay_before_s)
        if fault.replaces_answer and not fault.do_work:
            worked = None
        else:
            worked = await self._work(request)
        if fault.delay_after_s:
            await asyncio.sleep(fault.delay_after_s)
        if fault.reset:
            return _reset(request)
        if fault.status is not None:
            return _proxy_page(fault)
        if fault.jenkins_status is not None:
            answer = answers.injected(fault.jenkins_status)
            return await self._send(request, answer, self.sessions.new())
        if fault.login_page:
            return web.Response(text="<form action='/sso'>Log in</form>", content_type="text/html")
        assert worked is not None
        return await self._send(request, *worked)

    async def _work(self, request: web.BaseRequest) -> tuple[Answer, str | None]:
        """What Jenkins does and answers, and the session that this began."""
        call: Call | None = None
        try:
            _check_readable(request)
            if request.method == "TRACE":
                raise answers.bare(403)
            if self.start_up is not None:
                return await self.start_up.answer(request.method), None
            call = await self._call(request)
            answer = await web_root.dispatch(call, path_tokens(request.raw_path))
        except answers.Refusal as refusal:
            answer = refusal.answer
            answer.sized = answer.sized or self._is_short(call)
        session = call.new_session if call is not None else None
        if answer.needs_session and session is None and self.sessions.of(request) is None:
            session = self.sessions.new()
        return answer, session

    @staticmethod
    def _is_short(call: Call | None) -> bool:
        """Pages are short enough for a Content-Length if the caller may see little."""
        if call is None or call.caller.is_anonymous:
            return False
        return not call.caller.may(Permission.ADMINISTER)

    async def _call(self, request: web.BaseRequest) -> Call:
        controller = self._controller
        caller = security.authenticate(request, controller.users, controller.anonymous_permissions)
        body = await request.read()
        parameters = read_parameters(request, body)
        files = read_files(request, body)
        call = Call(request, controller, self.sessions, caller, body, parameters, files)
        crumb = request.headers.get(CRUMB_FIELD) or call.parameter(CRUMB_FIELD)
        security.check_crumb(request, self.sessions, caller, crumb)
        return call

    async def _send(
        self, request: web.BaseRequest, answer: Answer, session: str | None
    ) -> web.StreamResponse:
        controller = self._controller
        return await answers.send(
            request,
            answer,
            version=controller.config.version,
            session=controller.session_of_next_answer(),
            new_cookie=session,
        )


def _check_readable(request: web.BaseRequest) -> None:
    """Refuse what the servlet container refuses before Jenkins sees it."""
    path = request.raw_path.partition("?")[0]
    if _BAD_ESCAPE.search(path) or ".." in path.split("/"):
        raise answers.bad_message(400, "Bad Request")
    if ";" in path:
        raise answers.container_error(400, "Semicolons are not allowed in the request URI")
    if len(request.raw_path) > _LONGEST_URI:
        raise answers.bad_message(414, "URI Too Long")
    if any(len(value) > _LONGEST_URI for value in request.headers.values()):
        raise answers.bad_message(431, "Request Header Fields Too Large")


def _proxy_page(fault: RequestFault) -> web.Response:
    """The answer of a proxy in front: its own page, and none of Jenkins' headers."""
    assert fault.status is not None
    try:
        title = f"{fault.status} {HTTPStatus(fault.status).phrase}"
    except ValueError:
        title = str(fault.status)
    headers = {"Server": "nginx"}
    if fault.retry_after is not None:
        headers["Retry-After"] = fault.retry_after
    if fault.location is not None:
        headers["Location"] = fault.location
    html = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return web.Response(status=fault.status, text=html, content_type="text/html", headers=headers)


def _reset(request: web.BaseRequest) -> web.Response:
    """Abort the connection: the returned response is never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=_NO_ANSWER)
