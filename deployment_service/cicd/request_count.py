"""Counts the requests that calls of a client send to Jenkins: one call may send several."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class RequestCount:
    """``sent``: requests so far."""

    sent: int = 0


_current: ContextVar[RequestCount | None] = ContextVar("request_count", default=None)


@contextlib.contextmanager
def counted() -> Iterator[RequestCount]:
    """Count the requests that are sent within the block, by this task and those that it starts."""
    count = RequestCount()
    token = _current.set(count)
    try:
        yield count
    finally:
        _current.reset(token)


def note_request() -> None:
    """Count a request that is about to be sent."""
    count = _current.get()
    if count is not None:
        count.sent += 1
