"""A second build with a run's id: when it may be stopped, and the event that shows it (promise P9). Pure.

Parameters and causes of a build are copied by plugins that retry it, and by people who rebuild it. So a build is
stopped only on evidence that nothing else can produce: a request of ours that Jenkins never answered.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployment_service.domain.events import EventType
from deployment_service.domain.runs import Run, Transition
from deployment_service.domain.status import DeploymentStatus


@dataclass(frozen=True, slots=True)
class SentAttempts:
    """What became of the requests that were announced for a run.

    ``unanswered``: Jenkins never answered them. ``answered``: it accepted them. ``stopped``: builds with the run's id
    that were stopped so far.
    """

    unanswered: int
    answered: int
    stopped: int

    @property
    def unexplained(self) -> int:
        """How many unanswered requests match no build: each justifies one stop.

        The run's own build explains one of them, unless it came of a request that was answered.
        """
        return self.unanswered - (0 if self.answered else 1) - self.stopped


@dataclass(frozen=True, slots=True)
class DuplicateBuild:
    """A second build, as Jenkins shows it beside the run's own. Times are ms by Jenkins' clock.

    ``only_our_cause``: the one cause of its start is our named account. ``own_end_ms``: None while the own build runs.
    """

    only_our_cause: bool
    started_ms: int | None
    own_end_ms: int | None


def keeps_from_stopping(attempts: SentAttempts, build: DuplicateBuild) -> str | None:
    """Return which condition of P9 does not hold, for the log; None: the build may be stopped."""
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
    """Return the event that shows a build with the id of ``run``; ``status`` is the external run's."""
    own = f", which has #{run.build.number}" if run.build else ""
    if run.resolved and run.build is None:
        message = (
            f"A build carries the id of run {run.number}, which an operator had resolved before Jenkins showed "
            "a build of it: a possible duplicate. It goes on as an external run."
        )
    elif stopping:
        message = (
            f"A second build of run {run.number}{own}: a request that was given up reached Jenkins late. "
            "It is being stopped."
        )
    else:
        message = (
            f"A possible duplicate of run {run.number}{own}: the build carries its id. It may be a retry or a rebuild; "
            "it goes on as an external run."
        )
    old = status if stopping else DeploymentStatus.PENDING
    return Transition(EventType.DEPLOYMENT_POSSIBLE_DUPLICATE, old, status, message=message)


def external_noticed(repeated: Run | None) -> Transition:
    """Return the first event of an external run. ``repeated``: the run whose id its build carries."""
    if repeated is not None:
        return possible_duplicate(repeated, DeploymentStatus.PENDING)
    return Transition(
        EventType.DEPLOYMENT_STATUS_UPDATE,
        DeploymentStatus.PENDING,
        DeploymentStatus.PENDING,
        message="A build that was not started by this service was reported.",
    )
