"""The answers of a Jenkins, including which headers each kind has and which it has not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from jenkins_simulator.core.permissions import Permission

_HUDSON = "1.395"
# The size up to which Jetty buffers a body before it sends the head, and so can send its length.
_BUFFER_BYTES = 32_768
# Longer than Jetty's buffer, so that it goes out without a Content-Length, as Jenkins' pages do.
_FILLER = "<!-- -->" * 200


@dataclass
class Answer:
    """An answer before it is put on the wire.

    `identified` adds the X-Jenkins headers in the given style: "api" or "page". `new_session`
    means that answering needs a session: one is made, and its cookie set, if there is none.
    `sized`: whether Jetty has the whole length before it sends the head.
    """

    status: int = 200
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    identified: str | None = None
    needs_session: bool = False
    sized: bool = True


class Refusal(Exception):
    """Raised by handlers to answer with something else than success."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def api_json(shown: Any, *, pretty: bool = False) -> Answer:
    """A successful answer of `api/json`."""
    indent = 2 if pretty else None
    text = json.dumps(
        shown, ensure_ascii=False, separators=None if pretty else (",", ":"), indent=indent
    )
    return api_text(text, "application/json;charset=utf-8")


def api_text(text: str, content_type: str) -> Answer:
    """A successful answer of another form of the API."""
    body = text.encode(errors="replace")
    return Answer(200, body, [("Content-Type", content_type)], identified="api")


def nothing(status: int, location: str | None = None) -> Answer:
    """An answer without body."""
    return Answer(status, headers=[("Location", location)] if location else [], sized=False)


def text(body: str, content_type: str = "text/plain;charset=utf-8") -> Answer:
    """Plain text outside the API."""
    return Answer(200, body.encode(errors="replace"), [("Content-Type", content_type)])


def page(title: str, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """A page with Jenkins' layout: long, and it starts a session."""
    html = f"<!DOCTYPE html><html><head><title>{escape(title)}</title></head><body>{escape(title)}</body></html>"
    return Answer(
        status,
        (html + _FILLER).encode(),
        [*headers, ("Content-Type", "text/html;charset=utf-8")],
        identified="page",
        needs_session=True,
        sized=False,
    )


def failure(message: str) -> Refusal:
    """A wrong request, explained in `X-Error`: what Latin-1 lacks becomes a blank there."""
    shown = message.encode("latin-1", "replace").decode("latin-1")
    visible = "".join(m if s == m else " " for s, m in zip(shown, message, strict=True))
    return Refusal(page(message, 400, [("X-Error", visible)]))


def error(status: int, message: str = "Error") -> Refusal:
    """An error with Jenkins' layout."""
    return Refusal(page(message, status))


def not_found() -> Refusal:
    """There is no such thing, or the caller may not know of it."""
    return error(404, "Not Found")


def post_required(*, with_allow: bool = False) -> Refusal:
    """405: this needs a POST."""
    return Refusal(page("Method Not Allowed", 405, [("Allow", "POST")] if with_allow else []))


def oops(message: str, *, from_api: bool = False) -> Refusal:
    """An exception inside Jenkins: 500 with a short page."""
    answer = page(message, 500)
    answer.sized = True
    answer.identified = "api-page" if from_api else "page"
    return Refusal(answer)


def container_error(status: int, message: str, *, new_session: bool = False) -> Refusal:
    """An error of the servlet container: no sign of Jenkins in the headers."""
    body = f"<html><head><title>Error {status} {escape(message)}</title></head><body/></html>"
    headers = [("Content-Type", "text/html;charset=iso-8859-1")]
    return Refusal(Answer(status, body.encode(), headers, needs_session=new_session))


def bare(status: int) -> Refusal:
    """A refusal with neither body nor any of Jenkins' headers."""
    return Refusal(nothing(status))


def bad_message(status: int, reason: str) -> Refusal:
    """What the servlet container answers to a request that it cannot read."""
    body = f"<h1>Bad Message {status}</h1><pre>reason: {reason}</pre>"
    headers = [("Content-Type", "text/html;charset=iso-8859-1")]
    return Refusal(Answer(status, body.encode(), headers))


def no_crumb(*, new_session: bool = False) -> Refusal:
    """403 for a POST without a crumb, and from a Jenkins that starts."""
    message = "No valid crumb was included in the request"
    return container_error(403, message, new_session=new_session)


def crumbs_missing() -> Answer:
    """500 to a POST in the first moments of a start, when the crumb issuer is not there yet."""
    body = b"<html><body>Status Code: 500 Exception: class hudson.security.csrf.DefaultCrumbIssuer"
    body += b" is missing its descriptor</body></html>"
    return Answer(500, body, [("Content-Type", "text/html;charset=utf-8")])


def unauthorized() -> Refusal:
    """401: a wrong password or token."""
    refusal = container_error(401, "Unauthorized")
    refusal.answer.headers[:0] = [
        ("Set-Cookie", "remember-me=; Path=/; Expires=Thu, 01-Jan-1970 00:00:00 GMT; Max-Age=0"),
        ("WWW-Authenticate", 'Basic realm="Jenkins"'),
    ]
    return refusal


def login_required() -> Refusal:
    """403 for an anonymous caller."""
    answer = page("Authentication required", 403)
    answer.body = b"<html><head><meta http-equiv='refresh'/></head><body>Authentication required</body></html>"
    return Refusal(answer)


def hidden(*, anonymous: bool) -> Refusal:
    """403 for a caller with Discover and without Read: Jenkins names no permission."""
    return login_required() if anonymous else Refusal(page("Please log in to access it", 403))


def access_denied(user: str, permission: Permission) -> Refusal:
    """403 for a user who lacks a permission."""
    headers = [
        ("X-You-Are-Authenticated-As", user),
        (
            "X-You-Are-In-Group-Disabled",
            "JENKINS-39402: use -Dhudson.security.AccessDeniedException2.REPORT_GROUP_HEADERS=true"
            " or use /whoAmI to diagnose",
        ),
        ("X-Required-Permission", permission.id),
        *(("X-Permission-Implied-By", implier) for implier in permission.implied_by),
    ]
    return Refusal(page(f"{user} is missing a permission", 403, headers))


def injected(status: int) -> Answer:
    """Jenkins' own error page of this status, for a fault inside Jenkins."""
    if status == 403:
        return access_denied("someone", Permission.ITEM_READ).answer
    return page("Oops!" if status == 500 else "Error", status)


def starting_up() -> Answer:
    """503 for everything while Jenkins gets ready to work."""
    body = b"<html><head><title>Starting Jenkins</title></head><body>Please wait</body></html>"
    return Answer(503, body, [("Content-Type", "text/html;charset=utf-8")])


class _Exact(web.StreamResponse):
    """A response with no header more than was set: aiohttp would guess a Content-Type."""

    async def _prepare_headers(self) -> None:
        is_guessed = "Content-Type" not in self.headers
        await super()._prepare_headers()
        if is_guessed:
            self.headers.popall("Content-Type", None)


class _UntilClosed(_Exact):
    """A response without a length: it ends with the connection."""

    _length_check = False


async def send(
    request: web.BaseRequest, answer: Answer, *, version: str, session: str, new_cookie: str | None
) -> web.StreamResponse:
    """Put an answer on the wire."""
    headers = CIMultiDict(answer.headers)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Server"] = "Jetty(10.0.18)"
    if answer.identified is not None:
        if answer.identified != "api":
            headers["X-Hudson"] = _HUDSON
        headers["X-Jenkins"] = version
        headers["X-Jenkins-Session"] = session
    if new_cookie is not None:
        headers.add("Set-Cookie", f"JSESSIONID={new_cookie}; Path=/; HttpOnly")
    sized = answer.sized and len(answer.body) <= _BUFFER_BYTES
    if sized or (request.keep_alive and not answer.body):
        headers["Content-Length"] = str(len(answer.body))
    # Without a length the body ends with the connection, or goes out in chunks if that is kept.
    is_chunked = request.keep_alive and "Content-Length" not in headers
    until_closed = not request.keep_alive and "Content-Length" not in headers
    response = (_UntilClosed if until_closed else _Exact)(status=answer.status, headers=headers)
    if is_chunked:
        response.enable_chunked_encoding()
    await response.prepare(request)
    if answer.body and request.method != "HEAD":
        await response.write(answer.body)
    await response.write_eof()
    return response
