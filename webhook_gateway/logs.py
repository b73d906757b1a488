"""Logging of the gateway: the guide's lines, and a limit on lines per second. Every line is one event."""

from __future__ import annotations

import time
from typing import Literal

from deployment_service.runtime import logs

PREFIX = "[@webhook:jenkins]"
RECEIVED = PREFIX + " Received status update for job: {job}"
FAILED = PREFIX + " Error processing webhook: {why}"

_MAX_CHARS = 1000

log = logs.log


def configure(level: str, style: Literal["auto", "json", "console"]) -> None:
    """Send all log events to stdout, those of libraries in the same form."""
    logs.configure(level, style, max_chars=_MAX_CHARS)


class Throttle:
    """Limits the number of log lines per second, so that a flood of bad requests does not fill a disk."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second = 0
        self._count = 0
        self._suppressed = 0

    def allow(self) -> dict[str, int] | None:
        """Return None if a line must not be written, else fields to add to it."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        if self._count > self._per_second:
            self._suppressed += 1
            return None
        suppressed, self._suppressed = self._suppressed, 0
        return {"suppressed_before": suppressed} if suppressed else {}
