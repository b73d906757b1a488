"""The view of the demo: a line for each deployment, from the events of the stream."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from deployment_service.client.cli.output import cause_name, last, status_name, status_text
from deployment_service.client.waiting import FINAL
from deployment_service.v1 import deployment_service_pb2 as pb

_EVENT_TEXTS = {
    pb.DeploymentEvent.DEPLOYMENT_CREATED: "created",
    pb.DeploymentEvent.DEPLOYMENT_JOB_UPDATE: "job in Jenkins",
    pb.DeploymentEvent.DEPLOYMENT_JOB_DRIFTED: "job changed in Jenkins",
    pb.DeploymentEvent.DEPLOYMENT_RUN_START: "accepted by Jenkins",
    pb.DeploymentEvent.DEPLOYMENT_RUN_FAILURE: "could not be started",
}


@dataclass
class Row:
    """The state of one deployment by the events so far."""

    title: str
    status: pb.DeploymentStatus = pb.DEPLOYMENT_STATUS_PENDING
    build: int = 0
    settled: bool = False
    note: str = ""
    started: float | None = None
    ended: float | None = None
    statuses: list[str] = field(default_factory=list)

    def apply(self, event: pb.DeploymentEvent) -> None:
        """Apply an event."""
        self.build = event.build_number or self.build
        self.note = (
            cause_name(event.failure_cause) or event.message or _EVENT_TEXTS.get(event.type, "")
        )
        self.settled = event.certainty in (pb.CERTAINTY_CONFIRMED, pb.CERTAINTY_UNVERIFIABLE)
        if not event.run:
            return
        self.status = event.run_status
        status = status_name(event.run_status)
        if not self.statuses or self.statuses[-1] != status:
            self.statuses.append(status)
        if self.started is None:
            self.started = time.monotonic()
        self.ended = time.monotonic() if event.run_status in FINAL else None

    @property
    def took(self) -> str:
        """Return the duration of the run so far, as text."""
        if self.started is None:
            return ""
        return f"{(self.ended or time.monotonic()) - self.started:5.1f} s"


class Board:
    """The rows, shown live on a terminal and as plain lines elsewhere."""

    def __init__(self, console: Console, titles: dict[str, str]) -> None:
        self.rows = {slug: Row(title) for slug, title in titles.items()}
        self._console = console
        self._began = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live = Live(self, console=self._console, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def apply(self, event: pb.DeploymentEvent) -> None:
        """Apply an event of the stream and show it."""
        row = self.rows.get(last(event.deployment))
        if row is None:
            return
        row.apply(event)
        if self._live is None:
            line = Text(f"{time.monotonic() - self._began:6.1f} s  {last(event.deployment):<10} ")
            line.append_text(status_text(row.status))
            line.append(f"  build {row.build}" if row.build else "")
            self._console.print(line.append(f"  {row.note}" if row.note else ""))

    def __rich__(self) -> Table:
        """Return the table in its current state."""
        table = Table("Deployment", "What it does", "Status", "Build", "Time", "", expand=False)
        for slug, row in self.rows.items():
            moving = row.started is not None and row.ended is None
            status = status_text(row.status)
            table.add_row(
                Text(slug, style="bold"),
                row.title,
                Spinner("dots", text=status) if moving else status,
                str(row.build or ""),
                Text(row.took, justify="right"),
                Text(row.note, style="dim"),
            )
        return table
