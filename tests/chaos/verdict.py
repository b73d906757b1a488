"""What is right: every run of a round against what the simulator's ledger says really happened.

A run is *right* if all of this holds:

* one build at most carries its id;
* it has a build that ended: its status is that build's result, and it is confirmed;
* it has a build that a kill of Jenkins took: it FAILED with BUILD_LOST, or it has the result that the build
  had reached before the kill; if nobody had seen the build yet, TRIGGER_OUTCOME_UNKNOWN is true as well;
* it has none, but Jenkins had queued it: FAILED with BUILD_LOST or TRIGGER_OUTCOME_UNKNOWN;
* it has none and was never queued: TRIGGER_OUTCOME_UNKNOWN, and only if a number of its job is unaccounted
  for in Jenkins (a build that a kill took, or forgotten items), else it should have been sent again;
* its events lead from PENDING to that status and cause; from an end they only move by a correction, and there
  is one RUN_START if Jenkins has taken it, and a RUN_FAILURE if it ended before a build of it was ever seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from jenkins_simulator import Ledger, LedgerBuild

STATUS = {
    "SUCCESS": "COMPLETED",
    "UNSTABLE": "FAILED",
    "FAILURE": "FAILED",
    "NOT_BUILT": "CANCELLED",
    "ABORTED": "CANCELLED",
}
TRIGGERED = "trigger"
FINAL = ("COMPLETED", "FAILED", "CANCELLED")
Row = asyncpg.Record | Mapping[str, Any]


@dataclass
class Verdict:
    """``missing``: runs without an end, or unknown to the store. ``harmed``: builds
    stopped that were no duplicate. ``detection_s``: how long after a build ended
    its run did, worst last."""

    runs: int = 0
    builds: int = 0
    lost: int = 0
    never_built: int = 0
    missing: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    harmed: list[str] = field(default_factory=list)
    detection_s: list[float] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return not (self.missing or self.duplicate or self.wrong or self.harmed)

    @property
    def slowest_s(self) -> float:
        return max(self.detection_s, default=0.0)


def judge(
    ledger: Ledger, acknowledged: Sequence[str], runs: Sequence[Row], events: Sequence[Row]
) -> Verdict:
    """``acknowledged``: the runs that a call has answered with. ``runs``: rows with the job's ``full_name``."""
    verdict = Verdict(runs=len(runs))
    rows = {str(row["run_id"]): row for row in runs}
    verdict.missing += [
        f"{uid}: acknowledged, but not stored" for uid in set(acknowledged) - set(rows)
    ]
    history = defaultdict(list)
    for event in events:
        history[event["deployment_id"], event["run_number"]].append(event)
    by_job = defaultdict(list)
    for build in ledger.builds():
        by_job[build.job].append(build)
    for uid, row in rows.items():
        carrying = ledger.builds(run_id=uid)
        builds = [build for build in carrying if build.origin == TRIGGERED]
        verdict.harmed += [f"{uid}: {build}" for build in carrying if _is_harmed(build, builds)]
        verdict.builds += len(builds)
        cause = f"{row['failure_cause'] or ''} {row['failure_message'] or ''}".strip()
        said = (
            f"{uid} of {row['full_name']} #{row['build_number']}: {row['status']} {cause}".strip()
        )
        if row["end_time"] is None:
            verdict.missing.append(f"{said}, {row['trigger_state']}; Jenkins: {builds}")
            continue
        if len(builds) > 1:
            verdict.duplicate.append(f"{said}; Jenkins: {builds}")
            continue
        queued = bool(ledger.items(run_id=uid))
        if builds:
            wrong = _wrong_end(row, builds[0])
            verdict.lost += builds[0].lost
            if not wrong and builds[0].ended_at is not None and not builds[0].lost:
                verdict.detection_s.append(row["end_time"].timestamp() - builds[0].ended_at)
        else:
            verdict.never_built += 1
            gaps = any(build.lost for build in by_job[row["full_name"]])
            wrong = _wrong_without_build(row, queued=queued, gaps=gaps)
        wrong = wrong or _wrong_history(history[row["deployment_id"], row["number"]], row)
        if wrong:
            verdict.wrong.append(f"{said}: {wrong}; Jenkins: {builds or 'never built'}")
    verdict.detection_s.sort()
    return verdict


def _is_harmed(build: LedgerBuild, triggered: Sequence[LedgerBuild]) -> bool:
    """Whether a build was stopped that must not be: a round cancels nothing itself."""
    return build.stopped_by is not None and build not in triggered[1:]


def _wrong_end(row: Row, build: LedgerBuild) -> str:
    if build.ended_at is None:
        return "its build goes on"
    result = STATUS.get(build.result or "")
    if build.lost:
        causes = ["BUILD_LOST"] + ["TRIGGER_OUTCOME_UNKNOWN"] * (row["build_number"] is None)
        lost = row["status"] == "FAILED" and row["failure_cause"] in causes
        return "" if lost or row["status"] == result else "its build was lost"
    if row["status"] != result:
        return f"its build ended as {build.result}"
    return "" if row["certainty"] == "CONFIRMED" else "not confirmed"


def _wrong_without_build(row: Row, *, queued: bool, gaps: bool) -> str:
    cause = row["failure_cause"]
    if row["status"] != "FAILED":
        return "nothing was built"
    if queued:
        return "" if cause in ("BUILD_LOST", "TRIGGER_OUTCOME_UNKNOWN") else "Jenkins lost its item"
    return "" if cause == "TRIGGER_OUTCOME_UNKNOWN" and gaps else "it should have been sent again"


def _wrong_history(events: Sequence[Row], row: Row) -> str:
    told = "PENDING"
    for event in events:
        if event["old_status"] != told and event["type"] != "DEPLOYMENT_STATUS_UPDATE":
            return f"an event tells of {event['old_status']} after {told}"
        if told in FINAL and event["status"] != told and not event["correction"]:
            return f"from {told} it went to {event['status']} without a correction"
        told = event["status"]
    if (told, events[-1]["failure_cause"]) != (row["status"], row["failure_cause"]):
        return f"its events end with {told} {events[-1]['failure_cause']}"
    kinds = [event["type"] for event in events]
    seen = row["build_number"] is not None
    started, failed = (kinds.count(f"DEPLOYMENT_RUN_{kind}") for kind in ("START", "FAILURE"))
    seen_too_late = seen and failed == 1 and any(event["correction"] for event in events)
    if started > 1 or (seen and started == 0) or failed != (not seen or seen_too_late):
        return f"events {kinds}"
    return ""
