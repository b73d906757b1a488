"""Duplicate builds: when a second build with a run's id may be stopped, and the event about it (promise P9). Pure.

Plugins that retry a build and people who rebuild it copy its parameters and causes. So a build is stopped only on
evidence that nothing else can produce: a request of ours that Jenkins never answered.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployment_service.domain.events import EventType
from deployment_service.domain.runs import Run, Transition
from deployment_service.domain.status import DeploymentStatus


@dataclass(frozen=True, slots=True)
class SentAttempts:
    """Counts of the trigger requests that were recorded for a run.

    ``unanswered``: requests that Jenkins never answered.
    ``answered``: requests that Jenkins accepted.
    ``stopped``: builds with the run's id that the service has stopped.
    """

    unanswered: int
    answered: int
    stopped: int

    @property
    def unexplained(self) -> int:
        """Return how many unanswered requests match no build. Each justifies one stop.

        The run's own build matches one of them, unless Jenkins accepted another request of the run.
        """
        return self.unanswered - (0 if self.answered else 1) - self.stopped


@dataclass(frozen=True, slots=True)
class DuplicateBuild:
    """A second build, as Jenkins shows it. Times are in ms by Jenkins' clock.

    ``only_our_cause``: our named account is the only cause of its start.
    ``own_end_ms``: when the run's own build ended; None while that runs.
    """

    only_our_cause: bool
    started_ms: int | None
    own_end_ms: int | None


def unmet_stop_condition(attempts: SentAttempts, build: DuplicateBuild) -> str | None:
    """Return the condition of P9 that does not hold, for the log; None if the build may be stopped."""
    if attempts.unexplained <= 0:
        return "(a) no unanswered request"
    if not build.only_our_cause:
        return "(b) another cause"
    if build.started_ms is None:
        return "(c) start unknown"
    if build.own_end_ms is not None and build.started_ms >= build.own_end_ms:
        return "(c) started after the own build ended"
    return None


def possible_duplicate(run: Run, status: DeploymentStatus, *, stopping: bool = False) -> Transition:
    """Return the event about a second build with the id of ``run``. ``status``: the status of the external run."""
    own = f", which has #{run.build.number}" if run.build else ""
    if run.resolved and run.build is None:
        message = (
            f"A build carries the id of run {run.number}, which an operator had resolved before Jenkins showed "
            "a build of it: a possible duplicate. It continues as an external run."
        )
    elif stopping:
        message = (
            f"A second build of run {run.number}{own}: an abandoned trigger request reached Jenkins late. "
            "It is being stopped."
        )
    else:
        message = (
            f"A possible duplicate of run {run.number}{own}: the build carries its id. It may be a retry or a rebuild; "
            "it continues as an external run."
        )
    old = status if stopping else DeploymentStatus.PENDING
    return Transition(EventType.DEPLOYMENT_POSSIBLE_DUPLICATE, old, status, message=message)


def external_noticed(repeated: Run | None) -> Transition:
    """Return the first event of an external run. ``repeated``: the run whose id its build carries, if any."""
    if repeated is not None:
        return possible_duplicate(repeated, DeploymentStatus.PENDING)
    return Transition(
        EventType.DEPLOYMENT_STATUS_UPDATE,
        DeploymentStatus.PENDING,
        DeploymentStatus.PENDING,
        message="A build that was not started by this service was reported.",
    )
