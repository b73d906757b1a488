"""The history: appending events with a dense sequence, and reading them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypeVar, cast

import asyncpg

from deployment_service import transition_log
from deployment_service.domain.actors import THIS_SERVICE
from deployment_service.domain.certainty import Certainty
from deployment_service.domain.events import Event, EventSource, EventType, NewEvent, WaitingFor
from deployment_service.domain.status import DeploymentStatus, FailureCause
from deployment_service.storage.actors import actor_columns, actor_in
from deployment_service.storage.database.pool import Connection, after_commit

Word = TypeVar("Word", bound=StrEnum)

# The lock makes sequence order commit order: whoever numbers events holds it until the commit. The numbering is a
# statement of its own after it, so that its snapshot sees what the holder before committed. max() of the primary
# key reads one index entry; a counter column would collect dead row versions under an old snapshot.
_LOCK_TENANT = "SELECT slug FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE"
# What an event has beside its sequence and time, with the types of its columns.
_COLUMNS = {
    "deployment_id": "uuid",
    "deployment_slug": "text",
    "revision": "bigint",
    "type": "text",
    "run_number": "int",
    "job_id": "uuid",
    "build_number": "int",
    "old_status": "text",
    "status": "text",
    "deployment_status": "text",
    "source": "text",
    "certainty": "text",
    "correction": "bool",
    "failure_cause": "text",
    "message": "text",
    "problem_since": "timestamptz",
    "problem_reason": "text",
    "old_deployment_status": "text",
    "waiting_for": "text",
    "waiting_reason": "text",
    "build_url": "text",
    "failure_message": "text",
    "actor_kind": "text",
    "actor_subject": "text",
    "actor_display_name": "text",
    "actor_on_behalf_of": "text",
    "old_labels": "jsonb",
}
_APPEND = f"""
    INSERT INTO deployment_events (tenant_id, sequence, labels, {", ".join(_COLUMNS)})
    SELECT $1, head.sequence + new.place,
        -- As this transaction has left them: it holds the deployment, whose revision it has raised.
        (SELECT d.labels FROM deployments AS d WHERE d.tenant_id = $1 AND d.deployment_id = new.deployment_id),
        {", ".join(f"new.{name}" for name in _COLUMNS)}
    FROM (SELECT coalesce(max(sequence), 0) AS sequence FROM deployment_events WHERE tenant_id = $1) AS head,
        unnest({", ".join(f"${place}::{kind}[]" for place, kind in enumerate(_COLUMNS.values(), 2))})
        WITH ORDINALITY AS new ({", ".join(_COLUMNS)}, place)
    RETURNING sequence
"""
_HEAD = "SELECT coalesce(max(sequence), 0) FROM deployment_events WHERE tenant_id = $1"


async def append(connection: Connection, tenant_id: uuid.UUID, events: Sequence[NewEvent]) -> int:
    """Append events and return the last sequence. Must be the last step of the transaction:
    it holds the tenant until the commit. Transitions are logged once it has committed."""
    tenant_slug = await connection.fetchval(_LOCK_TENANT, tenant_id)
    values = [_values(event) for event in events]
    columns = [[one[name] for one in values] for name in _COLUMNS]
    rows = await connection.fetch(_APPEND, tenant_id, *columns)
    after_commit(lambda: transition_log.write(tenant_slug, events))
    return max(int(row["sequence"]) for row in rows)


async def head(connection: Connection, tenant_id: uuid.UUID) -> int:
    """The last committed sequence; 0 if there is none."""
    sequence: int = await connection.fetchval(_HEAD, tenant_id)
    return sequence


def _values(event: NewEvent) -> dict[str, Any]:
    values = {name: getattr(event, name) for name in _COLUMNS if hasattr(event, name)}
    values["old_deployment_status"] = event.old_deployment_status or event.deployment_status
    return values | actor_columns(event.actor or THIS_SERVICE, "actor")


def from_row(row: asyncpg.Record) -> Event:
    """An event of a row that has all columns of the table. Never fails of what it says."""
    return Event(
        deployment_id=row["deployment_id"],
        deployment_slug=row["deployment_slug"],
        revision=row["revision"],
        type=_word(EventType, row["type"]),
        source=_word(EventSource, row["source"]),
        old_status=_word(DeploymentStatus, row["old_status"]),
        status=_word(DeploymentStatus, row["status"]),
        deployment_status=_word(DeploymentStatus, row["deployment_status"]),
        run_number=row["run_number"],
        job_id=row["job_id"],
        build_number=row["build_number"],
        certainty=_optional(Certainty, row["certainty"]),
        correction=row["correction"],
        failure_cause=_optional(FailureCause, row["failure_cause"]),
        message=row["message"],
        old_deployment_status=_optional(DeploymentStatus, row["old_deployment_status"]),
        waiting_for=_optional(WaitingFor, row["waiting_for"]),
        waiting_reason=row["waiting_reason"],
        build_url=row["build_url"],
        failure_message=row["failure_message"],
        actor=actor_in(row, "actor"),
        problem_since=row["problem_since"],
        problem_reason=row["problem_reason"],
        old_labels=row["old_labels"],
        labels=row["labels"],
        sequence=row["sequence"],
        create_time=row["create_time"],
    )


def _optional(kind: type[Word], text: str | None) -> Word | None:
    return None if text is None else _word(kind, text)


def _word(kind: type[Word], text: str) -> Word:
    """A word of ours; one that only a newer replica knows stays a text, which whoever shows it takes for unspecified.

    Many tenants' events come in one read: one row that raised here would stop what all of them are told.
    """
    try:
        return kind(text)
    except ValueError:
        return cast("Word", text)
