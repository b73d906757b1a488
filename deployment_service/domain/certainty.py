"""How certain the end of a run is, and how reports and reads of it are merged. Pure.

The rules depend on times and ranks only, never on the order of processing. docs/explanation/certainty.md explains them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from deployment_service.domain.status import (
    RUNNING,
    Authority,
    Knowledge,
    Severity,
    presumed,
)


class Certainty(StrEnum):
    """How certain an end is. Only REPORTED leaves the run unsettled."""

    REPORTED = "REPORTED"
    CONFIRMED = "CONFIRMED"
    UNVERIFIABLE = "UNVERIFIABLE"

    @property
    def settled(self) -> bool:
        return self is not Certainty.REPORTED


@dataclass(frozen=True, slots=True)
class ReportedEnd:
    """An end that a webhook reported. ``time``: of the transaction that stored it, by the database's clock."""

    known: Knowledge
    time: datetime
    status_text: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a run: ``known`` is the point that is shown, the rest is what may still change it."""

    known: Knowledge
    reports: tuple[ReportedEnd, ...] = ()
    building_time: datetime | None = None
    absent_time: datetime | None = None

    @property
    def reported(self) -> ReportedEnd | None:
        """The highest reported end that no read has withdrawn."""
        return max(self.reports, key=lambda end: (end.known, end.time), default=None)


def add_report(before: Evidence, known: Knowledge, time: datetime, status_text: str) -> Evidence:
    """Merge what a webhook claimed at ``time``."""
    reports = before.reports
    if known.final:
        reports = (*reports, ReportedEnd(known, time, status_text))
    return _shown(before, known, reports, before.building_time, before.absent_time)


def add_read(before: Evidence, known: Knowledge, began: datetime, *, building: bool) -> Evidence:
    """Merge an answer of Jenkins that names the build. ``building``: it says ``building:true``."""
    building_time = later(before.building_time, began) if building else before.building_time
    absent_time = before.absent_time
    if absent_time is not None and (began > absent_time or known.final):
        absent_time = None
    return _shown(before, known, before.reports, building_time, absent_time)


def add_absence(before: Evidence, conclusion: Knowledge, time: datetime) -> Evidence:
    """Merge the conclusion that Jenkins has no (more) build of the run.

    ``time``: when the read began that it rests on. ``conclusion`` is shown if there is no reported end.
    """
    disproved = before.building_time is not None and before.building_time > time
    if before.known.authority >= Authority.READ or disproved:
        return before
    known = before.known if before.reports else conclusion
    return Evidence(known, before.reports, before.building_time, later(before.absent_time, time))


def certainty_of(evidence: Evidence) -> Certainty | None:
    """How certain the shown end is; None if there is none. A presumption counts as UNVERIFIABLE."""
    if not evidence.known.final:
        return None
    if evidence.known.authority >= Authority.READ:
        return Certainty.CONFIRMED
    return Certainty.UNVERIFIABLE if evidence.absent_time else Certainty.REPORTED


def later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def _shown(
    before: Evidence,
    claimed: Knowledge,
    reports: Iterable[ReportedEnd],
    building_time: datetime | None,
    absent_time: datetime | None,
) -> Evidence:
    left = _not_dominated([r for r in reports if not building_time or r.time >= building_time])
    certain = max(before.known, claimed)
    if certain.authority >= Authority.READ:
        known = certain
    elif left:
        known = max(report.known for report in left)
    elif absent_time is not None:
        presumption = before.known.authority is Authority.PRESUMPTION
        known = before.known if presumption else presumed(Severity.FAILURE)
    else:
        # An end that was withdrawn, or an absence that was disproved, leaves a build that runs.
        known = max(_unended(before.known), _unended(claimed))
    return Evidence(known, left, building_time, absent_time)


def _unended(known: Knowledge) -> Knowledge:
    return RUNNING if known.final else known


def _not_dominated(reports: list[ReportedEnd]) -> tuple[ReportedEnd, ...]:
    """Leave out reports that another one matches or exceeds in rank and in time: they can never be shown."""
    left: list[ReportedEnd] = []
    newest_first = sorted(reports, key=lambda r: (r.time, r.known, r.status_text), reverse=True)
    for report in newest_first:
        if not left or report.known > left[-1].known:
            left.append(report)
    return tuple(reversed(left))
