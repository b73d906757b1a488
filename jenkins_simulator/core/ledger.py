"""What really happened, kept beside Jenkins' own memory: it outlives restarts, deletes, rotation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from jenkins_simulator.core.model import Build, QueueItem

RUN_ID_PARAMETER = "DEPLOYMENT_RUN_ID"


@dataclass
class LedgerItem:
    """A queue item that was accepted."""

    job: str
    queue_id: int
    parameters: dict[str, str]
    user: str | None
    accepted_at: float
    folded: int = 0
    """How many later triggers were folded into it."""
    cancelled: bool = False
    origin: str = "trigger"
    """A trigger, a retry plugin or a rebuild."""


@dataclass
class LedgerBuild:
    """A build that was started."""

    job: str
    number: int
    queue_id: int
    parameters: dict[str, str]
    user: str | None
    started_at: float
    ended_at: float | None = None
    result: str | None = None
    lost: bool = False
    """A hard kill took it: Jenkins answers 404 for ever."""
    origin: str = "trigger"
    retry_of: int | None = None
    """The number of the build that was started again."""
    stopped_by: str | None = None
    """The account that requested its stop."""
    dropped: list[str] = field(default_factory=list)
    """Parameters of the queue item that its job no longer defined when it started."""
    record_gone: bool = False
    """Its record was rotated away: Jenkins answers 404 for ever."""


@dataclass
class Ledger:
    """Every queue item accepted and every build started, in order."""

    _items: list[LedgerItem] = field(default_factory=list)
    _builds: list[LedgerBuild] = field(default_factory=list)
    _of_build: dict[int, LedgerBuild] = field(default_factory=dict)
    _of_item: dict[int, LedgerItem] = field(default_factory=dict)

    def item_accepted(self, item: QueueItem, user: str | None) -> None:
        """A trigger made a new queue item."""
        entry = LedgerItem(
            item.job.full_name,
            item.id,
            _texts(item),
            user,
            accepted_at=item.entered_at,
            origin=item.origin.value,
        )
        self._items.append(entry)
        self._of_item[id(item)] = entry

    def item_folded(self, item: QueueItem) -> None:
        """A trigger was folded into this item."""
        self._of_item[id(item)].folded += 1

    def item_cancelled(self, item: QueueItem) -> None:
        """The item was cancelled before it became a build."""
        if id(item) in self._of_item:
            self._of_item[id(item)].cancelled = True

    def build_started(self, build: Build, item: QueueItem) -> None:
        """A build began: `parameters` are those of its trigger, even if the job has dropped some."""
        user = next((cause.user for cause in build.causes if cause.user), None)
        entry = LedgerBuild(
            build.job.full_name,
            build.number,
            build.queue_id,
            _texts(item),
            user,
            build.started_at,
            origin=build.origin.value,
            retry_of=None if build.retry_of is None else build.retry_of.number,
            dropped=sorted(_names(item) - _names(build)),
        )
        self._builds.append(entry)
        self._of_build[id(build)] = entry

    def build_stopped(self, build: Build, user: str | None) -> None:
        """Record a request to stop a build."""
        self._of_build[id(build)].stopped_by = user

    def build_ended(self, build: Build, ended_at: float, *, lost: bool = False) -> None:
        """A build ended, or was lost."""
        entry = self._of_build[id(build)]
        entry.ended_at = ended_at
        entry.result = build.result.name if build.result else None
        entry.lost = lost

    def record_gone(self, build: Build) -> None:
        """The record of a build was deleted."""
        self._of_build[id(build)].record_gone = True

    def items(self, *, job: str | None = None, run_id: str | None = None) -> list[LedgerItem]:
        """Accepted queue items, oldest first."""
        return [i for i in self._items if _matches(i.job, i.parameters, job, run_id)]

    def builds(self, *, job: str | None = None, run_id: str | None = None) -> list[LedgerBuild]:
        """Started builds, oldest first; `run_id` is the parameter DEPLOYMENT_RUN_ID."""
        return [b for b in self._builds if _matches(b.job, b.parameters, job, run_id)]

    def as_json(self) -> dict[str, Any]:
        """Everything, for other processes."""
        return {
            "items": [asdict(item) for item in self._items],
            "builds": [asdict(build) for build in self._builds],
        }


def _texts(source: QueueItem) -> dict[str, str]:
    return {p.name: p.text for p in source.parameters or () if not p.is_sensitive}


def _names(source: QueueItem | Build) -> set[str]:
    return {value.name for value in source.parameters or ()}


def _matches(
    entry_job: str, parameters: dict[str, str], job: str | None, run_id: str | None
) -> bool:
    if job is not None and entry_job != job:
        return False
    return run_id is None or parameters.get(RUN_ID_PARAMETER) == run_id
