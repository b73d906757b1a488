"""Derives from the calls of one reading cycle which of its provider and jobs can't be observed. Pure.

A failure is a problem of the smallest thing that explains it: of the provider if none of its calls got an answer
that can be used, else of the job. One source that fails alone (queue, executors, one build) is no problem while
the others answer: the ends of runs are still found.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from deployment_service.domain.problems import Problem, ProblemReason

# Only Jenkins itself can answer so, and only about what it was asked for: it is there and accepts the account.
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
    """The problems that a cycle found. None: there is none. ``asked``: whether any call was made to the provider."""

    asked: bool
    provider: Problem | None
    jobs: dict[uuid.UUID, Problem | None]


@dataclass(slots=True)
class CycleObservation:
    """Collects what the calls of one cycle came to."""

    _answered: bool = False
    _failed: Problem | None = None
    _cut_short: Problem | None = None
    _shown: set[uuid.UUID] = field(default_factory=set)
    _job_failed: dict[uuid.UUID, Problem] = field(default_factory=dict)

    def answered(self) -> None:
        """A call about no job in particular got its answer."""
        self._answered = True

    def failed(self, problem: Problem) -> None:
        """No source that is about no job in particular could be read. The first failure counts."""
        self._failed = self._failed or problem

    def cut_short(self, problem: Problem) -> None:
        """The cycle took too long and was ended before everything was read."""
        self._cut_short = problem

    def job_shown(self, job: uuid.UUID) -> None:
        """Jenkins showed the job, or a build or queue item of it."""
        self._shown.add(job)

    def job_failed(self, job: uuid.UUID, problem: Problem) -> None:
        """What was to be read of the job could not be read. The first failure counts."""
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
                jobs.pop(job, None)  # what its provider's problem hides stays as it is
        return Verdicts(answered or provider is not None, provider, jobs)
