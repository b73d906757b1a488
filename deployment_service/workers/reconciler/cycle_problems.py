"""Notes which calls of a cycle fail, and whether job or provider has the problem (``domain/observation.py``)."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence

import structlog

from deployment_service.cicd.errors import ProviderError
from deployment_service.domain.attribution import Observation, Outcome, Verdict
from deployment_service.domain.observation import CycleObservation, Verdicts
from deployment_service.domain.problems import TOO_MANY_EXTERNAL_RUNS, Problem, ProblemReason
from deployment_service.storage import problems
from deployment_service.storage.database.pool import Database
from deployment_service.storage.problems import StoredProblems
from deployment_service.storage.runs.reconcile import ReadJob
from deployment_service.workers.controllers.controllers import (
    ControllerUnavailable,
    RequestsHeldBack,
)
from deployment_service.workers.reconciler.problem_steps import append_problem_events, note_problems

_log = structlog.get_logger(__name__)

NOT_SHOWN = Problem.of(
    ProblemReason.JOB_NOT_SHOWN,
    "Jenkins does not show the job to the account of the provider: it was deleted, renamed, or the account lacks "
    "Job/Read there. Restore the job or grant the permission.",
)
_CUT_SHORT = Problem.of(
    ProblemReason.SLOW,
    "Reading all runs took longer than a cycle may: Jenkins is too slow, or the database of the service. Look into "
    "the load of both.",
)


class CycleProblems:
    """The problems that one cycle of a provider finds: ``begin``, make the calls, then ``write``."""

    def __init__(self, tenant_id: uuid.UUID, provider_id: uuid.UUID) -> None:
        self._key = tenant_id, provider_id
        self._stored = StoredProblems()
        self._observed = CycleObservation()

    async def begin(self, database: Database) -> None:
        """Read the problems that are stored."""
        async with database.acquire() as connection:
            self._stored = await problems.stored(connection, *self._key)

    @property
    def to_probe(self) -> bool:
        """Whether to read the provider even without runs: to find out whether it answers again."""
        return self._stored.provider is not None or self._stored.held_up

    @contextlib.contextmanager
    def of_provider(self) -> Iterator[None]:
        """Note calls that concern no job in particular and fail."""
        try:
            yield
        except ProviderError as error:
            if not _is_ours(error):
                self._observed.failed(problem_of(error))
            raise

    def lists_read(self, failure: ProviderError | None) -> None:
        """Note that queue and executors were read, or that neither could be."""
        if failure is None:
            self._observed.answered()
        else:
            self._observed.failed(problem_of(failure))

    @contextlib.contextmanager
    def of_job(self, job: ReadJob) -> Iterator[None]:
        """Note calls about a job that fail."""
        try:
            yield
        except ProviderError as error:
            if not _is_ours(error):
                self._observed.job_failed(job.job_id, problem_of(error))
            raise

    def job_read(self, job: ReadJob, *, shown: bool) -> None:
        """Note an answer about a job: whether Jenkins shows it."""
        if shown:
            self._observed.job_shown(job.job_id)
        else:
            self._observed.job_failed(job.job_id, NOT_SHOWN)

    def note_outcomes(
        self, observations: Sequence[Observation], outcomes: Sequence[Outcome]
    ) -> int:
        """Note builds that were shown and are no runs yet because of the bound per hour; return how many."""
        if len(observations) != len(outcomes):
            return 0  # a job was deleted meanwhile: the next cycle decides
        deferred = [
            one.job_id
            for one, outcome in zip(observations, outcomes, strict=True)
            if outcome.verdict is Verdict.DEFERRED
        ]
        for job_id in deferred:
            self._observed.job_failed(job_id, TOO_MANY_EXTERNAL_RUNS)
        return len(deferred)

    def cut_short(self) -> None:
        """Note that the cycle took too long."""
        self._observed.cut_short(_CUT_SHORT)

    async def write(self, database: Database, *, event_after_s: float) -> bool:
        """Write what has changed; return whether events were appended.

        ``event_after_s``: how long a problem lasts before there is an event about it.
        """
        stored, verdicts = self._stored, self._observed.verdicts()
        await note_problems(database, *self._key, stored, verdicts)
        self._log_changes(verdicts)
        found = verdicts.provider is not None or any(verdicts.jobs.values())
        if not (found or stored.provider or stored.jobs or stored.events_due):
            return False
        return await append_problem_events(database, *self._key, after_s=event_after_s) is not None

    def _log_changes(self, verdicts: Verdicts) -> None:
        tenant_id, provider_id = map(str, self._key)
        names = {"tenant_id": tenant_id, "provider_id": provider_id}
        if verdicts.asked:
            _log_change(self._stored.provider, verdicts.provider, **names)
        for job_id, problem in verdicts.jobs.items():
            _log_change(self._stored.jobs.get(job_id), problem, job_id=str(job_id), **names)


def _log_change(before: Problem | None, now: Problem | None, **fields: str) -> None:
    if now is not None and (before is None or before.reason != now.reason):
        _log.warning("observation.problem", reason=str(now.reason), message=now.message, **fields)
    elif now is None and before is not None:
        _log.info("observation.problem_over", reason=str(before.reason), **fields)


def problem_of(error: ProviderError) -> Problem:
    """Return an error as a problem that can be stored."""
    return Problem.of(error.reason, error.detail)


def _is_ours(error: ProviderError) -> bool:
    """Return whether nothing was sent for a short time: the provider was just changed, or its budget is used up."""
    return isinstance(error, RequestsHeldBack) or (
        isinstance(error, ControllerUnavailable) and error.wait_s == 0
    )
