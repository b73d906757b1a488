"""Problems with Jenkins: why it could not be read, or did not execute a request. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

EXTERNAL_RUNS_PER_HOUR = 1_000
"""How many external runs of one tenant the service creates per hour: runs for builds that it did not start."""

_MAX_CHARS = 500


class ProblemReason(StrEnum):
    """The class of a failure. The values of ``ObservationProblem.reason`` in the API."""

    UNREACHABLE = "UNREACHABLE"
    """No connection, or the connection was lost before the answer."""
    SLOW = "SLOW"
    """No answer within the timeout."""
    STARTING = "STARTING"
    """Jenkins is starting: its error answers prove nothing about permissions."""
    OVERLOADED = "OVERLOADED"
    """429 or 503."""
    SERVER_ERROR = "SERVER_ERROR"
    """Another 5xx."""
    NOT_JENKINS = "NOT_JENKINS"
    """Something in front of Jenkins answered: a proxy, a firewall, a login page."""
    REFUSED = "REFUSED"
    """Jenkins does not accept the account's credentials."""
    PERMISSION_MISSING = "PERMISSION_MISSING"
    """Jenkins accepts the account but denies the request."""
    MALFORMED_ANSWER = "MALFORMED_ANSWER"
    """The answer is larger than allowed, or not in Jenkins' format."""
    JOB_NOT_SHOWN = "JOB_NOT_SHOWN"
    """Jenkins shows no such job: it was deleted, renamed, or hidden from the account."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A failure of a call to Jenkins. ``message``: for operators, with the next step."""

    reason: ProblemReason
    message: str

    @classmethod
    def of(cls, reason: ProblemReason, message: str) -> Problem:
        """Return a problem whose message is cut to 1 to 500 characters, so that it can be stored."""
        text = message.replace("\x00", "").strip() or "No reason was given."
        return cls(reason, text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 1] + "…")


@dataclass(frozen=True, slots=True)
class ObservationProblem:
    """A lasting problem. ``reason`` stays a string, also for values of a newer replica (rolling upgrade)."""

    since: datetime
    reason: str
    message: str

    cancelling: bool = False
    """Whether a cancel request waits for the end of the problem."""

    def shown(self, *, in_full: bool) -> str:
        """Return the message to show. ``in_full``: for operators, with details of the network."""
        text = self.message if in_full else coarse_message(self.reason, self.message)
        return f"The run could not be cancelled yet. {text}" if self.cancelling else text


TOO_MANY_EXTERNAL_RUNS = Problem.of(
    ProblemReason.MALFORMED_ANSWER,
    f"Jenkins shows more builds that were not started by the service than it records in an hour "
    f"({EXTERNAL_RUNS_PER_HOUR:,} for all jobs of a tenant). The others become runs later, as long as they are among "
    "the last 50 builds of the job. Find out what starts so many builds.",
)
_COARSE = {
    ProblemReason.UNREACHABLE: "Jenkins can't be reached. Nothing is lost: its builds go on, and reading is retried. "
    "If it lasts, inform the operators of the deployment service.",
    ProblemReason.SLOW: "Reading Jenkins takes too long: it does not answer in time. It is retried. If it lasts, "
    "inform the operators of the deployment service.",
    ProblemReason.STARTING: "Jenkins is starting. Wait until it is up; reading is retried.",
    ProblemReason.OVERLOADED: "Jenkins, or a proxy in front of it, is overloaded or not up. Reading is retried.",
    ProblemReason.SERVER_ERROR: "Jenkins answers with an internal error. Its log has the cause; reading is retried.",
    ProblemReason.NOT_JENKINS: "Something in front of Jenkins answers in its place: a proxy, a firewall or a login "
    "page. Inform the operators of the deployment service.",
    ProblemReason.MALFORMED_ANSWER: "Jenkins' answer can't be used. Inform the operators of the deployment service.",
}


def coarse_message(reason: str, message: str) -> str:
    """Return the message of a problem for tenants, without details of the network.

    A tenant chooses the address of its provider, so details would let it scan the operators' network.
    Messages about accounts, permissions and jobs come from Jenkins itself and stay complete.
    """
    if message == TOO_MANY_EXTERNAL_RUNS.message:
        return message
    try:
        return _COARSE.get(ProblemReason(reason), message)
    except ValueError:
        return "Jenkins can't be observed."
