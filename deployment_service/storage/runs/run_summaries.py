"""The summary of a deployment's current run, read in the same statement as the deployment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from deployment_service.domain.actors import Actor
from deployment_service.storage.actors import actor_in

_COLUMNS = (
    "number",
    "status",
    "reported_status",
    "certainty",
    "waiting_for",
    "waiting_reason",
    "build_number",
    "build_timestamp_ms",
    "failure_cause",
    "create_time",
    "start_time",
    "end_time",
    "settle_time",
    "last_observed_time",
)
_ACTOR = (
    "requested_by_kind",
    "requested_by_subject",
    "requested_by_display_name",
    "requested_by_on_behalf_of",
)
# Columns of the table alias `current_run`, with names that differ from the columns of a deployment.
SUMMARY_COLUMNS = ", ".join(
    f"current_run.{name} AS current_run_{name}" for name in (*_COLUMNS, *_ACTOR)
)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The summary of a run, for the API."""

    number: int
    status: str
    reported_status: str | None
    certainty: str | None
    waiting_for: str | None
    waiting_reason: str
    build_number: int | None
    build_timestamp_ms: int | None
    failure_cause: str | None
    create_time: datetime
    start_time: datetime | None
    """When Jenkins accepted it."""
    end_time: datetime | None
    settle_time: datetime | None
    last_observed_time: datetime | None
    requested_by: Actor | None


def summary_in(row: asyncpg.Record) -> RunSummary | None:
    """Return the summary of a row that has SUMMARY_COLUMNS; None before the first run."""
    if row["current_run_number"] is None:
        return None
    values = {name: row[f"current_run_{name}"] for name in _COLUMNS}
    return RunSummary(**values, requested_by=actor_in(row, "current_run_requested_by"))
