"""Structured logging, one line for each event, safe against forged line ends."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from functools import partial
from typing import Any, Literal, TextIO, cast

import structlog

_UNCLEAN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

log = cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())


def configure(
    level: str,
    style: Literal["auto", "json", "console"],
    stream: TextIO | None = None,
    *,
    max_chars: int = 2000,
) -> None:
    """Send all log events, those of libraries too, to ``stream`` (stdout) in one form.

    ``max_chars``: how much of a text is logged; tracebacks are logged whole.
    """
    stream = stream or sys.stdout
    console = style == "console" or (style == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        partial(_clean, max_chars),
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=last, foreign_pre_chain=shared)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # These log every request. Their failures arrive as exceptions as well.
    for verbose in ("urllib3", "jenkins", "alembic", "sqlalchemy"):
        logging.getLogger(verbose).setLevel(logging.WARNING)


def _clean(
    max_chars: int, _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        # Only tracebacks, which do not come from a request, may have several lines.
        if isinstance(value, str) and key != "exception":
            event[key] = _UNCLEAN.sub("\ufffd", value[:max_chars])
    return event
