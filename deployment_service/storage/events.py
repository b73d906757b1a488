"""The history: appending events with a dense sequence, and reading them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar, cast

import asyncpg

from deployment_service import transition_log
from deployment_service.domain.certainty import Certainty
from deployment_service.domain.events import (
    Actor,
    ActorKind,
    Event,
    EventSource,
    EventType,
    NewEvent,
)
from deployment_service.domain.status import DeploymentStatus, FailureCause
from deployment_service.storage.database import Connection, after_commit

Word = TypeVar("Word", bound=StrEnum)

# The lock makes sequence order commit order: whoever numbers events holds it until the commit. The numbering is a
# statement of its own after it, so that its snapshot sees what the holder before committed. max() of the primary
# key reads one index entry; a counter column would collect dead row versions under an old snapshot.
_LOCK_TENANT = "SELECT slug FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE"
_APPEND = """
    INSERT INTO deployment_events (tenant_id, sequence, deployment_id, deployment_slug, revision, type, run_number,
        job_id, build_number, old_status, status, deployment_status, source, certainty, correction, failure_cause,
        message, problem_since, problem_reason, actor_kind, actor_subject, actor_display_name)
    SELECT $1, head.sequence + new.place, new.deployment_id, new.deployment_slug, new.revision, new.type,
        new.run_number, new.job_id, new.build_number, new.old_status, new.status, new.deployment_status, new.source,
        new.certainty, new.correction, new.failure_cause, new.message, new.problem_since, new.problem_reason,
        new.actor_kind, new.actor_subject, new.actor_display_name
    FROM (SELECT coalesce(max(sequence), 0) AS sequence FROM deployment_events WHERE tenant_id = $1) AS head,
        unnest($2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::int[], $7::uuid[], $8::int[], $9::text[],
            $10::text[], $11::text[], $12::text[], $13::text[], $14::bool[], $15::text[], $16::text[],
            $17::timestamptz[], $18::text[], $19::text[], $20::text[], $21::text[])
        WITH ORDINALITY AS new (deployment_id, deployment_slug, revision, type, run_number, job_id, build_number,
            old_status, status, deployment_status, source, certainty, correction, failure_cause, message,
            problem_since, problem_reason, actor_kind, actor_subject, actor_display_name, place)
    RETURNING sequence
"""
_FIELDS = (
    "deployment_id",
    "deployment_slug",
    "revision",
    "type",
    "run_number",
    "job_id",
    "build_number",
    "old_status",
    "status",
    "deployment_status",
    "source",
    "certainty",
    "correction",
    "failure_cause",
    "message",
    "problem_since",
    "problem_reason",
)
_ACTOR_FIELDS = ("kind", "subject", "display_name")
_HEAD = "SELECT coalesce(max(sequence), 0) FROM deployment_events WHERE tenant_id = $1"


async def append(connection: Connection, tenant_id: uuid.UUID, events: Sequence[NewEvent]) -> int:
    """Append events and return the last sequence. Must be the last step of the transaction:
    it holds the tenant until the commit. Transitions are logged once it has committed."""
    tenant_slug = await connection.fetchval(_LOCK_TENANT, tenant_id)
    columns = [[getattr(event, field) for event in events] for field in _FIELDS]
    columns += [[getattr(event.actor, field, None) for event in events] for field in _ACTOR_FIELDS]
    rows = await connection.fetch(_APPEND, tenant_id, *columns)
    after_commit(lambda: transition_log.write(tenant_slug, events))
    return max(int(row["sequence"]) for row in rows)


async def head(connection: Connection, tenant_id: uuid.UUID) -> int:
    """The last committed sequence; 0 if there is none."""
    sequence: int = await connection.fetchval(_HEAD, tenant_id)
    return sequence


def from_row(row: asyncpg.Record) -> Event:
    """An event of a row that has all columns of the table. Never fails of what it says."""
    cause = row["failure_cause"]
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
        certainty=_word(Certainty, row["certainty"]) if row["certainty"] else None,
        correction=row["correction"],
        failure_cause=_word(FailureCause, cause) if cause else None,
        message=row["message"],
        actor=actor_of(row),
        problem_since=row["problem_since"],
        problem_reason=row["problem_reason"],
        sequence=row["sequence"],
        create_time=row["create_time"],
    )


def actor_of(row: asyncpg.Record) -> Actor | None:
    """The actor of a row that has its three columns; None if nobody in particular decided."""
    if row["actor_kind"] is None:
        return None
    kind = _word(ActorKind, row["actor_kind"])
    return Actor(kind, row["actor_subject"], row["actor_display_name"])


def _word(kind: type[Word], text: str) -> Word:
    """A word of ours; one that only a newer replica knows stays a text, which whoever shows it takes for unspecified.

    Many tenants' events come in one read: one row that raised here would stop what all of them are told.
    """
    try:
        return kind(text)
    except ValueError:
        return cast("Word", text)
