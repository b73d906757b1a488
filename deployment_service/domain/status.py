"""The total order of build states, and the mapping to a deployment's status. Pure.

Every writer (webhook, dispatcher, reader) merges its state by ``max``: a join-semilattice. So reports may arrive late,
twice and in any order (promise P2).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class DeploymentStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        return self not in (DeploymentStatus.PENDING, DeploymentStatus.RUNNING)


class UnstablePolicy(StrEnum):
    """The status of a deployment whose build is UNSTABLE."""

    FAILED = "FAILED"
    COMPLETED = "COMPLETED"


class FailureCause(StrEnum):
    TRIGGER_REJECTED = "TRIGGER_REJECTED"
    TRIGGER_DEADLINE = "TRIGGER_DEADLINE"
    TRIGGER_OUTCOME_UNKNOWN = "TRIGGER_OUTCOME_UNKNOWN"
    BUILD_FAILED = "BUILD_FAILED"
    BUILD_UNSTABLE = "BUILD_UNSTABLE"
    BUILD_LOST = "BUILD_LOST"
    CANCELLED_IN_JENKINS = "CANCELLED_IN_JENKINS"
    NOT_BUILT = "NOT_BUILT"
    JOB_PARAMETERS_MISMATCH = "JOB_PARAMETERS_MISMATCH"
    JOB_MISSING = "JOB_MISSING"
    CANCELLED = "CANCELLED"
    DEPLOYMENT_DELETED = "DEPLOYMENT_DELETED"
    RESOLVED_BY_OPERATOR = "RESOLVED_BY_OPERATOR"


class Stage(IntEnum):
    """The stage of a build. UNKNOWN: no state was observed, or an unknown status was reported."""

    UNKNOWN = 0
    QUEUED = 1
    RUNNING = 2
    FINAL = 3


class Authority(IntEnum):
    """The authority of the source of a final state. NONE for states that are not final."""

    NONE = 0
    PRESUMPTION = 1
    STEP = 2
    PLUGIN_COMPLETED = 3
    PLUGIN_FINALIZED = 4
    READ = 5
    OPERATOR = 6


class Severity(IntEnum):
    """The severity of a final result. Jenkins only worsens results, so the worse of two is the later one."""

    NONE = 0
    SUCCESS = 1
    UNSTABLE = 2
    FAILURE = 3
    NOT_BUILT = 4
    ABORTED = 5


@dataclass(frozen=True, slots=True, order=True)
class BuildState:
    """A state in the total order. Compare with ``<``, merge with ``max``."""

    stage: Stage
    authority: Authority = Authority.NONE
    severity: Severity = Severity.NONE

    def __post_init__(self) -> None:
        final = self.stage is Stage.FINAL
        if final != (self.authority is not Authority.NONE) or final != (
            self.severity is not Severity.NONE
        ):
            raise ValueError(
                f"final states need authority and severity, other states have neither: {self}"
            )

    @property
    def rank(self) -> int:
        """Return the state as a number with the same order, for the guards in SQL."""
        return self.stage * 100 + self.authority * 10 + self.severity

    @classmethod
    def from_rank(cls, rank: int) -> BuildState:
        stage, rest = divmod(rank, 100)
        authority, severity = divmod(rest, 10)
        return cls(Stage(stage), Authority(authority), Severity(severity))

    @property
    def final(self) -> bool:
        return self.stage is Stage.FINAL


UNKNOWN = BuildState(Stage.UNKNOWN)
QUEUED = BuildState(Stage.QUEUED)
RUNNING = BuildState(Stage.RUNNING)

# Results of Jenkins, statuses of the guide, and variants that scripts send. Compared in lower case.
_FINAL_STATUSES = {
    "success": Severity.SUCCESS,
    "successful": Severity.SUCCESS,
    "unstable": Severity.UNSTABLE,
    "failure": Severity.FAILURE,
    "failed": Severity.FAILURE,
    "not_built": Severity.NOT_BUILT,
    "aborted": Severity.ABORTED,
    "cancelled": Severity.ABORTED,
    "canceled": Severity.ABORTED,
}
_RUNNING_STATUSES = frozenset({"running", "started", "in_progress", "inprogress", "building"})
_QUEUED_STATUSES = frozenset({"queued"})


def presumed(severity: Severity) -> BuildState:
    """Return the final state of a conclusion that no answer of Jenkins confirms."""
    return BuildState(Stage.FINAL, Authority.PRESUMPTION, severity)


def from_status_text(status_text: str, authority: Authority) -> BuildState:
    """Return the state of a status text. An unknown text is UNKNOWN and never changes a run."""
    folded = status_text.strip().lower()
    severity = _FINAL_STATUSES.get(folded)
    if severity is not None:
        return BuildState(Stage.FINAL, authority, severity)
    if folded in _RUNNING_STATUSES:
        return RUNNING
    return QUEUED if folded in _QUEUED_STATUSES else UNKNOWN


def from_phase(phase: str, status_text: str) -> BuildState:
    """Return the state of a phase and status of the Notification plugin.

    The plugin sends QUEUED when the build starts, right before STARTED. A status in either of them is an interim
    result of a Pipeline. So both phases mean running (docs/explanation/jenkins-facts.md).
    """
    match phase:
        case "QUEUED" | "STARTED":
            return RUNNING
        case "COMPLETED":
            return from_status_text(status_text, Authority.PLUGIN_COMPLETED)
        case "FINALIZED":
            return from_status_text(status_text, Authority.PLUGIN_FINALIZED)
        case _:
            return from_status_text(status_text, Authority.STEP)


def from_read(*, finished: bool, result: str | None) -> BuildState:
    """Return the state in an answer of Jenkins. ``result`` of a running build is an interim result and is ignored."""
    if not finished:
        return RUNNING
    state = from_status_text(result or "", Authority.READ)
    # A finished build with an unknown result must end too.
    return state if state.final else BuildState(Stage.FINAL, Authority.READ, Severity.NOT_BUILT)


def deployment_status(state: BuildState, policy: UnstablePolicy) -> DeploymentStatus:
    """Return the deployment's status for a state: the guide's mapping, extended by Jenkins' three other results."""
    if state.stage is Stage.UNKNOWN:
        return DeploymentStatus.PENDING
    if not state.final:
        return DeploymentStatus.RUNNING
    if state.severity is Severity.UNSTABLE and policy is UnstablePolicy.COMPLETED:
        return DeploymentStatus.COMPLETED
    return _STATUS_OF_SEVERITY[state.severity]


def failure_cause(state: BuildState, policy: UnstablePolicy) -> FailureCause | None:
    """Return why a build with this state failed; None if it completed or has not ended."""
    if not state.final or deployment_status(state, policy) is DeploymentStatus.COMPLETED:
        return None
    return _CAUSE_OF_SEVERITY[state.severity]


_STATUS_OF_SEVERITY = {
    Severity.SUCCESS: DeploymentStatus.COMPLETED,
    Severity.UNSTABLE: DeploymentStatus.FAILED,
    Severity.FAILURE: DeploymentStatus.FAILED,
    Severity.NOT_BUILT: DeploymentStatus.CANCELLED,
    Severity.ABORTED: DeploymentStatus.CANCELLED,
}
_CAUSE_OF_SEVERITY = {
    Severity.UNSTABLE: FailureCause.BUILD_UNSTABLE,
    Severity.FAILURE: FailureCause.BUILD_FAILED,
    Severity.NOT_BUILT: FailureCause.NOT_BUILT,
    Severity.ABORTED: FailureCause.CANCELLED_IN_JENKINS,
}
