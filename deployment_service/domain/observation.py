"""Derive the observation problems of a provider and its jobs from the calls of one read cycle. Pure.

A failure is a problem of the provider if no call got a usable answer, else of the job. A single failing source (queue,
executors, one build) is no problem while the others answer, because they still show the ends of runs.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from deployment_service.domain.problems import Problem, ProblemReason

# Only Jenkins itself gives these answers, and they concern the requested object: Jenkins is up and accepts the account.
_OF_THE_JOB = frozenset(
    {
        ProblemReason.PERMISSION_MISSING,
        ProblemReason.JOB_NOT_SHOWN,
        ProblemReason.SERVER_ERROR,
        ProblemReason.MALFORMED_ANSWER,
    }
)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The problems that a cycle found; None means no problem. ``asked``: whether the provider was called at all."""

    asked: bool
    provider: Problem | None
    jobs: dict[uuid.UUID, Problem | None]


@dataclass(slots=True)
class CycleObservation:
    """Collects the results of the calls of one cycle."""

    _answered: bool = False
    _failed: Problem | None = None
    _cut_short: Problem | None = None
    _shown: set[uuid.UUID] = field(default_factory=set)
    _job_failed: dict[uuid.UUID, Problem] = field(default_factory=dict)

    def answered(self) -> None:
        """Record that a call about no particular job was answered."""
        self._answered = True

    def failed(self, problem: Problem) -> None:
        """Record that a source about no particular job could not be read. The first failure counts."""
        self._failed = self._failed or problem

    def cut_short(self, problem: Problem) -> None:
        """Record that the cycle took too long and ended before everything was read."""
        self._cut_short = problem

    def job_shown(self, job: uuid.UUID) -> None:
        """Record that Jenkins showed the job, or a build or queue item of it."""
        self._shown.add(job)

    def job_failed(self, job: uuid.UUID, problem: Problem) -> None:
        """Record that the job could not be read. The first failure counts."""
        self._job_failed.setdefault(job, problem)

    def verdicts(self) -> Verdicts:
        """Return the problem of the provider and of each job that was read."""
        failures = self._job_failed.values()
        answered = self._answered or bool(self._shown)
        if self._failed is None:
            answered = answered or any(problem.reason in _OF_THE_JOB for problem in failures)
        failed = None if answered else self._failed or next(iter(failures), None)
        provider = self._cut_short or failed
        jobs: dict[uuid.UUID, Problem | None] = dict.fromkeys(self._shown)
        for job, problem in self._job_failed.items():
            if provider is None or problem.reason in _OF_THE_JOB:
                jobs[job] = problem
            else:
                jobs.pop(job, None)  # unknown: the provider's problem hides the state of the job
        return Verdicts(answered or provider is not None, provider, jobs)
