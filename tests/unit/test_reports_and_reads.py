"""Reports and reads of a job's builds in any order, with attribution (promises P2 and P7).

Jenkins has some builds, each carrying our run's id or not. Reports say anything, in any order; reads say what was true
when they began. The rules run as in a transaction that never ends, without a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from deployment_service.domain.attribution import (
    BuildRef,
    DeploymentOfJob,
    Observation,
    Verdict,
)
from deployment_service.domain.certainty import Certainty
from deployment_service.domain.events import EventSource
from deployment_service.domain.runs import Build, Run, RunSource, TriggerState
from deployment_service.domain.status import Authority as By
from deployment_service.domain.status import (
    BuildState,
    DeploymentStatus,
    Severity,
    Stage,
    UnstablePolicy,
    deployment_status,
    from_phase,
    from_read,
)
from deployment_service.storage.reports.reports import PendingDelivery, ReportedJob
from deployment_service.storage.runs.runs import DeploymentState
from deployment_service.unit_of_work.run_unit_of_work import RunUnitOfWork
from tests.unit.test_certainty import RESULTS, at

WEB, JOB, RUN, STRANGE = UUID(int=1), UUID(int=3), UUID(int=7), UUID(int=8)
CONFIRMED = BuildState(Stage.FINAL, By.READ, Severity.SUCCESS)
NUMBERS = st.integers(1, 3)


@dataclass(frozen=True)
class Report:
    """A claim about a build, true or not, that was stored at ``second``."""

    number: int
    named: UUID | None
    phase: str
    second: int
    result: str


@dataclass(frozen=True)
class Read:
    """An answer of Jenkins that names a build; the read began at ``second``."""

    number: int
    second: int


@dataclass(frozen=True)
class Truth:
    """A build in Jenkins: whether it carries our run's id, when it ended, and how."""

    ours: bool
    end: int
    result: str


Jenkins = Mapping[int, Truth]
Step = Report | Read
TO_THE_END = [Read(number, 10) for number in (1, 2, 3)]


class World:
    """One job with one deployment."""

    def __init__(self, *runs: Run) -> None:
        status = runs[-1].status if runs else DeploymentStatus.PENDING
        unit = RunUnitOfWork(cast("Any", None), UUID(int=9), EventSource.READ, at(100))
        completed = [run.run_id for run in runs if run.state == CONFIRMED]
        self.deployment = DeploymentState(
            *(WEB, "web", status, 1, UnstablePolicy.FAILED),
            current_run_id=runs[-1].run_id if runs else None,
            last_completed_run_id=completed[-1] if completed else None,
        )
        self.job = ReportedJob(JOB, "web", 1, True, "", (0, 0, 0), False, None)
        unit._jobs, unit._mapped = {JOB: self.job}, {JOB: [DeploymentOfJob(WEB)]}
        unit._deployments, unit._announced = {WEB: self.deployment}, {WEB: status}
        unit._runs, unit._next_numbers = {run.run_id: run for run in runs}, {WEB: 10}
        self.unit = unit

    def process(self, steps: Iterable[Step], jenkins: Jenkins) -> None:
        for step in steps:
            if isinstance(step, Report):
                self.report(step)
            elif step.number in jenkins:
                self.read(step, jenkins[step.number])

    def report(self, step: Report) -> None:
        known = from_phase(step.phase, step.result)
        build_ref = BuildRef(step.number, step.named, True)
        seen = Observation(JOB, build_ref, known, step.result, read_time=at(step.second))
        if self.unit.observe(seen).verdict is Verdict.PENDING_ATTRIBUTION:
            kept = PendingDelivery(
                *(0, JOB, step.number, known, step.result, None, at(step.second), step.named)
            )
            self.unit._pending.setdefault((JOB, step.number), []).append(kept)

    def read(self, step: Read, truth: Truth) -> None:
        finished = step.second >= truth.end
        self.unit.observe(
            Observation(
                JOB,
                BuildRef(
                    *(step.number, RUN if truth.ours else None, True),
                    parameters={},
                    read=True,
                    timestamp_ms=step.number,
                ),
                from_read(finished=finished, result=truth.result),
                truth.result if finished else "RUNNING",
                step.number,
                read_time=at(step.second),
                building=not finished,
            )
        )

    def read_to_the_end(self, jenkins: Jenkins) -> None:
        """As the reconciler does: first each number that was only reported, then the whole job."""
        for run in self.runs:
            if run.build is None or run.shown:
                continue
            truth = jenkins.get(run.build.number)
            if truth is None or truth.ours != (run.run_id == RUN):
                self.unit.detach_build(run)  # ReconcileSteps.not_its_build
        self.process(TO_THE_END, jenkins)

    @property
    def runs(self) -> list[Run]:
        return list(self.unit._runs.values())

    def meaning(self) -> tuple[object, ...]:
        """What is told of the builds that Jenkins has, and of the deployment."""
        current = self.unit._runs.get(self.deployment.current_run_id or STRANGE)
        builds = sorted(
            (run.build.number, str(run.source), str(run.status), str(run.certainty), run.result)
            for run in self.runs
            if run.build is not None and run.shown
        )
        return builds, self.deployment.status, current and (current.build, current.certainty)


def accepted() -> Run:
    """Our run, which Jenkins has accepted and which has no build yet."""
    return Run(
        *(RUN, WEB, 1, JOB, RunSource.SERVICE, TriggerState.ACCEPTED),
        status=DeploymentStatus.RUNNING,
        first_build_number=1,
    )


def confirmed(build: Build) -> Run:
    """Our run, whose build Jenkins has shown to the end."""
    return Run(
        *(RUN, WEB, 1, JOB, RunSource.SERVICE, TriggerState.ACCEPTED, CONFIRMED),
        *(DeploymentStatus.COMPLETED, "SUCCESS", Certainty.CONFIRMED, at(0)),
        build=build,
        build_timestamp_ms=build.number,
        shown=True,
        end_time=at(0),
    )


reports = st.builds(
    Report,
    NUMBERS,
    st.sampled_from([None, RUN, STRANGE]),
    st.sampled_from(["STARTED", "COMPLETED", "FINALIZED", "step"]),
    st.integers(0, 9),
    st.sampled_from([*RESULTS, "whatever"]),
)
reads = st.builds(Read, NUMBERS, st.integers(0, 9))
jenkinses = st.dictionaries(
    NUMBERS,
    st.builds(Truth, st.booleans(), st.integers(1, 9), st.sampled_from(RESULTS)),
    max_size=3,
)


@given(st.lists(reports, max_size=8))
def test_reports_alone_make_no_end_certain_and_no_build_a_run(steps: Sequence[Report]) -> None:
    """P7, with a run that waits for its build: only that run can be meant, and its end is REPORTED."""
    world = World(accepted())
    world.process(steps, {})
    (run,) = world.runs
    assert (run.run_id, run.shown, run.settled) == (RUN, False, False)
    assert run.certainty in (None, Certainty.REPORTED)
    assert {event.certainty for event in world.unit._events} <= {None, Certainty.REPORTED}
    assert world.deployment.current_run_id == RUN
    assert world.deployment.last_completed_run_id is None
    assert world.job.status == ""
    if all(step.named != RUN for step in steps):
        assert (run, world.unit._events) == (accepted(), [])


@given(st.lists(reports, max_size=8), st.sampled_from(["none", "waiting", "sending", "confirmed"]))
def test_no_report_changes_a_deployment_through_a_build_that_jenkins_has_not_shown(
    steps: Sequence[Report], case: str
) -> None:
    """P7: whatever run it names, if Jenkins has not accepted that run or has shown its build."""
    own = Run(*(RUN, WEB, 1, JOB, RunSource.SERVICE, TriggerState.WAITING))
    runs = {
        "none": [],
        "waiting": [own],
        "sending": [Run(*(RUN, WEB, 1, JOB, RunSource.SERVICE, TriggerState.SENDING))],
        "confirmed": [confirmed(Build(1, 1))],
    }[case]
    world = World(*runs)
    world.process(steps, {})
    before = World(*runs)
    assert world.deployment == before.deployment
    assert world.unit._events == []
    assert [(r.run_id, r.status, r.certainty, r.build) for r in world.runs] == [
        (r.run_id, r.status, r.certainty, r.build) for r in runs
    ]


@settings(max_examples=300)
@given(
    jenkinses,
    st.lists(reports | reads, max_size=6),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_once_all_builds_were_read_nothing_depends_on_the_order(
    jenkins: Jenkins, steps: Sequence[Step], ours: bool, random: Any
) -> None:
    """P2: reads that began early may be processed late, reports come twice, and lies leave no trace."""
    runs = [accepted()] if ours else []
    shuffled = [*steps, *TO_THE_END, *random.sample(steps, random.randint(0, len(steps)))]
    random.shuffle(shuffled)
    one, other = World(*runs), World(*runs)
    for world, order in ((one, steps), (other, shuffled)):
        world.process(order, jenkins)
        world.read_to_the_end(jenkins)
    for run in (*one.runs, *other.runs):
        assert run.build is not None or run.run_id == RUN, "no run was made of a build for nothing"
    named = [number for number in sorted(jenkins) if jenkins[number].ours and ours]
    if ours and not named:
        # Its build is still to come: only the others are certain.
        assert one.meaning()[0] == other.meaning()[0]
        return
    assert one.meaning() == other.meaning()
    builds, status, _ = one.meaning()
    assert builds == [
        (
            number,
            "SERVICE" if number in named[:1] else "EXTERNAL",
            str(deployment_status(from_read(finished=True, result=truth.result), _FAILED)),
            "CONFIRMED",
            truth.result,
        )
        for number, truth in sorted(jenkins.items())
    ]
    newest = jenkins[max(jenkins)].result if jenkins else None
    expected = (
        deployment_status(from_read(finished=True, result=newest), _FAILED) if newest else None
    )
    assert status == (expected or DeploymentStatus.PENDING)


_FAILED = UnstablePolicy.FAILED
