"""Checks before a run is triggered: its job can be built and takes the run's parameters unchanged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from deployment_service.cicd.job_rules import is_owned, lacks_parameters
from deployment_service.cicd.port import (
    RUN_ID_PARAMETER,
    CicdProvider,
    JobBuilds,
    JobView,
    QueueView,
)
from deployment_service.domain.definition import JobKind, JobRules, check_rules
from deployment_service.domain.errors import FailedPrecondition
from deployment_service.domain.job_parameters import (
    mismatch,
    referenced_builds,
    trim_error,
    trimmable_values,
)
from deployment_service.domain.jobs import Correlation
from deployment_service.domain.status import FailureCause
from deployment_service.storage.runs.dispatch import Claimed
from deployment_service.workers.dispatcher.run_secrets import exposed_secret

CANCELLED = (FailureCause.CANCELLED, "It was cancelled before Jenkins had it.")


def lacks(run: Claimed, job: JobView) -> bool:
    """Return whether the job lacks a parameter that its deployment defines, or our own."""
    return lacks_parameters(run.definitions, job, keeps_kinds=run.job_kind == JobKind.CONFIG_XML)


def why_not_sent(run: Claimed) -> tuple[FailureCause, str] | None:
    """Return why a WAITING run is ended without a request; None if it is to be sent. Reads nothing from Jenkins."""
    if run.cancel_requested:
        return CANCELLED
    if run.overdue:
        return (
            FailureCause.TRIGGER_DEADLINE,
            "Jenkins did not take it before the trigger deadline. Nothing was started; run it again."
            + last_answer(run.last_answer),
        )
    # The provider's rules may have changed since the deployment was created.
    kinds = frozenset(JobKind(kind) for kind in run.allowed_job_kinds)
    rules = JobRules(run.job_folder, tuple(run.allowed_folders), kinds)
    try:
        check_rules(JobKind(run.run_job_kind), run.full_name, rules)
    except FailedPrecondition as error:
        return FailureCause.TRIGGER_REJECTED, f"Nothing was sent to Jenkins: {error.message}"
    return None


async def prepared_job(
    run: Claimed, client: CicdProvider, may_repair: Callable[[Claimed], Awaitable[bool]]
) -> JobView | None:
    """Read the run's job, after declaring the parameters that a job of ours lacks.

    Its deployment has new parameters, or its script removed some. Parameters of the run are never declared: only
    callers with role definer decide what a job defines.
    """
    job = await client.read_job(run.full_name)
    if job is None or run.owner_deployment_id is None or not lacks(run, job):
        return job
    owner = run.owner_deployment_id
    if not await is_owned(client, job, owner, run.job_id) or not await may_repair(run):
        return job
    replace = run.job_kind != JobKind.CONFIG_XML
    await client.declare_parameters(run.full_name, str(owner), run.definitions, replace=replace)
    return await client.read_job(run.full_name)


async def why_not(
    run: Claimed, job: JobView | None, client: CicdProvider
) -> tuple[FailureCause, str] | None:
    """Return why a run cannot be triggered; None if it can. Called before anything is sent."""
    return (
        _job_trouble(run, job)
        or (job and exposed_secret(run, job))
        or await _trimmed(run, job, client)
        or await _missing_build(run, job, client)
    )


def _job_trouble(run: Claimed, job: JobView | None) -> tuple[FailureCause, str] | None:
    if job is None:
        return (
            FailureCause.JOB_MISSING,
            f"The job '{run.full_name}' doesn't exist in Jenkins, or our account can't see it.",
        )
    if not job.buildable:
        return (
            FailureCause.TRIGGER_REJECTED,
            f"The job '{run.full_name}' is disabled in Jenkins. Enable it, then run again.",
        )
    difference = mismatch(job.parameters, run.parameters)
    if difference is not None:
        return (
            FailureCause.JOB_PARAMETERS_MISMATCH,
            f"The job '{run.full_name}' would not take the run's parameters as they are: {difference}",
        )
    return None


async def _trimmed(
    run: Claimed, job: JobView | None, client: CicdProvider
) -> tuple[FailureCause, str] | None:
    """Refuse a run if Jenkins would trim one of its values. The JSON of a job does not show which it trims."""
    suspects = trimmable_values(job.parameters if job else (), run.parameters)
    trimmed = suspects and await client.trimmed_parameters(run.full_name)
    for name in sorted(suspects.intersection(trimmed or ())):
        return FailureCause.JOB_PARAMETERS_MISMATCH, trim_error(name, run.parameters[name])
    return None


async def _missing_build(
    run: Claimed, job: JobView | None, client: CicdProvider
) -> tuple[FailureCause, str] | None:
    """Refuse a run if one of its RUN parameters names a build that Jenkins does not have."""
    builds = referenced_builds(job.parameters if job else (), run.parameters)
    for name, (full_name, number) in builds.items():
        try:
            found = await client.read_build(full_name, number) is not None
        except ValueError:
            found = False
        if not found:
            return (
                FailureCause.JOB_PARAMETERS_MISMATCH,
                f"{name} is of the kind RUN: Jenkins has no build {number} of the job '{full_name}', or our "
                "account can't see it.",
            )
    return None


def proves_absence(run: Claimed, queue: QueueView, builds: JobBuilds, *, all_named: bool) -> bool:
    """Return whether Jenkins proves that no build came of a run's requests. The caller found none by the run's id.

    ``all_named``: each request carried the run's id. Without our parameter we cannot tell which build is ours, so
    absence proves nothing. It proves nothing either if a build or an item lacks the parameter: Jenkins drops
    parameters that the job does not define when the build starts. If the numbers have fallen the job was made again.
    """
    first, following = run.first_build_number or 1, builds.next_build_number
    if run.correlation != Correlation.RUN_ID or not all_named or first > following:
        return False
    since = {build.number: build for build in builds.builds if build.number >= first}
    shown = [build.parameters for build in since.values()]
    shown += [item.parameters for item in queue.items if item.job_full_name == run.full_name]
    named = all(RUN_ID_PARAMETER in parameters for parameters in shown)
    return named and all(number in since for number in range(first, following))


def last_answer(text: str | None) -> str:
    """Return the sentence that ends a failure's message with the last answer to the run's requests."""
    return f" The last answer: {text}" if text else ""


SERVER_ERRORS = (
    FailureCause.TRIGGER_REJECTED,
    "Jenkins answered twice with an internal error. See its log; bad parameters are the usual cause.",
)
REQUESTS_LOST = (
    FailureCause.TRIGGER_DEADLINE,
    "Requests to Jenkins were lost until the trigger deadline. Nothing was started; run it again.",
)
UNTRACEABLE = (
    FailureCause.TRIGGER_OUTCOME_UNKNOWN,
    f"Jenkins accepted the request, but its answer names no queue item and the job does not define "
    f"{RUN_ID_PARAMETER}: which build is this run's cannot be known. The build is listed as an external run. Let the "
    f"job define {RUN_ID_PARAMETER}, then run again.",
)
UNKNOWN = (
    FailureCause.TRIGGER_OUTCOME_UNKNOWN,
    "The request was sent and its answer lost, and Jenkins doesn't show what became of it. Look at the job in "
    "Jenkins before you run it again; if its build shows up, this run is corrected.",
)
