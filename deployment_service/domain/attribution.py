"""Whose build is it? From what is said of a build to the run it belongs to. Pure.

The rules (docs/explanation/runs.md has the reasons): a build belongs to the run whose id it carries, if no lower
number carries it too; else to the run that has its number; else to the run that waits for its queue
item; else, unless a run that we sent is still without a number, it is external. Who only said that a
number is an external build's is overruled by a build that names a run of ours, or by Jenkins itself.
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
    "Jenkins prints this job's token in its console, so Jenkins itself is asked about the build"
)


class Verdict(StrEnum):
    """What became of a report. The words of ReportVerdict in the API."""

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
    """What identifies a build that somebody speaks of.

    ``run_id`` None with ``run_id_known`` means that it carries none. ``parameters`` is None if the
    sender didn't say. ``read``: it comes from Jenkins' own answer, so all that Jenkins knows is in it, its
    ``timestamp_ms`` too. ``by_token``: who said it has shown the job's token, and nothing better.
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
    """A deployment that is mapped to the job, since ``mapped_ms``."""

    deployment_id: uuid.UUID
    fixed_parameters: Mapping[str, str] = field(default_factory=dict)
    first_build: Build = field(default=Build(1, 1))
    mapped_ms: int = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose build it is. Exactly one of ``run``, ``external_of`` and ``verdict`` is set.

    ``reassign``: the run has a higher number now, which becomes an external run. ``release``: only a report gave the
    run its number, and the number is released. ``evict``: the external run that wrongly has the number.
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
    """Say whose build it is. ``runs`` are the runs of the job that could be concerned.

    ``builds_name_their_run``: the job defines our parameter (correlation RUN_ID). ``token_exposed``: anybody
    who reads Jenkins' console knows the job's token, so it ties no build to a run: Jenkins is asked.
    """
    build = Build(generation, build_ref.number)
    if build_ref.read:
        return _owner_of_read(
            build_ref, build, deployments, runs, builds_name_their_run=builds_name_their_run
        )
    owner = _owner_of_report(
        build_ref, build, deployments, runs, builds_name_their_run=builds_name_their_run
    )
    ties = owner.run is not None and not owner.run.shown
    if build_ref.by_token and token_exposed and ties:
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
    """Only a build that Jenkins has shown, or that an accepted run without a number waits for, has an owner."""
    named = next((run for run in runs if run.run_id == build_ref.run_id), None)
    if named is not None and named.build is not None and named.build.number == build.number:
        return Owner(run=named)
    shown = next((run for run in runs if run.shown and run.build == build), None)
    if shown is not None:
        if _names_another(shown, build_ref):
            return _pending("the build is known as that of another run: its job is read")
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
    return _pending("Jenkins has not shown this build yet: its job is read")


def _waits_for(run: Run, build: Build) -> bool:
    """Whether Jenkins has accepted the run, and this may be the number that it has got."""
    accepted = run.trigger_state is TriggerState.ACCEPTED and run.unresolved
    return accepted and build.number >= (run.first_build_number or 1)


def _names_another(shown: Run, build_ref: BuildRef) -> bool:
    """Whether a report names another run than what is stored for its number."""
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
    holder = _holder(build_ref, runs)
    # A number that was only reported gives way to what Jenkins shows under it.
    squatter = next((run for run in runs if run.build == build and run is not holder), None)
    named = next((run for run in runs if run.run_id == build_ref.run_id), None)
    if named is not None and named.source is RunSource.SERVICE and not _is_closed(named):
        owner = _named(named, build, holder or squatter, read=True)
        if owner is not None:
            return owner
    # Queue ids are reused after a crash: a build that could have named its run but didn't isn't ours.
    nameless = build_ref.run_id_known and builds_name_their_run
    waiting = None if nameless else _by_queue_item(build_ref, runs)
    if holder is not None:
        if waiting is not None and _may_be_evicted(holder, read=True):
            return Owner(run=waiting, evict=holder)
        return Owner(run=holder)
    if waiting is not None:
        return Owner(run=waiting, evict=squatter)
    if not nameless and _may_be_ours(build_ref, runs):
        return _pending("a run of ours has no build yet: Jenkins is asked whose this is")
    return replace(external_owner(build_ref, build, deployments), evict=squatter)


def _is_closed(run: Run) -> bool:
    """Whether an operator ended the run before it had a build: a build that carries its id is external."""
    return run.resolved and run.build is None


def _holder(build_ref: BuildRef, runs: Sequence[Run]) -> Run | None:
    """The run that has the build; under another generation too, which may have begun by mistake."""
    same = [run for run in runs if _is_same_build(run, build_ref)]
    named = [run for run in same if run.run_id == build_ref.run_id]
    newest = sorted(same, key=lambda run: run.build.generation if run.build else 0, reverse=True)
    return next(iter(named + newest), None)


def _is_same_build(run: Run, build_ref: BuildRef) -> bool:
    """Whether the run has the build that was read: by number and start; what was not shown, by what it names."""
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


def _named(named: Run, build: Build, holder: Run | None, *, read: bool) -> Owner | None:
    """The build carries the id of ``named``. None: it repeats the id of a lower one.

    A number from before our request can't be the run's, unless Jenkins says so itself: the job was made again.
    """
    if named.build is not None and named.build.number == build.number:
        return Owner(run=named) if holder is None or holder is named or not named.shown else None
    if build.number < (named.first_build_number or 1) and not read:
        return None
    free = holder is None or _may_be_evicted(holder, read=read)
    if named.build is None:
        if free:
            return Owner(run=named, evict=holder)
        return Owner(
            verdict=Verdict.AMBIGUOUS,
            message="the number belongs to another run",
            request_refresh=True,
        )
    lower = named.build.generation == build.generation and build.number < named.build.number
    if not lower and not named.shown and not named.settled:
        return _pending("only a report gave the run its number: its job is read")
    if not lower or not free:
        return None
    if read and named.build_timestamp_ms is None:
        return Owner(run=named, release=True, evict=holder, request_refresh=True)
    return Owner(run=named, reassign=True, evict=holder)


def _may_be_evicted(holder: Run, *, read: bool) -> bool:
    """Whether the number may be taken from its run: not shown yet, or an external one that Jenkins contradicts."""
    return not holder.shown or (holder.source is RunSource.EXTERNAL and read)


def _by_queue_item(build_ref: BuildRef, runs: Sequence[Run]) -> Run | None:
    """The run whose trigger was answered with the build's queue item."""
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
    """Whether a run that we sent has no number yet and this could be its build."""
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
    """Say whose a build is that no run of ours has."""
    if not deployments:
        return Owner(verdict=Verdict.NO_MAPPING, message="no deployment uses this job")
    young = [d for d in deployments if _not_older(build_ref, build, d)]
    if not young:
        return Owner(verdict=Verdict.STALE, message="the build is older than the deployment")
    fitting = [d for d in young if _fits(d.fixed_parameters, build_ref.parameters)]
    if len(fitting) == 1:
        return Owner(external_of=fitting[0].deployment_id)
    if not fitting:
        return Owner(
            verdict=Verdict.NO_MAPPING,
            message="the build's parameters are not those of a deployment that uses this job",
        )
    return Owner(
        verdict=Verdict.AMBIGUOUS,
        message="several deployments use this job and the parameters don't tell whose build it is",
        request_refresh=not build_ref.read,
    )


def _not_older(build_ref: BuildRef, build: Build, mapped: DeploymentOfJob) -> bool:
    """By its number, and by Jenkins' clock: a generation that begins by mistake makes no old build a new one."""
    first = mapped.first_build
    if (build.generation, build.number) < (first.generation, first.number):
        return False
    return (
        not build_ref.timestamp_ms or build_ref.timestamp_ms >= mapped.mapped_ms - _CLOCKS_DIFFER_MS
    )


def _fits(fixed: Mapping[str, str], said: Mapping[str, str] | None) -> bool:
    return said is None or all(said.get(name) == value for name, value in fixed.items())


def _pending(why: str) -> Owner:
    return Owner(verdict=Verdict.PENDING_ATTRIBUTION, message=why, request_refresh=True)


@dataclass(frozen=True, slots=True)
class Observation:
    """A claim about one build of one job, from a webhook or from reading.

    ``read_time``: when the read began, by the database's clock. ``building``: the read showed ``building:true``.
    ``unsaved_result``: the result of a build that ended and is not saved yet. ``interruption``: why it was
    interrupted, in Jenkins' words. ``started_by``: what started it, None if Jenkins did not show that.
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
    """What an observation did."""

    verdict: Verdict
    message: str = ""
    deployment_slug: str = ""
    old_status: str | None = None
    status: str | None = None
    request_refresh: bool = False
    run_id: uuid.UUID | None = None
