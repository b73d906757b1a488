"""What a watcher has seen, and the judge of it: exactly the database's history under its filter, or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from deployment_service.api.event_messages import to_message
from deployment_service.domain.events import Event
from deployment_service.v1 import deployment_service_pb2 as pb

State = Mapping[str, tuple[str, int]]
"""Status and revision of each deployment, by id."""


@dataclass(frozen=True)
class Wanted:
    """A watch's filter; empty: all."""

    slugs: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()

    def passes(self, event: Event) -> bool:
        return (not self.slugs or event.deployment_slug in self.slugs) and (
            not self.types or event.type in self.types
        )


@dataclass
class Record:
    """All that one watcher was handed, over however many connections."""

    tenant: str
    wanted: Wanted = field(default_factory=Wanted)
    snapshots: int = 0
    base: int = 0
    present: dict[str, tuple[str, int]] = field(default_factory=dict)
    events: list[pb.DeploymentEvent] = field(default_factory=list)
    resets: int = 0

    def take(self, message: pb.WatchDeploymentsResponse) -> None:
        match message.WhichOneof("response"):
            case "deployment":
                one = message.deployment
                self.present[_id(one.name)] = (_status(one.status), one.revision)
            case "snapshot_complete":
                self.snapshots += 1
                self.base = message.snapshot_complete.sequence
            case "event":
                self.events.append(message.event)
            case "reset":
                self.resets += 1

    def fold(self) -> dict[str, tuple[str, int]]:
        """The state that the snapshot and the events lead to."""
        state = dict(self.present)
        for event in self.events:
            slug = _id(event.deployment)
            if event.revision > state.get(slug, ("", 0))[1]:
                state[slug] = (_status(event.deployment_status), event.revision)
        return state

    def with_events(self, events: Iterable[pb.DeploymentEvent]) -> Record:
        """The same with other events: for those who plant defects."""
        return replace(self, events=list(events))


def problems(record: Record, history: Sequence[Event], table: State) -> list[str]:
    """What is wrong with a record; nothing, if it is what was promised (P5, P8)."""
    found = []
    if record.resets or record.snapshots != 1:
        found.append(f"{record.resets} resets, {record.snapshots} snapshots")
    if [event.sequence for event in history] != list(range(1, len(history) + 1)):
        found.append("the history itself isn't dense")
    expected = [
        to_message(record.tenant, event)
        for event in history
        if event.sequence > record.base and record.wanted.passes(event)
    ]
    if record.events != expected:
        found.append(_difference(record.events, expected))
    if not record.wanted.types:  # Without some types of event there is nothing to fold.
        slugs = record.wanted.slugs or table.keys()
        if record.fold() != {slug: table[slug] for slug in slugs}:
            found.append("folding it doesn't give the table's state")
    return found


def _difference(seen: Sequence[pb.DeploymentEvent], expected: Sequence[pb.DeploymentEvent]) -> str:
    for place, (one, other) in enumerate(zip(seen, expected, strict=False)):
        if one != other:
            return (
                f"at place {place} of {len(expected)} it has {one.sequence}, not {other.sequence}"
            )
    return f"it has {len(seen)} events, not {len(expected)}"


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def _status(value: pb.DeploymentStatus) -> str:
    return pb.DeploymentStatus.Name(value).removeprefix("DEPLOYMENT_STATUS_")
