"""Attribution of builds to runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from deployment_service.domain.attribution import (
    BuildRef,
    DeploymentOfJob,
    Owner,
    Verdict,
    owner_of,
)
from deployment_service.domain.runs import Build, Run, RunSource, TriggerState

WEB, SHOP = UUID(int=1), UUID(int=2)
JOB = UUID(int=3)


def own(number: int, build: int | None = None, **more: object) -> Run:
    """A run of ours that has been sent."""
    run = Run(UUID(int=100 + number), WEB, number, JOB, RunSource.SERVICE, TriggerState.ACCEPTED)
    run = replace(run, first_build_number=5, build=Build(1, build) if build else None)
    return replace(run, **more)  # type: ignore[arg-type]


def ask(
    build_ref: BuildRef, *runs: Run, of: list[DeploymentOfJob] | None = None, by_run_id: bool = True
) -> Owner:
    mapped = [DeploymentOfJob(WEB)] if of is None else of
    return owner_of(build_ref, 1, mapped, runs, builds_name_their_run=by_run_id)


def test_a_build_belongs_to_the_run_that_it_names() -> None:
    run = own(1)
    assert ask(BuildRef(5, run.run_id, True), run).run == run


def test_a_lower_number_than_was_next_before_the_request_can_not_be_its_build() -> None:
    """A copy of our parameter from before, in a job that was restored."""
    run = own(1)
    assert ask(BuildRef(4, run.run_id, True), run).verdict is Verdict.PENDING_ATTRIBUTION


def test_a_rebuild_repeats_the_id_and_is_external() -> None:
    run = own(1, build=5, shown=True)
    assert ask(BuildRef(6, run.run_id, True, read=True), run).external_of == WEB


def test_a_number_that_was_only_reported_makes_no_build_a_rebuild() -> None:
    """The job is read first: Jenkins may have no such build, and this one is the run's own."""
    run = own(1, build=5)
    owner = ask(BuildRef(6, run.run_id, True, read=True), run)
    assert (owner.verdict, owner.request_refresh) == (Verdict.PENDING_ATTRIBUTION, True)
    settled = replace(run, settle_time=datetime(2026, 1, 1, tzinfo=UTC))
    assert ask(BuildRef(6, run.run_id, True, read=True), settled).external_of == WEB


def test_the_lowest_number_with_the_id_is_the_runs_build() -> None:
    """P2: also if the rebuild was heard of first."""
    run = own(1, build=6, shown=True, build_timestamp_ms=6)
    owner = ask(BuildRef(5, run.run_id, True, read=True), run)
    assert (owner.run, owner.reassign) == (run, True)


def test_a_report_that_names_no_run_waits_while_a_run_of_ours_has_no_number() -> None:
    owner = ask(BuildRef(5), own(1))
    assert (owner.verdict, owner.request_refresh) == (Verdict.PENDING_ATTRIBUTION, True)


def test_a_build_that_could_have_named_its_run_but_did_not_is_external() -> None:
    assert (
        ask(BuildRef(5, None, True, queue_id="38", read=True), own(1, queue_id="38")).external_of
        == WEB
    )


def test_where_builds_can_not_name_their_run_the_queue_item_ties_them() -> None:
    run = own(1, queue_id="38")
    assert ask(BuildRef(5, None, True, queue_id="38", read=True), run, by_run_id=False).run == run
    assert (
        ask(BuildRef(4, None, True, queue_id="38", read=True), run, by_run_id=False).external_of
        == WEB
    )


def test_a_known_number_with_another_queue_item_is_kept_until_the_job_is_read() -> None:
    """The job was made again, or Jenkins' queue ids started again."""
    assert (
        ask(BuildRef(5, queue_id="2"), own(1, build=5, queue_id="38")).verdict
        is Verdict.PENDING_ATTRIBUTION
    )


def test_builds_older_than_the_mapping_never_become_runs() -> None:
    mapped = [DeploymentOfJob(WEB, first_build=Build(1, 10))]
    assert ask(BuildRef(9, None, True), of=mapped).verdict is Verdict.STALE


def test_fixed_parameters_tell_whose_a_shared_jobs_build_is() -> None:
    mapped = [DeploymentOfJob(WEB, {"E": "web"}), DeploymentOfJob(SHOP, {"E": "shop"})]
    assert (
        ask(BuildRef(5, None, True, parameters={"E": "shop"}, read=True), of=mapped).external_of
        == SHOP
    )
    assert (
        ask(BuildRef(5, None, True, parameters={"E": "x"}, read=True), of=mapped).verdict
        is Verdict.NO_MAPPING
    )
    assert ask(BuildRef(5, read=True), of=mapped).verdict is Verdict.AMBIGUOUS
    assert ask(BuildRef(5, read=True), of=[]).verdict is Verdict.NO_MAPPING
