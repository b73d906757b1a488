"""Attribution: find the run that a build belongs to. Pure.

The rules in order (docs/explanation/runs.md has the reasons):

1. A build belongs to the run whose id it carries, if no lower number carries the same id.
2. Else it belongs to the run that has its number.
3. Else it belongs to the run that waits for its queue item.
4. Else it is external, unless a run that we sent has no number yet.

A reported number of an external run yields to a build that carries the id of one of our runs, and to a read from
Jenkins.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from deployment_service.domain.actors import Actor
from deployment_service.domain.parameters import RUN_ID_PARAMETER
from deployment_service.domain.runs import Build, Run, RunSource, TriggerState
from deployment_service.domain.status import BuildState

_CLOCKS_DIFFER_MS = 3_600_000
EXPOSED = (
    "Jenkins prints this job's token in its console, so the build is read from Jenkins instead."
)


class Verdict(StrEnum):
    """The result of a report. The values are those of ``ReportVerdict`` in the API."""

    APPLIED = "APPLIED"
    DUPLICATE = "DUPLICATE"
    STALE = "STALE"
    NO_MAPPING = "NO_MAPPING"
    WRONG_JOB = "WRONG_JOB"
    AMBIGUOUS = "AMBIGUOUS"
    RETRY = "RETRY"
    INVALID = "INVALID"
    PENDING_ATTRIBUTION = "PENDING_ATTRIBUTION"
    DEFERRED = "DEFERRED"
    NO_SUCH_BUILD = "NO_SUCH_BUILD"
    DISPROVED = "DISPROVED"
    TESTED = "TESTED"


@dataclass(frozen=True, slots=True)
class BuildRef:
    """The identifying data of a build in a report or a read.

    ``run_id``: None with ``run_id_known`` means that the build carries no run id.
    ``parameters``: None if the sender did not include them.
    ``read``: the data comes from an answer of Jenkins, so it is complete and includes ``timestamp_ms``.
    ``by_token``: the report was authenticated by the job's token only, not by a signature.
    """

    number: int
    run_id: uuid.UUID | None = None
    run_id_known: bool = False
    queue_id: str | None = None
    parameters: Mapping[str, str] | None = None
    read: bool = False
    by_token: bool = False
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class DeploymentOfJob:
    """A deployment that is mapped to the job. ``mapped_ms``: since when, in ms since the epoch."""

    deployment_id: uuid.UUID
    fixed_parameters: Mapping[str, str] = field(default_factory=dict)
    first_build: Build = field(default=Build(1, 1))
    mapped_ms: int = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a build. Exactly one of ``run``, ``external_of`` and ``verdict`` is set.

    ``reassign``: the run has a higher number now; the build with that number becomes an external run.
    ``release``: the run loses its number, because only a report had set it.
    ``evict``: the external run that has the number by mistake.
    ``request_refresh``: the job must be read soon.
    """

    run: Run | None = None
    external_of: uuid.UUID | None = None
    verdict: Verdict | None = None
    message: str = ""
    reassign: bool = False
    release: bool = False
    evict: Run | None = None
    request_refresh: bool = False


def owner_of(
    build_ref: BuildRef,
    generation: int,
    deployments: Sequence[DeploymentOfJob],
    runs: Sequence[Run],
    *,
    builds_name_their_run: bool,
    token_exposed: bool = False,
) -> Owner:
    """Return the owner of a build.

    ``runs``: the runs of the job that could own it.
    ``builds_name_their_run``: the job defines our parameter (correlation RUN_ID).
    ``token_exposed``: the job's token is printed in Jenkins' console, so every reader of the console can send reports.
    Such a report attributes no build to a run; the build is read from Jenkins instead.
    """
    build = Build(generation, build_ref.number)
    if build_ref.read:
        return _owner_of_read(
            build_ref, build, deployments, runs, builds_name_their_run=builds_name_their_run
        )
    owner = _owner_of_report(
        build_ref, build, deployments, runs, builds_name_their_run=builds_name_their_run
    )
    attributes_new_build = owner.run is not None and not owner.run.shown
    if build_ref.by_token and token_exposed and attributes_new_build:
        return Owner(verdict=Verdict.DEFERRED, message=EXPOSED, request_refresh=True)
    return owner


def _owner_of_report(
    build_ref: BuildRef,
    build: Build,
    deployments: Sequence[DeploymentOfJob],
    runs: Sequence[Run],
    *,
    builds_name_their_run: bool,
) -> Owner:
    """Return the owner of a reported build.

    Only two kinds of build have one: a build that Jenkins has shown, and the build that an accepted run without a
    number waits for. Everything else stays pending.
    """
    named = next((run for run in runs if run.run_id == build_ref.run_id), None)
    if named is not None and named.build is not None and named.build.number == build.number:
        return Owner(run=named)
    shown = next((run for run in runs if run.shown and run.build == build), None)
    if shown is not None:
        if _names_another(shown, build_ref):
            return _pending(
                "Jenkins has shown this build as the build of another run: its job is read again."
            )
        return Owner(run=shown)
    nameless = build_ref.run_id_known and builds_name_their_run
    own = named if nameless or named else _by_queue_item(build_ref, runs)
    if own is not None and _waits_for(own, build):
        return Owner(run=own)
    if own is None and not nameless:
        held = (run for run in runs if run.build == build and run.source is RunSource.SERVICE)
        own = next((run for run in held if _same_queue_item(run, build_ref)), None)
        if own is not None:
            return Owner(run=own)
    external = external_owner(build_ref, build, deployments)
    if external.verdict in (Verdict.NO_MAPPING, Verdict.STALE):
        return external
    return _pending("Jenkins has not shown this build yet: its job is read.")


def _waits_for(run: Run, build: Build) -> bool:
    """Return whether Jenkins has accepted the run and the build may be the one that it started for it."""
    accepted = run.trigger_state is TriggerState.ACCEPTED and run.unresolved
    return accepted and build.number >= (run.first_build_number or 1)


def _names_another(shown: Run, build_ref: BuildRef) -> bool:
    """Return whether a report carries another run id than the one that is stored for its number."""
    if build_ref.run_id is None:
        return False
    if shown.source is RunSource.SERVICE:
        return shown.run_id != build_ref.run_id
    return shown.parameters.get(RUN_ID_PARAMETER) != str(build_ref.run_id)


def _same_queue_item(run: Run, build_ref: BuildRef) -> bool:
    return bool(build_ref.queue_id) and build_ref.queue_id == run.queue_id


def _owner_of_read(
    build_ref: BuildRef,
    build: Build,
    deployments: Sequence[DeploymentOfJob],
    runs: Sequence[Run],
    *,
    builds_name_their_run: bool,
) -> Owner:
    """Return the owner of a build that was read from Jenkins."""
    holder = _holder(build_ref, runs)
    # The read build replaces a run that has this number only by a report.
    reported_holder = next((run for run in runs if run.build == build and run is not holder), None)
    named = next((run for run in runs if run.run_id == build_ref.run_id), None)
    if named is not None and named.source is RunSource.SERVICE and not _is_closed(named):
        owner = _owner_by_run_id(named, build, holder or reported_holder)
        if owner is not None:
            return owner
    # Queue ids are reused after a crash of Jenkins. If the job defines our parameter, a build without it is not ours.
    nameless = build_ref.run_id_known and builds_name_their_run
    waiting = None if nameless else _by_queue_item(build_ref, runs)
    if holder is not None:
        if waiting is not None and _may_be_evicted(holder):
            return Owner(run=waiting, evict=holder)
        return Owner(run=holder)
    if waiting is not None:
        return Owner(run=waiting, evict=reported_holder)
    if not nameless and _may_be_ours(build_ref, runs):
        return _pending(
            "A run of this job has no build yet, and this may be it: the job is read again."
        )
    return replace(external_owner(build_ref, build, deployments), evict=reported_holder)


def _is_closed(run: Run) -> bool:
    """Return whether an operator ended the run before it had a build. A build that carries its id is then external."""
    return run.resolved and run.build is None


def _holder(build_ref: BuildRef, runs: Sequence[Run]) -> Run | None:
    """Return the run that has the build, of any generation: a generation may have begun by mistake."""
    same = [run for run in runs if _is_same_build(run, build_ref)]
    named = [run for run in same if run.run_id == build_ref.run_id]
    newest = sorted(same, key=lambda run: run.build.generation if run.build else 0, reverse=True)
    return next(iter(named + newest), None)


def _is_same_build(run: Run, build_ref: BuildRef) -> bool:
    """Return whether the run has the build that was read.

    A shown build is identified by number and start time, any other build by run id or queue item.
    """
    if run.build is None or run.build.number != build_ref.number:
        return False
    if run.shown:
        times = (run.build_timestamp_ms, build_ref.timestamp_ms)
        return times[0] == times[1] or not all(times)
    if run.source is RunSource.EXTERNAL:
        return True
    if build_ref.run_id is not None:
        return run.run_id == build_ref.run_id
    return _same_queue_item(run, build_ref)


def _owner_by_run_id(named: Run, build: Build, holder: Run | None) -> Owner | None:
    """Return the owner of a read build that carries the id of ``named``.

    Return None if the build repeats the id of a lower build. A number from before our request is possible: the job
    was deleted and created again.
    """
    if named.build is not None and named.build.number == build.number:
        return Owner(run=named) if holder is None or holder is named or not named.shown else None
    available = holder is None or _may_be_evicted(holder)
    if named.build is None:
        if available:
            return Owner(run=named, evict=holder)
        return Owner(
            verdict=Verdict.AMBIGUOUS,
            message="The build number belongs to another run.",
            request_refresh=True,
        )
    lower = named.build.generation == build.generation and build.number < named.build.number
    if not lower and not named.shown and not named.settled:
        return _pending("The build number of the run comes from a report only: its job is read.")
    if not lower or not available:
        return None
    if named.build_timestamp_ms is None:
        return Owner(run=named, release=True, evict=holder, request_refresh=True)
    return Owner(run=named, reassign=True, evict=holder)


def _may_be_evicted(holder: Run) -> bool:
    """Return whether a read may take the number from its run: the run is external, or Jenkins has not shown it."""
    return not holder.shown or holder.source is RunSource.EXTERNAL


def _by_queue_item(build_ref: BuildRef, runs: Sequence[Run]) -> Run | None:
    """Return the run whose trigger was answered with the build's queue item; None if there is none."""
    if not build_ref.queue_id or build_ref.run_id is not None:
        return None
    return next(
        (
            run
            for run in runs
            if run.unresolved
            and run.queue_id == build_ref.queue_id
            and build_ref.number >= (run.first_build_number or 1)
        ),
        None,
    )


def _may_be_ours(build_ref: BuildRef, runs: Sequence[Run]) -> bool:
    """Return whether a run that we sent has no number yet and this could be its build."""
    if build_ref.run_id is not None:
        return False
    return any(
        run.unresolved
        and run.trigger_state in (TriggerState.SENDING, TriggerState.ACCEPTED)
        and build_ref.number >= (run.first_build_number or 1)
        and not (build_ref.queue_id and run.queue_id and run.queue_id != build_ref.queue_id)
        for run in runs
    )


def external_owner(
    build_ref: BuildRef, build: Build, deployments: Sequence[DeploymentOfJob]
) -> Owner:
    """Return the deployment that gets an external run for the build, or the verdict if none does."""
    if not deployments:
        return Owner(verdict=Verdict.NO_MAPPING, message="No deployment uses this job.")
    mapped = [d for d in deployments if _not_older(build_ref, build, d)]
    if not mapped:
        return Owner(verdict=Verdict.STALE, message="The build is older than the deployment.")
    matching = [d for d in mapped if _matches(d.fixed_parameters, build_ref.parameters)]
    if len(matching) == 1:
        return Owner(external_of=matching[0].deployment_id)
    if not matching:
        return Owner(
            verdict=Verdict.NO_MAPPING,
            message="The build's parameters match no deployment that uses this job.",
        )
    return Owner(
        verdict=Verdict.AMBIGUOUS,
        message="Several deployments use this job, and the build's parameters match more than one of them.",
        request_refresh=not build_ref.read,
    )


def _not_older(build_ref: BuildRef, build: Build, mapped: DeploymentOfJob) -> bool:
    """Return whether the build is not older than the mapping, by its number and by Jenkins' clock.

    The clock is compared too: if a generation begins by mistake, an old build must not count as a new one.
    """
    first = mapped.first_build
    if (build.generation, build.number) < (first.generation, first.number):
        return False
    return (
        not build_ref.timestamp_ms or build_ref.timestamp_ms >= mapped.mapped_ms - _CLOCKS_DIFFER_MS
    )


def _matches(fixed: Mapping[str, str], reported: Mapping[str, str] | None) -> bool:
    return reported is None or all(reported.get(name) == value for name, value in fixed.items())


def _pending(reason: str) -> Owner:
    return Owner(verdict=Verdict.PENDING_ATTRIBUTION, message=reason, request_refresh=True)


@dataclass(frozen=True, slots=True)
class Observation:
    """An observation of one build of one job, from a webhook or from a read.

    ``read_time``: when the read began, by the database's clock.
    ``building``: the read showed ``building:true``.
    ``unsaved_result``: the result of a build that has ended and is not saved yet.
    ``interruption``: why the build was interrupted, in Jenkins' words.
    ``started_by``: the actor that started the build; None if Jenkins did not show it.
    """

    job_id: uuid.UUID
    build_ref: BuildRef
    state: BuildState
    status_text: str = ""
    timestamp_ms: int | None = None
    waiting_for_input: bool = False
    job_path: str = ""
    read_time: datetime | None = None
    building: bool = False
    unsaved_result: str = ""
    interruption: str = ""
    started_by: Actor | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an observation."""

    verdict: Verdict
    message: str = ""
    deployment_slug: str = ""
    old_status: str | None = None
    status: str | None = None
    request_refresh: bool = False
    run_id: uuid.UUID | None = None
