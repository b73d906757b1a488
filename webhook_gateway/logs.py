"""Logging: the guide's lines with structured fields, one line for each event, safe against forged line ends."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import MutableMapping
from typing import Any, Literal, cast

import structlog

PREFIX = "[@webhook:jenkins]"
RECEIVED = PREFIX + " Received status update for job: {job}"
FAILED = PREFIX + " Error processing webhook: {why}"

_UNCLEAN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_MAX_VALUE = 1000

log = cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())


def configure(level: str, style: Literal["auto", "json", "console"]) -> None:
    """Send all log events to stdout, those of libraries in the same form."""
    console = style == "console" or (style == "auto" and sys.stdout.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _clean,
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=last, foreign_pre_chain=shared)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def _clean(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            # Only tracebacks, which do not come from a request, may have several lines.
            text = value if key == "exception" else _UNCLEAN.sub("\ufffd", value[:_MAX_VALUE])
            event[key] = text
    return event


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
