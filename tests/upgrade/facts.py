"""What a database says about deployments and runs, whichever revision its schema has.

A later revision may rename a column or a stored value: then the new name comes first in ``pick``, and the new
value is added to ``RENAMED_VALUES``. Rows and meanings must stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import asyncpg

TABLES = (
    "tenants",
    "api_keys",
    "webhook_keys",
    "webhook_key_uses",
    "cicd_providers",
    "cicd_jobs",
    "deployments",
    "deployment_cicd_mappings",
    "deployment_runs",
    "run_attempts",
    "deployment_events",
    "webhook_deliveries",
    "request_ids",
    "store_epoch",
)
# A later name of a stored value -> the name that it had in the first schema.
RENAMED_VALUES = {"PENDING_ATTRIBUTION": "KEPT", "DEFERRED": "POKED"}
RUN_EVENTS = ("DEPLOYMENT_STATUS_UPDATE", "DEPLOYMENT_RUN_START", "DEPLOYMENT_RUN_FAILURE")

Row = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What every migration keeps. Keys hold UUIDs and numbers, which never change."""

    runs: dict[tuple[object, int], Row]
    deployments: dict[object, Row]
    jobs: dict[object, Row]
    events: dict[tuple[object, int], Row]
    deliveries: dict[int, str]
    providers: dict[object, Row]
    counts: dict[str, int]


def pick(row: Row, *names: str) -> Any:
    """Return the first of these columns that the row has."""
    for name in names:
        if name in row:
            return row[name]
    raise AssertionError(f"none of {names} is a column: {sorted(row)}")


def uid(row: Row) -> Any:
    return pick(row, "deployment_uid", "deployment_id")


async def read_facts(url: str) -> Facts:
    connection = await asyncpg.connect(url)
    try:
        rows = {
            table: [dict(row) for row in await connection.fetch(f"SELECT * FROM {table}")]
            for table in TABLES
        }
    finally:
        await connection.close()
    check_histories(rows)
    check_certainty(rows["deployment_runs"])
    return Facts(
        runs={(uid(row), row["number"]): run_facts(row) for row in rows["deployment_runs"]},
        deployments={
            uid(row): only(row, "slug", "status", "revision") for row in rows["deployments"]
        },
        jobs={
            row["job_id"]: only(row, "full_name", "origin", "state") for row in rows["cicd_jobs"]
        },
        events={
            (row["tenant_id"], row["sequence"]): only(row, "type", "run_number", "revision")
            for row in rows["deployment_events"]
        },
        deliveries={
            row["delivery_id"]: RENAMED_VALUES.get(row["verdict"], row["verdict"])
            for row in rows["webhook_deliveries"]
        },
        providers={
            row["provider_id"]: only(row, "slug", "base_url", "username")
            for row in rows["cicd_providers"]
        },
        counts={table: len(found) for table, found in rows.items()},
    )


def only(row: Row, *names: str) -> Row:
    return {name: row[name] for name in names}


def run_facts(row: Row) -> Row:
    facts = only(
        row, "source", "status", "failure_cause", "build_number", "trigger_state", "attempt"
    )
    queue_id = row["queue_id"]
    ended = row["end_time"] is not None
    confirmed = row["certainty"] == "CONFIRMED" if "certainty" in row else row["confirmed"]
    return facts | {"queue_id": str(queue_id or ""), "ended": ended, "confirmed": confirmed}


def check_histories(rows: dict[str, list[Row]]) -> None:
    """P5, P8: sequences and revisions are dense; the current status is the fold of the events."""
    by_tenant, by_deployment = defaultdict(list), defaultdict(list)
    for event in sorted(rows["deployment_events"], key=lambda event: event["sequence"]):
        by_tenant[event["tenant_id"]].append(event)
        by_deployment[uid(event)].append(event)
    for events in by_tenant.values():
        check_dense(event["sequence"] for event in events)
    runs = {(uid(run), run["number"]): run for run in rows["deployment_runs"]}
    for events in by_deployment.values():
        check_dense(event["revision"] for event in events)
        by_run = defaultdict(list)
        for event in events:
            if event["type"] in RUN_EVENTS:
                by_run[uid(event), event["run_number"]].append(event)
        for key, of_run in by_run.items():
            check_run(of_run, runs.get(key))
    for deployment in rows["deployments"]:
        last = by_deployment[uid(deployment)][-1]
        assert last["revision"] == deployment["revision"]
        assert last["deployment_status"] == deployment["status"], deployment["slug"]
    missing = [key for key in runs if not by_deployment[key[0]]]
    assert not missing, f"runs without any event: {missing}"


def check_run(events: list[Row], run: Row | None) -> None:
    for before, after in pairwise(events):
        assert pick(after, "old_run_status", "old_status") == status(before), (before, after)
    if run is not None:
        assert status(events[-1]) == run["status"], run


def status(event: Row) -> Any:
    return pick(event, "run_status", "status")


def check_dense(numbers: Iterable[int]) -> None:
    found = list(numbers)
    assert found == list(range(1, len(found) + 1))


def check_certainty(runs: list[Row]) -> None:
    """A run that has ended has a certainty, one that is active has none."""
    for run in runs:
        if "certainty" in run:
            wanted = ("REPORTED", "CONFIRMED", "UNVERIFIABLE")
            assert (run["certainty"] in wanted) == (run["end_time"] is not None), run
