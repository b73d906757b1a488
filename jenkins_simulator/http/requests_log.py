"""Which calls were made to this Jenkins, so that tests can count them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

_TEMPLATES = (
    (re.compile(r"/job/[^/]+"), "/job/{name}"),
    (re.compile(r"/\d+(?=/|$)"), "/{number}"),
)


def path_template(raw_path: str) -> str:
    """The path with names and numbers replaced: `/job/{name}/{number}/stop`."""
    path = raw_path.partition("?")[0]
    for pattern, placeholder in _TEMPLATES:
        path = pattern.sub(placeholder, path)
    return path


@dataclass(frozen=True)
class LoggedRequest:
    """One request as it arrived, with the status that went out (None: none did)."""

    method: str
    path: str
    status: int | None


@dataclass
class RequestLog:
    """Every request since the start or the last `clear`; the control path is not counted."""

    entries: list[LoggedRequest] = field(default_factory=list)

    def add(self, method: str, path: str, status: int | None) -> None:
        """Remember a request."""
        self.entries.append(LoggedRequest(method, path, status))

    def counts(self) -> Counter[tuple[str, str]]:
        """Number of requests by method and path template."""
        return Counter((entry.method, path_template(entry.path)) for entry in self.entries)

    def count(self, method: str, pattern: str) -> int:
        """Number of requests whose raw path and query the pattern finds."""
        found = re.compile(pattern)
        return sum(1 for e in self.entries if e.method == method and found.search(e.path))

    def clear(self) -> None:
        """Begin to count anew."""
        self.entries.clear()
