"""How deployctl shows things: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployment_service.v1 import deployment_service_pb2 as pb

# What isn't read by a person at a terminal is never cut.
_WIDE = 400

STYLES = {
    "pending": "yellow",
    "running": "cyan",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "magenta",
}


# Control characters but tab and line end, C1, and what hides or reorders text (Unicode 16, Bidi_Control, Cf).
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def clean(text: str) -> str:
    """Return text from the service without control sequences of terminals."""
    return _UNSAFE.sub("\ufffd", text)


class _TextConsole(Console):
    """Prints strings as they are: no markup, no emoji names, no control characters."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(_as_text(one) for one in objects), **options)


def console() -> Console:
    """Where output goes."""
    width = None if sys.stdout.isatty() else _WIDE
    return _TextConsole(highlight=False, markup=False, emoji=False, width=width)


def _as_text(one: Any) -> Any:
    if isinstance(one, str):
        return Text(clean(one))
    if isinstance(one, Text):
        one.plain = clean(one.plain)  # as many characters as before, so styles stay in place
    return one


def json_line(message: Message) -> None:
    """Print a message as one line of JSON; flushed, because a program may be waiting for it.

    Without the secrets of webhooks: only ``webhook show`` prints them.
    """
    fields = MessageToDict(message, always_print_fields_with_no_presence=True)
    typer.echo(json.dumps(_without_webhook_secrets(fields)))
    sys.stdout.flush()


_WEBHOOK_SECRETS = ("webhookUrl", "signingSecret")


def _without_webhook_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_webhook_secrets(one) for one in value]
    if isinstance(value, dict):
        return {
            key: _without_webhook_secrets(one)
            for key, one in value.items()
            if key not in _WEBHOOK_SECRETS
        }
    return value


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], empty: str) -> None:
    """Print a table, or ``empty`` if it has no rows."""
    grid = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*(_as_text(cell) for cell in row))
    if grid.row_count:
        console().print(grid)
    else:
        console().print(empty)


def status_name(status: pb.DeploymentStatus) -> str:
    """``running``, for DEPLOYMENT_STATUS_RUNNING."""
    return enum_name(pb.DeploymentStatus, status, "DEPLOYMENT_STATUS_")


def status_text(status: pb.DeploymentStatus) -> Text:
    """The same in its colour."""
    text = status_name(status)
    return Text(text, style=STYLES.get(text, ""))


def cause_name(cause: pb.FailureCause) -> str:
    """``build failed``, for FAILURE_CAUSE_BUILD_FAILED; empty if there is none."""
    return (
        enum_name(pb.FailureCause, cause, "FAILURE_CAUSE_").replace("_", " ")
        if cause != pb.FAILURE_CAUSE_UNSPECIFIED
        else ""
    )


def problem_text(problem: pb.ObservationProblem) -> str:
    """Return ``problem since 2026-11-28 05:12:09 (refused): …``, with the service's message."""
    reason = enum_name(pb.ObservationProblemReason, problem.reason, "OBSERVATION_PROBLEM_REASON_")
    since = local_time(problem.since)
    return f"problem since {since} ({reason.replace('_', ' ')}): {problem.message}"


def enum_name(enum: type, value: int, prefix: str) -> str:
    """``build_failed``, for FAILURE_CAUSE_BUILD_FAILED; the number if it is newer than this client."""
    try:
        return str(enum.Name(value)).removeprefix(prefix).lower()  # type: ignore[attr-defined]
    except ValueError:
        return str(value)  # newer than this client


def actor_text(actor: pb.Actor) -> str:
    """``on-call (apiKeys/…) on behalf of alice, as claimed``; empty if it is not known."""
    if not actor.kind:
        return ""
    names = [one for one in (actor.display_name, actor.subject) if one]
    text = f"{names[0]} ({names[1]})" if len(names) > 1 else "".join(names) or "Jenkins"
    return f"{text} on behalf of {actor.on_behalf_of}, as claimed" if actor.on_behalf_of else text


def last(name: str) -> str:
    """The last part of a resource name."""
    return name.rpartition("/")[2]


def local_time(stamp: Timestamp) -> str:
    """A time as people here read it; empty if unset."""
    if not stamp.seconds:
        return ""
    return f"{_datetime(stamp).astimezone():%Y-%m-%d %H:%M:%S}"


def duration(start: Timestamp, end: Timestamp) -> str:
    """``12 s`` between two times; until now, if the second is unset; empty if the first is."""
    if not start.seconds:
        return ""
    until = _datetime(end) if end.seconds else datetime.now(UTC)
    return _seconds_text(max((until - _datetime(start)).total_seconds(), 0.0))


def seconds_text(duration: Duration) -> str:
    """``12.0 s``; empty if unset."""
    return _seconds_text(duration.ToTimedelta().total_seconds()) if duration.ByteSize() else ""


def _seconds_text(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02} min"


def _datetime(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def event_line(event: pb.DeploymentEvent) -> Text:
    """One event as one line."""
    kind = pb.DeploymentEvent.Type.Name(event.type).removeprefix("DEPLOYMENT_").lower()
    line = Text(f"{event.sequence:>6}  {local_time(event.create_time)[11:]}  ")
    line.append(f"{last(event.deployment):<20} ", style="bold")
    line.append(f"{kind.replace('_', ' '):<14} ")
    if event.old_run_status != event.run_status:
        if event.old_run_status:
            line.append_text(status_text(event.old_run_status)).append(" → ")
        line.append_text(status_text(event.run_status))
    if event.build_number:
        line.append(f"  build {event.build_number}")
    if event.correction:
        line.append("  (correction)", style="yellow")
    if event.HasField("observation_problem"):
        since = local_time(event.observation_problem.since)
        line.append(f"  since {since}", style="yellow")
    if event.failure_cause:
        line.append(f"  {cause_name(event.failure_cause)}")
    if event.message:
        line.append(f"  {event.message}", style="dim")
    return line
