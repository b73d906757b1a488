"""Append events with a dense sequence, and read them."""

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
from deployment_service.storage import locks
from deployment_service.storage.actors import actor_columns, actor_in
from deployment_service.storage.database.pool import Connection, after_commit

EnumT = TypeVar("EnumT", bound=StrEnum)

# The columns of an event except its sequence and time, with their types.
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
        -- The labels after this transaction, which holds the lock of the deployment.
        (SELECT d.labels FROM deployments AS d WHERE d.tenant_id = $1 AND d.deployment_id = new.deployment_id),
        {", ".join(f"new.{name}" for name in _COLUMNS)}
    -- max() of the primary key reads one index entry. A counter column would collect dead row versions while an old
    -- snapshot is open.
    FROM (SELECT coalesce(max(sequence), 0) AS sequence FROM deployment_events WHERE tenant_id = $1) AS head,
        unnest({", ".join(f"${place}::{kind}[]" for place, kind in enumerate(_COLUMNS.values(), 2))})
        WITH ORDINALITY AS new ({", ".join(_COLUMNS)}, place)
    RETURNING sequence
"""
_HEAD = "SELECT coalesce(max(sequence), 0) FROM deployment_events WHERE tenant_id = $1"


async def append(connection: Connection, tenant_id: uuid.UUID, events: Sequence[NewEvent]) -> int:
    """Append events; return the last sequence. This is the only way to append an event.

    Call it last in the transaction: it locks the tenant until the commit, so sequence order is commit order. The
    sequences are assigned in a statement after the lock, whose snapshot sees what the previous holder committed.
    Transitions are logged after the commit.
    """
    tenant_slug = await locks.lock_tenant(connection, tenant_id)
    values = [_values(event) for event in events]
    columns = [[one[name] for one in values] for name in _COLUMNS]
    rows = await connection.fetch(_APPEND, tenant_id, *columns)
    after_commit(lambda: transition_log.write(tenant_slug or "", events))
    return max(int(row["sequence"]) for row in rows)


async def head(connection: Connection, tenant_id: uuid.UUID) -> int:
    """Return the last committed sequence; 0 if the tenant has no events."""
    sequence: int = await connection.fetchval(_HEAD, tenant_id)
    return sequence


def _values(event: NewEvent) -> dict[str, Any]:
    values = {name: getattr(event, name) for name in _COLUMNS if hasattr(event, name)}
    values["old_deployment_status"] = event.old_deployment_status or event.deployment_status
    return values | actor_columns(event.actor or THIS_SERVICE, "actor")


def from_row(row: asyncpg.Record) -> Event:
    """Return the event of a row that has all columns of the table. Unknown enum values raise no error."""
    return Event(
        deployment_id=row["deployment_id"],
        deployment_slug=row["deployment_slug"],
        revision=row["revision"],
        type=_enum_value(EventType, row["type"]),
        source=_enum_value(EventSource, row["source"]),
        old_status=_enum_value(DeploymentStatus, row["old_status"]),
        status=_enum_value(DeploymentStatus, row["status"]),
        deployment_status=_enum_value(DeploymentStatus, row["deployment_status"]),
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


def _optional(kind: type[EnumT], text: str | None) -> EnumT | None:
    return None if text is None else _enum_value(kind, text)


def _enum_value(kind: type[EnumT], text: str) -> EnumT:
    """Return an enum value. An unknown one (written by a newer replica) stays a string; the API returns UNSPECIFIED.

    One read has the events of many tenants, so an error for one row would stop the watches of all of them.
    """
    try:
        return kind(text)
    except ValueError:
        return cast("EnumT", text)
