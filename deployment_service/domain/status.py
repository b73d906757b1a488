"""The order of what can be known of one build, and what it means for a deployment.

Every writer (webhook, dispatcher, reader) claims a point in one total order and the highest
point wins: a join-semilattice. Hence reports may come late, twice and in any order (promise P2).
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
    """What UNSTABLE means for a deployment."""

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
    """How far a build has come. UNKNOWN: nothing is known, or a status that nobody knows was reported."""

    UNKNOWN = 0
    QUEUED = 1
    RUNNING = 2
    FINAL = 3


class Authority(IntEnum):
    """How good the source of a *final* word is. It doesn't matter before: NONE."""

    NONE = 0
    PRESUMPTION = 1
    STEP = 2
    PLUGIN_COMPLETED = 3
    PLUGIN_FINALIZED = 4
    READ = 5
    OPERATOR = 6


class Severity(IntEnum):
    """How bad a *final* result is; Jenkins only ever worsens a result, so the worse one is the later."""

    NONE = 0
    SUCCESS = 1
    UNSTABLE = 2
    FAILURE = 3
    NOT_BUILT = 4
    ABORTED = 5


@dataclass(frozen=True, slots=True, order=True)
class BuildState:
    """A point in the order. Compare with ``<``, merge with ``max``."""

    stage: Stage
    authority: Authority = Authority.NONE
    severity: Severity = Severity.NONE

    def __post_init__(self) -> None:
        final = self.stage is Stage.FINAL
        if final != (self.authority is not Authority.NONE) or final != (
            self.severity is not Severity.NONE
        ):
            raise ValueError(
                f"authority and severity belong to final words, and only to them: {self}"
            )

    @property
    def rank(self) -> int:
        """The point as a number with the same order, for the guards in SQL."""
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

# Jenkins' results, the guide's words and what scripts are seen to send. Matched in lower case.
_FINAL_WORDS = {
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
_RUNNING_WORDS = frozenset({"running", "started", "in_progress", "inprogress", "building"})
_QUEUED_WORDS = frozenset({"queued"})


def presumed(severity: Severity) -> BuildState:
    """What we conclude ourselves, without Jenkins' word."""
    return BuildState(Stage.FINAL, Authority.PRESUMPTION, severity)


def from_status_text(status_text: str, authority: Authority) -> BuildState:
    """What a status word claims. One that nobody knows claims nothing: it never moves a run."""
    folded = status_text.strip().lower()
    severity = _FINAL_WORDS.get(folded)
    if severity is not None:
        return BuildState(Stage.FINAL, authority, severity)
    if folded in _RUNNING_WORDS:
        return RUNNING
    return QUEUED if folded in _QUEUED_WORDS else UNKNOWN


def from_phase(phase: str, status_text: str) -> BuildState:
    """What the Notification plugin claims by a phase and its status.

    QUEUED is sent when the build starts, right before STARTED, and a status that comes with either
    is a Pipeline's interim result: both mean running (docs/explanation/jenkins-facts.md).
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
    """What Jenkins' own answer says. ``result`` may be set while the build goes on: then it is interim."""
    if not finished:
        return RUNNING
    state = from_status_text(result or "", Authority.READ)
    # A finished build without a result that we know must not run for ever.
    return state if state.final else BuildState(Stage.FINAL, Authority.READ, Severity.NOT_BUILT)


def deployment_status(state: BuildState, policy: UnstablePolicy) -> DeploymentStatus:
    """The guide's mapping, and where Jenkins' three further results go."""
    if state.stage is Stage.UNKNOWN:
        return DeploymentStatus.PENDING
    if not state.final:
        return DeploymentStatus.RUNNING
    if state.severity is Severity.UNSTABLE and policy is UnstablePolicy.COMPLETED:
        return DeploymentStatus.COMPLETED
    return _STATUS_OF_SEVERITY[state.severity]


def failure_cause(state: BuildState, policy: UnstablePolicy) -> FailureCause | None:
    """Why a build that has ended like this didn't complete; None if it did or hasn't ended."""
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
