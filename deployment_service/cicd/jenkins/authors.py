"""The author of an answer: Jenkins, a Jenkins that is starting, or something in front of it. Pure.

Recorded from Jenkins 2.440: `X-Jenkins` is on JSON, pages and error pages (400, 403, 404, 405, 409, 422, 500). It is
on no 201, 204, 302, 401, on no 403 "No valid crumb", on no 503 of a Jenkins that is starting, and on none of the
errors that the servlet container sends by itself (400, 414, 431).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from enum import Enum

from deployment_service.cicd.jenkins.http import HttpReply

_SERVER = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{0,39}")
_REALM = re.compile(r'realm="?Jenkins"?', re.IGNORECASE)
_STARTING = (b"No valid crumb", b"Starting Jenkins", b"getting ready to work", b"Please wait while")
_BROKEN_START = b"is missing its descriptor"
# For how long a controller that has sent its header must send it.
_MARK_LASTS_S = 600.0
# Jenkins marks these, unless a proxy takes the header away.
_MARKED = (200, 403, 404, 405, 409, 422)
# Jenkins sends none of these.
_FOREIGN = (301, 305, 307, 308, 407, 408, 421, 423, 425, 426, 429, 451, 502, 504, 511)


class Marks:
    """Stores whether Jenkins' own header arrives from one controller.

    It is expected until an answer shows otherwise. JSON without the header means a proxy that removes it, unless the
    header arrived within the last minutes: then something else sent the JSON.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._arrived_at: float | None = None
        self.expected = True

    def note(self, reply: HttpReply) -> None:
        """Note whether an answer has the header."""
        if "X-Jenkins" in reply.headers:
            self._arrived_at = self._clock()
            self.expected = True

    def is_from_jenkins(self, reply: HttpReply) -> bool:
        """Return whether JSON comes from Jenkins. From now on the header is not expected if this has none."""
        if "X-Jenkins" in reply.headers:
            return True
        if self._arrived_at is not None and self._clock() - self._arrived_at < _MARK_LASTS_S:
            return False
        self.expected = False
        return True


class Author(Enum):
    """The author of an answer. The value begins a sentence."""

    JENKINS = "Jenkins"
    STARTING = "A Jenkins that is starting"
    FRONT = "Something in front of Jenkins"
    UNKNOWN = "Jenkins, or something in front of it,"


def author_of(reply: HttpReply) -> Author:
    """Return the author of an answer, as far as the answer shows it."""
    status, headers = reply.status, reply.headers
    if "X-Jenkins" in headers or "X-Required-Permission" in headers:
        return Author.JENKINS
    if status in (403, 503) and any(text in reply.body for text in _STARTING):
        return Author.STARTING
    if status == 500 and _BROKEN_START in reply.body:
        return Author.STARTING
    if status == 401:
        challenge = headers.get("WWW-Authenticate", "")
        if not challenge:
            return Author.UNKNOWN
        return Author.JENKINS if _REALM.search(challenge) else Author.FRONT
    if status in (201, 204):
        return Author.JENKINS
    if status in _FOREIGN or (status in _MARKED and reply.mark_expected):
        return Author.FRONT
    return Author.UNKNOWN


def evidence_of(reply: HttpReply) -> str:
    """Return how the author is recognised, to stand in brackets; may be empty. Quotes only a product's name."""
    author = author_of(reply)
    if author is Author.STARTING:
        if reply.status == 403:
            return "it asks for a crumb, which an API token never needs once Jenkins is up"
        return "its page says so"
    if author is not Author.FRONT:
        return ""
    product = _SERVER.fullmatch(reply.headers.get("Server", ""))
    named = f"; its Server header is {product.group()}" if product else ""
    if reply.status == 401:
        return f"its login is not Jenkins'{named}"
    if reply.status in _MARKED:
        return f"it lacks the header X-Jenkins{named}"
    return f"Jenkins never sends this status{named}"
