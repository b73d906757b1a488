"""The certainty of the end of a run, and the merge of reports and reads. Pure.

The rules depend on times and ranks only, not on the order of processing. docs/explanation/certainty.md explains them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from deployment_service.domain.status import (
    RUNNING,
    Authority,
    BuildState,
    Severity,
    presumed,
)


class Certainty(StrEnum):
    """The certainty of an end. A run is settled unless its end is REPORTED."""

    REPORTED = "REPORTED"
    CONFIRMED = "CONFIRMED"
    UNVERIFIABLE = "UNVERIFIABLE"

    @property
    def settled(self) -> bool:
        return self is not Certainty.REPORTED


@dataclass(frozen=True, slots=True)
class ReportedEnd:
    """An end that a webhook reported. ``time``: when the transaction stored it, by the database's clock."""

    state: BuildState
    time: datetime
    status_text: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence about a run. ``state`` is the state that is shown; the other fields may still change it."""

    state: BuildState
    reports: tuple[ReportedEnd, ...] = ()
    building_time: datetime | None = None
    absent_time: datetime | None = None

    @property
    def reported(self) -> ReportedEnd | None:
        """Return the highest reported end that no read has withdrawn."""
        return max(self.reports, key=lambda end: (end.state, end.time), default=None)


def add_report(before: Evidence, state: BuildState, time: datetime, status_text: str) -> Evidence:
    """Merge the status that a webhook reported at ``time``."""
    reports = before.reports
    if state.final:
        reports = (*reports, ReportedEnd(state, time, status_text))
    return _shown(before, state, reports, before.building_time, before.absent_time)


def add_read(before: Evidence, state: BuildState, began: datetime, *, building: bool) -> Evidence:
    """Merge a read that began at ``began`` and shows the build. ``building``: it showed ``building:true``."""
    building_time = later(before.building_time, began) if building else before.building_time
    absent_time = before.absent_time
    if absent_time is not None and (began > absent_time or state.final):
        absent_time = None
    return _shown(before, state, before.reports, building_time, absent_time)


def add_absence(before: Evidence, conclusion: BuildState, time: datetime) -> Evidence:
    """Merge the conclusion that Jenkins has no build of the run, or has it no longer.

    ``time``: when the read began that proves the absence.
    ``conclusion``: the state that is shown if there is no reported end.
    """
    disproved = before.building_time is not None and before.building_time > time
    if before.state.authority >= Authority.READ or disproved:
        return before
    state = before.state if before.reports else conclusion
    return Evidence(state, before.reports, before.building_time, later(before.absent_time, time))


def certainty_of(evidence: Evidence) -> Certainty | None:
    """Return the certainty of the shown end; None if the run has not ended. A presumption counts as UNVERIFIABLE."""
    if not evidence.state.final:
        return None
    if evidence.state.authority >= Authority.READ:
        return Certainty.CONFIRMED
    return Certainty.UNVERIFIABLE if evidence.absent_time else Certainty.REPORTED


def later(one: datetime | None, other: datetime) -> datetime:
    """Return the later of two times; the second one if the first is None."""
    return other if one is None else max(one, other)


def _shown(
    before: Evidence,
    claimed: BuildState,
    reports: Iterable[ReportedEnd],
    building_time: datetime | None,
    absent_time: datetime | None,
) -> Evidence:
    standing = _not_dominated([r for r in reports if not building_time or r.time >= building_time])
    certain = max(before.state, claimed)
    if certain.authority >= Authority.READ:
        state = certain
    elif standing:
        state = max(report.state for report in standing)
    elif absent_time is not None:
        presumption = before.state.authority is Authority.PRESUMPTION
        state = before.state if presumption else presumed(Severity.FAILURE)
    else:
        # The end was withdrawn, or the absence was disproved: the build runs.
        state = max(_unended(before.state), _unended(claimed))
    return Evidence(state, standing, building_time, absent_time)


def _unended(state: BuildState) -> BuildState:
    return RUNNING if state.final else state


def _not_dominated(reports: list[ReportedEnd]) -> tuple[ReportedEnd, ...]:
    """Drop each report that another one matches or exceeds in rank and in time: it can never be shown."""
    standing: list[ReportedEnd] = []
    newest_first = sorted(reports, key=lambda r: (r.time, r.state, r.status_text), reverse=True)
    for report in newest_first:
        if not standing or report.state > standing[-1].state:
            standing.append(report)
    return tuple(reversed(standing))
