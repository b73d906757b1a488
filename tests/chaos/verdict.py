"""What is right: every run of a round against what the simulator's ledger says really happened.

A run is *right* if all of this holds:

* one build at most carries its id;
* it has a build that ended: its status is that build's result, and it is confirmed;
* it has a build that a kill of Jenkins took, or whose record was rotated away: it FAILED with BUILD_LOST, or it has
  the result that the build had; if the build was never seen, TRIGGER_OUTCOME_UNKNOWN is true as well, and so is
  the result of the retry that has copied the run's id and is now the lowest number with it;
* its job is overwritten by a seed job, so that its build may not show the id: the run is judged by its build number, or
  it ends as UNVERIFIABLE with BUILD_LOST or TRIGGER_OUTCOME_UNKNOWN, or as TRIGGER_REJECTED without a build. There are
  never more builds of our requests than runs of that job;
* it has none, but Jenkins had queued it: FAILED with BUILD_LOST or TRIGGER_OUTCOME_UNKNOWN;
* it has none and was never queued: TRIGGER_OUTCOME_UNKNOWN, and only if a number of its job is unaccounted
  for in Jenkins (a build that a kill took, a record that was rotated away), else it should have been sent again;
* its events lead from PENDING to that status and cause; from an end they only move by a correction, and there
  is one RUN_START if Jenkins has taken it, and a RUN_FAILURE if it ended before a build of it was ever seen. A build
  that shows up after that is a correction, with no RUN_START.

An external run that is confirmed has its build's result. No build is stopped but a second one of a run's requests: the
builds that a retry plugin starts go on. Lost secret texts change nothing but how soon an end is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from deployment_service.domain.parameters import RUN_ID_PARAMETER
from jenkins_simulator import Ledger, LedgerBuild

STATUS = {
    "SUCCESS": "COMPLETED",
    "UNSTABLE": "FAILED",
    "FAILURE": "FAILED",
    "NOT_BUILT": "CANCELLED",
    "ABORTED": "CANCELLED",
}
TRIGGERED = "trigger"
# Events that report no status: what a run waits for, that it cannot be read, and that it can be again.
BESIDE_STATUS = ("DEPLOYMENT_OBSERVATION_PROBLEM", "DEPLOYMENT_RUN_WAITING")
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
    rotated: int = 0
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
    ledger: Ledger,
    acknowledged: Sequence[str],
    runs: Sequence[Row],
    events: Sequence[Row],
    seeded: Collection[str] = (),
) -> Verdict:
    """``acknowledged``: the runs that a call has answered with. ``runs``: rows with the job's ``full_name``.

    ``seeded``: the full names of the jobs that a seed job overwrites.
    """
    rows = {str(row["run_id"]): row for row in runs if row["source"] == "SERVICE"}
    verdict = Verdict(runs=len(rows))
    verdict.missing += [
        f"{uid}: acknowledged, but not stored" for uid in set(acknowledged) - set(rows)
    ]
    history = defaultdict(list)
    for event in events:
        if event["type"] in BESIDE_STATUS:
            continue
        history[event["deployment_id"], event["run_number"]].append(event)
    by_job = defaultdict(list)
    for build in ledger.builds():
        by_job[build.job].append(build)
    verdict.harmed += [str(build) for build in ledger.builds() if _is_harmed(build, ledger)]
    for uid, row in rows.items():
        of_job, of_seeded = by_job[row["full_name"]], row["full_name"] in seeded
        carrying = ledger.builds(run_id=uid)
        builds = [build for build in carrying if build.origin == TRIGGERED]
        if not builds and of_seeded and row["build_number"] is not None:
            builds = [build for build in of_job if build.number == row["build_number"]]
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
            (build,) = builds
            wrong = _wrong_end(row, build, carrying)
            verdict.lost += build.lost
            verdict.rotated += build.record_gone
            readable = not _is_gone(build) and RUN_ID_PARAMETER not in build.dropped
            if not wrong and build.ended_at is not None and readable:
                verdict.detection_s.append(row["end_time"].timestamp() - build.ended_at)
        else:
            verdict.never_built += 1
            gaps = any(_is_gone(build) for build in of_job)
            wrong = _wrong_without_build(row, queued=queued, gaps=gaps, seeded=of_seeded)
        wrong = wrong or _wrong_history(history[row["deployment_id"], row["number"]], row)
        if wrong:
            verdict.wrong.append(f"{said}: {wrong}; Jenkins: {builds or 'never built'}")
    for name in seeded:
        ours = [build for build in by_job[name] if build.origin == TRIGGERED]
        wanted = [row for row in rows.values() if row["full_name"] == name]
        if len(ours) > len(wanted):
            verdict.duplicate.append(f"{name}: {len(ours)} builds of {len(wanted)} runs: {ours}")
    verdict.wrong += _wrong_externals([row for row in runs if row["source"] != "SERVICE"], by_job)
    verdict.detection_s.sort()
    return verdict


def _is_gone(build: LedgerBuild) -> bool:
    """Whether Jenkins doesn't show it any more."""
    return build.lost or build.record_gone


def _is_harmed(build: LedgerBuild, ledger: Ledger) -> bool:
    """Whether a build was stopped that must not be: a round cancels nothing itself."""
    if build.stopped_by is None:
        return False
    carrying = ledger.builds(run_id=build.parameters.get(RUN_ID_PARAMETER, ""))
    return build not in [one for one in carrying if one.origin == TRIGGERED][1:]


def _wrong_end(row: Row, build: LedgerBuild, carrying: Sequence[LedgerBuild]) -> str:
    if build.ended_at is None:
        return "its build goes on"
    result = STATUS.get(build.result or "")
    if _is_gone(build):
        causes = ["BUILD_LOST"] + ["TRIGGER_OUTCOME_UNKNOWN"] * (row["build_number"] is None)
        lost = row["status"] == "FAILED" and row["failure_cause"] in causes
        copies = [STATUS.get(b.result or "") for b in carrying if b.number == row["build_number"]]
        gone = "was lost" if build.lost else "has no record any more"
        return "" if lost or row["status"] in (result, *copies) else f"its build {gone}"
    if RUN_ID_PARAMETER in build.dropped and row["build_number"] is None:
        unknown = row["failure_cause"] in ("BUILD_LOST", "TRIGGER_OUTCOME_UNKNOWN")
        unknown = unknown and row["certainty"] == "UNVERIFIABLE"
        return "" if unknown else "its build does not show its id"
    if row["status"] != result:
        return f"its build ended as {build.result}"
    return "" if row["certainty"] == "CONFIRMED" else "not confirmed"


def _wrong_without_build(row: Row, *, queued: bool, gaps: bool, seeded: bool) -> str:
    cause = row["failure_cause"]
    if row["status"] != "FAILED":
        return "nothing was built"
    if seeded:
        known = ("BUILD_LOST", "TRIGGER_OUTCOME_UNKNOWN", "TRIGGER_REJECTED")
        return "" if cause in known else "not an end that a seed job explains"
    if queued:
        return "" if cause in ("BUILD_LOST", "TRIGGER_OUTCOME_UNKNOWN") else "Jenkins lost its item"
    return "" if cause == "TRIGGER_OUTCOME_UNKNOWN" and gaps else "it should have been sent again"


def _wrong_externals(
    rows: Sequence[Row], by_job: Mapping[str, Sequence[LedgerBuild]]
) -> Iterator[str]:
    """Yield what is wrong with the runs of builds that others started."""
    for row in rows:
        builds = [b for b in by_job[row["full_name"]] if b.number == row["build_number"]]
        for build in builds:
            right = row["status"] == STATUS.get(build.result or "") or build.lost
            if row["certainty"] == "CONFIRMED" and not right:
                yield f"external {row['full_name']} #{build.number}: {row['status']}; Jenkins: {build}"


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
    unannounced = seen and started == 0 and not seen_too_late
    if started > 1 or unannounced or failed != (not seen or seen_too_late):
        return f"events {kinds}"
    return ""
